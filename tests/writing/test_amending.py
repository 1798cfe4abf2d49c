"""A text of addresses with some rows changed is the text that is rendered of them all."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from tracker.writing.amending import amended
from tracker.writing.render import grant_table, grant_text

ADDRESSES = st.sampled_from(
    [
        "1.2.3.4",
        "1.2.3.40",
        "10.0.0.1",
        "198.51.100.7",
        "198.51.100.70",
        "2001:db8::/64",
        "2001:db8::5",
        "2001:db8:0:1::/64",
        "::ffff:0:0:0",
        "fe80::1",
    ]
)
USERS = st.sets(st.text(max_size=5), min_size=1, max_size=3)
HELD = st.dictionaries(ADDRESSES, st.tuples(st.integers(1, 9999), USERS))


def holders(held: Mapping[str, tuple[int, set[str]]]) -> list[tuple[str, str]]:
    return [(address, user) for address, (_, users) in held.items() for user in users]


def ends(held: Mapping[str, tuple[int, set[str]]]) -> dict[str, int]:
    return {address: end for address, (end, _) in held.items()}


@given(HELD, HELD, st.sets(ADDRESSES))
def test_amended_is_as_rendered_anew(
    before: dict[str, tuple[int, set[str]]],
    after: dict[str, tuple[int, set[str]]],
    asked: set[str],
) -> None:
    """Touched: what differs, and what only may."""
    touched = asked | {one for one in before | after if before.get(one) != after.get(one)}
    part = {one: row for one, row in after.items() if one in touched}
    old, new, some = (grant_text(ends(one), holders(one), "lmdb") for one in (before, after, part))
    assert amended(old, some, touched) == new


@given(HELD, HELD)
def test_a_text_without_users_is_amended_too(
    before: dict[str, tuple[int, set[str]]], after: dict[str, tuple[int, set[str]]]
) -> None:
    touched = {*before, *after}
    old, new = grant_table(ends(before)), grant_table(ends(after))
    assert amended(old, new, touched) == new

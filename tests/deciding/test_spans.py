"""Sets of addresses: unions, the first claim, blocks; each against the slow and obvious way."""

from __future__ import annotations

from itertools import pairwise

import netaddr
from hypothesis import given
from hypothesis import strategies as st

from tracker.deciding.spans import FirstMatch, Span, blocks, merged, network, text, union

_SMALL = st.integers(0, 30)
_SPAN = st.builds(
    lambda version, one, other: Span(version, min(one, other), max(one, other)),
    st.sampled_from([4, 6]),
    _SMALL,
    _SMALL,
)
_CLAIMS = st.lists(_SPAN, max_size=8).map(
    lambda spans: [(*span, number) for number, span in enumerate(spans)]
)


def first(claims: list[tuple[int, int, int, int]], version: int, value: int) -> int | None:
    owners = [owner for v, low, high, owner in claims if v == version and low <= value <= high]
    return min(owners, default=None)


@given(_CLAIMS)
def test_an_address_belongs_to_the_lowest_claim_that_holds_it(
    claims: list[tuple[int, int, int, int]],
) -> None:
    made = FirstMatch(claims)
    for version in (4, 6):
        for value in range(32):
            assert made.owner(text(version, value)) == first(claims, version, value)


@given(_CLAIMS)
def test_pieces_part_all_that_is_claimed(claims: list[tuple[int, int, int, int]]) -> None:
    made = FirstMatch(claims)
    held = [
        (piece.version, value)
        for piece in made.pieces()
        for value in range(piece.first, piece.last + 1)
    ]
    assert len(held) == len(set(held))
    assert set(held) == {
        (version, value) for version, low, high, _ in claims for value in range(low, high + 1)
    }


@given(_CLAIMS, _SPAN)
def test_what_is_within_a_span_is_cut_to_it(
    claims: list[tuple[int, int, int, int]], span: Span
) -> None:
    made = FirstMatch(claims)
    found = {
        value: piece.owner
        for piece in made.within(span)
        for value in range(piece.first, piece.last + 1)
    }
    wanted = {
        value: first(claims, span.version, value) for value in range(span.first, span.last + 1)
    }
    assert found == {value: owner for value, owner in wanted.items() if owner is not None}


@given(_CLAIMS)
def test_merged_spans_neither_touch_nor_lose_whose_they_are(
    claims: list[tuple[int, int, int, int]],
) -> None:
    made = list(merged(claims))
    for (one, _), (other, _) in pairwise(made):
        assert one.version < other.version or one.last + 1 < other.first
    for span, owners in made:
        touching = {
            owner
            for version, low, high, owner in claims
            if version == span.version and span.first <= low and high <= span.last
        }
        assert owners == tuple(sorted(touching))
    assert [span for span, _ in made] == union(Span(*claim[:3]) for claim in claims)


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
def test_blocks_are_the_fewest(one: int, other: int) -> None:
    span = Span(6, min(one, other), max(one, other))
    ends = netaddr.IPAddress(span.first, 6), netaddr.IPAddress(span.last, 6)
    wanted = netaddr.iprange_to_cidrs(*ends)
    assert list(map(netaddr.IPNetwork, blocks(span))) == wanted
    assert [network(block) for block in blocks(span)] == [
        Span(6, net.first, net.last) for net in wanted
    ]


def test_a_span_is_shown_as_address_network_or_range() -> None:
    assert str(network("203.0.113.5/32")) == "203.0.113.5"
    assert str(network("2001:db8::/32")) == "2001:db8::/32"
    assert str(Span(4, 1, 3)) == "0.0.0.1-0.0.0.3"

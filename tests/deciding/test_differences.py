"""What changed in a list or in the settings, in an admin's words."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tracker.deciding.access import SenderPolicy
from tracker.deciding.differences import of_settings, of_tables, of_trusted
from tracker.deciding.lists import domain, entry
from tracker.deciding.names import Known
from tracker.deciding.spans import number
from tracker.deciding.trusted import TrustedList, parse
from tracker.history import snapshots


def changed(before: str, after: str) -> list[str]:
    return of_trusted(parse(before, "x").entries, parse(after, "x").entries)


def test_entries_that_come_and_go_are_named_with_their_lines() -> None:
    assert changed(
        "10.0.0.1\n192.0.2.0/24\n", "192.0.2.0/24\n# more\n198.51.100.7 # scanner\n"
    ) == [
        "removed 10.0.0.1 (line 1)",
        "added 198.51.100.7 (line 3)  # scanner",
    ]


def test_an_entry_that_is_moved_or_gets_another_note_did_not_come_or_go() -> None:
    assert changed("10.0.0.1\n!10.0.0.2\n10.0.0.0/8\n", "!10.0.0.2\n10.0.0.0/8\n10.0.0.1\n") == [
        "moved 10.0.0.1 to line 3"
    ]
    assert changed("10.0.0.1 # a\n", "10.0.0.1 # b\n") == ["note of 10.0.0.1: b"]
    assert changed("10.0.0.1\n", "\n# moved down\n10.0.0.1\n") == []


def test_an_entry_that_is_there_twice_is_told_once_for_each() -> None:
    assert changed("10.0.0.1\n10.0.0.1\n", "10.0.0.1\n") == ["removed 10.0.0.1 (line 2)"]


def test_a_sign_makes_another_entry() -> None:
    assert changed("10.0.0.1", "!10.0.0.1") == [
        "removed 10.0.0.1 (line 1)",
        "added !10.0.0.1 (line 1)",
    ]


def test_what_a_name_came_to_stand_for_is_told_with_what_it_was() -> None:
    listed = parse("mail.example.com", "x")
    one = listed.bound({"mail.example.com": Known("resolved", (number("192.0.2.1"),), ())})
    two = listed.bound({"mail.example.com": Known("resolved", (number("192.0.2.2"),), ())})
    assert of_trusted(one.entries, two.entries) == ["mail.example.com: 192.0.2.2 (was 192.0.2.1)"]
    assert of_trusted(one.entries, listed.entries) == [
        "mail.example.com: no address (was 192.0.2.1)"
    ]


ENTRIES = st.lists(
    st.sampled_from(["10.0.0.1", "!10.0.0.1", "10.0.0.0/8", "192.0.2.1-9", "mail.example.com"])
)


@given(ENTRIES, ENTRIES)
def test_no_difference_is_told_only_where_the_lists_say_the_same(
    before: list[str], after: list[str]
) -> None:
    assert (changed("\n".join(before), "\n".join(after)) == []) == (before == after)


def test_lists_are_named_and_the_mark_s_own_tables_are_not() -> None:
    before = SenderPolicy(domains=[domain("example.com", "domains.txt:1")])
    after = SenderPolicy(
        domains=[domain("example.com", "domains.txt:1"), domain("example.org", "domains.txt:2")],
        blacklist=[entry("spam@example.net", "black.txt:9")],
    )
    assert of_tables(before.tables, after.tables) == {
        "local senders": ["added example.org (domains.txt:2)"],
        "black list": ["added spam@example.net (black.txt:9)"],
    }
    assert of_tables(after.tables, after.tables) == {}


def test_settings_are_compared_and_secrets_never_shown() -> None:
    def snapshot(window: str, password: str, url: str) -> dict[str, str]:
        shown = {"grants": {"window": window}, "cluster": {"password": password, "url": url}}
        return snapshots.flat_settings(snapshots.of_settings(json.dumps(shown)))

    before = snapshot("30m", "hunter2", "redis://me:hunter2@db/1")
    after = snapshot("1h", "hunter3", "redis://me:hunter3@db/1")
    lines = of_settings(before, after)
    assert lines[-1] == 'grants.window: "30m" -> "1h"'
    assert [line.partition(":")[0] for line in lines] == [
        "cluster.password",
        "cluster.url",
        "grants.window",
    ]
    assert "hunter" not in str(lines) + str(before)
    assert of_settings(before, before) == []


def test_a_snapshot_of_a_list_gives_the_list_again() -> None:
    listed = parse("# x\n!10.0.0.1 # a, b\n10.*.*.*\n!mail.example.com\n1.2.3.4-9\n", "x").bound(
        {"mail.example.com": Known("resolved", (), (number("192.0.2.1"), number("2001:db8::1")))}
    )
    bodies = snapshots.of_trusted(listed)
    again = snapshots.trusted_list(bodies["trusted"], bodies["names"])
    assert again.entries == listed.entries
    assert snapshots.trusted_list(None, None).entries == TrustedList().entries


def test_a_snapshot_of_tables_gives_the_tables_again() -> None:
    tables = SenderPolicy(
        domains=[domain(".example.com", "x:1")],
        exceptions=[entry("a@example.com", "x:2"), entry("192.0.2.0/24", "x:3")],
    ).tables
    assert snapshots.access_tables(snapshots.of_tables(tables)) == dict(tables)

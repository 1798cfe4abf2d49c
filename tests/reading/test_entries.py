"""Entries of the journal as lines of syslog: nothing in one can make a line or a word of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reading.scanning import logins
from tracker.reading.sources.entries import LONGEST_ENTRY, cursor_seconds, lines_of
from tracker.reading.sources.lines import Lines

CURSOR = (
    "s=e1c14da2113e42dca2b7bd05a3d065b0;i=51;b=0123;m=251975e28;t=66101bd491628;x=90f2e378399a6aef"
)
LOGIN = (
    "pop3-login: Login: user=<alice>, method=PLAIN, rip=203.0.113.66, lip=192.0.2.1, mpid=4387, "
    "session=<dVCJuwFh/a9/AAAC>"
)


def written(**fields: Any) -> bytes:
    """An entry as journalctl writes it."""
    usual = {
        "__CURSOR": CURSOR,
        "__REALTIME_TIMESTAMP": "1795509958809128",
        "_HOSTNAME": "mailhost",
        "SYSLOG_IDENTIFIER": "dovecot",
        "_PID": "4242",
        "MESSAGE": "a message",
    }
    entry = {name: text for name, text in {**usual, **fields}.items() if text is not ...}
    return json.dumps(entry).encode() + b"\n"


def line(**fields: Any) -> str:
    block, _ = lines_of(written(**fields))
    return block.decode("utf-8", "surrogateescape")


HEAD = "2026-11-24T08:45:58.809128+00:00 mailhost dovecot[4242]: "


def test_an_entry_is_a_line_of_syslog_with_the_time_of_the_journal() -> None:
    assert line() == f"{HEAD}a message\n"
    assert lines_of(written())[1] == CURSOR


def test_a_login_in_a_message_is_a_login() -> None:
    (found,) = logins(line(MESSAGE=LOGIN))
    assert (found.address, found.time.isoformat()) == (
        "203.0.113.66",
        "2026-11-24T08:45:58.809128+00:00",
    )


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("Zoë \u2028 \x85", "Zoë \u2028 \x85"),
        (list(b"not UTF-8: \xff"), "not UTF-8: \udcff"),
        (list(b"\xc2\x85 is printable to nobody"), "\x85 is printable to nobody"),
        ("two\nlines\r\0\t\x7f", "two#012lines#015#000#011#177"),
        (list(b"two\nlines"), "two#012lines"),
        ("", ""),
    ],
)
def test_what_a_message_may_be(message: object, text: str) -> None:
    assert line(MESSAGE=message) == f"{HEAD}{text}\n"


@pytest.mark.parametrize("message", [None, ..., ["twice", "given"], [[65], None], [256], [-1], []])
def test_an_entry_without_a_readable_message_gives_no_line_and_is_done_with(
    message: object,
) -> None:
    assert lines_of(written(MESSAGE=message)) == (b"", CURSOR)


@pytest.mark.parametrize(
    ("fields", "head"),
    [
        ({"_PID": ..., "SYSLOG_PID": "77"}, "mailhost dovecot[77]"),
        ({"_PID": "1", "SYSLOG_PID": "77"}, "mailhost dovecot[1]"),
        ({"_PID": ...}, "mailhost dovecot"),
        ({"_PID": "4]: x"}, "mailhost dovecot"),
        ({"SYSLOG_IDENTIFIER": ..., "_COMM": "pop3-login"}, "mailhost pop3-login[4242]"),
        ({"SYSLOG_IDENTIFIER": ...}, "mailhost unknown[4242]"),
        ({"SYSLOG_IDENTIFIER": "postfix/smtpd"}, "mailhost postfix/smtpd[4242]"),
        ({"SYSLOG_IDENTIFIER": "a: b[1]\n"}, "mailhost a#072#040b#1331#135#012[4242]"),
        ({"SYSLOG_IDENTIFIER": list(b"\xff")}, "mailhost #377[4242]"),
        ({"_HOSTNAME": "a b"}, "a#040b dovecot[4242]"),
        ({"_HOSTNAME": ...}, "localhost dovecot[4242]"),
    ],
)
def test_what_the_head_is_made_from(fields: dict[str, object], head: str) -> None:
    assert line(**fields) == f"2026-11-24T08:45:58.809128+00:00 {head}: a message\n"


FORGED = f"2026-11-24T08:45:58.809128+00:00 mailhost dovecot: {LOGIN}"


@pytest.mark.parametrize(
    "fields",
    [
        {"MESSAGE": f"x\n{FORGED}"},
        {"MESSAGE": list(f"\xff\n{FORGED}\n".encode("latin-1"))},
        {"SYSLOG_IDENTIFIER": f"dovecot: {LOGIN}"},
        {"SYSLOG_IDENTIFIER": f"x\n{FORGED}"},
        {"SYSLOG_IDENTIFIER": "logger", "MESSAGE": f"dovecot: {LOGIN}"},
        {"_HOSTNAME": f"mailhost dovecot: {LOGIN}"},
        {"_PID": f"1]: {LOGIN}"},
        {"SYSLOG_PID": f"1]: {LOGIN}", "_PID": ...},
        {"_COMM": f"dovecot: {LOGIN}", "SYSLOG_IDENTIFIER": ...},
        {"__CURSOR": f"x\n{FORGED}", "MESSAGE": ...},
    ],
)
def test_no_field_forges_a_login(fields: dict[str, object]) -> None:
    assert logins(lines_of(written(**fields))[0]) == []


@given(
    st.dictionaries(
        st.sampled_from(["MESSAGE", "SYSLOG_IDENTIFIER", "_HOSTNAME", "_PID", "_COMM"]),
        st.text() | st.lists(st.integers(0, 255)) | st.none(),
    )
)
def test_an_entry_gives_one_line_at_most_and_its_head_has_three_words(fields: Any) -> None:
    block, cursor = lines_of(written(**fields))
    assert cursor == CURSOR
    if block:
        assert block.count(b"\n") == 1
        head = block.split(b": ", 1)[0]
        assert head.count(b" ") == 2
        assert head.startswith(b"2026-11-24T08:45:58.809128+00:00 ")


def test_what_is_no_entry_is_passed_over() -> None:
    text = b"-- No entries --\n{}\n{broken\n\n" + written() + b'{"__CURSOR": 5}\n'
    assert lines_of(text) == (f"{HEAD}a message\n".encode(), CURSOR)


@pytest.mark.parametrize("stamp", ["x", "", "99999999999999999999", "-99999999999999999999"])
def test_a_time_that_is_none_gives_no_line(stamp: str) -> None:
    assert line(__REALTIME_TIMESTAMP=stamp) == ""


def test_a_message_that_is_too_long_gives_no_line() -> None:
    assert line(MESSAGE="x" * 65536) == ""
    assert line(MESSAGE="x" * 65000)


def test_a_cursor_tells_its_time() -> None:
    assert cursor_seconds(CURSOR) == 1795509958
    assert cursor_seconds("@1795509958") == 1795509958
    assert cursor_seconds("rubbish") is None


# Pieces of a pipe


@given(st.binary(), st.lists(st.integers(1, 30), max_size=20))
def test_lines_do_not_depend_on_where_a_pipe_cuts_them(text: bytes, cuts: list[int]) -> None:
    lines = Lines(LONGEST_ENTRY)
    pieces, rest = [], text
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    found = b"".join(lines.whole(piece) for piece in [*pieces, rest])
    assert found == text[: text.rfind(b"\n") + 1]


def test_a_line_that_is_too_long_is_dropped_with_its_rest() -> None:
    lines = Lines(10)
    assert lines.whole(b"one\n0123456789a") == b"one\n"
    assert lines.whole(b"still the same line") == b""
    assert lines.whole(b"its end\ntwo\nthr") == b"two\n"
    assert lines.whole(b"ee\n") == b"three\n"

"""The recorded logs of the servers beside Dovecot give the events that really happened."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reading.scanning import FORGED, NOW, events, numbered, reader
from tests.reading.test_corpus import JUNK, Row, blocks, labels, log, row
from tracker.reading.events import EventReader
from tracker.reading.formats import find, names
from tracker.reading.timestamps import StampReader
from tracker.records import Event, Login

STYLES = ("iso", "rfc3164", "rfc5424")
RECORDED = {
    "courier": [f"courier-1.0.16/basic-syslog.{style}" for style in STYLES],
    "cyrus": [f"cyrus-3.6.1/basic-syslog.{style}" for style in STYLES],
    "mailutils": [f"mailutils-3.15/basic-syslog-acllog.{style}" for style in STYLES],
    "perdition": [f"perdition-2.2/basic-syslog.{style}" for style in STYLES],
    "popa3d": [f"popa3d-1.0.3/basic-syslog.{style}" for style in STYLES],
    "postfix-sasl": ["postfix-3.7.11/sasl-syslog.iso"],
    "solid-pop3d": [f"solid-pop3d-0.15/basic-syslog.{style}" for style in STYLES],
}
LOGS = [(server, name) for server, logs in RECORDED.items() for name in logs]
FORGED_BY_LENGTH = "courier-1.0.16/forge-by-long-user.iso"

# What the log does not tell.

WITHOUT_EVENT: dict[str, set[int]] = {
    # A session that was cut off: the parent's line names no user, and it says the same of a
    # connection that never logged in.
    "mailutils": {26, 67},
}
OTHER_NAME: dict[str, dict[int, str | None]] = {
    # Without the domain of its virtual domain.
    "mailutils": {13: "alice", 14: "alice", 56: "alice", 57: "alice"},
    # "Authentication failed for UNKNOWN USER": a name that is no account's is not logged.
    "popa3d": {23: None, 27: None, 31: None},
    # Cut at the "@"; and two attempts in one connection, of which the label names the last.
    "solid-pop3d": {18: "nosuch", 20: "admin"},
}
WITHOUT_ADDRESS = {
    # Only the order of the lines links the addresses that `acl` logs to the sessions.
    "mailutils",
}
SESSION_OF_PROCESS = {"mailutils", "popa3d", "solid-pop3d"}


def expected(server: str, name: str) -> dict[int, Row]:
    return {
        label["line"]: meant(server, label)
        for label in labels(name)
        if label["line"] not in WITHOUT_EVENT.get(server, ())
    }


def meant(server: str, label: dict[str, Any]) -> Row:
    line = label["line"]
    user = label.get("user_logged", label["user"])
    return (
        label["event"],
        label["service"] if label.get("service_in_line", True) else None,
        OTHER_NAME.get(server, {}).get(line, user),
        None if server in WITHOUT_ADDRESS else label["ip"],
        session(server, label),
    )


def session(server: str, label: dict[str, Any]) -> str | None:
    """The session where it is labelled, or where it is made of what is."""
    if server in SESSION_OF_PROCESS and "pid" in label:
        return f"mailhost/{server}[{label['pid']}]"
    named: str | None = label["session"]
    return named


def found(server: str, name: str) -> dict[int, Row]:
    return {line: row(event) for line, event in numbered(log(name), server).items()}


@pytest.mark.parametrize(("server", "name"), LOGS)
def test_each_line_gives_the_event_that_happened(server: str, name: str) -> None:
    read, happened = found(server, name), expected(server, name)
    if server in {"courier", "perdition", "cyrus"}:
        # Their sessions are in the lines, or joined by the process, but mostly not in the labels.
        read = {line: (*one[:4], happened[line][4] and one[4]) for line, one in read.items()}
    assert read == happened


@pytest.mark.parametrize("name", RECORDED["cyrus"])
def test_cyrus_ends_the_session_that_the_same_process_began(name: str) -> None:
    began: dict[str, Event] = {}
    for event in events(log(name), "cyrus"):
        if isinstance(event, Login) and event.session:
            began[event.session] = event
        elif row(event)[0] == "logout":
            assert event.session
            login = began.pop(event.session)
            assert (event.user, event.address) == (login.user, login.address)
    assert began == {}, "each session has ended, the three that were cut off too"


@pytest.mark.parametrize("name", RECORDED["courier"] + RECORDED["perdition"])
def test_a_session_is_the_two_ends_of_its_connection(name: str) -> None:
    server = name.partition("-")[0]
    open_sessions: set[str | None] = set()
    for event in events(log(name), server):
        kind = row(event)[0]
        assert event.session
        if kind == "login":
            assert event.session not in open_sessions
            open_sessions.add(event.session)
        elif kind == "logout":
            open_sessions.remove(event.session)
    assert open_sessions == set()


def test_names_that_carry_logins_forge_none() -> None:
    """Each of Courier's logins here is the end of a name that failed.

    The failed logins give no event either: their lines are cut in the name, before the address.
    No real login falls into the seconds in which none is believed.
    """
    text = log(FORGED_BY_LENGTH)
    assert text.count(b": LOGIN, ") == 8
    assert {label["event"] for label in labels(FORGED_BY_LENGTH)} == {"failed"}
    assert events(text, "courier") == []


def test_a_forged_login_is_believed_neither_alone_nor_in_another_order() -> None:
    """But for pop3d's own form, which no line can tell from a real one."""
    lines = [line for line in log(FORGED_BY_LENGTH).split(b"\n") if b": LOGIN, " in line]
    believed = [line for line in lines if events(line + b"\n", "courier")]
    assert believed == [lines[0]]
    assert lines[0].endswith(b"pop3d: LOGIN, user=admin, ip=[::ffff:127.0.0.2], port=[44341]")


@pytest.mark.parametrize(("server", "name"), [*LOGS, ("courier", FORGED_BY_LENGTH)])
def test_the_forged_address_never_appears(server: str, name: str) -> None:
    assert FORGED not in {event.address for event in events(log(name), server)}


@pytest.mark.parametrize(("server", "name"), LOGS)
def test_a_format_beside_all_others_gives_the_same_events(server: str, name: str) -> None:
    assert events(log(name), *sorted(names(None))) == events(log(name), server)


@pytest.mark.parametrize(("server", "name"), LOGS)
def test_no_other_of_these_formats_reads_the_log(server: str, name: str) -> None:
    others = sorted({"dovecot", *RECORDED} - {server})
    assert events(log(name), *others) == []


@pytest.mark.parametrize(("server", "name"), LOGS)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_reader_that_is_stopped_after_each_block_goes_on_with_its_memory(
    server: str, name: str, size: int
) -> None:
    memory = b""
    read: list[Event] = []
    for block in blocks(log(name), size):
        one = EventReader([find(server, None)], StampReader(NOW), memory)
        read += one.read(block)
        memory = one.memory() or memory
    assert read == reader(server).read(log(name))


@pytest.mark.parametrize(("server", "name"), LOGS)
def test_blocks_have_the_events_where_their_lines_are(server: str, name: str) -> None:
    whole = list(reader(server).placed(log(name)))
    assert [event for _, event in whole] == events(log(name), server)
    one, at = reader(server), 0
    parts: list[tuple[int, Event]] = []
    for block in blocks(log(name), 300):
        parts += [(at + start, event) for start, event in one.placed(block)]
        at += len(block)
    assert parts == whole


@pytest.mark.parametrize(("server", "name"), LOGS)
@pytest.mark.parametrize("junk", JUNK)
def test_junk_between_the_lines_changes_nothing(server: str, name: str, junk: bytes) -> None:
    mixed = b"\n".join(part for line in log(name).split(b"\n") for part in (junk, line))
    assert events(b"\n" + mixed + b"\n", server) == events(log(name), server)


@pytest.mark.parametrize(("server", "name"), LOGS)
def test_a_log_with_other_line_ends_gives_no_wrong_event(server: str, name: str) -> None:
    right = [row(event) for event in events(log(name), server)]
    text = log(name).replace(b"\n", b"\r\n")
    assert [one for one in events(text, server) if row(one) not in right] == []


@pytest.mark.parametrize(
    ("server", "name"),
    [one for one in LOGS if one[0] in {"courier", "cyrus", "mailutils", "perdition"}],
)
def test_a_line_cut_short_is_no_login(server: str, name: str) -> None:
    text = b"".join(line[:-1] + b"\n" for line in log(name).split(b"\n"))
    assert [event for event in events(text, server) if isinstance(event, Login)] == []

"""Every recorded log gives the events that really happened: no more, no fewer, no other address."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.reading.scanning import FORGED, events, logins, numbered, reader
from tracker.records import Event, Login

CORPUS = Path(__file__).parents[1] / "corpus"

DEFAULT_ELEMENTS = [
    "dovecot-2.3.19/basic-syslog.rfc3164",
    "dovecot-2.3.19/basic-syslog.iso",
    "dovecot-2.3.19/basic-syslog.rfc5424",
    "dovecot-2.3.19/file-authverbose",
    "dovecot-2.3.19/file-isots",
    "dovecot-2.3.19/file-timeouts-shutdown",
    "dovecot-2.3.19/strange-attack-file-authverbose",
    "dovecot-2.3.19/syslog-proxy.iso",
    "dovecot-2.4.4/basic-syslog.iso",
    "dovecot-2.4.4/basic-syslog.rfc5424",
    "dovecot-2.4.4/file-customts-nosession",
    "dovecot-2.4.4/file-postlogin-failure",
    "dovecot-2.4.4/strange-attack-syslog.iso",
]
CUSTOM_ELEMENTS = [
    "dovecot-2.3.19/syslog-customorder-k.iso",
    "dovecot-2.3.19/syslog-mailprefix.iso",
    "dovecot-2.4.4/syslog-quoteduser.iso",
]
WITHOUT_EVENT = {
    # Dovecot 2.3 splits the line where the name has a line feed: `pop3(newInfo: Disconnected: ..`,
    # `pop3(xInfo: Disconnected: ..`. The session is in the other half, which is no logout line.
    "dovecot-2.3.19/strange-attack-file-authverbose": {114, 118, 454, 458},
}
SESSION_IN_LOGOUT_ALONE = {
    # Its login lines were configured without a session; the mail process's prefix has one, so a
    # logout has a session that no login named, and no address can be joined.
    "dovecot-2.4.4/file-customts-nosession",
}

Row = tuple[str, str | None, str | None, str | None, str | None]


def log(name: str) -> bytes:
    return (CORPUS / f"{name}.log").read_bytes()


def labels(name: str) -> list[dict[str, Any]]:
    lines = (CORPUS / f"{name}.expected.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def as_read(name: str, label: dict[str, Any]) -> str | None:
    """The name as it stands in the line, as popgate writes it.

    Labels tell how the login process wrote it (`user_logged`). The mail process writes it raw, and
    rsyslog escapes that. What is no UTF-8 becomes an escape of its byte.
    """
    user: str | None = label.get("user_logged", label["user"])
    if not user:
        return None
    if label["event"] == "logout" and "user_logged" not in label and "syslog" in name:
        user = re.sub(r"[\x00-\x1f]", lambda byte: f"#{ord(byte[0]):03o}", user.replace("\n", " "))
    return user.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def expected(name: str) -> dict[int, Row]:
    rows: dict[int, Row] = {}
    for label in labels(name):
        if label["line"] in WITHOUT_EVENT.get(name, ()):
            continue
        service, user = label["service"], as_read(name, label)
        address, session = label["ip"], label["session"]
        if label.get("via") == "auth":
            # A line of the auth process names no service, and the label not the name as it stands
            # there: it is read from the line below.
            service, user = None, name_in_auth_line(name, label)
        if name in SESSION_IN_LOGOUT_ALONE and label["event"] == "logout":
            address = None
        rows[label["line"]] = (label["event"], service, user, address, session)
    return rows


def name_in_auth_line(name: str, label: dict[str, Any]) -> str | None:
    """The text between the parenthesis and the true address and session; ? stands for none."""
    line = log(name).split(b"\n")[label["line"] - 1].decode("utf-8", "backslashreplace")
    user = line.partition("(")[2].rpartition(f",{label['ip']},<{label['session']}>): ")[0]
    assert user
    return None if user == "?" else user


def row(event: Event) -> Row:
    kind = type(event).__name__.lower()
    return kind, event.service, event.user, event.address, event.session


def found(name: str) -> dict[int, Row]:
    rows = {line: row(event) for line, event in numbered(log(name)).items()}
    if name in SESSION_IN_LOGOUT_ALONE:
        for line, one in rows.items():
            if one[0] == "logout":
                assert one[4]
                rows[line] = (*one[:4], None)
    return rows


@pytest.mark.parametrize("name", DEFAULT_ELEMENTS)
def test_each_line_gives_the_event_that_happened(name: str) -> None:
    assert found(name) == expected(name)


@pytest.mark.parametrize("name", CUSTOM_ELEMENTS)
def test_what_other_elements_write_of_a_refused_login_is_never_a_login(name: str) -> None:
    happened = {label["line"]: label["event"] for label in labels(name)}
    read = {line for line, event in numbered(log(name)).items() if isinstance(event, Login)}
    assert {happened.get(line) for line in read} <= {"login"}


@pytest.mark.parametrize("name", DEFAULT_ELEMENTS + CUSTOM_ELEMENTS)
def test_the_forged_address_never_appears(name: str) -> None:
    assert FORGED not in {event.address for event in numbered(log(name)).values()}


def test_logs_of_other_servers_give_no_dovecot_event() -> None:
    logs = [path for path in sorted(CORPUS.rglob("*.log")) if "dovecot" not in path.parent.name]
    assert len(logs) >= 7
    for path in logs:
        assert events(path.read_bytes()) == [], path


@pytest.mark.parametrize("name", DEFAULT_ELEMENTS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 64 * 1024])
def test_blocks_of_any_size_give_the_same_events(name: str, size: int) -> None:
    whole = list(reader().placed(log(name)))
    one = reader()
    at = 0
    found: list[tuple[int, Event]] = []
    for block in blocks(log(name), size):
        found += [(at + start, event) for start, event in one.placed(block)]
        at += len(block)
    assert found == whole
    assert reader().read(log(name)) == [event for _, event in whole]


def blocks(data: bytes, size: int) -> list[bytes]:
    """Whole lines, each block of at least `size` bytes: as if read with a buffer of that size."""
    made: list[bytes] = []
    at = 0
    while at < len(data):
        end = data.find(b"\n", min(at + size, len(data)) - 1) + 1 or len(data)
        made.append(data[at:end])
        at = end
    return made


JUNK = [
    b"no stamp at all",
    b"",
    b"\x00" * 300,
    b"\xff\xfe\x80 invalid UTF-8 \xc3",
    b"Nov 24 08:45:29 mailhost kernel: something else",
    b"\x85\xe2\x80\xa8",
    b"<22>1 2026-11-24T08:45:29+00:00 mailhost postfix 12 - -  from=<>",
]


@pytest.mark.parametrize("name", DEFAULT_ELEMENTS)
@pytest.mark.parametrize("junk", JUNK)
def test_junk_between_the_lines_changes_nothing(name: str, junk: bytes) -> None:
    lines = log(name).split(b"\n")
    mixed = b"\n".join(part for line in lines for part in (junk, line))
    assert events(b"\n" + mixed + b"\n") == events(log(name))


@pytest.mark.parametrize("name", DEFAULT_ELEMENTS)
def test_a_log_with_other_line_ends_gives_no_wrong_event(name: str) -> None:
    right = events(log(name))
    assert [one for one in events(log(name).replace(b"\n", b"\r\n")) if one not in right] == []


@pytest.mark.parametrize("name", sorted(set(DEFAULT_ELEMENTS) - SESSION_IN_LOGOUT_ALONE))
@pytest.mark.parametrize("cut", [1, 10])
def test_a_line_cut_short_is_no_login(name: str, cut: int) -> None:
    text = b"".join(line[:-cut] + b"\n" for line in log(name).split(b"\n"))
    assert logins(text) == []

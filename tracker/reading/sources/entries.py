r"""Entries of systemd's journal, as `journalctl -o json` writes them, made lines of syslog; pure.

A line is `STAMP HOST IDENTIFIER[PID]: MESSAGE\n`, as rsyslog's file format has it. What is written
in an entry can be anything, so control bytes become `#ooo`, as rsyslog escapes them, and so does
all in the head that a name does not need: no message begins a line, no field adds a word to the
head.

Values (systemd.journal-fields(7), journalctl(1)): text is a JSON string; what is no UTF-8 or not
printable is a list of byte values; what is too large is null; a field given twice is a list of
those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct, field

from tracker.reading.scanner import LONGEST_LINE

LONGEST_ENTRY = 16 * LONGEST_LINE
"""Bytes of an entry in JSON beyond which it is skipped: a message as bytes takes 4 for each."""

_Value = str | list[int | str | list[int] | None] | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_NO_NAME = re.compile(rb"[^A-Za-z0-9._/@+-]")
_SECONDS = re.compile(r"(?:^@([0-9]+)$)|(?:;t=([0-9a-f]{1,15})(?:;|$))")


class _Entry(Struct):
    """The fields that a line is made from."""

    cursor: str = field(name="__CURSOR")
    microseconds: str = field(name="__REALTIME_TIMESTAMP")
    message: _Value = field(name="MESSAGE", default=None)
    identifier: _Value = field(name="SYSLOG_IDENTIFIER", default=None)
    command: _Value = field(name="_COMM", default=None)
    pid: _Value = field(name="_PID", default=None)
    said_pid: _Value = field(name="SYSLOG_PID", default=None)
    host: _Value = field(name="_HOSTNAME", default=None)


_decoder = msgspec.json.Decoder(_Entry)


def lines_of(entries: bytes, behind: str | None = None) -> tuple[bytes, str | None]:
    """The lines of whole entries, one a line, and the cursor of the last entry.

    The entry with the cursor `behind` was read before. One without a message gives no line. What is
    no entry (a remark of journalctl) is passed over.
    """
    read = list(_read(entries, behind))
    lines = [line for _, line in read if line is not None]
    return b"".join(lines), read[-1][0] if read else None


def cursors_of(entries: bytes, behind: str | None = None) -> list[str]:
    """The cursors of the entries that gave the lines of `lines_of`, a line each."""
    return [cursor for cursor, line in _read(entries, behind) if line is not None]


def _read(entries: bytes, behind: str | None) -> Iterator[tuple[str, bytes | None]]:
    """The cursor of each entry, and its line where it gives one."""
    for text in entries.split(b"\n"):
        if not text.startswith(b"{"):
            continue
        try:
            entry = _decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        line = _line(entry) if entry.cursor != behind else None
        yield entry.cursor, line if line is not None and len(line) <= LONGEST_LINE else None


def cursor_seconds(cursor: str) -> int | None:
    """When the entry of a cursor was written, in seconds since 1970, where the cursor tells it."""
    match = _SECONDS.search(cursor)
    if match is None:
        return None
    return int(match[1]) if match[1] else int(match[2], 16) // 1_000_000


def _line(entry: _Entry) -> bytes | None:
    message = _bytes(entry.message)
    if message is None:
        return None
    try:
        time = _EPOCH + timedelta(microseconds=int(entry.microseconds))
    except (ValueError, OverflowError):
        return None
    pid = _bytes(entry.pid) or _bytes(entry.said_pid) or b""
    return b"%b %b %b%b: %b\n" % (
        time.isoformat(timespec="microseconds").encode(),
        _name(entry.host) or b"localhost",
        _name(entry.identifier) or _name(entry.command) or b"unknown",
        b"[%b]" % pid if pid.isdigit() else b"",
        _CONTROL.sub(_octal, message),
    )


def _bytes(value: _Value) -> bytes | None:
    if isinstance(value, str):
        return value.encode()
    if not value:
        return None
    try:
        return bytes(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _name(value: _Value) -> bytes | None:
    text = _bytes(value)
    return _NO_NAME.sub(_octal, text) if text else None


def _octal(match: re.Match[bytes]) -> bytes:
    return b"#%03o" % match[0][0]

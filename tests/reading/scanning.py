"""What the tests of the reading stage share: bytes to events, at the time of the recorded logs."""

from __future__ import annotations

from datetime import UTC, datetime

from tracker.reading.events import EventReader
from tracker.reading.formats import find
from tracker.reading.joining import SessionJoin
from tracker.reading.timestamps import StampReader
from tracker.records import Event, Login

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FORGED = "203.0.113.66"
"""The address that attackers write into their names; it never connected."""


def reader(*formats: str) -> EventReader:
    """A reader of these formats, by default Dovecot's, on the evening of the recordings."""
    return EventReader(
        [find(name, None) for name in formats or ("dovecot",)], StampReader(NOW, UTC)
    )


def events(text: str | bytes, *formats: str) -> list[Event]:
    """The events of a text that ends with its last line's line feed."""
    block = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return reader(*formats).read(block)


def numbered(block: bytes, *formats: str) -> dict[int, Event]:
    """The events of a block by the number of their line, joined by session."""
    join = SessionJoin()
    return {
        block.count(b"\n", 0, start) + 1: join.join(event)
        for start, event in reader(*formats).placed(block)
    }


def logins(text: str | bytes) -> list[Event]:
    """The logins alone."""
    return [event for event in events(text) if isinstance(event, Login)]

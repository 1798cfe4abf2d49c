"""What the tests of the reading stage share: bytes to events, at the time of the recorded logs."""

from __future__ import annotations

from datetime import UTC, datetime

from tracker.reading.formats import packaged
from tracker.reading.joining import SessionJoin
from tracker.reading.scanner import Scanner
from tracker.reading.timestamps import StampReader
from tracker.records import Event, Login

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FORGED = "203.0.113.66"
"""The address that attackers write into their names; it never connected."""


def scanner() -> Scanner:
    """A scanner of Dovecot's format on the evening of the recordings."""
    return Scanner([packaged("dovecot")], StampReader(NOW, UTC))


def events(text: str | bytes) -> list[Event]:
    """The events of a text that ends with its last line's line feed."""
    block = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return scanner().scan(block).events


def numbered(block: bytes) -> dict[int, Event]:
    """The events of a block by the number of their line, joined by session."""
    join = SessionJoin()
    found = scanner().scan(block)
    return {
        block.count(b"\n", 0, start) + 1: join.join(event)
        for event, start in zip(found.events, found.starts, strict=True)
    }


def logins(text: str | bytes) -> list[Event]:
    """The logins alone."""
    return [event for event in events(text) if isinstance(event, Login)]

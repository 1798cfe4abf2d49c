"""Blocks of log lines to events: the scanner, and the correlator behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from tracker.reading.correlating import Correlator, Part
from tracker.reading.patterns import Format
from tracker.reading.scanner import Counted, Scanner
from tracker.reading.timestamps import StampReader
from tracker.records import Event


class EventReader:
    """Reads the blocks of a log one after the other."""

    def __init__(self, formats: Sequence[Format], stamps: StampReader, memory: bytes = b"") -> None:
        """`stamps`: its clock is set by the caller. `memory`: what `memory` gave before."""
        self._scanner = Scanner(formats, stamps)
        self._correlator = Correlator(memory)

    def read(self, block: bytes) -> list[Event]:
        """The events in `block`, in the order of its lines. A last line needs its \\n too."""
        return self.join(self._scanner.scan(block).items)

    def read_owned(self, block: bytes) -> tuple[list[Event], list[int]]:
        """The same, and for each event which of the lines that tell something it is of; nothing
        where each event has one of its own."""
        items = self._scanner.scan(block).items
        owners: list[int] = []
        return self.join(items, owners), owners

    def starts(self, block: bytes) -> list[int]:
        """Where in a block that was read the lines begin that tell something."""
        given_up = self._scanner.given_up
        starts = self._scanner.scan(block, placed=True).starts
        self._scanner.given_up = given_up
        return starts

    def count(self, block: bytes) -> Counted:
        """How many events and lines there are in `block`; the events of its parts are told by
        `join`. Remembers nothing."""
        return self._scanner.count(block)

    def join(self, items: Sequence[Event | Part], owners: list[int] | None = None) -> list[Event]:
        """The events in what the lines tell, in their order. `owners`: gets for each event the
        number of its item, where there are not as many of the one as of the other."""
        if not self._scanner.correlates or Part not in set(map(type, items)):
            return cast("list[Event]", items)
        events: list[Event] = []
        owned = [] if owners is None else owners
        for number, item in enumerate(items):
            of_item = self._correlator.join(item) if isinstance(item, Part) else (item,)
            events += of_item
            owned += [number] * len(of_item)
        return events

    def placed(self, block: bytes) -> Iterator[tuple[int, Event]]:
        """The same, each with the place in the block where its line begins."""
        items, starts = self._scanner.scan(block, placed=True)
        for start, item in zip(starts, items, strict=True):
            for event in self._correlator.join(item) if isinstance(item, Part) else (item,):
                yield start, event

    def forget(self) -> None:
        """Begin with another log: no earlier line matters."""
        self._correlator = Correlator()

    def memory(self) -> bytes | None:
        """What later lines need, where it changed since it was last asked for."""
        return self._correlator.saved() if self._correlator.changed else None

    def given_up(self) -> int:
        """How many lines since the last call would have taken too long to be understood."""
        count, self._scanner.given_up = self._scanner.given_up, 0
        return count

"""Blocks of log lines to events: the scanner, and the correlator behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import cast

from tracker.reading.correlating import Correlator, Part
from tracker.reading.patterns import Format
from tracker.reading.scanner import Scanner
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
        return self._joined(self._scanner.scan(block).items)

    def read_ahead(self, blocks: Iterable[bytes]) -> Iterator[tuple[bytes, list[Event]]]:
        """Each block with its events; while those are made, the next block is matched already, on
        another processor."""
        with ThreadPoolExecutor(1, "match") as ahead:
            before: tuple[bytes, Future[list[str]]] | None = None
            for block in blocks:
                matching = ahead.submit(self._scanner.match, block)
                if before:
                    yield before[0], self._joined(self._scanner.items(before[1].result()))
                before = block, matching
            if before:
                yield before[0], self._joined(self._scanner.items(before[1].result()))

    def _joined(self, items: list[Event | Part]) -> list[Event]:
        if not self._scanner.correlates:
            return cast("list[Event]", items)
        return [event for item in items for event in self._correlator.join(item)]

    def placed(self, block: bytes) -> Iterator[tuple[int, Event]]:
        """The same, each with the place in the block where its line begins."""
        items, starts = self._scanner.scan(block, placed=True)
        for start, item in zip(starts, items, strict=True):
            for event in self._correlator.join(item):
                yield start, event

    def memory(self) -> bytes | None:
        """What later lines need, where it changed since it was last asked for."""
        return self._correlator.saved() if self._correlator.changed else None

    def given_up(self) -> int:
        """How many lines since the last call would have taken too long to be understood."""
        count, self._scanner.given_up = self._scanner.given_up, 0
        return count

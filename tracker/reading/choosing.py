"""Which formats a log is written in, by evidence: how many of its lines each one understands; pure.

A format is tried alone. What counts as its line is a line with its tag (or its own head) and one of
its needles, the words of which every login has one. Such a line that gives no event was not
understood: then the log is customised, or of another version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from tracker.reading.events import EventReader
from tracker.reading.expression import heads
from tracker.reading.patterns import Format
from tracker.reading.pcre import Expression
from tracker.reading.timestamps import StampReader
from tracker.records import Login

_SHOWN = 3
_ENOUGH = 3
"""So many lines understood are evidence, and so is one login."""


class Trial:
    """One format, tried on a log block by block."""

    def __init__(self, one: Format, now: datetime) -> None:
        self.format = one
        self.lines = 0
        self.counts: dict[str, int] = dict.fromkeys(("login", "logout", "failed", "restart"), 0)
        self.not_understood = 0
        self.examples: list[str] = []
        self.places: set[int] = set()
        self.last_login: datetime | None = None
        self._reader = EventReader([one], StampReader(now))
        self._heads = Expression(heads(one))
        self._read = 0

    def read(self, block: bytes) -> None:
        """Count what the format makes of the lines of a block."""
        understood: set[str] = set()
        for start, event in self._reader.placed(block):
            self.places.add(self._read + start)
            self.counts[type(event).__name__.lower()] += 1
            if isinstance(event, Login):
                self.last_login = max(self.last_login or event.time, event.time)
            end = block.index(b"\n", start)
            understood.add(block[start:end].decode("latin-1"))
        self._read += len(block)
        _, text = self._heads.rewrite(block, b"$0\n")
        for line in text.split("\n")[:-1]:
            self.lines += 1
            if line in understood or not any(needle in line for needle in self.format.needles):
                continue
            self.not_understood += 1
            if len(self.examples) < _SHOWN:
                self.examples.append(line)

    def is_evidence(self) -> bool:
        """Whether so much was understood that it cannot be chance."""
        return self.counts["login"] > 0 or len(self.places) >= _ENOUGH


def choose(trials: Iterable[Trial]) -> list[Format]:
    """The formats that the log is written in, the one that understands most first.

    Of two that understand the same lines it is the one that understands more.
    """
    left = sorted(trials, key=lambda trial: -len(trial.places))
    chosen: list[Format] = []
    taken: set[int] = set()
    for trial in left:
        trial.places -= taken
        if trial.is_evidence() and trial.places:
            chosen.append(trial.format)
            taken |= trial.places
    return chosen


def by_evidence(sample: bytes, formats: Sequence[Format], now: datetime) -> list[Format]:
    """The formats that a sample of whole lines is written in; none when it tells nothing."""
    trials = [Trial(one, now) for one in formats]
    for trial in trials:
        trial.read(sample)
    return choose(trials)

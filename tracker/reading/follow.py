"""All sources of one configuration, followed: what is new in them, as events.

Files, the journal and standard input go side by side, each with a position of its own; one that has
much to catch up on does not hold up the others. One that is missing or cannot be read is waited
for, and said so once.
"""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from tracker.errors import ReadingError
from tracker.reading.events import EventReader
from tracker.reading.origins import Origins, Where
from tracker.reading.patterns import Format
from tracker.reading.sources.journal import JournalSource, absent_units, name
from tracker.reading.sources.matching import Matching
from tracker.reading.sources.stdin import NAME, Stdin, standard_input
from tracker.reading.timestamps import StampReader
from tracker.records import Event, Origin, Position
from tracker.settings import LogSettings

log = logging.getLogger("popgate")

_BLOCKS = 256
"""Blocks read in one go, 16 MiB at most: catching up saves and publishes as it goes."""

_EVENTS = 5000
"""About as many events at most, too: what comes of them takes longer than reading them."""

_TOLD_EVERY = timedelta(seconds=10)


class Positions(Protocol):
    """Where reading stood when it was last saved."""

    def positions(self, path: str) -> list[Position]:
        """In the files that a path named, the oldest first."""

    def cursor(self, journal: str) -> str | None:
        """In a journal."""

    def memory(self) -> bytes:
        """What was remembered of lines that others refer to."""


class Source(Protocol):
    """Where lines come from."""

    name: str

    def blocks(self) -> Iterator[bytes]:
        """Whole lines up to the end of what there is. An empty block: none at hand, yet more to
        come. May raise OSError and ReadingError."""

    def where(self) -> Where:
        """Tells the places of the lines of the block that was given out last."""

    def trouble(self) -> str | None:
        """What keeps it from being read to the end, or from being there at all."""

    def progress(self) -> tuple[int, int] | None:
        """Bytes read, of how many; None when that cannot be known."""

    def waits(self) -> list[int]:
        """Open files that become readable when there is more."""

    def close(self) -> None:
        """Let go of it."""


class LogReader:
    """The sources of the settings, each from where reading stopped."""

    def __init__(
        self,
        settings: LogSettings,
        formats: Sequence[Format],
        stopped: Positions,
        now: datetime,
        since: datetime,
    ) -> None:
        """`stopped` tells where reading stands. A log that was never read begins with its rotated
        files that were written to after `since`, a journal with its entries."""
        zone = ZoneInfo(settings.timezone) if settings.timezone else None
        self._stamps = StampReader(now, zone)
        self._events = EventReader(formats, self._stamps, stopped.memory())
        self._origins = Origins(self._events.starts)
        patterns = [str(path) for path in settings.files if str(path) != NAME]
        self._matching = Matching(patterns, stopped.positions, since.timestamp())
        self._journals: list[JournalSource] = []
        if settings.units:
            cursor = stopped.cursor(name(settings))
            self._journals.append(JournalSource(settings, cursor, since.timestamp()))
        self._input: list[Stdin] = []
        # What was read of it, and not saved, before the state was read anew.
        self._again: list[bytes] = []
        if any(str(path) == NAME for path in settings.files):
            self._input.append(standard_input())
            self._again = self._input[0].unsaved()
        self._left: dict[str, Iterator[bytes]] = {}
        self._trouble: dict[str, str] = {}
        self._told = now

    def read(self, now: datetime) -> tuple[list[Event], bool]:
        """The next events of all sources, and whether anything was read, be it without an event."""
        self._stamps.set_now(now)
        self._origins = Origins(self._events.starts)
        events: list[Event] = []
        for block in self._again:
            self._read(block, self._input[0], events)
        blocks, self._again = len(self._again), []
        sources = self._look()
        for source in sources:
            blocks += self._take(source, len(sources), events)
        self._tell(now)
        if given_up := self._events.given_up():
            log.warning("event=lines_left_out count=%d reason=%r", given_up, "too many steps")
        return events, blocks > 0

    def origin(self, number: int) -> Origin | None:
        """The line of the event of that number among those of the last `read`."""
        return self._origins.of(number)

    def more(self) -> bool:
        """Whether the last `read` stopped before the end of what there is."""
        return bool(self._left)

    def ended(self) -> bool:
        """Whether standard input is read, and was read to its end."""
        return any(source.ended for source in self._input)

    def positions(self) -> dict[str, list[Position]]:
        """For each log file, where reading stands behind the events that were given out."""
        return self._matching.positions()

    def cursors(self) -> dict[str, str]:
        """The same for the journal."""
        return {source.name: source.cursor() for source in self._journals}

    def memory(self) -> bytes | None:
        """What later lines need to be understood, where it changed."""
        return self._events.memory()

    def saved(self) -> None:
        """Positions, and what came of the lines before them, are saved."""
        self._matching.saved()
        for source in self._input:
            source.saved()

    def troubles(self) -> list[str]:
        """What keeps sources from being read, a line each."""
        return [f"{source}: {why}" for source, why in self._trouble.items()]

    def progress(self) -> dict[str, int | None]:
        """For each source that is behind, how much of it has been read, in percent."""
        return {
            source.name: _percent(source.progress())
            for source in self._sources()
            if source.name in self._left
        }

    def watched(self) -> list[str]:
        """The paths in whose folders something may change."""
        return self._matching.watched()

    def waits(self) -> list[int]:
        """Open files that become readable when there is more."""
        return [file for source in self._sources() for file in source.waits()]

    def close(self) -> None:
        """Let go of all sources."""
        for source in self._sources():
            source.close()

    def _sources(self) -> list[Source]:
        return [*self._input, *self._journals, *self._matching.sources()]

    def _take(self, source: Source, among: int, events: list[Event]) -> int:
        """Add the events of the share that one of so many sources has, and count its blocks. The
        next share goes on where this one ends."""
        blocks = self._left.pop(source.name, None) or self._blocks(source)
        taken, most = 0, len(events) + max(_EVENTS // among, 1)
        for block in blocks:
            if block:
                taken += 1
                self._read(block, source, events)
            if not block or taken * among >= _BLOCKS or len(events) >= most:
                self._left[source.name] = blocks
                break
        return taken

    def _read(self, block: bytes, source: Source, events: list[Event]) -> None:
        found, owners = self._events.read_owned(block)
        if found:
            self._origins.add(len(events), block, owners, source.name, source.where())
            events += found

    def _blocks(self, source: Source) -> Iterator[bytes]:
        try:
            yield from source.blocks()
            trouble = source.trouble()
        except OSError as error:
            trouble = f"cannot be read: {error.strerror}"
        except ReadingError as error:
            trouble = str(error)
        self._note(source.name, trouble)

    def _note(self, source: str, trouble: str | None) -> None:
        if trouble == self._trouble.get(source):
            return
        if trouble is None:
            log.info("event=reading file=%s", source)
            del self._trouble[source]
        else:
            log.warning("event=waiting file=%s reason=%r", source, trouble)
            self._trouble[source] = trouble

    def _look(self) -> list[Source]:
        """The sources of now: stars may match other files than before."""
        for pattern, wrong in self._matching.look().items():
            self._note(pattern, wrong)
        sources = self._sources()
        names = {*self._matching.patterns, *(source.name for source in sources)}
        for gone in (self._left.keys() | self._trouble.keys()) - names:
            self._left.pop(gone, None)
            self._trouble.pop(gone, None)
        return sources

    def _tell(self, now: datetime) -> None:
        """Say now and then how far catching up is."""
        if not self._left:
            self._told = now
        elif now - self._told >= _TOLD_EVERY:
            self._told = now
            for source, percent in self.progress().items():
                done = "unknown" if percent is None else percent
                log.info("event=catching_up file=%s percent=%s", source, done)


def _percent(progress: tuple[int, int] | None) -> int | None:
    if progress is None or not progress[1]:
        return None
    return min(100 * progress[0] // progress[1], 100)


def absent(settings: LogSettings) -> Iterator[str]:
    """What the settings name and is not there, a line each."""
    patterns = [str(path) for path in settings.files if str(path) != NAME]
    for path, wrong in Matching(patterns, lambda _: [], 0).look().items():
        if wrong:
            yield f"{path}: {wrong}"
    for path in patterns:
        if not glob.has_magic(path) and not os.path.exists(path):
            yield f"{path}: does not exist yet: it is waited for"
    if settings.units:
        yield from absent_units(settings)

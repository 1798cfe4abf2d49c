"""All logs of one configuration, followed: what is new in them, as events.

A log that is missing or cannot be read is waited for, and said so once; the others go on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

from tracker.errors import ReadingError
from tracker.reading.events import EventReader
from tracker.reading.selecting import select
from tracker.reading.sources.files import FileSource
from tracker.reading.timestamps import StampReader
from tracker.records import Event, Position
from tracker.settings import LogSettings

log = logging.getLogger("popgate")

_BLOCKS = 256
"""Blocks read in one go, 16 MiB at most: catching up saves and publishes as it goes."""


class LogReader:
    """The log files of the settings, each from where reading stopped."""

    def __init__(
        self,
        settings: LogSettings,
        positions: Callable[[str], list[Position]],
        now: datetime,
        since: datetime,
    ) -> None:
        """`positions` tells where reading stands in a path's files. A log that was never read
        begins with its rotated files that were written to after `since`. Raises FormatError."""
        zone = ZoneInfo(settings.timezone) if settings.timezone else None
        self._stamps = StampReader(now, zone)
        self._events = EventReader(select(settings, now), self._stamps)
        self._sources = [
            FileSource(path, positions(str(path)), since.timestamp()) for path in settings.files
        ]
        self._left: list[Iterator[bytes]] = []
        self._trouble: dict[str, str] = {}

    def read(self, now: datetime) -> tuple[list[Event], bool]:
        """The next events of all logs, and whether anything was read, be it without an event."""
        self._stamps.set_now(now)
        if not self._left:
            self._left = [self._blocks(source) for source in self._sources]
        events: list[Event] = []
        blocks = 0
        while self._left and blocks < _BLOCKS:
            for block in islice(self._left[0], _BLOCKS - blocks):
                blocks += 1
                events += self._events.read(block)
            if blocks < _BLOCKS:
                self._left.pop(0)
        return events, blocks > 0

    def more(self) -> bool:
        """Whether the last `read` stopped before the end of what there is."""
        return bool(self._left)

    def positions(self) -> dict[str, list[Position]]:
        """For each log, where reading stands behind the events that were given out."""
        return {source.path: source.positions() for source in self._sources}

    def troubles(self) -> list[str]:
        """What keeps logs from being read, a line each."""
        return [f"{path}: {why}" for path, why in self._trouble.items()]

    def close(self) -> None:
        """Let go of all files."""
        for source in self._sources:
            source.close()

    def _blocks(self, source: FileSource) -> Iterator[bytes]:
        trouble = None
        try:
            yield from source.blocks()
            if not os.path.exists(source.path):
                trouble = "does not exist yet"
        except OSError as error:
            trouble = f"cannot be read: {error.strerror}"
        except ReadingError as error:
            trouble = str(error)
        if trouble == self._trouble.get(source.path):
            return
        if trouble is None:
            log.info("event=reading file=%s", source.path)
            del self._trouble[source.path]
        else:
            log.warning("event=waiting file=%s reason=%r", source.path, trouble)
            self._trouble[source.path] = trouble

"""The log files that the settings name, with stars or without, each followed by a `FileSource`.

A pattern is looked up at each reading: files that come to match are taken up, those that are gone
are let go of. A rotated neighbour of a file that matches may match too (`/var/log/mail/*`); it is
read with that file, and not followed for itself.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import structs

from tracker.reading.sources.files import QUIET, FileSource
from tracker.reading.sources.rotated import origin
from tracker.records import Position

_CLOCKS = 1.0
"""Seconds by which the time of a file may lie behind the clock."""

MOST = 256
"""Files that one pattern may match: each is kept open."""


class Matching:
    """All followed files, by path."""

    def __init__(
        self, patterns: Iterable[str], stopped: Callable[[str], list[Position]], since: float
    ) -> None:
        """`stopped`: where reading stands in the files of a path. `since`: as FileSource has it."""
        self.patterns = list(patterns)
        self._stopped = stopped
        self._since = since
        self._stars = [pattern for pattern in self.patterns if glob.has_magic(pattern)]
        self._files: dict[str, FileSource] = {}
        self._missing: dict[str, float] = {}
        self._let_go: set[str] = set()
        # Files that came to match by being renamed, and how far they were read under the name they
        # had: that is saved for the new name, so that no restart begins with them anew.
        self._renamed: dict[str, Position] = {}
        for path in self.patterns:
            if path not in self._stars and path not in self._files:
                self._files[path] = FileSource(Path(path), stopped(path), since)

    def look(self) -> dict[str, str | None]:
        """Take up what matches now and let go of what is gone; for each pattern what is wrong."""
        began = time.time()
        wrong: dict[str, str | None] = {}
        found: set[str] = set()
        for pattern in self._stars:
            paths = self._matches(pattern)
            wrong[pattern] = None if paths else "nothing matches yet"
            if len(paths) > MOST:
                wrong[pattern] = f"matches {len(paths)} files: only {MOST} are followed"
            found.update(paths[:MOST])
        for path in sorted(found - self._files.keys()):
            self._take_up(path)
        for path in self._renamed.keys() - found:
            del self._renamed[path]
            self._let_go.add(path)
        for path in [one for one in self._files if one not in self.patterns]:
            self._see_whether_gone(path, there=path in found)
        self._since = max(self._since, began - _CLOCKS) if self._stars else self._since
        return wrong

    def sources(self) -> list[FileSource]:
        """All that are followed now."""
        return list(self._files.values())

    def positions(self) -> dict[str, list[Position]]:
        """For each path where reading stands; nowhere any more in those that were let go of."""
        gone: dict[str, list[Position]] = {path: [] for path in self._let_go}
        renamed = {path: [position] for path, position in self._renamed.items()}
        return gone | renamed | {path: one.positions() for path, one in self._files.items()}

    def saved(self) -> None:
        """The positions were saved."""
        self._let_go.clear()

    def watched(self) -> list[str]:
        """Paths and patterns in whose folders something may change."""
        return [*self.patterns, *self._files]

    def _matches(self, pattern: str) -> list[str]:
        name = os.path.basename(pattern)
        paths = []
        for path in sorted(glob.glob(pattern)):
            log = origin(os.path.basename(path))
            own = os.path.join(os.path.dirname(path), log) if log else ""
            neighbour = log is not None and (fnmatch.fnmatchcase(log, name) or own in self.patterns)
            if not neighbour and os.path.isfile(path):
                paths.append(path)
        return paths

    def _take_up(self, path: str) -> None:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return
        inode = status.st_dev, status.st_ino
        for source in self._files.values():
            if position := source.position_in(inode):
                self._renamed[path] = structs.replace(position, path=path)
        known = self._renamed.get(path)
        if known is None or (known.device, known.inode) != inode:
            self._renamed.pop(path, None)
            self._files[path] = FileSource(Path(path), self._stopped(path), self._since)

    def _see_whether_gone(self, path: str, *, there: bool) -> None:
        """Let go of a file that has been missing for longer than any rotation takes."""
        if there:
            self._missing.pop(path, None)
        elif time.monotonic() - self._missing.setdefault(path, time.monotonic()) >= QUIET:
            del self._missing[path]
            self._files.pop(path).close()
            self._let_go.add(path)

"""The rotated files of a log and the live one, as they were named at one moment.

A rotation renames many files one after another. So whoever opens files by name compares the listing
with a new one afterwards: when they differ, what was opened may not be what was meant.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from tracker.reading.sources.opened import HEAD, fingerprint
from tracker.reading.sources.rotated import head, neighbours, packed
from tracker.records import Position


class Listing:
    """Paths, the oldest file first and the live one last. Places are indexes into `paths`."""

    def __init__(self, path: str) -> None:
        self.paths = [*neighbours(path), path]
        self._status = [_status(one) for one in self.paths]
        self._heads: dict[int, bytes] = {}

    def __eq__(self, other: object) -> bool:
        """Whether the same files have the same names."""
        return (
            isinstance(other, Listing)
            and self.paths == other.paths
            and self._inodes() == other._inodes()
        )

    __hash__ = None  # type: ignore[assignment]

    def place(self, inode: tuple[int, int]) -> int | None:
        """Where the file with that (device, inode) is; None when it has no such name."""
        inodes = self._inodes()
        return inodes.index(inode) if inode in inodes else None

    def find(self, position: Position, among: Iterable[int] | None = None) -> int | None:
        """Which of the files is the one of that position: the same inode, or else a copy of it.

        The device is left out of the comparison: its number may change when the host boots.
        """
        places = list(range(len(self.paths)) if among is None else among)
        same = [n for n in places if (one := self._status[n]) and one.st_ino == position.inode]
        copies = [n for n in places if n not in same] if position.fingerprint_length else []
        for place in [*same, *copies]:
            path = self.paths[place]
            # Its size of now: a copy may have been made since, and the live file begun anew.
            now = _status(path)
            if now is None or (not packed(path) and now.st_size < position.offset):
                continue
            first = self.head(place)[: position.fingerprint_length]
            if fingerprint(first) == position.fingerprint:
                return place
        return None

    def head(self, place: int) -> bytes:
        """The first bytes of the file; empty when it cannot be read."""
        if place not in self._heads:
            self._heads[place] = head(self.paths[place], HEAD)
        return self._heads[place]

    def written(self, place: int) -> float:
        """When the file was last written to, in seconds since 1970."""
        status = self._status[place]
        return status.st_mtime if status else 0.0

    def _inodes(self) -> list[tuple[int, int] | None]:
        return [(one.st_dev, one.st_ino) if one else None for one in self._status]


def _status(path: str) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return os.stat(path)
    return None

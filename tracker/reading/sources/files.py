"""A log file that grows and is rotated, as blocks of whole lines with positions to go on from.

It survives rename and create, copytruncate, delete, late creation, a link that is pointed
elsewhere, and a writer that goes on in the renamed file for a while. A position is (inode, offset,
hash of the first bytes). After any pause reading goes on where it stopped, if need be in a rotated
neighbour, and through all that came after it.

Only whole lines count (`opened.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path

from tracker.errors import ReadingError
from tracker.reading.sources.listing import Listing
from tracker.reading.sources.opened import HEAD, Opened
from tracker.reading.sources.rotated import packed
from tracker.records import Position

QUIET = 60.0
"""Seconds without growth after which a renamed file is let go of, once its successor has grown."""

_TRIES = 20

MOST = 32
"""Files of one log that are kept open; what has so many successors has no writer any more."""


class FileSource:
    """The log that a path names, through all rotations.

    `blocks()` reads to the end of what there is, and may be asked again and again. A missing file
    is waited for; any other OSError (no permission, a failing disk) goes to the caller. A rotated
    neighbour that must not be read, or is no file, is passed over: it must not stop the live log.
    """

    def __init__(self, path: Path, positions: list[Position], since: float) -> None:
        """`positions`: where reading stopped, the oldest file first. Without any, reading begins
        with the rotated files that were written to after `since` (seconds since 1970)."""
        self.path = self.name = str(path)
        # The oldest first, and none left out between the first and the last.
        self._files: list[Opened] = []
        self._resume = positions
        # What was written before, in neighbours older than all of _files, was read or is not meant.
        self._since = since
        self._started = False
        self._last = ((0, 0), 0)

    def where(self) -> Callable[[int], str]:
        """Tells device, inode and offset of the lines of the block that was given out last."""
        (device, inode), begin = self._last
        return lambda start: f"{device}/{inode}/{begin + start}"

    def positions(self) -> list[Position]:
        """Where reading stands now, behind the last block; the oldest file first."""
        if not self._files:
            return self._resume
        return [one.position(self.path) for one in self._files]

    def trouble(self) -> str | None:
        """What keeps the log from being there."""
        return None if os.path.exists(self.path) else "does not exist yet"

    def progress(self) -> tuple[int, int] | None:
        """Bytes that were read of the files that are open, and their size."""
        done = [one.bytes.progress(one.offset) for one in self._files]
        return sum(read for read, _ in done), sum(size for _, size in done)

    def waits(self) -> list[int]:
        """None: whether a file has grown is told by `Watch`."""
        return []

    def position_in(self, inode: tuple[int, int]) -> Position | None:
        """Where reading stands in the file with that (device, inode), if it is open here."""
        found = [one for one in self._files if one.bytes.inode == inode]
        return found[0].position(self.path) if found else None

    def close(self) -> None:
        """Let go of all files."""
        for one in self._files:
            one.bytes.close()
        self._files.clear()

    def blocks(self) -> Iterator[bytes]:
        """All whole lines that are there, oldest first."""
        if not self._started:
            self._start()
        if not self._started:
            return
        for one in list(self._files):
            yield from self._drain(one)
        for one in self._follow():
            yield from self._drain(one)
        self._let_go()

    def _start(self) -> None:
        """Take up the files of the saved positions, and all that came after the first of them."""
        since = self._since

        def find(present: Listing) -> list[Opened]:
            nonlocal since
            known: dict[int, Position] = {}
            for position in self._resume:
                # In a file of which nothing was read there is nothing to go on from.
                if position.offset and (place := present.find(position)) is not None:
                    known[place] = position
            live = len(present.paths) - 1
            if known:
                first = min(known)
                since = max([self._since, *map(present.written, range(first))])
                wanted = list(range(first, live + 1))
            else:
                # The first start, or every file that was being read is gone.
                since = self._since
                wanted = [n for n in range(live) if present.written(n) >= since] + [live]
            return self._opened(present, wanted, known)

        self._files = self._settled(find) or []
        self._since = since
        self._started = bool(self._files)

    def _settled(self, find: Callable[[Listing], list[Opened]]) -> list[Opened] | None:
        """What `find` opens by name, done again when a rotation renamed files meanwhile.

        None when that went on and on: then all is found at the next look.
        """
        for _ in range(_TRIES):
            listing = Listing(self.path)
            found: list[Opened] = []
            with suppress(FileNotFoundError):
                found = find(listing)
                if Listing(self.path) == listing:
                    return found
            for one in found:
                one.bytes.close()
        return None

    def _opened(
        self, present: Listing, places: list[int], known: Mapping[int, Position] | None = None
    ) -> list[Opened]:
        """Open files that are not open yet, the oldest first.

        Those without a position were never read; one of them that begins as the live file does is
        a copy of it that is still being made. So is an empty one beside a live file of which was
        read: no other can have come since. Raises FileNotFoundError for one that was renamed.
        """
        known = known or {}
        live = len(present.paths) - 1
        inodes = set(self._inodes())
        opened: list[Opened] = []
        try:
            for place in places:
                neighbour = place != live and place not in known
                empty = neighbour and not present.head(place)
                if (empty and live in known) or (
                    neighbour and _alike(present.head(place), present.head(live))
                ):
                    continue
                if (one := self._open(present.paths[place], known.get(place))) is None:
                    continue
                if one.bytes.inode in inodes:
                    one.bytes.close()
                    continue
                inodes.add(one.bytes.inode)
                opened.append(one)
        except BaseException:
            for one in opened:
                one.bytes.close()
            raise
        return opened

    def _open(self, path: str, position: Position | None) -> Opened | None:
        """One file; None for a live one that is not there yet, and for a neighbour that is not ours
        to read."""
        try:
            return Opened(path, position)
        except FileNotFoundError:
            if path == self.path and position is None:
                return None
            raise
        except (PermissionError, ReadingError):
            if path == self.path:
                raise
            return None

    def _inodes(self) -> list[tuple[int, int]]:
        return [one.bytes.inode for one in self._files]

    def _drain(self, one: Opened) -> Iterator[bytes]:
        if not one.offset and one is self._files[-1]:
            copies = self._settled(partial(self._missed_copies, one))
            if copies is None:
                return
            yield from self._read_copies(one, copies)
        while True:
            while (block := one.block()) is not None:
                self._last = (one.bytes.inode, one.offset - len(block))
                yield block
            if one.same():
                return
            copies = self._settled(partial(self._saved_copy, one))
            if copies is None:
                return
            one.restart()
            yield from self._read_copies(one, copies)
            copies = self._settled(partial(self._missed_copies, one))
            if copies is None:
                return
            yield from self._read_copies(one, copies)

    def _read_copies(self, one: Opened, copies: list[Opened]) -> Iterator[bytes]:
        """What copytruncate copied away from `one` before it was read there.

        The copies are kept before it: that they were read must be known as long as nothing was
        read of what `one` holds now.
        """
        place = self._files.index(one)
        self._files[place:place] = copies
        if copies and not copies[0].offset:
            copies[0].skipping = one.skipping
        for copy, after in pairwise([*copies, one]):
            yield from self._drain(copy)
            # The rest of a line that was cut in two must not be taken for a line.
            after.skipping = copy.ends_inside_a_line()

    def _saved_copy(self, one: Opened, present: Listing) -> list[Opened]:
        """The copy that has what stood in a truncated file when it was last read."""
        position = one.position(self.path)
        mine = [present.place(inode) for inode in self._inodes()]
        others = [place for place in range(len(present.paths) - 1) if place not in mine]
        place = present.find(position, others) if position.offset else None
        return [] if place is None else [Opened(present.paths[place], position)]

    def _missed_copies(self, one: Opened, present: Listing) -> list[Opened]:
        """Copies of which nothing was read, since they were made between two looks at the file."""
        now = one.bytes.read(HEAD, 0)
        older = range(self._place(one, now, present) or 0)
        index = self._files.index(one)
        before = self._files[index - 1] if index else None
        found = present.find(before.position(self.path), older) if before else None
        if found is not None:
            older = older[found + 1 :]
            copies = list(older)
        else:
            last = before.bytes.status().st_mtime if before else self._since
            copies = [place for place in older if present.written(place) > last]
        # An empty one, or one that begins as the file does, is still being made.
        heads = [(place, present.head(place)) for place in copies]
        return self._opened(present, [n for n, first in heads if first and not _alike(first, now)])

    def _place(self, one: Opened, now: bytes, present: Listing) -> int | None:
        """Where `one` is, which begins with `now`: older ones come before it.

        None when it is not found under any name: what is between is found by what follows it.
        """
        for place, path in enumerate(present.paths):
            if packed(path) and now and present.head(place)[: len(now)] == now:
                return place
        return present.place(one.bytes.inode)

    def _follow(self) -> list[Opened]:
        """Take up the file that the path names now, and those between it and the last one read."""
        inode = _inode(self.path)
        if inode is None or inode in self._inodes():
            return []
        new = self._settled(self._followers) or []
        self._files += new
        return new

    def _followers(self, present: Listing) -> list[Opened]:
        live = len(present.paths) - 1
        known = None
        for one in reversed(self._files):  # the newest that still has a name
            known = present.place(one.bytes.inode)
            if known is None:  # packed meanwhile
                known = present.find(one.position(self.path), range(live))
            if known is not None:
                break
        if known is not None:
            between = list(range(known + 1, live))
        else:
            # The last one read is gone with its name; what was written later cannot be known.
            last = max((one.bytes.status().st_mtime for one in self._files), default=self._since)
            between = [place for place in range(live) if present.written(place) > last]
        return self._opened(present, [*between, live])

    def _let_go(self) -> None:
        """Close renamed files that nobody writes to any more, once their successor has grown.

        The oldest first: what lies between two that are read counts as never read at a restart.
        Empty ones may go at any time: to read them again does no harm.
        """
        for one in self._files[:-1]:
            status = one.bytes.status()
            quiet = one.bytes.compressed or time.monotonic() - one.grew >= QUIET
            if not quiet and len(self._files) <= MOST:
                continue
            if one is self._files[0] and self._files[-1].offset:
                self._since = max(self._since, status.st_mtime)
            elif one.offset or status.st_size:
                continue
            one.bytes.close()
            self._files.remove(one)


def _inode(path: str) -> tuple[int, int] | None:
    """The file's (device, inode); None when it is missing."""
    with suppress(FileNotFoundError):
        status = os.stat(path)
        return status.st_dev, status.st_ino
    return None


def _alike(first: bytes, other: bytes) -> bool:
    """Whether two files begin alike, as far as both go."""
    length = min(len(first), len(other))
    return length > 0 and first[:length] == other[:length]

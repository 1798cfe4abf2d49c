"""A log file that grows and is rotated, as blocks of whole lines with positions to go on from.

It survives rename and create, copytruncate, delete, late creation, a link that is pointed
elsewhere, and a writer that goes on in the renamed file for a while. A position is (inode, offset,
hash of the first bytes). After any pause reading goes on where it stopped, if need be in a rotated
neighbour, and through all that came after it.

Only whole lines count: what has no \\n yet is read again next time. A line of more than 64 KiB is
skipped unread, and the position says so: its rest is never taken for a line of its own.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tracker.reading.scanner import LONGEST_LINE
from tracker.reading.sources.rotated import Bytes, head, neighbours
from tracker.records import Position

CHUNK = 64 * 1024
"""Bytes read at a time: what fits the processor's cache is scanned fastest."""

QUIET = 60.0
"""Seconds without growth after which a renamed file is let go of, once its successor has grown."""

_HEAD = 1024


class _Reading:
    """One open file and the place up to which its lines were handed out."""

    def __init__(self, path: str, position: Position | None = None) -> None:
        """Raises OSError. What does not begin as the `position` says is read from its beginning."""
        self.bytes = Bytes(path)
        self.offset = position.offset if position else 0
        self.skipping = position.skipping if position else False
        self.head = self.bytes.read(position.fingerprint_length, 0) if position else b""
        self.grew = time.monotonic()
        if position and _fingerprint(self.head) != position.fingerprint:
            self.restart()

    def position(self, name: str) -> Position:
        print_ = _fingerprint(self.head)
        return Position(name, *self.bytes.inode, self.offset, len(self.head), print_, self.skipping)

    def same(self) -> bool:
        """Whether the file is no shorter than what was read, and begins as it began."""
        if self.bytes.compressed:
            return True
        size = self.bytes.status().st_size
        return size >= self.offset and self.bytes.read(len(self.head), 0) == self.head

    def restart(self) -> None:
        """Begin anew with a file that was truncated."""
        self.offset, self.skipping, self.head = 0, False, b""

    def block(self) -> bytes | None:
        """The next whole lines; None at the end, or when the file was begun anew meanwhile."""
        while True:
            chunk = self.bytes.read(CHUNK, self.offset)
            if not chunk or not self.same():
                return None
            if self.skipping:
                end = chunk.find(b"\n") + 1
                self._advance(chunk[: end or len(chunk)], skipping=not end)
                continue
            end = chunk.rfind(b"\n") + 1
            if end:
                lines = chunk[:end]
                self._advance(lines, skipping=False)
                return lines
            if len(chunk) < LONGEST_LINE:
                return None  # a line that is still being written
            self._advance(chunk, skipping=True)

    def _advance(self, read: bytes, *, skipping: bool) -> None:
        if len(self.head) < _HEAD and len(self.head) == self.offset:
            self.head += read[: _HEAD - self.offset]
        self.offset += len(read)
        self.skipping = skipping
        self.grew = time.monotonic()


class FileSource:
    """The log that a path names, through all rotations.

    `blocks()` reads to the end of what there is, and may be asked again and again. A missing file
    is waited for; any other OSError (no permission, a failing disk) goes to the caller.
    """

    def __init__(self, path: Path, positions: list[Position], since: float) -> None:
        """`positions`: where reading stopped, the oldest file first. Without any, reading begins
        with the rotated files that were written to after `since` (seconds since 1970)."""
        self.path = str(path)
        self._files: list[_Reading] = []
        self._resume = positions
        self._since = since
        self._started = False

    def positions(self) -> list[Position]:
        """Where reading stands now, behind the last block; the oldest file first."""
        if not self._files:
            return self._resume
        return [one.position(self.path) for one in self._files]

    def close(self) -> None:
        """Let go of all files."""
        for one in self._files:
            one.bytes.close()
        self._files.clear()

    def blocks(self) -> Iterator[bytes]:
        """All whole lines that are there, oldest first."""
        if not self._started:
            yield from self._start()
        else:
            for one in list(self._files):
                yield from self._drain(one)
            yield from self._follow()
        self._let_go()

    def _start(self) -> Iterator[bytes]:
        """Take up the files of the saved positions, then all that came after them."""
        present = [*neighbours(self.path), self.path]
        after = None
        for position in self._resume:
            place = _find(position, present)
            if place is not None:
                self._files.append(_Reading(present[place], position))
                after = present[place + 1 :]
        if after is None:
            # The first start, or every file that was being read is gone.
            after = [path for path in present if _written(path) >= self._since]
        self._started = True
        for one in list(self._files):
            yield from self._drain(one)
        yield from self._read(after)

    def _read(self, paths: list[str]) -> Iterator[bytes]:
        """Read files that were never read, from their beginning, the oldest first."""
        for path in paths:
            try:
                one = _Reading(path)
            except FileNotFoundError:
                continue  # not there yet, or renamed at this moment: it is found at the next look
            if one.bytes.inode in self._inodes():
                one.bytes.close()
                continue
            self._files.append(one)
            yield from self._drain(one)

    def _inodes(self) -> list[tuple[int, int]]:
        return [one.bytes.inode for one in self._files]

    def _drain(self, one: _Reading) -> Iterator[bytes]:
        while True:
            while (block := one.block()) is not None:
                yield block
            if one.same():
                return
            yield from self._rescue(one)
            one.restart()

    def _rescue(self, one: _Reading) -> Iterator[bytes]:
        """What a copytruncate copied away before it was read here."""
        position = one.position(self.path)
        others = [path for path in neighbours(self.path) if _inode(path) != one.bytes.inode]
        place = _find(position, others)
        if place is None or not position.offset:
            return
        copy = _Reading(others[place], position)
        try:
            while (block := copy.block()) is not None:
                yield block
        finally:
            copy.bytes.close()

    def _follow(self) -> Iterator[bytes]:
        """Take up the file that the path names now, and those between it and the last one read."""
        inode = _inode(self.path)
        if inode is None or inode in self._inodes():
            return
        present = neighbours(self.path)
        places = [_find(one.position(self.path), present) for one in self._files]
        known = [place for place in places if place is not None]
        if known:
            between = present[max(known) + 1 :]
        else:
            # The last one read is gone with its name; what was written later cannot be known.
            last = max((one.bytes.status().st_mtime for one in self._files), default=self._since)
            between = [path for path in present if _written(path) > last]
        yield from self._read([*between, self.path])

    def _let_go(self) -> None:
        """Close renamed files that nobody writes to any more."""
        now = time.monotonic()
        for one in self._files[:-1]:
            written = max(now - one.grew, 0) < QUIET and not one.bytes.compressed
            if self._files[-1].offset and not written:
                self._files.remove(one)
                one.bytes.close()


def _find(position: Position, paths: list[str]) -> int | None:
    """Which of the files is the one of that position: the same inode, or else a copy of it."""
    by_inode = sorted(range(len(paths)), key=lambda n: _inode(paths[n], position) is None)
    for place in by_inode:
        path = paths[place]
        same_inode = _inode(path, position) is not None
        if not position.fingerprint_length and not same_inode:
            continue
        if not path.endswith(".gz") and _size(path) < position.offset:
            continue
        if _fingerprint(head(path, position.fingerprint_length)) == position.fingerprint:
            return place
    return None


def _inode(path: str, position: Position | None = None) -> tuple[int, int] | None:
    """The file's (device, inode); None when it is missing, or is not the one of `position`.

    The device is left out of the comparison: its number may change when the host boots.
    """
    with suppress(FileNotFoundError):
        status = os.stat(path)
        if position is None or status.st_ino == position.inode:
            return status.st_dev, status.st_ino
    return None


def _size(path: str) -> int:
    with suppress(FileNotFoundError):
        return os.stat(path).st_size
    return -1


def _written(path: str) -> float:
    """When the file was last written to, in seconds since 1970."""
    with suppress(FileNotFoundError):
        return os.stat(path).st_mtime
    return 0.0


def _fingerprint(first: bytes) -> bytes:
    return hashlib.blake2b(first, digest_size=16).digest()

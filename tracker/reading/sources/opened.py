"""One open log file, and the place in it up to which its lines were handed out.

Only whole lines count: what has no \\n yet is read again next time. A line of more than 64 KiB is
skipped unread, and the position says so: its rest is never taken for a line of its own.
"""

from __future__ import annotations

import hashlib
import time
from errno import ENOENT

from tracker.reading.scanner import LONGEST_LINE
from tracker.reading.sources.rotated import Bytes
from tracker.records import Position

CHUNK = 64 * 1024
"""Bytes read at a time: what fits the processor's cache is scanned fastest."""

HEAD = 1024
"""Bytes at its beginning by which a file is known again."""


class Opened:
    """One open file and the place up to which its lines were handed out."""

    def __init__(self, path: str, position: Position | None = None) -> None:
        """Raises OSError; FileNotFoundError too when it does not begin as the `position` says."""
        self.bytes = Bytes(path)
        self.offset = position.offset if position else 0
        self.skipping = position.skipping if position else False
        self.head = self.bytes.read(position.fingerprint_length, 0) if position else b""
        self.grew = time.monotonic()
        if position and fingerprint(self.head) != position.fingerprint:
            self.bytes.close()
            raise FileNotFoundError(ENOENT, "renamed at this moment", path)

    def position(self, name: str) -> Position:
        print_ = fingerprint(self.head)
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

    def ends_inside_a_line(self) -> bool:
        """Whether something is left behind the last whole line."""
        return self.skipping or self.bytes.read(1, self.offset) != b""

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
        if len(self.head) < HEAD and len(self.head) == self.offset:
            self.head += read[: HEAD - self.offset]
        self.offset += len(read)
        self.skipping = skipping
        self.grew = time.monotonic()


def fingerprint(first: bytes) -> bytes:
    """What stands for the first bytes of a file in a position."""
    return hashlib.blake2b(first, digest_size=16).digest()

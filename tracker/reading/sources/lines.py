"""Whole lines out of a pipe, which comes in pieces and has no place to go back to.

A line that is longer than the longest allowed is dropped as a whole, so memory is bounded and its
rest is never taken for a line of its own.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

CHUNK = 64 * 1024


class Lines:
    """Puts pieces together; between two of them it holds the beginning of one line."""

    def __init__(self, longest: int) -> None:
        """`longest`: bytes of a line beyond which it is dropped."""
        self._longest = longest
        self._rest = b""
        self._skipping = False

    def whole(self, piece: bytes) -> bytes:
        """The lines that are whole with this piece, each ended by its line feed."""
        if self._skipping:
            end = piece.find(b"\n") + 1
            if not end:
                return b""
            piece, self._skipping = piece[end:], False
        text = self._rest + piece
        end = text.rfind(b"\n") + 1
        self._rest = text[end:]
        if len(self._rest) > self._longest:
            self._rest, self._skipping = b"", True
        return text[:end]


def pieces(file: int, patience: float = 0.0) -> Iterator[bytes]:
    """What is at hand in a pipe, without making it non-blocking: others may hold its other copies.

    Ends when nothing came for `patience` seconds. The last piece is empty where the writer has
    gone.
    """
    waits = select.poll()
    waits.register(file, select.POLLIN)
    while waits.poll(patience * 1000):
        piece = os.read(file, CHUNK)
        yield piece
        if not piece:
            return

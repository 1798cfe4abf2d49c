"""Log files read once from their first line to their last, in blocks: for offline commands."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Protocol, cast

from tracker.errors import ReadingError
from tracker.reading.scanner import LONGEST_LINE
from tracker.reading.sources.opened import CHUNK


class Readable(Protocol):
    """What bytes can be read from, up to so many at a time; none at its end."""

    def read(self, length: int, /) -> bytes | None:
        """The next bytes."""


class Range:
    """A part of an open file, without a place that others would move."""

    def __init__(self, file: int, begin: int, end: int) -> None:
        self._file, self._at, self._end = file, begin, end

    def read(self, length: int, /) -> bytes:
        """The next bytes of the part."""
        data = os.pread(self._file, min(length, self._end - self._at), self._at)
        self._at += len(data)
        return data


def opened(file: str, stack: ExitStack) -> tuple[IO[bytes], int]:
    """The bytes of a file (`-`: standard input, `.gz`: unpacked), and how many it has on disk, 0
    where nobody knows. Raises OSError."""
    if file == "-":
        return sys.stdin.buffer, 0
    raw = open(file, "rb", buffering=0)  # noqa: SIM115 (the stack closes it)
    stack.callback(raw.close)
    size = os.fstat(raw.fileno()).st_size
    if file.endswith(".gz"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw)), size
    return raw, size


def blocks(source: Readable) -> Iterator[bytes]:
    """Whole lines, some 64 KiB at a time; a last line without its end counts too."""
    rest = b""
    skipping = False
    read = getattr(source, "read1", source.read)  # what a pipe has now, not what it will have
    while chunk := read(CHUNK):
        if skipping:
            end = chunk.find(b"\n")
            if end < 0:
                continue
            # The over-long line counts as one line, without its text.
            chunk, skipping = chunk[end:], False
        end = chunk.rfind(b"\n") + 1
        if end:
            yield b"".join((rest, memoryview(chunk)[:end]))  # each byte copied once
            rest = b""
        rest += chunk[end:]
        if len(rest) > LONGEST_LINE:
            rest, skipping = b"", True
    if rest:
        yield rest + b"\n"


def blocks_of(file: str) -> Iterator[bytes]:
    """The lines of a file, in blocks. Raises ReadingError."""
    try:
        with ExitStack() as stack:
            yield from blocks(opened(file, stack)[0])
    except (OSError, EOFError) as error:
        raise unreadable(file, error) from error


def unreadable(file: str, error: Exception) -> ReadingError:
    """The error for a file that cannot be read, or not unpacked."""
    reason = getattr(error, "strerror", None) or str(error)
    return ReadingError(f"{file}: cannot be read: {reason}")


def parts(file: int, size: int, length: int) -> Iterator[Range]:
    """A file of that size in parts of whole lines, some `length` bytes each."""
    begin = 0
    while begin < size:
        end = min(begin + length, size)
        while end < size:
            found = os.pread(file, CHUNK, end - 1).find(b"\n")
            if found >= 0:
                end = min(end + found, size)
                break
            end += CHUNK
        end = min(end, size)
        yield Range(file, begin, end)
        begin = end

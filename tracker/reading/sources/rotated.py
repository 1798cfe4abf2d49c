"""Files that are read for a log: the live one and its rotated neighbours, plain or packed.

Names as logrotate and newsyslog give them: `mail.log.1`, `mail.log.2.gz`, `mail.log-20261124`,
`mail.log.20261124.xz`; with logrotate's `extension`: `mail.1.log`, `mail-20261124.log.bz2`.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tracker.errors import ReadingError

_Unpacked = gzip.GzipFile | lzma.LZMAFile | bz2.BZ2File

_PACKED: dict[str, Callable[[IO[bytes]], _Unpacked]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".xz": lzma.LZMAFile,
    ".bz2": bz2.BZ2File,
}
"""How a packed file is read, by the end of its name: what the standard library has."""

_ENDS = r"\.(?:gz|xz|bz2|zst|lz4|Z|zip)"
_MARK = r"(?:\.([0-9]{1,7})|[-.]([0-9]{8}(?:[-_T]?[0-9]{2,10})?))"
_ROTATED = re.compile(rf"(.+?){_MARK}(?:(?!{_ENDS})(\.[a-z]+))?({_ENDS})?")


class Bytes:
    """The bytes of one open file, plain or packed, readable at any place."""

    def __init__(self, path: str) -> None:
        """Raises OSError, and ReadingError for what is no regular file."""
        # A named pipe must not make us wait for its writer.
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = self.status()
        if not stat.S_ISREG(status.st_mode):
            os.close(self._file)
            raise ReadingError(f"{path}: is no file that grows: name a log file")
        self.inode = (status.st_dev, status.st_ino)
        self.compressed = packed(path)
        self._packed = os.fdopen(self._file, "rb", closefd=False) if self.compressed else None
        unpack = _PACKED[os.path.splitext(path)[1]] if self.compressed else None
        self._unpacked = unpack(self._packed) if unpack and self._packed else None

    def status(self) -> os.stat_result:
        """fstat(2) of the file as it is now."""
        return os.fstat(self._file)

    def read(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes; a packed file that is damaged or half written ends early."""
        if self._unpacked is None:
            return os.pread(self._file, length, offset)
        try:
            self._unpacked.seek(offset)
            return bytes(self._unpacked.read(length))
        except (EOFError, zlib.error, lzma.LZMAError):
            return b""
        except OSError as error:
            if error.errno is not None:
                raise
            return b""  # gzip and bz2 say so that this is none of theirs

    def progress(self, offset: int) -> tuple[int, int]:
        """How many bytes of the file lie before that place, of how many."""
        place = offset if self._packed is None else self._packed.tell()
        return place, self.status().st_size

    def close(self) -> None:
        """Let go of the file."""
        if self._unpacked is not None:
            self._unpacked.close()
        if self._packed is not None:
            self._packed.close()  # the readers of packed files leave it open
        os.close(self._file)


def head(path: str, length: int) -> bytes:
    """The first bytes of a file; empty when it cannot be read."""
    try:
        file = Bytes(path)
    except (OSError, ReadingError):
        return b""
    try:
        return file.read(length, 0)
    finally:
        file.close()


def packed(path: str) -> bool:
    """Whether the file is a packed one, by its name."""
    return os.path.splitext(path)[1] in _PACKED


def origin(name: str) -> str | None:
    """The name of the log that a file of that name is a rotated neighbour of; None: of no log."""
    match = _ROTATED.fullmatch(name)
    return None if match is None else match[1] + (match[4] or "")


def neighbours(path: str) -> list[str]:
    """The rotated files of a log that exist, the oldest first."""
    folder, name = os.path.split(path)
    found: dict[tuple[str, int], str] = {}
    try:
        names = os.listdir(folder or ".")
    except FileNotFoundError:
        return []
    for one in names:
        match = _ROTATED.fullmatch(one) if one.startswith(os.path.splitext(name)[0]) else None
        if match is None or match[5] not in (None, *_PACKED):
            continue
        if match[1] + (match[4] or "") == name:
            # Dates before numbers, high numbers first.
            place = (match[3] or "~", -int(match[2] or 0))
            # While it is being packed both are there, and the packed one is not whole.
            if place not in found or not match[5]:
                found[place] = str(Path(folder, one))
    return [found[place] for place in sorted(found)]

"""Files that are read for a log: the live one and its rotated neighbours, plain or gzip.

Names as logrotate and newsyslog give them: `log.1`, `log.2.gz`, `log-20261124`, `log.20261124.gz`.
"""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from pathlib import Path

from tracker.errors import ReadingError


class Bytes:
    """The bytes of one open file, plain or gzip, readable at any place."""

    def __init__(self, path: str) -> None:
        """Raises OSError, and ReadingError for what is no regular file."""
        # A named pipe must not make us wait for its writer.
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = self.status()
        if not stat.S_ISREG(status.st_mode):
            os.close(self._file)
            raise ReadingError(f"{path}: is no file that grows: name a log file")
        self.inode = (status.st_dev, status.st_ino)
        self.compressed = path.endswith(".gz")
        self._packed = os.fdopen(self._file, "rb", closefd=False) if self.compressed else None
        self._gzip = gzip.GzipFile(fileobj=self._packed) if self._packed else None

    def status(self) -> os.stat_result:
        """fstat(2) of the file as it is now."""
        return os.fstat(self._file)

    def read(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes; a gzip file that is damaged or half written ends early."""
        if self._gzip is None:
            return os.pread(self._file, length, offset)
        try:
            self._gzip.seek(offset)
            return bytes(self._gzip.read(length))
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return b""

    def close(self) -> None:
        """Let go of the file."""
        if self._gzip is not None:
            self._gzip.close()
        if self._packed is not None:
            self._packed.close()  # GzipFile leaves it open
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


def neighbours(path: str) -> list[str]:
    """The rotated files of a log that exist, the oldest first."""
    folder, name = os.path.split(path)
    pattern = re.compile(
        re.escape(name) + r"(?:\.([0-9]{1,7})|[-.]([0-9]{8}(?:[-_T]?[0-9]{2,10})?))(\.gz)?"
    )
    found: dict[tuple[str, int], str] = {}
    try:
        names = os.listdir(folder or ".")
    except FileNotFoundError:
        return []
    for one in names:
        if match := pattern.fullmatch(one):
            # Dates before numbers, high numbers first.
            place = (match[2] or "~", -int(match[1] or 0))
            # While gzip works both are there, and the packed one is not whole.
            if place not in found or not match[3]:
                found[place] = str(Path(folder, one))
    return [found[place] for place in sorted(found)]

"""Some space of the disk, kept for the moment in which it is full: rights must end then too.

LMDB copies what it changes, so on a full disk not even a deletion works; a file in the maps folder
holds some space that is given back for it.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

_SIZE = 256 * 1024
"""A deletion copies a page of 4 KiB for each level of the tree, and reuses them for the next."""

_FULL = re.compile(r"No space left on device|[Qq]uota exceeded|Input/output error")
"""What postmap says of a full disk; the last where there was room for a part of a write, which LMDB
takes for a fault of the disk (mdb.c, mdb_page_flush: "short write, filesystem full?")."""


class Reserve:
    """The space that is kept in one folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / ".reserve"

    def keep(self) -> None:
        """Take the space, where there is some."""
        with contextlib.suppress(OSError):
            if self._file.exists():
                return
            file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, _SIZE)
            except OSError:
                self._file.unlink()
            finally:
                os.close(file)

    def release(self, fault: Exception) -> bool:
        """Give it back, if that is what the fault asks for; whether there was any."""
        if not _FULL.search(str(fault)):
            return False
        try:
            self._file.unlink()
        except OSError:
            return False
        return True

"""Files that are what they should be: no pipe that nobody writes to, no link to another's file.

Beside a text stands what will take its place; it is made anew, so that no link, hard link or pipe
of somebody's is ever written to (`stage`). What stands in popgate's own folders counts as its own
only where it is a file with one name (`is_own`).
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path


def is_own(path: Path, mode: int | None = None) -> bool:
    """Whether a file stands there that is ours alone: no link, with no second name, and with that
    mode. Raises FileNotFoundError."""
    found = path.lstat()
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_nlink == 1
        and found.st_uid == os.geteuid()
        and mode in (None, stat.S_IMODE(found.st_mode))
    )


def read_text(path: Path, newline: str | None = None) -> str:
    """A UTF-8 text. Raises as `read_bytes`, and UnicodeDecodeError."""
    return io.TextIOWrapper(io.BytesIO(read_bytes(path)), "utf-8", newline=newline).read()


def read_bytes(path: Path) -> bytes:
    """What stands in a file; a link is followed. Raises OSError, also for a pipe, which could keep
    us waiting for ever."""
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(opened, "rb") as file:
        if stat.S_ISFIFO(os.fstat(opened).st_mode):
            raise OSError(errno.EINVAL, "is a pipe, not a file", str(path))
        return file.read()


def stage(path: Path, content: bytes, mode: int, *, synced: bool = True) -> None:
    """Make the file anew, with that content, on disk too where it has to be. Raises OSError."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask
        file.write(content)
        file.flush()
        if synced:
            os.fsync(file.fileno())

"""A file that admins edit too (the trusted list, the configuration), changed as a whole: locked,
replaced in one step, the old one kept.

As visudo does for sudoers: whoever edits holds a lock (on the folder, so that nothing is left
lying about), the new text is written beside, gets the owner, mode and attributes of the old file,
is synced and renamed; the file as it was before gets a `~` behind its name. A link is followed
first: what it points to is replaced.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tracker.errors import ListFileError
from tracker.writing.files import sync

_NEW_MODE = 0o644
"""For a list that was not there: popgate's own user must be able to read it."""


@contextmanager
def locked(file: Path, patience: float = 5.0) -> Iterator[Path]:
    """Be the only one who edits the file; gives the file that a link stands for.

    Raises ListFileError when another edits it for more than `patience` seconds.
    """
    real = Path(os.path.realpath(file))
    try:
        folder = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ListFileError(f"{real.parent}: cannot be opened: {error.strerror}") from error
    try:
        _wait_for(folder, file, time.monotonic() + patience)
        yield real
    finally:
        os.close(folder)


def _wait_for(folder: int, file: Path, end: float) -> None:
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise ListFileError(
                    f"{file}: is being edited by another; try again when they are done"
                ) from error
            time.sleep(0.02)
        else:
            return


def replace(file: Path, text: str) -> None:
    """Give the file another text, in one step. Raises ListFileError; then it is as it was."""
    staged = file.with_name(f".{file.name}.{secrets.token_hex(4)}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        try:
            with open(os.open(staged, flags, 0o600), "w", encoding="utf-8", newline="") as new:
                new.write(text)
                new.flush()
                _as_the_old_one(file, new.fileno())
                os.fsync(new.fileno())
            _keep_old(file)
            os.replace(staged, file)
        finally:
            staged.unlink(missing_ok=True)
        sync(file.parent)
    except OSError as error:
        raise ListFileError(
            f"{error.filename or file}: cannot be written: {error.strerror}; it is as it was"
        ) from error


def _as_the_old_one(file: Path, new: int) -> None:
    """Owner, mode, and attributes such as access lists, put on an open file."""
    try:
        old = file.stat()
    except FileNotFoundError:
        os.fchmod(new, _NEW_MODE)
        return
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(new, old.st_uid, old.st_gid)
    os.fchmod(new, stat.S_IMODE(old.st_mode))
    for name in os.listxattr(file):
        with suppress(OSError):  # some belong to the kernel
            os.setxattr(new, name, os.getxattr(file, name))


def _keep_old(file: Path) -> None:
    """The file as it is gets a second name, which is what is left of it after the change."""
    kept = file.with_name(f"{file.name}~")
    name = file.with_name(f".{file.name}.{secrets.token_hex(4)}.old")
    with suppress(FileNotFoundError):
        os.link(file, name)
        os.replace(name, kept)


def stamp(file: Path) -> tuple[int, ...]:
    """What tells later that a file changed; nothing for one that is not there."""
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino

"""Locks that a killed git left in a repository: they would stop every commit from then on.

git makes a file `index.lock`, `HEAD.lock` and the like before it writes, and has no way to tell
that who made it is gone. Here the processes tell: `git -C FOLDER` works in the folder, so a lock is
nobody's when no git is at work there. A git that is (a killed popgate's, or an admin's) is waited
for, and what it holds after that is its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger("popgate")

_PATIENCE = 1.0
_PAUSE = 0.02


def release(repository: Path) -> None:
    """Take away the locks in `repository/.git` that belong to nobody. Raises OSError."""
    end = time.monotonic() + _PATIENCE
    while locks := list(_locks(repository / ".git")):
        if not _at_work(repository):
            for lock in locks:
                lock.unlink(missing_ok=True)
                log.warning("event=stale_lock file=%s action=removed", lock)
            return
        if time.monotonic() > end:
            return
        time.sleep(_PAUSE)


def _locks(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*.lock")
    yield from (folder / "refs").rglob("*.lock")


def _at_work(repository: Path) -> bool:
    """Whether a git works in that folder, or one whose folder may not be known: of our own user's
    or root's, since nobody else may."""
    place = os.path.realpath(repository)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if process.stat().st_uid not in (0, os.geteuid()):
                continue
            if not (process / "comm").read_bytes().startswith(b"git"):
                continue
            try:
                folder = os.readlink(process / "cwd")
            except PermissionError:
                return True
            if folder == place or folder.startswith(place + "/"):
                return True
    return False

"""The git history of the tables' texts: what was published, committed, packed and pushed.

Identity, signing, hooks and remotes are the admin's own git configuration. Where git knows no
identity, popgate signs as itself. Compiled tables and staged files are ignored. A failure here
never touches a table, and is tried again with the next batch, then after pauses that grow to an
hour.

Every commit leaves some loose objects, a large table large ones; when they are many they are packed
beside all else, so that a year of commits stays small. A push runs beside all else too.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tracker.errors import AuditError, PublishError
from tracker.writing import gitlocks
from tracker.writing.files import put
from tracker.writing.git import Git

_IGNORED = "*.lmdb\n*.db\n.*.new\n.*.new.lmdb\n.reload\n.reserve\n"

_FIRST_PAUSE = 60.0
_LAST_PAUSE = 3600.0

_LOOKED_AFTER = 50
"""Commits between two looks at how much lies loose."""

_LOOSE_OBJECTS = 1000
_LOOSE_KIBIBYTES = 32 * 1024
"""From one of these on it is packed."""

_PACK = ("repack", "--geometric=2", "-d", "-l", "-q")
_PACKING = 600.0
_PUSHING = 120.0
_NO_PACKING = ("-c", "maintenance.auto=false", "-c", "gc.auto=0")
"""git's own packing begins with a commit, and takes as long as it takes."""


class History:
    """The repository of one maps folder."""

    def __init__(self, directory: Path, push: str = "") -> None:
        """`push`: the remote that each commit is pushed to; none where empty."""
        self._directory = directory
        self._git = Git(directory)
        self._push = push
        self._identity: list[str] | None = None
        self._pause = 0.0
        self._again = float("-inf")
        self._unlooked = _LOOKED_AFTER
        self._unpushed = False
        self._made = False

    def due(self, now: float) -> bool:
        """Whether a commit may be tried, at that monotonic second: not soon after one failed."""
        return now >= self._again

    def commit(self, message: str) -> str | None:
        """Commit what differs from the last commit; its hash, or None when nothing differs.

        Raises AuditError with git's own words.
        """
        try:
            made = self._commit(message)
        except AuditError:
            self._again = time.monotonic() + self._pause
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LAST_PAUSE)
            raise
        self._pause, self._again = 0.0, float("-inf")
        if made is not None:
            self._unlooked += 1
            self._unpushed = bool(self._push)
        return made

    def tend(self) -> Iterator[str]:
        """Push what was committed, pack what lies loose, one of both at a time and beside all else;
        what went wrong with the one before."""
        if fault := self._git.poll():
            yield fault
        try:
            if self._unpushed:
                if self._git.begin("push", "--quiet", self._push, "HEAD", timeout=_PUSHING):
                    self._unpushed = False
            elif self._unlooked > _LOOKED_AFTER:
                self._unlooked = 0
                if self._loose():
                    self._git.begin(*_PACK, timeout=_PACKING)
        except AuditError as error:
            yield str(error)

    def finish(self, patience: float) -> Iterator[str]:
        """Wait for what runs beside, so many seconds at most."""
        yield from self.tend()
        if fault := self._git.finish(patience):
            yield fault

    def _loose(self) -> bool:
        _, said = self._git.run("count-objects", "-v")
        found = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
        number, size = int(found.get("count", 0)), int(found.get("size", 0))
        return number >= _LOOSE_OBJECTS or size >= _LOOSE_KIBIBYTES

    def _commit(self, message: str) -> str | None:
        self._prepare()
        self._git.run("add", "--all", "--", ".")
        code, _ = self._git.run("diff", "--cached", "--quiet", allowed=(0, 1))
        if code == 0:
            return None
        commit = (*self._identified(), *_NO_PACKING, "commit", "--quiet", "--file=-")
        self._git.run(*commit, text=message)
        return self._git.run("rev-parse", "HEAD")[1].strip()

    def _prepare(self) -> None:
        git = self._directory / ".git"
        ignore = self._directory / ".gitignore"
        try:
            gitlocks.release(self._directory)
            if not self._made or not git.exists():
                new = not git.exists()
                # Also where it exists: one that a kill left half made is completed, others stay.
                self._git.run("init", "--quiet")
                if new:
                    # Others may read the folder of the exports, and none of what stood there once.
                    git.chmod(0o700)
                self._made = True
            put(ignore, _IGNORED, 0o600)
        except OSError as error:
            raise AuditError(f"{error.filename}: cannot be written: {error.strerror}") from error
        except PublishError as error:
            raise AuditError(str(error)) from error

    def _identified(self) -> list[str]:
        if self._identity is None:
            known = self._git.run("config", "user.email", allowed=(0, 1))[0] == 0
            host = socket.gethostname()
            self._identity = (
                [] if known else ["-c", "user.name=popgate", "-c", f"user.email=popgate@{host}"]
            )
        return self._identity

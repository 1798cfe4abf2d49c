"""The git history of the tables' texts: a commit a batch, saying who came, was renewed, went.

git itself is run, so identity, signing, hooks and remotes are the admin's own configuration. Where
git knows no identity, popgate signs as itself. Compiled tables and staged files are ignored. A
failure here never touches a table.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tracker.errors import AuditError
from tracker.records import Change
from tracker.texts import printable

log = logging.getLogger("popgate")

_IGNORED = "*.lmdb\n*.db\n.*.new\n.*.new.lmdb\n.reload\n"
_TIMEOUT = 60
_SHOWN = 200
_NAMED = 4
_MARKS = {"added": "+", "renewed": "~", "removed": "-"}


class History:
    """The repository of one maps folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._identity: list[str] | None = None

    def commit(self, message: str) -> bool:
        """Commit what differs from the last commit; False when nothing does.

        Raises AuditError with git's own words.
        """
        self._prepare()
        self._drop_stale_locks()
        self._git("add", "--all", "--", ".")
        if self._git("diff", "--cached", "--quiet", allowed=(0, 1)) == 0:
            return False
        self._git(*self._identified(), "commit", "--quiet", "--file=-", text=message)
        return True

    def _prepare(self) -> None:
        if not (self._directory / ".git").exists():
            self._git("init", "--quiet")
            # Others may read the folder of the exports, and none of what stood there once.
            (self._directory / ".git").chmod(0o700)
        ignore = self._directory / ".gitignore"
        try:
            if not ignore.exists() or ignore.read_text() != _IGNORED:
                ignore.write_text(_IGNORED)
        except OSError as error:
            raise AuditError(f"{ignore}: cannot be written: {error.strerror}") from error

    def _drop_stale_locks(self) -> None:
        """Remove the lock files of a git that a power cut ended: with one, every commit fails.

        The state lock keeps other popgates from committing meanwhile, so a lock is somebody's only
        where a git of this user runs: one that a killed popgate left behind, or its admin's.
        """
        folder = self._directory / ".git"
        locks = [*folder.glob("*.lock"), *(folder / "refs").rglob("*.lock")]
        if not locks or _git_runs(self._directory):
            return
        for lock in locks:
            log.warning("event=stale_lock file=%s action=%r", lock, "removed")
            lock.unlink(missing_ok=True)

    def _identified(self) -> list[str]:
        if self._identity is None:
            known = self._git("config", "user.email", allowed=(0, 1)) == 0
            host = socket.gethostname()
            self._identity = (
                [] if known else ["-c", "user.name=popgate", "-c", f"user.email=popgate@{host}"]
            )
        return self._identity

    def _git(self, *arguments: str, text: str = "", allowed: tuple[int, ...] = (0,)) -> int:
        program = shutil.which("git")
        if program is None:
            raise AuditError("git is not installed: install it, or set audit.commit = false")
        shown = f"git -C {self._directory} {' '.join(arguments)}"
        try:
            done = subprocess.run(
                [program, "-C", str(self._directory), *arguments],
                input=text,
                capture_output=True,
                text=True,
                errors="backslashreplace",
                timeout=_TIMEOUT,
                check=False,
                env={**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise AuditError(f"{shown}: {error}") from error
        if done.returncode not in allowed:
            words = "; ".join((done.stderr or done.stdout).splitlines()[:4])
            raise AuditError(f"{shown}: {words or f'exit code {done.returncode}'}")
        return done.returncode


def message(changes: Sequence[Change], policy: Sequence[str] = ()) -> str:
    """A commit message: counts in the subject, then a line for each grant's last change.

    `policy`: the names of other texts that changed, such as trusted.cidr.
    """
    net: dict[tuple[str, str], Change] = {}
    for change in changes:
        key = (change.grant.address, change.grant.user)
        earlier = net.pop(key, None)
        came = earlier is not None and earlier.kind == "added"
        if came and change.kind == "removed":
            continue  # it came and went between two commits
        net[key] = Change("added", change.grant, change.why) if came else change
    counts = [
        f"{number} {kind}"
        for kind in ("added", "renewed", "removed")
        if (number := sum(change.kind == kind for change in net.values()))
    ]
    texts = ", ".join(policy)
    if len(policy) > _NAMED:
        texts = f"{policy[0]} and {len(policy) - 1} more texts"
    subject = "; ".join(filter(None, ["grants: " + ", ".join(counts) if counts else "", texts]))
    lines = [subject or "tables brought in line with the ledger", ""]
    for change in list(net.values())[:_SHOWN]:
        grant = change.grant
        until = grant.expires.strftime("%Y-%m-%d %H:%M:%SZ")
        who = f"{grant.address} {printable(grant.user)}"
        lines.append(f"{_MARKS[change.kind]} {who} until {until} ({change.why})")
    if len(net) > _SHOWN:
        lines.append(f"and {len(net) - _SHOWN} more")
    return "\n".join(lines).rstrip() + "\n"


def _git_runs(folder: Path) -> bool:
    """Whether a git of this user is at work there: it goes to the top of the repository first."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text(encoding="utf-8").strip()
            if name == "git" and (process / "cwd").readlink() == folder.resolve():
                return True
        except (OSError, UnicodeDecodeError):
            continue  # it has ended meanwhile, or is another user's
    return False

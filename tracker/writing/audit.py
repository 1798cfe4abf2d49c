"""The git history of the tables' texts: a commit a batch, saying who came, was renewed, went.

git itself is run, so identity, signing, hooks and remotes are the admin's own configuration. Where
git knows no identity, popgate signs as itself. Compiled tables and staged files are ignored. A
failure here never touches a table.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tracker.errors import AuditError
from tracker.records import Change
from tracker.texts import printable
from tracker.writing import gitlocks

_IGNORED = "*.lmdb\n*.db\n.*.new\n.*.new.lmdb\n.reload\n.reserve\n"
_TIMEOUT = 60
_SHOWN = 200
_NAMED = 4
_MARKS = {"added": "+", "renewed": "~", "removed": "-"}


class History:
    """The repository of one maps folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._identity: list[str] | None = None
        self._made = False

    def commit(self, message: str) -> bool:
        """Commit what differs from the last commit; False when nothing does.

        Raises AuditError with git's own words.
        """
        self._prepare()
        self._git("add", "--all", "--", ".")
        if self._git("diff", "--cached", "--quiet", allowed=(0, 1)) == 0:
            return False
        self._git(*self._identified(), "commit", "--quiet", "--file=-", text=message)
        return True

    def _prepare(self) -> None:
        git = self._directory / ".git"
        ignore = self._directory / ".gitignore"
        try:
            gitlocks.release(self._directory)
            if not self._made or not git.exists():
                new = not git.exists()
                # Also where it exists: one that a kill left half made is completed, others stay.
                self._git("init", "--quiet")
                if new:
                    # Others may read the folder of the exports, and none of what stood there once.
                    git.chmod(0o700)
                self._made = True
            if not ignore.exists() or ignore.read_text() != _IGNORED:
                ignore.write_text(_IGNORED)
        except OSError as error:
            raise AuditError(f"{error.filename}: cannot be written: {error.strerror}") from error

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

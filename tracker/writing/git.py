"""git, the command: the only place that runs it, so signing, hooks and remotes are the admin's.

It never asks anything, and is killed with all that it started when it takes too long: a hook that
hangs must not keep grants from ending.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from tracker.errors import AuditError
from tracker.texts import without_secrets

_TIMEOUT = 20.0
_ENVIRONMENT = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
_OF_ANOTHER = frozenset(
    f"GIT_{name}"
    for name in (
        *("DIR", "COMMON_DIR", "WORK_TREE", "IMPLICIT_WORK_TREE", "INDEX_FILE", "PREFIX"),
        *("OBJECT_DIRECTORY", "ALTERNATE_OBJECT_DIRECTORIES", "NAMESPACE", "SHALLOW_FILE"),
        *("CONFIG", "CONFIG_PARAMETERS", "CONFIG_COUNT", "GRAFT_FILE", "INTERNAL_SUPER_PREFIX"),
        *("NO_REPLACE_OBJECTS", "REPLACE_REF_BASE"),
    )
)
"""Variables that name another repository, as in a hook of the admin's that calls popgate: `git
rev-parse --local-env-vars`."""
_WORDS = 4


class Git:
    """The repository of one folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._beside: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._shown = ""
        self._until = 0.0

    def run(
        self,
        *arguments: str,
        text: str = "",
        allowed: tuple[int, ...] = (0,),
        patience: float | None = None,
    ) -> tuple[int, str]:
        """Run a git command to its end; its exit code and what it printed. `patience`: seconds that
        it may take, where that is more than usual. Raises AuditError with git's own words."""
        shown, timeout = self._command_line(arguments), patience or _TIMEOUT
        try:
            process = subprocess.Popen(
                self._argv(arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise AuditError(f"{shown}: cannot be run: {error}") from error
        with process:
            try:
                out, err = process.communicate(text.encode(), timeout)
            except subprocess.TimeoutExpired as error:
                _kill(process)
                raise AuditError(f"{shown}: killed after {timeout:g} s without an end") from error
        if process.returncode not in allowed:
            raise AuditError(f"{shown}: {_words(err or out, process.returncode)}")
        return process.returncode, out.decode("utf-8", "backslashreplace")

    def begin(self, *arguments: str, timeout: float) -> bool:
        """Run a git command beside all else, at the lowest priority; False when one runs already.
        `poll` tells how it ended."""
        if self._beside is not None:
            return False
        self._shown = self._command_line(arguments)
        self._until = time.monotonic() + timeout
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - read when the command has ended
        try:
            self._beside = subprocess.Popen(
                [*_idly(), *self._argv(arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            self._said.close()
            raise AuditError(f"{self._shown}: cannot be run: {error}") from error
        return True

    def poll(self) -> str | None:
        """What was wrong with the command that ran beside, once, when it has ended."""
        if self._beside is None or self._said is None:
            return None
        if self._beside.poll() is None:
            if time.monotonic() < self._until:
                return None
            _kill(self._beside)
            self._until = float("-inf")
        code = self._beside.wait()
        self._said.seek(0)
        said = self._said.read(4096)
        self._said.close()
        self._beside = self._said = None
        if self._until == float("-inf"):
            return f"{self._shown}: killed, it took too long"
        return f"{self._shown}: {_words(said, code)}" if code else None

    def finish(self, patience: float) -> str | None:
        """Wait for the command that runs beside, for so many seconds at most, and kill it then."""
        if self._beside is not None:
            with suppress(subprocess.TimeoutExpired):
                self._beside.wait(patience)
            self._until = min(self._until, time.monotonic())
        return self.poll()

    def _argv(self, arguments: Sequence[str]) -> list[str]:
        program = shutil.which("git")
        if program is None:
            raise AuditError("git is not installed: install it, or set audit.commit = false")
        return [program, "-C", str(self._directory), *arguments]

    def _command_line(self, arguments: Sequence[str]) -> str:
        """The command as it may be shown: a remote can be a URL with a password."""
        return without_secrets(f"git -C {self._directory} {' '.join(arguments)}")


def _environment() -> dict[str, str]:
    inherited = {key: text for key, text in os.environ.items() if key not in _OF_ANOTHER}
    return inherited | _ENVIRONMENT


def _idly() -> list[str]:
    """What makes a command wait for all others."""
    return ["nice", "-n", "19"] if shutil.which("nice") else []


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()  # a child that fled into a session of its own may hold the other end


def _words(said: bytes, code: int) -> str:
    lines = without_secrets(said.decode("utf-8", "backslashreplace")).splitlines()
    return "; ".join(lines[:_WORDS]) or f"exit code {code}"

"""Servers that are started, waited for, and stopped by pid."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Self

PATIENCE = 20.0
"""Seconds that a server may take to be ready, or to end."""


def wait_for(what: str, ready: Callable[[], object], patience: float = PATIENCE) -> None:
    """Ask again and again until `ready` answers true. Raises TimeoutError that says for what."""
    end = time.monotonic() + patience
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {patience:g} s")
        time.sleep(0.01)


def run(argv: list[str], **options: str) -> str:
    """Run a command to its end; what it printed. Raises RuntimeError with its own words."""
    # A file, not a pipe: a daemon that the command leaves behind would keep the pipe open.
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            check=False,
            timeout=PATIENCE,
            env={**os.environ, **options},
        )
        said.seek(0)
        text = said.read()
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {text.strip()}")
    return text


def alive(pid: int) -> bool:
    """Whether the process is there and not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def stop(pid: int, *, patience: float = 5.0) -> None:
    """SIGTERM, and SIGKILL to what does not listen."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            return
        try:
            wait_for(f"the end of process {pid}", lambda: not alive(pid), patience)
        except TimeoutError:
            continue
        return


class Server(ABC):
    """A server that detaches itself, known by the pid file of its master; a context manager."""

    name: str
    pid: int = 0

    @abstractmethod
    def _launch(self) -> Path:
        """Start it; the file that its pid comes to stand in."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether clients can use it."""

    def __enter__(self) -> Self:
        pid_file = self._launch()
        try:
            wait_for(
                f"{self.name}'s pid", lambda: pid_file.exists() and pid_file.read_text().strip()
            )
            self.pid = int(pid_file.read_text())
            wait_for(self.name, self._answers)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it; the master takes its processes along."""
        if self.pid:
            stop(self.pid)
            self.pid = 0

"""Installations of popgate with a number of grants in force, and what their processes take."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from lab.popgate import Popgate
from lab.processes import wait_for
from tracker.records import Change, Grant
from tracker.store import Store

_WINDOW = '[grants]\nwindow = "7d"\n'
_PATIENCE = 240.0
_INTERVAL = 3.0
"""Seconds until the texts are written, and a little more."""


def filled(folder: Path, grants: int, settings: str = _WINDOW) -> Popgate:
    """One with so many grants that logins earned, of one user each, and an empty log."""
    folder.mkdir()
    log = folder / "mail.log"
    log.touch()
    popgate = Popgate(folder / "popgate", log, folder / "postfix", settings)
    fill(popgate.maps.parent, grants, timedelta(days=7))
    return popgate


def fill(state: Path, grants: int, length: timedelta) -> None:
    """Save so many grants, each of an address and a user of its own, that end in that time."""
    now = datetime.now(UTC)
    end = now + length
    store = Store(state)
    for first in range(0, grants, 50_000):
        some = range(first, min(grants, first + 50_000))
        store.save(
            [
                Change("added", Grant(address(n), user(n), ("imap",), now, now, end, end), "login")
                for n in some
            ],
            now,
        )
    store.close()


def address(number: int) -> str:
    """One of 16 million."""
    return f"203.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def user(number: int) -> str:
    """The user who logged in there."""
    return f"user{number}@example.com"


class Ready(NamedTuple):
    """A start: seconds on the wall until sd_notify's READY=1, and of processor."""

    wall: float
    cpu: float


def start(popgate: Popgate) -> Ready:
    """`popgate run`, until it says that it is ready."""
    with tempfile.TemporaryDirectory(prefix="popgate-bench-") as folder:
        path = f"{folder}/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.bind(path)
            channel.settimeout(_PATIENCE)
            began = time.perf_counter()
            popgate.start(prefix=("env", f"NOTIFY_SOCKET={path}"), patience=_PATIENCE)
            while b"READY=1" not in channel.recv(4096):
                pass
            return Ready(time.perf_counter() - began, cpu(popgate.pid))


def settled(popgate: Popgate) -> None:
    """Wait until its text was written and it has nothing more to do."""
    text = popgate.maps / "pop_before_smtp.txt"
    wait_for("the texts", text.exists, _PATIENCE)
    time.sleep(_INTERVAL)
    seen = -1.0
    for _ in range(120):
        now = cpu(popgate.pid)
        if now - seen < 0.02:
            return
        seen = now
        time.sleep(1)


def cpu(pid: int) -> float:
    """Seconds of processor that all threads of a process have used, to the nanosecond."""
    return sum(int(one.read_text().split()[0]) for one in _of_threads(pid, "schedstat")) / 1e9


def wake_ups(pid: int) -> int:
    """How often its threads went to sleep or were put to sleep."""
    lines = (line for one in _of_threads(pid, "status") for line in one.read_text().splitlines())
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def memory(pid: int, what: str = "VmRSS") -> int:
    """Kilobytes that a process holds; with `VmHWM`, that it ever held."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/{pid}/status has no {what}")


def _of_threads(pid: int, name: str) -> Iterator[Path]:
    return (Path(f"/proc/{pid}/task", task, name) for task in os.listdir(f"/proc/{pid}/task"))

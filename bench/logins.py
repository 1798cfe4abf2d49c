"""What one login costs `popgate run` from end to end while so many grants are in force.

The state holds grants of one user each; then logins come one after the other. The time on the wall
is that from the line to the entry in the lmdb table, seen by a `postmap -q` whose own start is in
it; the processor's is that of popgate and of what it started. Renewed expiries, texts and commit
follow for all of them together; the longest wait is that of a login that comes meanwhile.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from bench.figures import by_size
from bench.lines import login
from bench.probing import address
from lab.popgate import Popgate
from lab.processes import wait_for
from tracker.records import Change, Grant
from tracker.store import Store

SIZES = (1000, 100_000, 1_000_000)
_LOGINS = 50
_BATCH = 8
"""Seconds of audit.interval; logins come for twice as long."""

_SETTINGS = f"""
[grants]
max_grants = 2000000
window = "1d"
[audit]
interval = "{_BATCH}s"
[postfix]
timeout = "1m"
"""
_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE = 400.0


class _Cost(NamedTuple):
    """Seconds."""

    wall: float
    processor: float
    longest: float


def measure(_: Path) -> Iterator[tuple[str, str]]:
    """Rows of the table: what, and how much."""
    costs = [_at(size) for size in SIZES]
    walls, processors, longest = (list(those) for those in zip(*costs, strict=True))
    yield "one login, line to table, grants in force", by_size(SIZES, walls, 1000, "ms")
    yield "one login, processor", by_size(SIZES, processors, 1000, "ms")
    yield "longest wait of a login, by texts and commit", by_size(SIZES, longest, 1000, "ms")


def _at(size: int) -> _Cost:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-bench-")))
        log = folder / "mail.log"
        log.touch()
        popgate = Popgate(folder / "popgate", log, folder / "postfix", _SETTINGS)
        _fill(popgate.maps.parent, size)
        popgate.start(patience=_PATIENCE)
        stack.callback(popgate.end)
        wait_for("the texts", (popgate.maps / "pop_before_smtp.txt").exists, _PATIENCE)
        time.sleep(2)  # for their commit
        number, waits = size, []
        used = _processor(popgate.pid)
        for _ in range(_LOGINS):
            waits.append(_wait(popgate, log, number))
            number += 1
        used = _processor(popgate.pid) - used
        longest, end = max(waits), time.monotonic() + 2 * _BATCH
        while time.monotonic() < end:
            longest = max(longest, _wait(popgate, log, number))
            number += 1
        return _Cost(statistics.median(waits), used / _LOGINS, longest)


def _fill(state: Path, size: int) -> None:
    now = datetime.now(UTC)
    end = now + timedelta(hours=12)
    store = Store(state)
    store.save(
        (
            Change(
                "added",
                Grant(address(n), f"user{n}@example.com", ("imap",), now, now, end, end),
                "",
            )
            for n in range(size)
        ),
        now,
    )
    store.close()


def _wait(popgate: Popgate, log: Path, number: int) -> float:
    """Seconds until the table has the address of a login."""
    table = f"lmdb:{popgate.maps}/pop_before_smtp"
    asked = ["postmap", "-c", str(popgate.postfix), "-q", address(number), table]
    began = time.perf_counter()
    with log.open("ab", buffering=0) as file:
        file.write(login(address(number), datetime.now(UTC), number).encode())
    wait_for(
        "the entry",
        lambda: not subprocess.run(asked, check=False, stdout=subprocess.DEVNULL).returncode,
        _PATIENCE,
    )
    return time.perf_counter() - began


def _processor(pid: int) -> float:
    """Seconds of processor that a process and its children, which have ended, have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / _TICKS

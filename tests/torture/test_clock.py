"""The clock of the host is put back or on by an hour while popgate is at work.

libfaketime stands between popgate and the clock: the machine that runs the tests keeps its own.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import require
from tests.moments import login_line, logout_line
from tests.outcomes import Outcome
from tests.torture.faults import Host

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
SETTINGS = '[grants]\nwindow = "{window}s"\n'
BEFORE, OPEN, NEW = "203.0.113.1", "203.0.113.2", "203.0.113.3"
_SLEEP = """import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds)
"""
"""Python's own sleeps until a moment of the monotonic clock, which libfaketime 0.9.10 takes for one
of the clock that was stepped."""

SLACK = 5.0
"""Seconds that the end of a window may be late on a busy machine."""


class Clock:
    """The clock of one popgate."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._site = folder / "site"
        self._site.mkdir()
        (self._site / "sitecustomize.py").write_text(_SLEEP)
        self.step(0)

    def step(self, seconds: int) -> None:
        """Have it differ from the machine's by so much."""
        self._seconds = seconds
        staged = self._file.with_suffix(".new")
        staged.write_text(f"{seconds:+d}s\n")
        staged.replace(self._file)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._seconds)

    def variables(self) -> list[str]:
        """What makes a process see it, at each look and in all its threads."""
        return [
            f"LD_PRELOAD={LIBRARY}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            f"PYTHONPATH={self._site}",
        ]


def login(host: Host, clock: Clock, address: str, *, ended: bool) -> None:
    """From that address, at the time of that clock."""
    now = clock.now()
    lines = login_line(address, "alice", f"s{address}", now)
    if ended:
        lines += logout_line("alice", f"s{address}", now)
    with host.log.open("a") as file:
        file.write(lines)


@pytest.mark.parametrize("window", [4, pytest.param(20, marks=pytest.mark.torture)])
@pytest.mark.parametrize("step", [-3600, 3600])
@pytest.mark.parametrize("host", [""], indirect=True)
def test_a_clock_that_is_stepped(host: Host, step: int, window: int, outcome: Outcome) -> None:
    """No window is longer for it, an open session goes on, and whoever logs in is let in."""
    require("not installed: libfaketime" if LIBRARY is None else None)
    host.popgate.file.write_text(host.popgate.file.read_text() + SETTINGS.format(window=window))
    clock = Clock(host.folder)
    host.popgate.start(prefix=["env", *clock.variables()])
    try:
        login(host, clock, OPEN, ended=False)
        login(host, clock, BEFORE, ended=True)
        host.holds(OPEN, BEFORE)
        clock.step(step)
        stepped = time.monotonic()
        login(host, clock, NEW, ended=True)
        host.wait_for("the new login", lambda: NEW in host.table())
        recovery = time.monotonic() - stepped
        if step < 0:
            host.says("event=clock_put_back seconds=3")
        host.wait_for("the end of the old one", lambda: BEFORE not in host.table(), window + SLACK)
        host.wait_for("the end of the new one", lambda: NEW not in host.table(), window + SLACK)
        assert host.table() == {OPEN}
        assert "event=failed" not in host.said()
    finally:
        assert host.popgate.stop() == 0
    outcome(f"clock an hour {'ahead' if step > 0 else 'back'}", recovery=recovery)

"""SIGKILL at each point at which something on disk changes or a command runs, one after another.

Logins, a changed trusted list, tables, texts, commit and reload: `popgate once` does it all. strace
kills it at the entry of the first system call that counts, of the second, and so on to the end;
each time the next `once`, which has nothing new to read, must put everything right.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab import tracing
from tests.conftest import require
from tests.outcomes import Outcome
from tests.torture.site import CrashSite

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.fault,
    pytest.mark.usefixtures("servers_allowed"),
]

FAULT = "kill -9 at each change on disk"


@pytest.fixture(autouse=True)
def strace() -> None:
    missing = tracing.missing()
    require(f"not installed: {' '.join(missing)}" if missing else None)


def killed_at(site: CrashSite, number: int) -> tuple[bool, int, int, float]:
    """Whether it came so far; lost, wrongly granted, seconds to recover."""
    site.trust(f"192.0.2.{16 * (number % 16)}/28")
    site.logins(3)
    code = tracing.killed_at(site.start("once", held=True), number)
    began = time.monotonic()
    lost, wrong = site.check()
    return code != 0, lost, wrong, time.monotonic() - began


def test_a_kill_where_the_tables_are_changed_is_put_right(folder: Path, outcome: Outcome) -> None:
    with CrashSite(folder, 1) as site:
        for number in range(6, 42, 6):
            _, lost, wrong, recovery = killed_at(site, number)
            outcome(FAULT, lost=lost, wrong=wrong, recovery=recovery)


@pytest.mark.torture
def test_a_kill_at_each_change_on_disk_is_put_right(folder: Path, outcome: Outcome) -> None:
    with CrashSite(folder, 1) as site:
        number, came = 1, True
        while came:
            came, lost, wrong, recovery = killed_at(site, number)
            outcome(FAULT, runs=int(came), lost=lost, wrong=wrong, recovery=recovery)
            number += 1
        assert number > 25, "strace has not seen what is done"

"""Very many logins, addresses, grants and edits: nothing lost, nobody let in, nobody kept waiting.

The memory is bounded by the grants there are, not by what is logged: what popgate has not read yet
stays in the log.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from lab.processes import wait_for
from tests.outcomes import Outcome
from tests.torture.oracle import WINDOW
from tests.torture.storm import Storm, customer

pytestmark = [pytest.mark.e2e, pytest.mark.fault, pytest.mark.usefixtures("servers_allowed")]

BASE = 120
"""MiB of memory for what is the same with any number of grants."""

EACH = 2.5
"""KiB of memory for a grant, in a storm."""

SECONDS = 60
"""Until all is as usual again, on a busy machine."""


def bounded(storm: Storm, grants: int) -> None:
    """Neither memory nor anybody's time ran away."""
    assert storm.peak() < BASE + grants * EACH / 1024, storm.measured()
    assert storm.longest_silence() < 60, storm.measured()
    assert max(storm.late, default=0) < SECONDS, storm.measured()


def nothing_lost(
    storm: Storm, outcome: Outcome, what: str, recovery: float, more: str = ""
) -> None:
    """By the oracle's word; and a row of the table, with `more` that was measured."""
    measured = storm.measured() + more
    lost, wrong = storm.check()
    assert (lost, wrong) == (0, 0)
    outcome(what, lost=lost, wrong=wrong, recovery=recovery, measured=measured)


@pytest.mark.parametrize(
    ("rate", "seconds", "customers"),
    [(2000, 3, 1000), pytest.param(20_000, 60, 30_000, marks=pytest.mark.torture)],
)
def test_logins_that_pour_in(
    folder: Path, rate: int, seconds: int, customers: int, outcome: Outcome
) -> None:
    with Storm(folder) as storm:
        for part in range(1, 6):
            storm.end_within(seconds * part / 5)
        storm.probed(partial(storm.rain, rate, seconds, customers))
        recovery = storm.recover()
        assert recovery < SECONDS, storm.measured()
        bounded(storm, customers)
        nothing_lost(storm, outcome, f"{rate} logins a second for {seconds} s", recovery)


@pytest.mark.parametrize(
    ("number", "seconds"), [(5000, 3), pytest.param(100_000, 60, marks=pytest.mark.torture)]
)
def test_addresses_that_nobody_has_seen_before(
    folder: Path, number: int, seconds: int, outcome: Outcome
) -> None:
    with Storm(folder) as storm:
        for part in range(1, 6):
            storm.end_within(seconds * part / 5)
        storm.probed(partial(storm.rain, number // seconds, seconds, number))
        recovery = storm.recover()
        assert recovery < SECONDS, storm.measured()
        bounded(storm, number)
        nothing_lost(storm, outcome, f"{number} addresses in {seconds} s", recovery)


@pytest.mark.parametrize("seconds", [7, pytest.param(45, marks=pytest.mark.torture)])
def test_a_trusted_list_that_is_edited_ten_times_a_second(
    folder: Path, seconds: int, outcome: Outcome
) -> None:
    """It is taken up now and then meanwhile, and Postfix is not reloaded more often than it may."""
    with Storm(folder) as storm:
        storm.end_within(seconds / 2)
        storm.probed(partial(edit, storm, seconds))
        ended = time.time()
        taken = len(storm.reloads())
        began = time.monotonic()
        wait_for("the last list", lambda: f"{network(10 * seconds)} OK" in trusted(storm))
        wait_for("the last reload", lambda: len(storm.reloads()) > taken, RELOADS + 5)
        recovery = max(time.monotonic() - began, storm.recover())
        reloads = storm.reloads()
        assert taken >= seconds // 7, "never taken up while it was edited"
        assert reloads[-1] > ended
        wait_for("Postfix's own word", lambda: storm.reloaded() == len(reloads))
        assert min(map(float.__sub__, reloads[1:], reloads)) > RELOADS - 0.2
        assert max(storm.took) < SECONDS
        bounded(storm, 0)
        what = f"trusted list edited ten times a second for {seconds} s"
        nothing_lost(storm, outcome, what, recovery, f", {len(reloads)} reloads")


RELOADS = 5.0
"""Seconds of postfix.min_reload_interval."""


def edit(storm: Storm, seconds: int) -> None:
    """Have it hold another network ten times a second."""
    for number in range(10 * seconds + 1):
        storm.trust(network(number))
        time.sleep(0.1)


def network(number: int) -> str:
    return f"192.0.{number // 200}.{number % 200 + 1}/32"


def trusted(storm: Storm) -> str:
    """What Postfix reads of it."""
    return (storm.popgate.maps / "trusted.cidr").read_text()


@pytest.mark.parametrize(
    ("number", "seconds"), [(5000, 14), pytest.param(1_000_000, 360, marks=pytest.mark.torture)]
)
def test_very_many_grants_that_end_at_once(
    folder: Path, number: int, seconds: int, outcome: Outcome
) -> None:
    """They come, popgate starts anew with them, some log in again, and the others end."""
    with Storm(folder) as storm:
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        began = time.monotonic()
        storm.probed(partial(come, storm, number, end))
        recovery = storm.recover()
        came, memory = time.monotonic() - began, storm.peak()
        bounded(storm, number)
        storm.stop()
        storm.start()
        storm.probed(partial(storm.rain, number // 100, 3, number // 100))
        assert datetime.now(UTC) < end, f"too slow: {came:.0f} s"
        storm.see_end(customer(number - 1)[0], end)
        storm.probed(partial(see_all_end, storm, end))
        storm.recover()
        bounded(storm, number)
        more = f", all came in {came:.0f} s with {memory:.0f} MiB"
        nothing_lost(storm, outcome, f"{number} grants that end at once", recovery, more)


def come(storm: Storm, number: int, end: datetime) -> None:
    """So many customers log in, as fast as it can be written."""
    for first in range(0, number, 5000):
        storm.login(*((*customer(one), end - WINDOW) for one in range(first, first + 5000)))


def see_all_end(storm: Storm, end: datetime) -> None:
    """Until nothing is left of those that end then."""
    time.sleep(max((end - datetime.now(UTC)).total_seconds(), 0))
    wait_for("the end of all", lambda: not storm.over(), 180)

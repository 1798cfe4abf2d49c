"""SIGKILL at random moments: every login in the log has its grant, none twice, none too long."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.preloaded import Forked
from tests.outcomes import Outcome
from tests.torture.site import CrashSite

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.fault,
    pytest.mark.usefixtures("servers_allowed"),
]

CHAIN = 25
"""Kills of one installation before everything is looked at."""


def at_any_moment(site: CrashSite, process: Forked) -> None:
    """Also at the start, while it repairs what the last kill left."""
    time.sleep(site.dice.random() * 0.4)


def early(site: CrashSite, process: Forked) -> None:
    """Twice in a row, before it could do anything about the first."""
    time.sleep(site.dice.random() * 0.08)


def within(program: str) -> Callable[[CrashSite, Forked], None]:
    """While it waits for a command: what that was doing is left half done, or done by nobody."""

    def wait(site: CrashSite, process: Forked) -> None:
        after = site.dice.randrange(6)
        end = time.monotonic() + 2
        while after >= 0 and process.alive() and time.monotonic() < end:
            if process.running(program):
                after -= 1
                time.sleep(0.002)
        time.sleep(site.dice.random() * 0.004)

    return wait


def at_its_end(site: CrashSite, process: Forked) -> None:
    """After SIGTERM: it is writing texts and committing them."""
    time.sleep(0.1 + site.dice.random() * 0.3)
    if process.alive():
        process.signal(signal.SIGTERM)
    time.sleep(site.dice.random() * 0.15)


MOMENTS = [at_any_moment, early, within("postmap"), within("git"), at_its_end]


def kill_once(site: CrashSite) -> None:
    """One run: logins while popgate starts and works, and a kill."""
    command = site.dice.choice(["run", "run", "once"])
    moment = site.dice.choice(MOMENTS)
    if site.dice.random() < 0.3:
        site.trust(f"192.0.2.{16 * site.dice.randrange(16)}/28")
    site.logins(site.dice.randrange(4))
    process = site.start(command)
    if site.dice.random() < 0.5:
        time.sleep(site.dice.random() * 0.1)
        site.logins(site.dice.randrange(1, 60))
    moment(site, process)
    if process.alive():
        process.kill(group=site.dice.random() < 0.5)
    else:
        process.wait()
    assert site.wrongly_granted() == set()


def chain(folder: Path, seed: int, kills: int = CHAIN) -> tuple[int, int, float]:
    """Kills in a row, then everything is looked at: lost, wrongly granted, seconds to recover."""
    with CrashSite(folder, seed) as site:
        for _ in range(kills):
            kill_once(site)
        began = time.monotonic()
        lost, wrong = site.check()
        return lost, wrong, time.monotonic() - began


def test_kills_at_any_moment_lose_nothing_and_let_nobody_in(folder: Path, outcome: Outcome) -> None:
    lost, wrong, recovery = chain(folder, seed=0, kills=15)
    outcome("kill -9 at random moments", runs=15, lost=lost, wrong=wrong, recovery=recovery)


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(1, 21))
def test_five_hundred_kills_lose_nothing_and_let_nobody_in(
    folder: Path, seed: int, outcome: Outcome
) -> None:
    lost, wrong, recovery = chain(folder, seed)
    outcome("kill -9 at random moments", runs=CHAIN, lost=lost, wrong=wrong, recovery=recovery)

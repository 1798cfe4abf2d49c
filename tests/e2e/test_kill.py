"""SIGKILL at random moments: no login is lost, none is counted twice, table and ledger agree."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.popgate import Popgate
from tests.moments import login_line, logout_line

pytestmark = pytest.mark.e2e
KILLS = 20


class Writer(threading.Thread):
    """Logs in from another address each few milliseconds, every other session ends at once, and
    the log is rotated now and then."""

    def __init__(self, log: Path, chance: random.Random) -> None:
        super().__init__()
        self._log = log
        self._chance = chance
        self._rotations = 0
        self.logins = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            number, now = self.logins, datetime.now(UTC)
            session = f"s{number}"
            with self._log.open("a") as file:
                file.write(login_line(address(number), "alice", session, now))
                if number % 2:
                    file.write(logout_line("alice", session, now))
            self.logins += 1
            if self._chance.random() < 0.02:
                self._rotations += 1
                self._log.rename(self._log.with_suffix(f".log.{10_000 - self._rotations}"))
            time.sleep(self._chance.random() * 0.01)


def address(number: int) -> str:
    return f"203.0.{number // 250}.{number % 250 + 1}"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_kill_at_any_moment_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path, postfix_config: Path, seed: int
) -> None:
    chance = random.Random(seed)
    log = tmp_path / "mail.log"
    site = Popgate(tmp_path / "popgate", log, postfix_config, '[audit]\ninterval = "1s"\n')
    writer = Writer(log, random.Random(seed))
    writer.start()
    try:
        for _ in range(KILLS):
            process = subprocess.Popen(
                [sys.executable, "-m", "tracker", "run", "--config", str(site.file)],
                stderr=subprocess.DEVNULL,
            )
            time.sleep(0.25 + chance.random() * 0.5)  # most of a start is Python's own
            process.kill()
            process.wait()
    finally:
        writer.done.set()
        writer.join()
    log.touch()
    done = site.command("once")
    assert done.returncode == 0, done.stderr
    rows = json.loads(site.command("list", "--json").stdout)
    assert {row["address"]: row["sessions"] for row in rows} == {
        address(number): 0 if number % 2 else 1 for number in range(writer.logins)
    }
    listing = subprocess.run(
        ["/usr/sbin/postmap", "-c", postfix_config, "-s", f"lmdb:{site.maps}/pop_before_smtp"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    table = {line.split()[0]: int(line.split()[1]) for line in listing.splitlines()}
    assert table == {
        row["address"]: int(datetime.fromisoformat(row["expires"]).timestamp()) for row in rows
    }

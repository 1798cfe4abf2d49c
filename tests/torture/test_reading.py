"""What logins are read from fails: the log, the journal, inotify; and very many files."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab import tracing
from lab.journal import Journal, entry
from lab.popgate import Popgate
from lab.preloaded import Forked
from tests.conftest import require
from tests.moments import login_line
from tests.outcomes import Outcome
from tests.torture.faults import Host

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

FIRST, SECOND, THIRD = "203.0.113.1", "203.0.113.2", "203.0.113.3"
NOBODY = 65534


# A log that may not be read


def test_a_log_that_popgate_may_not_read(host: Host, outcome: Outcome) -> None:
    """Root may read everything, so this is a root without that right."""
    require("only root can give a file away" if os.geteuid() != 0 else None)
    host.login(FIRST)
    host.log.chmod(0o600)
    os.chown(host.log, NOBODY, NOBODY)
    rights = "-dac_override,-dac_read_search"
    host.popgate.start(prefix=["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"])
    try:
        assert "Permission denied" in host.says("event=waiting")
        code, said = host.command("once")
        assert code == 0, said  # one is at work
        host.login(SECOND)
        host.log.chmod(0o644)
        recovery = host.holds(FIRST, SECOND)
        host.says("event=reading")
    finally:
        assert host.popgate.stop() == 0
    outcome("log without permission", recovery=recovery)


# The journal


def journalctl_of(process: Forked) -> list[int]:
    """The journalctl processes that it runs."""
    found = []
    for task in Path(f"/proc/{process.pid}/task").glob("*/children"):
        for child in task.read_text().split():
            with suppress(FileNotFoundError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "journalctl":
                    found.append(int(child))
    return found


def login_entry(address: str) -> bytes:
    now = datetime.now(UTC)
    line = login_line(address, "alice", f"s{address}", now)
    return entry(line.partition("dovecot: ")[2].strip(), now)


def test_a_journalctl_that_dies(host: Host, journal: Journal, outcome: Outcome) -> None:
    host.popgate.configure(
        host.log, f'[log]\nunits = ["dovecot.service"]\njournal_directory = "{journal.folder}"\n'
    )
    addresses = [f"203.0.113.{number}" for number in range(1, 7)]
    journal.write(login_entry(addresses[0]))
    recovery = 0.0
    with host.at_work() as process:
        host.holds(addresses[0])
        for number in range(2, 7):
            host.wait_for("journalctl", lambda: journalctl_of(process), patience=60)
            for pid in journalctl_of(process):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            journal.write(login_entry(addresses[number - 1]))
            took = host.holds(*addresses[:number], patience=60)
            recovery = max(recovery, took)
        host.says("it is started again")
    outcome("journalctl dies", runs=5, recovery=recovery)


# inotify


@pytest.mark.parametrize(
    ("call", "error"),
    [("inotify_init", "EMFILE"), ("inotify_add_watch", "ENOSPC")],
)
def test_inotify_that_is_used_up(host: Host, call: str, error: str, outcome: Outcome) -> None:
    missing = tracing.missing()
    require(f"not installed: {' '.join(missing)}" if missing else None)
    strace = ["strace", "-D", "-f", "-o", "/dev/null", "-e", f"trace={call}"]
    host.popgate.start(prefix=[*strace, "-e", f"inject={call}:error={error}"])
    try:
        host.login(FIRST)
        recovery = host.holds(FIRST)
        assert "action=polling" in host.says("event=unwatched")
    finally:
        assert host.popgate.stop() == 0
    outcome("inotify used up", recovery=recovery)


# Very many rotated files


def rotated(host: Host, number: int) -> set[str]:
    """So many files, each with a login, that were rotated one after another just now."""
    addresses = [f"203.0.{one // 200}.{one % 200 + 1}" for one in range(number)]
    started = time.time() - number
    for place, address in enumerate(addresses):
        host.login(address)
        if place < number - 1:
            os.utime(host.log, (started + place, started + place))
            host.log.rename(host.log.with_name(f"mail.log.{number - 1 - place}"))
    return set(addresses)


@pytest.mark.parametrize("files", [100, pytest.param(1000, marks=pytest.mark.torture)])
def test_logs_that_were_rotated_very_often(host: Host, files: int, outcome: Outcome) -> None:
    wanted = rotated(host, files)
    began = time.monotonic()
    with host.at_work():
        host.holds(*wanted, patience=60)
        recovery = time.monotonic() - began
        host.login("198.51.100.1")
        host.holds(*wanted, "198.51.100.1")
    outcome(f"{files} rotated files", recovery=recovery)


def test_more_rotated_files_than_may_be_open(host: Host, outcome: Outcome) -> None:
    """Said; what is over ends; and all is read when there are more."""
    wanted = rotated(host, 200)
    limited(host.popgate, 64)
    try:
        host.says("Too many open files")
    finally:
        assert host.popgate.stop() in (0, 3)
    with host.at_work():
        recovery = host.holds(*wanted)
    outcome("more rotated files than may be open", recovery=recovery)


def limited(popgate: Popgate, files: int) -> None:
    popgate.start(prefix=["prlimit", f"--nofile={files}:{files}"])

"""`popgate run` on a journal, on standard input, and on a log that takes long to catch up on."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.journal import Journal, entry
from lab.popgate import Popgate
from lab.processes import wait_for
from tests.conftest import require
from tests.moments import login_line

pytestmark = pytest.mark.e2e


def login_entry(address: str, session: str) -> bytes:
    now = datetime.now(UTC)
    line = login_line(address, "alice", session, now)
    return entry(line.partition("dovecot: ")[2].strip(), now)


def address(number: int) -> str:
    return f"203.0.{number // 250}.{number % 250 + 1}"


def granted(site: Popgate) -> dict[str, int]:
    """Addresses and how many sessions each has."""
    rows = json.loads(site.command("list", "--json").stdout)
    return {row["address"]: row["sessions"] for row in rows}


def journal_settings(journal: Journal) -> str:
    return (
        f'[log]\nunits = ["dovecot.service"]\njournal_directory = "{journal.folder}"\n'
        '[audit]\ninterval = "1s"\n'
    )


# The journal


def test_a_login_in_the_journal_is_a_grant_at_once(
    tmp_path: Path, postfix_config: Path, journal: Journal
) -> None:
    journal.write(login_entry("203.0.113.1", "before"))
    settings = journal_settings(journal)
    with Popgate(tmp_path / "popgate", tmp_path, postfix_config, settings) as site:
        wait_for("the first grant", lambda: granted(site) == {"203.0.113.1": 1})
        forged = entry(
            login_line("203.0.113.66").partition("dovecot: ")[2].strip(),
            datetime.now(UTC),
            unit="session-7.scope",
        )
        journal.write(forged, login_entry("203.0.113.2", "live"))
        wait_for("the second", lambda: granted(site) == {"203.0.113.1": 1, "203.0.113.2": 1})
    assert site.command("once").returncode == 0
    assert len(granted(site)) == 2


def test_once_reads_a_journal_to_its_end_and_stops(
    tmp_path: Path, postfix_config: Path, journal: Journal
) -> None:
    site = Popgate(tmp_path / "popgate", tmp_path, postfix_config, journal_settings(journal))
    journal.write(*(login_entry(address(number), str(number)) for number in range(500)))
    assert site.command("once").returncode == 0
    assert len(granted(site)) == 500
    journal.write(login_entry("198.51.100.1", "last"))
    assert site.command("once").returncode == 0
    assert len(granted(site)) == 501


def test_a_journal_that_cannot_be_read_ends_once_with_3(
    tmp_path: Path, postfix_config: Path
) -> None:
    none = Journal(tmp_path / "none")
    none.folder.rmdir()
    site = Popgate(tmp_path / "popgate", tmp_path, postfix_config, journal_settings(none))
    done = site.command("once")
    assert done.returncode == 3
    assert "journalctl ended with 1 (Failed to open" in done.stderr


class JournalWriter(threading.Thread):
    """Logs in from another address each few milliseconds."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal
        self.logins = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            self._journal.write(login_entry(address(self.logins), f"s{self.logins}"))
            self.logins += 1
            if self.logins % 40 == 0:
                self._journal.rotate(str(self.logins))
            time.sleep(0.005)


def test_a_kill_at_any_moment_loses_and_doubles_no_entry(
    tmp_path: Path, postfix_config: Path, journal: Journal
) -> None:
    chance = random.Random(1)
    site = Popgate(tmp_path / "popgate", tmp_path, postfix_config, journal_settings(journal))
    writer = JournalWriter(journal)
    writer.start()
    try:
        for _ in range(6):
            site.start()
            time.sleep(chance.random() * 0.4)
            site.kill()
    finally:
        writer.done.set()
        writer.join()
    assert site.command("once").returncode == 0
    assert granted(site) == {address(number): 1 for number in range(writer.logins)}


# Standard input


def test_standard_input_is_followed_and_its_end_is_the_end(
    tmp_path: Path, postfix_config: Path
) -> None:
    site = Popgate(tmp_path / "popgate", tmp_path, postfix_config, '[log]\nfiles = ["-"]\n')
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as pipe:
        assert pipe.stdin is not None
        assert pipe.stdout is not None
        site.start(stdin=pipe.stdout.fileno())
        pipe.stdout.close()
        now = datetime.now(UTC)
        pipe.stdin.write(login_line("203.0.113.1", at=now, session="a").encode())
        pipe.stdin.flush()
        wait_for("the grant", lambda: granted(site) == {"203.0.113.1": 1})
        pipe.stdin.write(login_line("203.0.113.2", at=now, session="b").encode())
        pipe.stdin.close()
        assert site.wait() == 0
    assert granted(site) == {"203.0.113.1": 1, "203.0.113.2": 1}
    assert b"event=stopped" in site.said.read_bytes()


def test_lines_of_standard_input_outlive_a_state_that_cannot_be_saved(
    tmp_path: Path, postfix_config: Path
) -> None:
    site = Popgate(tmp_path / "popgate", tmp_path, postfix_config, '[log]\nfiles = ["-"]\n')
    reads, writes = os.pipe()
    site.start(stdin=reads)
    os.close(reads)
    database = sqlite3.connect(site.maps.parent / "popgate.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    now = datetime.now(UTC)
    lines = "".join(login_line(address(n), session=str(n), at=now) for n in range(3))
    os.write(writes, lines.encode())
    os.close(writes)
    wait_for("the error", lambda: b"database is locked" in site.said.read_bytes())
    database.execute("ROLLBACK")
    database.close()
    assert site.wait() == 0
    assert granted(site) == {address(n): 1 for n in range(3)}


def test_standard_input_may_be_a_file(tmp_path: Path, postfix_config: Path) -> None:
    site = Popgate(tmp_path / "popgate", tmp_path, postfix_config, '[log]\nfiles = ["-"]\n')
    now = datetime.now(UTC)
    file = tmp_path / "lines"
    file.write_text("".join(login_line(address(n), session=str(n), at=now) for n in range(300)))
    with file.open("rb") as lines:
        site.start(stdin=lines.fileno())
        assert site.wait() == 0
    assert len(granted(site)) == 300


def test_standard_input_is_not_for_once(tmp_path: Path, postfix_config: Path) -> None:
    site = Popgate(tmp_path / "popgate", tmp_path, postfix_config, '[log]\nfiles = ["-"]\n')
    done = site.command("once")
    assert done.returncode == 2
    assert "popgate run reads it" in done.stderr


# Without inotify


def test_a_log_is_polled_where_there_is_no_inotify(tmp_path: Path, postfix_config: Path) -> None:
    log = tmp_path / "mail.log"
    site = Popgate(tmp_path / "popgate", log, postfix_config)
    site.file.write_text(
        site.file.read_text().replace("[log]\n", '[log]\npoll_interval = "100ms"\n')
    )
    without = ["unshare", "--user", "--map-root-user", "sh", "-c"]
    forbid = 'echo 0 >/proc/sys/user/max_inotify_instances || exit 77; exec "$@"'
    if subprocess.run([*without, forbid, "sh", "true"], check=False).returncode:
        require("a user namespace cannot be made here")
    site.start(prefix=[*without, forbid, "sh"])
    log.write_text(login_line("203.0.113.1", at=datetime.now(UTC)))
    wait_for("the grant", lambda: granted(site) == {"203.0.113.1": 1})
    log.rename(tmp_path / "mail.log.1")
    log.write_text(login_line("203.0.113.2", session="b", at=datetime.now(UTC)))
    wait_for("the second", lambda: len(granted(site)) == 2)
    assert site.stop() == 0
    assert b"event=unwatched" in site.said.read_bytes()


# Catching up


def read_so_far(site: Popgate) -> int:
    """How far the log was read, as the state has it."""
    with sqlite3.connect(f"file:{site.maps.parent}/popgate.db?mode=ro", uri=True) as database:
        row = database.execute("SELECT max(offset) FROM positions").fetchone()
    database.close()
    return int(row[0] or 0)


def test_catching_up_is_interrupted_by_sigterm_and_goes_on_at_the_next_start(
    tmp_path: Path, postfix_config: Path
) -> None:
    log = tmp_path / "mail.log"
    noise = "2026-11-24T08:45:29+00:00 mailhost postfix/smtpd[77]: connect from unknown\n" * 10_000
    logins = 60
    with log.open("w") as file:
        for number in range(logins):
            file.write(noise * 8)
            now = datetime.now(UTC)
            file.write(login_line(address(number), session=str(number), at=now))
    size = log.stat().st_size
    site = Popgate(tmp_path / "popgate", log, postfix_config)
    site.start()
    wait_for("some of it", lambda: read_so_far(site) > 0)
    assert site.stop() == 0
    stopped = read_so_far(site)
    assert 0 < stopped < size
    assert 0 < len(granted(site)) < logins
    site.start()
    wait_for("all of it", lambda: read_so_far(site) == size, 60)
    site.signal(signal.SIGTERM)
    assert site.wait() == 0
    assert granted(site) == {address(number): 1 for number in range(logins)}

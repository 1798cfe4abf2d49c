"""`popgate once` as cron runs it: each minute, silent, and never two at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.names import NameServer, silence
from lab.popgate import Popgate
from lab.processes import wait_for
from tests.moments import login_line

ROOT = Path(__file__).parents[1]
CRON = {"PATH": "/usr/bin:/bin", "HOME": "/", "SHELL": "/bin/sh", "LOGNAME": "root"}
"""What cron sets, and nothing else (crontab(5))."""


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Popgate:
    return Popgate(tmp_path / "popgate", tmp_path / "mail.log", postfix_config)


def logins(count: int) -> str:
    now = datetime.now(UTC)
    return "".join(
        login_line(f"203.0.{number // 250}.{number % 250 + 1}", "alice", f"s{number}", now)
        for number in range(count)
    )


def start(site: Popgate, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tracker", "once", *more, "--config", str(site.file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=CRON,
    )


def granted(site: Popgate) -> list[str]:
    return [row["address"] for row in json.loads(site.command("list", "--json").stdout)]


def test_a_second_one_leaves_the_work_to_the_first(site: Popgate, tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(logins(2000))
    alive = site.maps.parent / "alive"
    first = start(site)
    wait_for("the first", lambda: alive.exists() and alive.read_text() == f"{first.pid}\n")
    first.send_signal(signal.SIGSTOP)
    try:
        second, third = start(site), start(site, "--quiet")
        told = f"popgate: another popgate (pid {first.pid}) is at work; nothing done\n"
        assert second.communicate(timeout=50) == ("", told)
        assert third.communicate(timeout=50) == ("", "")
        assert (second.returncode, third.returncode) == (0, 0)
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGCONT)
        first.communicate(timeout=50)
    assert first.returncode == 0
    assert len(granted(site)) == 2000


def test_of_many_at_once_each_login_is_counted_once(site: Popgate, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_text(logins(50))
    crowd = [start(site) for _ in range(6)]
    said = [one.communicate(timeout=55)[1] for one in crowd]
    assert {one.returncode for one in crowd} == {0}
    worked = [text for text in said if "event=grant_added" in text]
    assert len(worked) == 1
    assert worked[0].count("event=grant_added") == 50
    left = [text for text in said if "is at work; nothing done" in text]
    assert all("event=grant_added" not in text for text in left)
    assert len(granted(site)) == 50


def test_one_that_was_killed_keeps_the_next_from_nothing(site: Popgate, tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(logins(500))
    alive = site.maps.parent / "alive"
    first = start(site)
    wait_for("the first", lambda: alive.exists() and alive.read_text() == f"{first.pid}\n")
    first.kill()
    first.communicate(timeout=20)
    assert site.command("once").returncode == 0
    assert len(granted(site)) == 500


@pytest.mark.parametrize("command", ["once", "expire"])
def test_success_is_silent_so_that_cron_mails_nothing(
    site: Popgate, tmp_path: Path, command: str
) -> None:
    (tmp_path / "mail.log").write_text(logins(1))
    for _ in range(2):
        done = site.command(command, "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_cron_sets_little_and_that_is_enough(site: Popgate, tmp_path: Path) -> None:
    (tmp_path / "mail.log").write_text(logins(1))
    done = start(site, "--quiet")
    assert done.communicate(timeout=50) == ("", "")
    assert granted(site) == ["203.0.0.1"]
    assert (site.maps / ".git").exists()


def test_a_log_that_is_gone_is_said_and_exit_3(site: Popgate, tmp_path: Path) -> None:
    done = site.command("once", "--quiet")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert done.stderr.startswith(f"popgate: {tmp_path}/mail.log: ")


def test_a_bad_trusted_list_is_said_though_it_is_quiet(site: Popgate, tmp_path: Path) -> None:
    (tmp_path / "mail.log").touch()
    site.trusted.write_text("nonsense/\n")
    done = site.command("once", "--quiet")
    assert done.returncode == 2
    assert f"{site.trusted}:1: " in done.stderr


def test_a_run_that_lives_has_the_work(site: Popgate, tmp_path: Path) -> None:
    (tmp_path / "mail.log").touch()
    with site:
        done = site.command("once", "--quiet")
        assert (done.returncode, done.stderr) == (0, "")


class TestNames:
    """The host names of the trusted list: asked for within the run, which does not outlive it."""

    @pytest.fixture
    def named(self, site: Popgate, tmp_path: Path) -> Popgate:
        (tmp_path / "mail.log").touch()
        site.trusted.write_text("mail.example.com\n")
        return site

    def ask(self, site: Popgate, server: str, log: Path) -> subprocess.CompletedProcess[str]:
        site.configure(log, f'[trusted]\nnameservers = ["{server}"]\ntimeout = "500ms"\n')
        return site.command("once", "--quiet")

    def test_are_in_the_table_when_it_ends(self, named: Popgate, tmp_path: Path) -> None:
        with NameServer() as server:
            server.set("mail.example.com", "A", "198.51.100.7", ttl=300)
            done = self.ask(named, server.address, tmp_path / "mail.log")
        assert (done.returncode, done.stderr) == (0, "")
        assert "198.51.100.7" in (named.maps / "trusted.cidr").read_text()
        # Nobody answers any more: what was kept of the answer serves the next run.
        assert named.command("once", "--quiet").returncode == 0
        assert "198.51.100.7" in (named.maps / "trusted.cidr").read_text()

    def test_that_nobody_answers_for_do_not_keep_it_from_ending(
        self, named: Popgate, tmp_path: Path
    ) -> None:
        with NameServer() as server:
            server.ways[""] = silence
            done = self.ask(named, server.address, tmp_path / "mail.log")
            assert server.asked
        assert done.returncode == 0
        assert (named.maps / "trusted.cidr").exists()


def test_the_lines_that_the_documentation_gives_are_commands_that_exist() -> None:
    text = (ROOT / "docs/cron.md").read_text(encoding="utf-8")
    lines = [line.split()[6:] for line in text.splitlines() if line.startswith("    * * * * *")]
    assert lines == [["popgate", "once", "--quiet"], ["popgate", "expire", "--quiet"]]
    for _, command, *options in lines:
        done = subprocess.run(
            [sys.executable, "-m", "tracker", command, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ},
        )
        assert all(option in done.stdout for option in options)

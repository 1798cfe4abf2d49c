"""Users' names are words of strangers: no command hands them to a terminal, a shell or git as they
are."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.popgate import Popgate
from tests.moments import login_line

ESCAPES, CONTROL = "a\x1b]0;title\x07", "b\x9b31m[red]x[/red]"
BACKWARDS, LINES = "c\u202egpj.exe", "d\u2028event=grant_added"
SHELL = "$(reboot);'&reboot"
NAMES = (ESCAPES, CONTROL, BACKWARDS, LINES, SHELL)
SHARED = "203.0.113.200"
LIMITS = "[grants]\nmax_grants_per_user = 1\nmax_users_per_address = 1\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Each of them has logged in, from an address of his own, from one that all share, and from one
    that earns nothing."""
    lines = [
        login_line(address, name, f"s{number}-{address}", datetime.now(UTC))
        for number, name in enumerate(NAMES)
        for address in (f"203.0.113.{number + 1}", SHARED, "10.0.0.1")
    ]
    file = tmp_path / "mail.log"
    file.write_text("".join(lines), encoding="utf-8")
    return file


@pytest.fixture
def site(tmp_path: Path, log: Path, postfix_config: Path) -> Popgate:
    return Popgate(tmp_path / "popgate", log, postfix_config, LIMITS)


def is_harmless(words: str) -> bool:
    """Whether a terminal shows them as they are, each line as a line."""
    return all(char.isprintable() or char in "\n\t" for char in words)


def test_no_command_shows_them_as_they_are(site: Popgate, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    explained = ("--client", SHARED, "--from", "a@example.com", "--to", "b@example.com")
    for command in (
        ("once",),
        ("list",),
        ("list", "--json"),
        ("explain", *explained),
        ("explain", *explained, "--json"),
        ("audit",),
        ("audit", "--json"),
        ("audit", "--at", "2030-01-01"),
        ("audit", "--user", ESCAPES),
        ("audit", "--verify"),
        ("doctor",),
        ("doctor", "--json"),
        ("status",),
        ("report", "-o", str(page)),
        ("allow", "198.51.100.1", "--user", ESCAPES),
        ("revoke", "--user", LINES),
        ("revoke", SHARED),
    ):
        done = site.command(*command)
        assert is_harmless(done.stdout + done.stderr), command
        assert "Traceback" not in done.stderr, command
    assert is_harmless(page.read_text())


@pytest.mark.parametrize("command", [("scan",), ("scan", "--json"), ("formats", "test")])
def test_nor_do_those_that_read_a_log_alone(log: Path, command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tracker", *command, str(log)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert is_harmless(done.stdout + done.stderr)


def test_texts_and_commits_have_a_line_for_each_address(site: Popgate) -> None:
    assert site.command("once").returncode == 0
    text = (site.maps / "pop_before_smtp.txt").read_text()
    assert is_harmless(text)
    assert len([line for line in text.splitlines() if line[:1] != "#"]) == len(NAMES) + 1
    git = ["git", "-C", str(site.maps), "log", "-p"]
    shown = subprocess.run(git, capture_output=True, text=True, check=True).stdout
    assert is_harmless(shown)


def test_a_shell_takes_what_doctor_says_for_one_word(site: Popgate) -> None:
    assert site.command("once").returncode == 0
    found = json.loads(site.command("doctor", "--json").stdout)
    mends = [one["mend"] for one in found if one["code"] == "user-everywhere"]
    assert len(mends) == len(NAMES)
    for mend in mends:
        words = shlex.split(mend)
        assert words[:4] == ["popgate", "revoke", "--config", str(site.file)]
        assert words[4] == "--user"
        assert len(words) == 6

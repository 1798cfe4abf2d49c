"""`popgate top` in a real terminal: what an admin sees on it, and how it is left."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyte
import pytest

from lab.popgate import Popgate
from tests.deciding.test_overview import grant
from tests.moments import login_line, logout_line
from tracker.deciding.board import Board
from tracker.terminal import decoded
from tracker.writing.screen import lines

PATIENCE = 30.0


class Screen:
    """popgate top on a terminal of some size, as pyte draws what it writes."""

    def __init__(self, site: Popgate, columns: int = 80, rows: int = 24) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        self._ours, theirs = pty.openpty()
        self._set_size(columns, rows)
        self.before = termios.tcgetattr(theirs)
        self.terminal = theirs
        self.process = subprocess.Popen(
            # As a login shell does it: the terminal sends the signals of its keys.
            ["setsid", "--ctty", sys.executable, "-m", "tracker", "top", "--config", site.file],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color"},
        )

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        self._set_size(columns, rows)
        self._screen.resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def _read(self, seconds: float) -> None:
        ready, _, _ = select.select([self._ours], [], [], seconds)
        if ready:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the other side was closed
                return
            self.written += data
            self._stream.feed(data)

    @property
    def text(self) -> str:
        return "\n".join(self._screen.display)

    def shows(self, *words: str) -> str:
        return self.until(lambda: all(word in self.text for word in words), " and ".join(words))

    def hides(self, word: str) -> str:
        return self.until(lambda: word not in self.text, f"no {word}")

    def until(self, done: Callable[[], bool], what: str) -> str:
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, f"{what}, but it shows:\n{self.text}"
            self._read(0.1)
        return self.text

    def wait(self) -> int:
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it goes on:\n{self.text}"
            self._read(0.1)
        self._read(0.1)
        return self.process.returncode

    def left_as_it_was(self) -> bool:
        after = termios.tcgetattr(self.terminal)
        return after == self.before and self.written.endswith(b"\x1b[?25h\x1b[?1049l")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
        os.close(self.terminal)


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Popgate:
    log = tmp_path / "mail.log"
    made = Popgate(tmp_path / "popgate", log, postfix_config)
    now = datetime.now(UTC)
    log.write_text(
        login_line("203.0.113.5", "alice@example.com", "s1", now - timedelta(minutes=5))
        + logout_line("alice@example.com", "s1", now - timedelta(minutes=5))
        + login_line("203.0.113.6", "bob@example.com", "s2", now - timedelta(minutes=2))
        + logout_line("bob@example.com", "s2", now - timedelta(minutes=2))
    )
    assert made.command("once").returncode == 0
    return made


@pytest.fixture
def screen(site: Popgate) -> Iterator[Screen]:
    made = Screen(site)
    try:
        yield made
    finally:
        made.close()


def test_shows_who_may_send_and_q_leaves_the_terminal_as_it_was(screen: Screen) -> None:
    text = screen.shows("203.0.113.5", "bob@example.com", "2 addresses", "2 grants")
    assert "nobody follows the log" in text
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines())
    screen.press("q")
    assert screen.wait() == 0
    assert screen.left_as_it_was()


def test_counts_down_and_shows_what_happens(screen: Screen, site: Popgate) -> None:
    screen.shows("2 grants")
    site.command("allow", "203.0.113.77", "--for", "2h", "--user", "carol@example.com")
    text = screen.shows("203.0.113.77", "+ added", "3 grants", "1:59:")
    first = next(line for line in text.splitlines() if "carol" in line)
    screen.until(lambda: first not in screen.text, "another time left")
    site.command("revoke", "203.0.113.77")
    screen.shows("- removed", "2 grants")


def test_says_that_a_popgate_runs(site: Popgate) -> None:
    with site:
        screen = Screen(site)
        try:
            screen.shows(f"popgate run is at work, pid {site.pid}")
            with (site.maps.parent.parent.parent / "mail.log").open("a") as log:
                log.write(login_line("203.0.113.9", "dave@example.com", "s9", datetime.now(UTC)))
            screen.shows("203.0.113.9", "dave@example.com", "3 grants")
        finally:
            screen.close()


def test_sorts_filters_and_tells_its_keys(screen: Screen) -> None:
    screen.shows("by left")
    screen.press("ss")
    screen.shows("by address")
    screen.press("/bob\r")
    screen.shows("filter: bob")
    screen.hides("alice@example.com")
    screen.press("\x1b")
    screen.shows("alice@example.com")
    screen.press("?")
    screen.shows("revoke the selected grant")
    screen.press("x")
    screen.shows("alice@example.com", "q quit")


def test_revokes_the_selected_grant_after_a_question(screen: Screen, site: Popgate) -> None:
    screen.shows("203.0.113.5", "203.0.113.6")
    screen.press("\x1b[B")
    screen.press("r")
    screen.shows("y/n  Revoke 203.0.113.6 bob@example.com?")
    screen.press("n")
    screen.shows("nothing changed", "2 grants")
    screen.press("r")
    screen.shows("y/n  Revoke 203.0.113.6 bob@example.com?")
    screen.press("y")
    screen.shows("1 grant ended", "- removed")
    assert "203.0.113.6" not in site.command("list").stdout
    assert "203.0.113.5" in site.command("list").stdout


def test_extends_the_selected_grant_after_a_question(screen: Screen, site: Popgate) -> None:
    screen.shows("203.0.113.5", "203.0.113.6")
    screen.press("+")
    screen.shows("Let 203.0.113.5 alice@example.com send until")
    screen.press("y")
    screen.shows("203.0.113.5 may send until", "~ renewed")
    screen.until(
        lambda: any(
            "alice" in line and ("54:" in line or "55:" in line)
            for line in screen.text.splitlines()
        ),
        "25 minutes and 30 more",
    )


def left_of(user: str, screen: Screen) -> str:
    """The beginning of a user's line."""
    return next(line[:9] for line in screen.text.splitlines() if user in line and "@" in line)


def test_what_is_pasted_answers_no_question(screen: Screen, site: Popgate) -> None:
    screen.shows("2 grants")
    screen.press("ryryry")
    screen.shows("Revoke", "y/n")
    screen.press("n")
    screen.shows("nothing changed", "2 grants")
    assert "203.0.113.5" in site.command("list").stdout


def test_says_that_others_keep_the_address_open_and_revokes_them_all(
    site: Popgate, tmp_path: Path
) -> None:
    for user in ("carol@example.com", "dave@example.com"):
        site.command("allow", "198.51.100.20", "--for", "1m", "--user", user)
    screen = Screen(site)
    try:
        screen.shows("198.51.100.20", "4 grants")
        screen.press("r")
        screen.shows("Revoke 198.51.100.20 carol@example.com? (another user keeps")
        screen.press("n")
        screen.shows("nothing changed")
        screen.press("R")
        screen.shows("Revoke every grant of 198.51.100.20?")
        screen.press("y")
        screen.shows("2 grants ended", "2 grants ")
    finally:
        screen.close()
    assert "198.51.100.20" not in site.command("list").stdout


@pytest.mark.parametrize("size", [(40, 10), (132, 50), (80, 24), (12, 4)])
def test_fits_terminals_of_other_sizes(screen: Screen, size: tuple[int, int]) -> None:
    screen.shows("2 grants")
    screen.resize(*size)
    screen.until(lambda: screen.text.startswith("popgate top"), "its first line")
    screen.press("?")
    screen.press("x")
    screen.press("q")
    assert screen.wait() == 0
    assert screen.left_as_it_was()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(screen: Screen, number: signal.Signals) -> None:
    screen.shows("2 grants")
    screen.process.send_signal(number)
    assert screen.wait() == 128 + number
    assert screen.left_as_it_was()


def test_control_c_and_control_z_are_no_trap(screen: Screen) -> None:
    screen.shows("2 grants")
    screen.press("\x1a")
    screen.press("s")
    screen.shows("by login")
    screen.press("\x03")
    assert screen.wait() == 130
    assert screen.left_as_it_was()


def test_an_error_leaves_the_terminal_as_it_was_and_is_one_line(
    screen: Screen, site: Popgate
) -> None:
    screen.shows("2 grants")
    with sqlite3.connect(site.maps.parent / "popgate.db") as state:
        state.execute("DROP TABLE grants")
    assert screen.wait() == 3
    assert termios.tcgetattr(screen.terminal) == screen.before
    said = screen.written.rpartition(b"\x1b[?1049l")[2].decode()
    assert said.strip().startswith("popgate: ")
    assert "Traceback" not in said


def test_hostile_names_stay_on_their_line(site: Popgate, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    with log.open("a") as file:
        file.write(
            login_line("203.0.113.8", "e\x1b[2J\x1b]0;x\x07vil\u202e", "s8", datetime.now(UTC))
        )
    site.command("once")
    screen = Screen(site)
    try:
        screen.shows("203.0.113.8", "203.0.113.5")
        assert b"\x1b[2J" not in screen.written
        assert b"\x1b]0;" not in screen.written
        assert "\u202e".encode() not in screen.written
    finally:
        screen.close()


def test_without_a_terminal_it_says_what_else_there_is(site: Popgate) -> None:
    done = site.command("top")
    assert done.returncode == 2
    assert "needs a terminal: `popgate list`" in done.stderr


def test_without_a_state_it_says_so(tmp_path: Path, postfix_config: Path) -> None:
    screen = Screen(Popgate(tmp_path / "popgate", tmp_path / "mail.log", postfix_config))
    try:
        assert screen.wait() == 3
        assert "yet: run popgate" in screen.text
    finally:
        screen.close()


def test_keys_are_told_apart_and_rubbish_is_none() -> None:
    data = b"a\x1b[A\x1bOB\x1b[6~\r\x7f\x1b\x00\x01\xff\xc3\xa9\x1b[200~\x1b[1;5C"
    assert list(decoded(data)) == [
        *("a", "up", "down", "page down", "enter", "backspace", "escape", "é"),
    ]


def test_wide_letters_and_long_names_keep_the_columns() -> None:
    now = datetime(2026, 11, 24, 16, 40, tzinfo=UTC)
    board = Board()
    users = ["漢字" * 40, "x" * 500, "a\nb", "e\u0301" * 50]
    hour = timedelta(hours=1)
    board.see([grant(f"2001:db8::{n}", hour, user) for n, user in enumerate(users)], now)
    for columns, height in ((80, 24), (33, 9), (200, 60)):
        text = lines(board, now, 7, (columns, height))
        drawn = text.split("\n")
        assert len(drawn) == height
        assert max(line.cell_len for line in drawn) <= columns

"""A storm over a real `popgate run` and a real Postfix, and what is measured meanwhile."""

from __future__ import annotations

import itertools
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from lab.network import Loopback
from lab.popgate import Popgate
from lab.postfix import Postfix
from lab.processes import wait_for
from tests.moments import login_line, logout_line
from tests.torture.oracle import WINDOW, Oracle

_SETTINGS = """
[grants]
max_grants = 2_000_000
[audit]
interval = "{audit}"
[log]
files = ["{log}"]
dovecot = {{}}
sessions_interval = "0s"
[postfix]
command_directory = "{commands}"
"""
_RELOADS = """#!/bin/sh
date +%s.%N >> {folder}/reloads
exec /usr/sbin/postfix "$@"
"""
_TICK = 0.02
_PATIENCE = 90.0
"""Seconds for a start or an end, with a million grants too."""
_WATCHDOG = 120
"""Seconds, as in popgate.service."""


class Storm:
    """One popgate, its log, and everything that was logged; a context manager."""

    def __init__(self, folder: Path, audit: str = "60s") -> None:
        """`audit`: the setting audit.interval."""
        self.folder = folder
        self.log = folder / "mail.log"
        self.log.touch()
        commands = folder / "commands"
        commands.mkdir()
        for name in ("postconf", "postmap"):
            (commands / name).symlink_to(f"/usr/sbin/{name}")
        (commands / "postfix").write_text(_RELOADS.format(folder=folder))
        (commands / "postfix").chmod(0o755)
        settings = _SETTINGS.format(audit=audit, log=self.log, commands=commands)
        self.popgate = Popgate(folder / "popgate", self.log, folder / "postfix/config", settings)
        self._database = self.popgate.maps.parent / "popgate.db"
        self.oracle = Oracle()
        self.logins = 0
        self.took: list[float] = []
        """For each login that was watched in the storm, the seconds until it was in the table."""
        self.late: list[float] = []
        """For each grant that ended in the storm, the seconds that it stayed too long."""
        self._sessions = itertools.count()
        self._probes = itertools.count()
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._told = folder / "notify"
        self.pings = [time.monotonic()]
        self._ends: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.trust("192.0.2.0/28")
        done = self.popgate.command("once")
        assert done.returncode == 0, done.stderr
        server = Postfix(self.folder / "postfix", Loopback(), self.popgate.snippet())
        self._stack.enter_context(server)
        (self.folder / "reloads").write_text("")
        channel = self._stack.enter_context(
            closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        )
        channel.bind(str(self._told))
        threading.Thread(target=self._hear, args=(channel,), daemon=True).start()
        self.start()
        self._stack.callback(self.popgate.end, _PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """`popgate run`, watched as systemd does."""
        watched = [f"NOTIFY_SOCKET={self._told}", f"WATCHDOG_USEC={_WATCHDOG * 1_000_000}"]
        self.popgate.start(prefix=["env", *watched], patience=_PATIENCE)
        self.pings = [time.monotonic()]

    def stop(self) -> None:
        """Have it end, which makes everything exact."""
        assert self.popgate.stop(_PATIENCE) == 0, self.said()

    def _hear(self, channel: socket.socket) -> None:
        with suppress(OSError):
            while True:
                if b"WATCHDOG=1" in channel.recv(4096):
                    self.pings.append(time.monotonic())

    # What happens

    def login(self, *logins: tuple[str, str, datetime]) -> None:
        """Address, user and time: each a session that ends at once."""
        lines = []
        with self._lock:
            for address, user, at in logins:
                session = f"s{next(self._sessions)}"
                self.oracle.login(address, user, session, at)
                self.oracle.logout(session, at)
                lines += [login_line(address, user, session, at), logout_line(user, session, at)]
            self.logins += len(logins)
            with self.log.open("a") as file:
                file.write("".join(lines))

    def rain(self, rate: int, seconds: float, customers: int) -> None:
        """So many logins a second, of so many customers in turn."""
        began, sent, passed = time.monotonic(), 0, 0.0
        while passed < seconds:
            passed = min(time.monotonic() - began, seconds)
            due, now = int(rate * passed), datetime.now(UTC)
            self.login(*((*customer(one % customers), now) for one in range(sent, due)))
            sent = due
            time.sleep(_TICK)

    def trust(self, network: str) -> None:
        """Have the trusted list hold that network alone."""
        staged = self.popgate.trusted.with_suffix(".new")
        staged.write_text(f"{network}\n")
        staged.replace(self.popgate.trusted)

    def end_within(self, seconds: float) -> None:
        """A grant that ends so many seconds from now, and somebody who looks when it does."""
        address = f"198.51.100.{len(self._ends) + 1}"
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        self.login((address, "ends", end - WINDOW))
        wait_for("a grant", lambda: self.holds(address))
        self.see_end(address, end)

    def see_end(self, address: str, end: datetime) -> None:
        """Look at that moment whether the grant of that address ends."""
        thread = threading.Thread(target=self._see_end, args=(address, end), daemon=True)
        thread.start()
        self._ends.append(thread)

    def _see_end(self, address: str, end: datetime) -> None:
        time.sleep(max((end - datetime.now(UTC)).total_seconds(), 0))
        while self.holds(address):
            time.sleep(0.05)
        self.late.append((datetime.now(UTC) - end).total_seconds())

    # What is seen

    def holds(self, address: str) -> bool:
        """Whether the grant table has it, as Postfix reads it."""
        return self._postmap("-q", address).returncode == 0

    def table(self) -> dict[str, int]:
        """The grant table, as Postfix reads it."""
        listing = self._postmap("-s")
        assert listing.returncode == 0, listing.stderr
        return {line.split()[0]: int(line.split()[1]) for line in listing.stdout.splitlines()}

    def _postmap(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        table = f"lmdb:{self.popgate.maps}/pop_before_smtp"
        command = ["/usr/sbin/postmap", "-c", str(self.popgate.postfix), *arguments, table]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def probe(self, patience: float = 300) -> float:
        """Log in from an address of its own: the seconds from the line to the table."""
        number = next(self._probes)
        address = f"198.18.{number // 250}.{number % 250 + 1}"
        began = time.monotonic()
        self.login((address, "probe", datetime.now(UTC)))
        wait_for("the probe", lambda: self.holds(address), patience)
        return time.monotonic() - began

    def probed(self, storm: Callable[[], None]) -> None:
        """Probe now and then while it storms in a thread of its own."""
        thread = threading.Thread(target=storm)
        thread.start()
        while thread.is_alive():
            self.took.append(self.probe())
            thread.join(0.5)

    def recover(self) -> float:
        """Seconds until everything that was logged before is in the table, and a login takes less
        than a second again."""
        began = time.monotonic()
        self.probe()
        while self.probe() > 1:
            pass
        for thread in self._ends:
            thread.join()
        return time.monotonic() - began

    def peak(self) -> float:
        """MiB of memory that `popgate run` held at most."""
        for line in Path(f"/proc/{self.popgate.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmHWM")

    def longest_silence(self) -> float:
        """Seconds between two words to systemd's watchdog, at most."""
        times = [*self.pings, time.monotonic()]
        return max(after - before for before, after in itertools.pairwise(times))

    def reloads(self) -> list[float]:
        """When Postfix was told to reload."""
        return [float(line) for line in (self.folder / "reloads").read_text().splitlines()]

    def reloaded(self) -> int:
        """How often it was, by its own log."""
        return (self.folder / "postfix/postfix.log").read_text().count(": reload -- version")

    def measured(self) -> str:
        """For the table of outcomes."""
        return (
            f"memory {self.peak():.0f} MiB, a login {max(self.took, default=0):.1f} s, an end "
            f"{max(self.late, default=0):.1f} s late, watchdog {self.longest_silence():.1f} s"
        )

    def over(self) -> int:
        """How many grants are over that the state still has."""
        query = "SELECT count(*) FROM grants WHERE expires <= ?"
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
            return int(database.execute(query, (time.time(),)).fetchone()[0])

    def counted(self) -> int:
        """The logins that the history tells of."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT sum(logins) FROM lives").fetchone()[0])

    def check(self) -> tuple[int, int]:
        """End popgate, and compare the table with what was logged: lost, wrongly granted."""
        before = datetime.now(UTC) - timedelta(seconds=1)
        self.stop()
        table, after = self.table(), datetime.now(UTC)
        # A window that ends within these moments may count either way.
        owed, allowed = (
            {key: int(end.timestamp()) for key, end in self.oracle.expiries(moment).items()}
            for moment in (after, before)
        )
        lost = {key for key, end in owed.items() if table.get(key) != end}
        wrong = {key for key, end in table.items() if allowed.get(key) != end}
        assert self.counted() == self.logins, "a login was read twice, or not at all"
        assert "event=failed" not in self.said()
        return len(lost), len(wrong)

    def said(self) -> str:
        """The last that popgate has logged of trouble."""
        lines = self.popgate.said.read_text().splitlines()
        return "\n".join([line for line in lines if "event=grant" not in line][-30:])


def customer(number: int) -> tuple[str, str]:
    """Address and user of each."""
    return f"{11 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.7", f"u{number}"

"""A mail host for crash tests: its log, the popgate that is killed there, and what must be true."""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import subprocess
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from lab.network import Loopback
from lab.popgate import Popgate
from lab.postfix import Postfix
from lab.preloaded import Forked, Preloaded
from tests.moments import login_line, logout_line
from tests.torture.oracle import WINDOW, Oracle

SETTINGS = """
[audit]
interval = "1s"
[log]
files = ["{log}"]
dovecot = {{}}
sessions_interval = "0s"
poll_interval = "50ms"
[postfix]
command_directory = "{commands}"
min_reload_interval = "0s"
"""
_RELOADS = """#!/bin/sh
sha256sum < {maps}/trusted.cidr >> {folder}/reloads
exec /usr/sbin/postfix "$@"
"""


class CrashSite:
    """One popgate that is killed again and again, while its log is written.

    A real Postfix runs, so that reloads are wanted and done.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.dice = random.Random(seed)
        self.oracle = Oracle()
        self.log = folder / "mail.log"
        self.log.touch()
        self.commands = folder / "commands"
        settings = SETTINGS.format(log=self.log, commands=self.commands)
        self.popgate = Popgate(folder / "popgate", self.log, folder / "postfix/config", settings)
        self.maps = self.popgate.maps
        self.database = self.maps.parent / "popgate.db"
        self._make_commands()
        self._stack = ExitStack()
        self._open: list[str] = []
        self._logins = self._rotations = 0

    def _make_commands(self) -> None:
        self.commands.mkdir()
        for name in ("postconf", "postmap"):
            (self.commands / name).symlink_to(f"/usr/sbin/{name}")
        (self.commands / "postfix").write_text(_RELOADS.format(maps=self.maps, folder=self.folder))
        (self.commands / "postfix").chmod(0o755)

    def __enter__(self) -> Self:
        self._forks = self._stack.enter_context(Preloaded())
        self.trust("192.0.2.0/28")
        self.once()
        server = Postfix(self.folder / "postfix", Loopback(), self.popgate.snippet())
        self._stack.enter_context(server)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # What happens

    def start(self, *arguments: str, held: bool = False) -> Forked:
        """A popgate command."""
        command = [*arguments, "--config", str(self.popgate.file)]
        return self._forks.start(*command, said=self.popgate.said, held=held)

    def once(self) -> None:
        """`popgate once`, to its end and without a fault."""
        self.done("once")

    def done(self, *arguments: str) -> None:
        """A command, to its end and without a fault."""
        code = self.start(*arguments).wait()
        assert code == 0, f"{arguments}: {code}: {self.popgate.said.read_text()[-3000:]}"

    def logins(self, number: int) -> None:
        """So many logins; sessions end at once, later, or not; now and then the log is rotated.

        Some were logged so long ago that their window is over within seconds.
        """
        for _ in range(number):
            self._logins += 1
            now = datetime.now(UTC)
            past = self.dice.choice([0, 0, 0, 1]) * (
                WINDOW.total_seconds() - self.dice.random() * 8
            )
            at = now - timedelta(seconds=past)
            session, user = f"s{self._logins}", f"user{self.dice.randrange(3)}"
            address = f"203.0.{self.dice.randrange(4)}.{self.dice.randrange(1, 250)}"
            lines = login_line(address, user, session, at)
            self.oracle.login(address, user, session, at)
            if past or self.dice.random() < 0.5:
                lines += logout_line(user, session, at)
                self.oracle.logout(session, at)
            else:
                self._open.append(session)
            if self._open and self.dice.random() < 0.3:
                other = self._open.pop(self.dice.randrange(len(self._open)))
                lines += logout_line(self.oracle.user(other), other, now)
                self.oracle.logout(other, now)
            with self.log.open("a") as file:
                file.write(lines)
            if self.dice.random() < 0.02:
                self._rotations += 1
                self.log.rename(self.log.with_name(f"mail.log.{10_000 - self._rotations}"))

    def trust(self, network: str) -> None:
        """Have the trusted list hold that network alone."""
        staged = self.popgate.trusted.with_suffix(".new")
        staged.write_text(f"{network}\n")
        staged.replace(self.popgate.trusted)

    # What must be true

    def table(self) -> dict[str, int]:
        """The grant table, as Postfix reads it."""
        listing = subprocess.run(
            ["/usr/sbin/postmap", "-c", self.postfix, "-s", f"lmdb:{self.maps}/pop_before_smtp"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return {line.split()[0]: int(line.split()[1]) for line in listing.splitlines()}

    @property
    def postfix(self) -> Path:
        return self.folder / "postfix/config"

    def wrongly_granted(self) -> set[str]:
        """What the table holds at this moment and nobody has a right to.

        A window that was over while nobody ran ends when somebody runs again; and an expiry that
        became earlier is put into the table with the next texts.
        """
        long_ago = datetime.now(UTC) - timedelta(minutes=5)
        return self.table().keys() - self.oracle.expiries(long_ago).keys()

    def differences(self) -> tuple[set[str], set[str]]:
        """After `once`: who should be in the table as it is and is not (lost), and the reverse."""
        table = self.table()
        # A window that ends within this very second may count either way.
        before, after = (
            {key: int(end.timestamp()) for key, end in self.oracle.expiries(moment).items()}
            for moment in (self._began - timedelta(seconds=1), datetime.now(UTC))
        )
        lost = {key for key, end in after.items() if table.get(key) != end}
        return lost, {key for key, end in table.items() if before.get(key) != end}

    def check(self) -> tuple[int, int]:
        """Let popgate put everything right, and look at all that it keeps; lost, wrongly granted.

        Raises AssertionError when ledger, tables, texts and git are not at one, or something was
        left behind.
        """
        self._began = datetime.now(UTC)
        self.log.touch()
        self.once()
        lost, wrong = self.differences()
        assert (lost, wrong) == (set(), set()), self._trace(lost | wrong)
        table = self.table()
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows = database.execute("SELECT address, expires, sessions FROM grants").fetchall()
        ledger: dict[str, int] = {}
        sessions: dict[str, int] = {}
        for address, expires, opened in rows:
            ledger[address] = max(int(expires), ledger.get(address, 0))
            sessions[address] = sessions.get(address, 0) + len(json.loads(opened))
        assert ledger == table
        counted = self.oracle.sessions(self._began)
        assert sessions == {key: counted[key] for key in sessions}
        self._check_texts(table)
        self._check_leftovers()
        return len(lost), len(wrong)

    def _check_texts(self, table: dict[str, int]) -> None:
        lines = (self.maps / "pop_before_smtp.txt").read_text().splitlines()
        named = {line.split()[0] for line in lines if line and not line.startswith("#")}
        assert named == table.keys(), "the text beside the table names others"
        network = self.popgate.trusted.read_text().strip()
        assert f"\n{network} OK\n" in (self.maps / "trusted.cidr").read_text()
        status = subprocess.run(
            ["git", "-C", self.maps, "status", "--porcelain"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert status == "", "the texts differ from git"
        reloads = (self.folder / "reloads").read_text().splitlines()
        present = hashlib.sha256((self.maps / "trusted.cidr").read_bytes()).hexdigest()
        assert reloads[-1].split()[0] == present, "Postfix has not read the last trusted list"

    def _check_leftovers(self) -> None:
        left = [
            path.relative_to(self.maps.parent)
            for path in self.maps.parent.rglob("*")
            if path.name.endswith((".lock", ".new", ".new.lmdb", "-journal", ".part"))
            or path.name in (".reload", "pop_before_smtp", "local_senders", "local_marks")
        ]
        assert left == [], f"left behind: {left}"

    def _trace(self, addresses: set[str]) -> str:
        """Everything that is known of some addresses."""
        said = self.popgate.said.read_text().splitlines()
        lines = [f"now {datetime.now(UTC)}, began {self._began}"]
        for address in sorted(addresses)[:3]:
            lines += [
                f"{key}: {value}" for key, value in self.oracle.visits.items() if key[0] == address
            ]
            lines.append(f"table {self.table().get(address)}")
            lines += [line for line in said if f"address={address} " in line]
        return "\n".join(lines + said[-20:])

"""A popgate at work while a part of the system fails, and what it made of it."""

from __future__ import annotations

import itertools
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lab.popgate import Popgate
from lab.preloaded import Forked, Preloaded
from lab.processes import wait_for
from tests.moments import login_line, logout_line

PATIENCE = 20.0
_BLOCK = 4096


class Host:
    """One log and one `popgate run`; `commands`: a folder of Postfix's commands, to be spoiled."""

    def __init__(self, folder: Path, forks: Preloaded, settings: str = "") -> None:
        self.folder = folder
        self.log = folder / "mail.log"
        self.log.touch()
        self.commands = folder / "commands"
        self.commands.mkdir()
        for name in ("postconf", "postmap", "postfix"):
            self.mend(name)
        if "[audit]" not in settings:
            settings += '[audit]\ninterval = "1s"\n'
        if "[log]" not in settings:
            settings += (
                f'[log]\nfiles = ["{self.log}"]\ndovecot = {{}}\nsessions_interval = "0s"\n'
                'poll_interval = "200ms"\n'
            )
        if "[postfix]" not in settings:
            settings += "[postfix]\n"
        commands = f'[postfix]\ncommand_directory = "{self.commands}"'
        self.popgate = Popgate(
            folder / "popgate",
            self.log,
            folder / "postfix/config",
            settings.replace("[postfix]", commands),
        )
        self.state = self.popgate.maps.parent
        self.maps = self.popgate.maps
        self._table = f"lmdb:{self.maps}/pop_before_smtp"
        self._forks = forks
        self._sessions = itertools.count()

    # What happens

    @contextmanager
    def at_work(self) -> Iterator[Forked]:
        """`popgate run`, until it is told to end."""
        before = len(self.said())
        process = self._forks.start("run", "--config", str(self.popgate.file), said=self.words)
        try:
            self.wait_for("popgate run", lambda: "event=started" in self.said()[before:])
            yield process
        finally:
            if process.alive():
                process.signal(signal.SIGTERM)
            code = process.wait()
        assert code == 0, self.said()[-3000:]

    def command(self, *arguments: str) -> tuple[int, str]:
        """Another popgate command, to its end: its exit code and what it said."""
        words = self.folder / "said"
        words.write_text("")
        process = self._forks.start(*arguments, "--config", str(self.popgate.file), said=words)
        return process.wait(), words.read_text()

    def login(self, *addresses: str, over_in: float | None = None) -> None:
        """A login from each. `over_in`: the window ends so many seconds from now."""
        at = datetime.now(UTC)
        if over_in is not None:
            at += timedelta(seconds=over_in) - timedelta(minutes=30)
        with self.log.open("a") as file:
            for address in addresses:
                session = f"s{next(self._sessions)}"
                file.write(login_line(address, "alice", session, at))
                file.write(logout_line("alice", session, at))

    def spoil(self, name: str, script: str) -> None:
        """Have one of Postfix's commands do something else."""
        (self.commands / name).unlink()
        (self.commands / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.commands / name).chmod(0o755)

    def mend(self, name: str) -> None:
        """Have it be Postfix's own."""
        (self.commands / name).unlink(missing_ok=True)
        (self.commands / name).symlink_to(f"/usr/sbin/{name}")

    # What is seen

    @property
    def words(self) -> Path:
        """Where `popgate run` logs to."""
        return self.popgate.said

    def said(self) -> str:
        """What `popgate run` has logged."""
        return self.words.read_text() if self.words.exists() else ""

    def table(self) -> set[str]:
        """The addresses in the grant table, as Postfix reads it."""
        listing = subprocess.run(
            ["/usr/sbin/postmap", "-c", self.popgate.postfix, "-s", self._table],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return {line.split()[0] for line in listing.splitlines()}

    def holds(self, *addresses: str, patience: float = PATIENCE) -> float:
        """Wait until the table holds these and no others; the seconds that took."""
        began = time.monotonic()
        wanted = set(addresses)
        with suppress(TimeoutError):
            wait_for("the table", lambda: self.table() == wanted, patience)
        assert self.table() == wanted, self.said()[-3000:]
        return time.monotonic() - began

    def says(self, words: str, patience: float = PATIENCE) -> str:
        """Wait until it has logged a line with such words; that line."""
        with suppress(TimeoutError):
            wait_for(f"{words!r}", lambda: words in self.said(), patience)
        assert words in self.said(), self.said()[-3000:]
        return next(line for line in self.said().splitlines() if words in line)

    def wait_for(self, what: str, ready: Callable[[], object], patience: float = PATIENCE) -> float:
        """Wait until something is so; the seconds that took."""
        began = time.monotonic()
        try:
            wait_for(what, ready, patience)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.said()[-3000:]}") from error
        return time.monotonic() - began


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """A file system of that size, mounted at a folder that is made."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "popgate-test", place], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@contextmanager
def fragile_disk(image: Path, place: Path) -> Iterator[None]:
    """A file system of a disk of its own, made where there is none, checked and mounted."""
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["e2fsck", "-p", image], stdout=subprocess.DEVNULL, check=False)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    place.chmod(0o700)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def fails(place: Path) -> None:
    """Have the kernel take that file system for damaged: it can only be read from now on, by those
    too who have files open there to write to."""
    subprocess.run(["mount", "-o", "remount,abort", place], check=True)


def remount(place: Path, options: str) -> None:
    """Mount it again with other options, as soon as nobody has a file open there to write to it."""
    command = ["mount", "-o", f"remount,{options}", str(place)]
    wait_for(
        f"{place}: {options}",
        lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0,
    )


def fill(place: Path) -> Path:
    """Take all the space that is left; the file that takes it."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * _BLOCK)
    return ballast


def mounting_unavailable() -> str | None:
    """Why no file system can be mounted here; None when one can."""
    done = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "popgate-test", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else f"no mounting: {done.stderr.strip()}"


def loops_unavailable() -> str | None:
    """Why no file can be mounted as a disk here; None when one can."""
    done = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"no loop devices: {done.stderr.strip()}"


def lines(words: str) -> list[str]:
    """What a command said; no line of it is a traceback's."""
    assert "Traceback" not in words, words
    return words.splitlines()

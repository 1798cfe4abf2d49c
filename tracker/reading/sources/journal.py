"""systemd's journal as log lines, through `journalctl -o json`.

Only *trusted* fields select entries (systemd.journal-fields(7)): `_SYSTEMD_UNIT`, `_SYSTEMD_SLICE`
and `_EXE` are set by journald itself, while any local user can write an entry that calls itself
dovecot.

First a journalctl reads to the end of what there is, then one with `--follow` waits for more; that
one is replaced now and then, so that one that hangs is not trusted forever. Each goes on behind the
last entry that was given out. A journalctl that ends is started again, after 1 s, then ever later,
up to 60 s.

What journalctl's source says of 252 to 254, and the tests hold:

- `--after-cursor` takes for granted that the cursor's entry is there, and skips one entry. When it
  is gone (vacuum), that one was never read. So it is `--cursor`, and the skipping is done here.
- `--follow` shows one boot: with `--directory` the last one that the folder knows, so a container
  that boots anew is not heard, and a folder without entries is an error. `--merge` undoes it; on
  the host's own journal it would let in the journals of other machines.

The pipe is the buffer: when nobody reads, journalctl waits.
"""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Generator, Iterator

from tracker.errors import ReadingError
from tracker.reading.sources.entries import LONGEST_ENTRY, cursor_seconds, lines_of
from tracker.reading.sources.lines import Lines, pieces
from tracker.settings import LogSettings

log = logging.getLogger("popgate")

_FIRST_PAUSE = 1.0
_LAST_PAUSE = 60.0
_STEADY = 60.0
"""Seconds that a follower must live for the next pause to be short again."""

RENEWED = 600.0
"""Seconds after which the follower is replaced."""

_PATIENCE = 0.1
_SILENCE = 60.0
"""Seconds without an entry after which a journalctl that should read to the end is given up."""


_ENVIRONMENT = {**os.environ, "LC_ALL": "C"}
_FIELDS = "MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID,_COMM,_HOSTNAME"
_FOLLOW = ["--follow", "--no-tail"]
_UNSEEN = "not seeing messages from other users"


class JournalSource:
    """The entries of some units, as blocks of lines, with a cursor to go on from."""

    def __init__(self, settings: LogSettings, cursor: str | None, since: float) -> None:
        """`cursor`: as `cursor()` gave it; without one, reading begins with the entries that were
        written after `since` (seconds since 1970)."""
        self.name = name(settings)
        self._base = [
            *_journalctl(settings),
            "--output=json",
            "--all",
            f"--output-fields={_FIELDS}",
        ]
        self._folder = settings.journal_directory
        self._matches = _matches(settings)
        self._cursor = cursor or f"@{int(since)}"
        self._process: subprocess.Popen[bytes] | None = None
        self._follows = False
        self._lines = Lines(LONGEST_ENTRY)
        self._began = self._heard = 0.0
        self._trouble: str | None = None
        self._said: list[str] = []
        self._pause = 0.0

    def cursor(self) -> str:
        """Where reading stands behind the last block: a cursor, or `@seconds` while no entry was
        read."""
        return self._cursor

    def blocks(self) -> Iterator[bytes]:
        """The lines of all entries there are. An empty block: none at hand, but more to come."""
        if self._process is None and time.monotonic() - self._began < self._pause:
            return
        try:
            yield from self._entries()
        except ReadingError as error:
            self.close()
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LAST_PAUSE)
            self._trouble = f"{error}: it is started again"

    def trouble(self) -> str | None:
        """What keeps the journal from being read as a whole."""
        return self._trouble

    def progress(self) -> None:
        """How much is to come cannot be known."""
        return

    def waits(self) -> list[int]:
        """The pipe that becomes readable when there is more."""
        if self._process is None or self._process.stdout is None:
            return []
        return [self._process.stdout.fileno()]

    def close(self) -> None:
        """End journalctl; what it wrote and nobody read is read again behind the cursor."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def _entries(self) -> Iterator[bytes]:
        """All entries up to the end. Raises ReadingError when journalctl cannot be kept running."""
        if self._process is None or (self._follows and self._lived() >= RENEWED):
            self._start(follow=False)
        if not self._follows:
            while not (yield from self._read(_PATIENCE)):
                if time.monotonic() - self._heard > _SILENCE:
                    raise ReadingError(f"journalctl says nothing for {_SILENCE:g} s")
                yield b""
            self._see_how_it_ended(expected=True)
            self._start(follow=True)
        if (yield from self._read(0.0)):
            self._see_how_it_ended(expected=False)
        if self._lived() >= self._pause:
            self._trouble = None
        if self._lived() >= _STEADY:
            self._pause = 0.0

    def _lived(self) -> float:
        return time.monotonic() - self._began

    def _start(self, *, follow: bool) -> None:
        self.close()
        only_time = self._cursor.startswith("@")
        place = f"--since={self._cursor}" if only_time else f"--cursor={self._cursor}"
        more = [*_FOLLOW, *(["--merge"] if self._folder else [])] if follow else []
        self._lines = Lines(LONGEST_ENTRY)
        self._follows = follow
        self._began = self._heard = time.monotonic()
        try:
            self._process = subprocess.Popen(
                [*self._base, *more, place, *self._matches],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_ENVIRONMENT,
                start_new_session=True,  # a Ctrl-C is for popgate, which ends it when it has read
            )
        except OSError as error:
            raise ReadingError(f"journalctl cannot be started ({error.strerror})") from error
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)

    def _read(self, patience: float) -> Generator[bytes, None, bool]:
        """The entries at hand; returns whether journalctl has closed its end."""
        assert self._process is not None
        assert self._process.stdout is not None
        ended = False
        for piece in pieces(self._process.stdout.fileno(), patience):
            ended = not piece
            self._heard = time.monotonic()
            block, cursor = lines_of(self._lines.whole(piece), behind=self._cursor)
            self._cursor = cursor or self._cursor
            if block:
                yield block
        if not ended:
            self._listen()
        return ended

    def _see_how_it_ended(self, *, expected: bool) -> None:
        """Raises ReadingError when journalctl ended otherwise than at the end of the journal."""
        assert self._process is not None
        code = self._process.wait()
        last = self._listen()
        if expected and code == 0:
            return
        seconds = cursor_seconds(self._cursor)
        if "cursor" in last and seconds is not None:
            self._cursor = f"@{seconds}"
        raise ReadingError(f"journalctl ended with {code} ({last or 'without a word'})")

    def _listen(self) -> str:
        """Log what journalctl says on stderr, each line once; the last line."""
        assert self._process is not None
        assert self._process.stderr is not None
        try:
            words = os.read(self._process.stderr.fileno(), 4096).decode("ascii", "replace")
        except BlockingIOError:
            return ""
        lines = words.splitlines()
        for line in lines:
            if line not in self._said:
                self._said = [*self._said[-20:], line]
                log.warning("event=journalctl_said text=%r", line)
        return lines[-1] if lines else ""


def name(settings: LogSettings) -> str:
    """What the journal is called in messages and in the state."""
    folder = settings.journal_directory
    return f"journal:{folder}" if folder else "journal"


def absent_units(settings: LogSettings) -> Iterator[str]:
    """What keeps the units from being read, a line each: those that the journal has no entry of."""
    for field in ("_SYSTEMD_UNIT", "_SYSTEMD_SLICE"):
        wanted = [unit for unit in settings.units if _field(unit) == field]
        if not wanted:
            continue
        try:
            done = subprocess.run(
                [*_journalctl(settings), f"--field={field}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=_ENVIRONMENT,
                timeout=_SILENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            yield f"{name(settings)}: journalctl cannot be run: {error}"
            return
        words = done.stderr.decode("ascii", "replace").strip()
        if done.returncode != 0:
            yield f"{name(settings)}: journalctl ended with {done.returncode} ({words})"
            return
        if _UNSEEN in words:
            yield f"{name(settings)}: you may see your own entries alone; root sees all"
        known = set(done.stdout.decode("utf-8", "replace").split("\n"))
        yield from (
            f"{unit}: the journal has no entry of it" for unit in wanted if unit not in known
        )


def tail(settings: LogSettings, count: int) -> tuple[bytes, int | None]:
    """The lines of the last entries of the units, and the second of the last one; None when there
    is none. Raises ReadingError."""
    arguments = [*_journalctl(settings), "--output=json", "--all", f"--output-fields={_FIELDS}"]
    try:
        done = subprocess.run(
            [*arguments, f"--lines={count}", *_matches(settings)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=_ENVIRONMENT,
            timeout=_SILENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ReadingError(f"{name(settings)}: journalctl cannot be run: {error}") from error
    words = done.stderr.decode("ascii", "replace").strip()
    if done.returncode != 0:
        raise ReadingError(f"{name(settings)}: journalctl ended with {done.returncode} ({words})")
    lines, cursor = lines_of(done.stdout)
    if cursor is None and _UNSEEN in words:
        raise ReadingError(f"{name(settings)}: you may see your own entries alone; root sees all")
    return lines, cursor_seconds(cursor) if cursor else None


def _journalctl(settings: LogSettings) -> list[str]:
    folder = settings.journal_directory
    return ["journalctl", "--no-pager", *([f"--directory={folder}"] if folder else [])]


def _field(unit: str) -> str:
    """The trusted field that names such a unit. Instances of a template have names of their own,
    but all are in its slice."""
    return "_SYSTEMD_SLICE" if unit.endswith(".slice") else "_SYSTEMD_UNIT"


def _matches(settings: LogSettings) -> list[str]:
    """journalctl's terms: alternatives of a field count as or, other fields as and, `+` as or."""
    programs = [f"_EXE={program}" for program in settings.executables]
    terms: list[str] = []
    for field in ("_SYSTEMD_UNIT", "_SYSTEMD_SLICE"):
        units = [f"{field}={unit}" for unit in settings.units if _field(unit) == field]
        if units:
            terms += [*(["+"] if terms else []), *units, *programs]
    return terms

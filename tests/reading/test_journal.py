"""The journal, read by real journalctl from real journal files: each trusted entry once."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from lab.journal import Journal, entry
from lab.processes import PATIENCE, alive, wait_for
from tests.reading.scanning import NOW, numbered
from tracker.reading.sources import journal as journal_module
from tracker.reading.sources.journal import JournalSource, absent_units
from tracker.settings import LogSettings

CORPUS = Path(__file__).parents[1] / "corpus/journald"
LATE = 1_795_509_000.0
"""A moment that is before the entries of these tests, as seconds since 1970."""


class Reading:
    """A journal and one that reads it."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.settings = LogSettings(
            files=(), units=("dovecot.service",), journal_directory=str(journal.folder)
        )
        self.source = JournalSource(self.settings, None, LATE)
        self.read: list[str] = []
        self._count = 0

    def write(self, count: int = 1) -> list[str]:
        """So many numbered entries; what they say."""
        said = [f"entry {self._count + n}" for n in range(count)]
        at = [NOW + timedelta(milliseconds=self._count + n) for n in range(count)]
        self._count += count
        self.journal.write(*map(entry, said, at))
        return said

    def poll(self) -> list[str]:
        """What is at hand now, as messages."""
        new = b"".join(self.source.blocks()).decode().splitlines()
        self.read += [line.split(": ", 1)[1] for line in new]
        return self.read[len(self.read) - len(new) :]

    def wait_until_read(self, messages: list[str]) -> None:
        wait_for("the entries", lambda: (self.poll(), self.read[-len(messages) :] == messages)[1])

    def wait_for_another_start(self) -> None:
        began = self.source._began
        wait_for("a start", lambda: (self.poll(), self.source._began > began)[1])

    def restart(self) -> None:
        """As after a stop of popgate: only the cursor remains."""
        cursor = self.source.cursor()
        self.source.close()
        self.source = JournalSource(self.settings, cursor, 0)

    @property
    def pid(self) -> int:
        """The journalctl that follows."""
        assert self.source._process is not None
        return self.source._process.pid


@pytest.fixture
def reading(journal: Journal) -> Iterator[Reading]:
    made = Reading(journal)
    yield made
    made.source.close()


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(journal_module, "_LAST_PAUSE", 0.04)


def test_the_recorded_journal_gives_the_recorded_events(journal: Journal) -> None:
    journal.write((CORPUS / "dovecot-2.3.19-basic.export").read_bytes())
    settings = LogSettings(units=("dovecot.service",), journal_directory=str(journal.folder))
    source = JournalSource(settings, None, LATE)
    block = b"".join(source.blocks())
    source.close()
    events = numbered(block)
    lines = (CORPUS / "dovecot-2.3.19-basic.expected.jsonl").read_bytes().splitlines()
    expected = {row["line"]: row for row in map(msgspec.json.decode, lines)}
    told = {
        number: (type(event).__name__.lower(), event.service, event.address, event.session)
        for number, event in events.items()
    }
    assert {number: row for number, row in told.items() if row[0] != "failed"} == {
        number: (row["event"], row["service"], row["ip"], row["session"])
        for number, row in expected.items()
        if row["event"] != "failed"
    }
    assert [number for number, row in told.items() if row[0] == "login"]


def test_entries_are_read_once_as_they_are_written(reading: Reading) -> None:
    first = reading.write(3)
    assert reading.poll() == first
    assert reading.poll() == []
    second = reading.write(2)
    reading.wait_until_read(second)
    assert reading.read == first + second


def test_a_follower_wakes_its_reader(reading: Reading) -> None:
    reading.write(1)
    reading.poll()
    (pipe,) = reading.source.waits()
    second = reading.write(1)
    assert select.select([pipe], [], [], PATIENCE)[0]
    reading.wait_until_read(second)


def test_reading_begins_with_what_is_younger_than_the_window(journal: Journal) -> None:
    journal.write(entry("old", NOW - timedelta(hours=1)), entry("young", NOW))
    reading = Reading(journal)
    reading.source.close()
    since = NOW - timedelta(minutes=30)
    reading.source = JournalSource(reading.settings, None, since.timestamp())
    assert reading.poll() == ["young"]
    reading.source.close()


@pytest.mark.parametrize("packets", [1, 2, 40])
def test_a_restart_goes_on_behind_the_last_entry(reading: Reading, packets: int) -> None:
    written: list[str] = []
    for _ in range(packets):
        written += reading.write(2)
        reading.poll()
        written += reading.write(1)
        reading.restart()
    reading.poll()
    assert reading.read == written


def test_a_restart_in_the_middle_of_a_large_journal(reading: Reading) -> None:
    written = reading.write(5000)
    for _ in range(3):
        block = next(reading.source.blocks()).decode().splitlines()
        reading.read += [line.split(": ", 1)[1] for line in block]
        reading.restart()
    reading.poll()
    assert reading.read == written


def test_a_restart_before_any_entry_was_written(reading: Reading) -> None:
    assert reading.poll() == []
    reading.restart()
    written = reading.write(2)
    reading.poll()
    assert reading.read == written


def test_rotated_journal_files_are_read_through(reading: Reading) -> None:
    written = reading.write(2)
    reading.poll()
    for number in range(3):
        written += reading.write(1)
        reading.journal.rotate(str(number))
        written += reading.write(1)
        reading.wait_until_read(written[-1:])
    reading.journal.rotate("last")
    written += reading.write(1)
    reading.restart()
    reading.poll()
    assert reading.read == written


def test_a_cursor_whose_entry_is_gone_leads_to_the_next_one_there_is(reading: Reading) -> None:
    reading.write(3)
    reading.poll()
    reading.write(1)
    reading.journal.rotate("1").unlink()
    kept = reading.write(2)
    reading.restart()
    assert reading.poll() == kept


@pytest.mark.usefixtures("short_pauses")
def test_a_cursor_that_journalctl_does_not_understand_counts_by_its_time(reading: Reading) -> None:
    written = reading.write(2)
    reading.source.close()
    cursor = f"rubbish;t={int(NOW.timestamp() * 1_000_000):x};"
    reading.source = JournalSource(reading.settings, cursor, 0)
    reading.poll()
    assert "Failed to seek to cursor" in (reading.source.trouble() or "")
    reading.wait_until_read(written)


# Who may write


def test_only_entries_of_the_units_are_read(reading: Reading) -> None:
    at = NOW
    reading.journal.write(
        entry("by a user's logger", at, unit="user@1000.service"),
        entry("by a session", at, unit="session-3.scope", _EXE="/usr/bin/logger"),
        entry("claims a unit", at, unit="cron.service", UNIT="dovecot.service"),
        entry("about a unit", at, unit="init.scope", OBJECT_SYSTEMD_UNIT="dovecot.service"),
        entry("longer name", at, unit="dovecot.service.evil"),
        entry("true", at),
    )
    assert reading.poll() == ["true"]


def test_units_slices_and_executables_narrow_together(journal: Journal) -> None:
    instance = {"unit": "popa3d@7-1.service", "_SYSTEMD_SLICE": "system-popa3d.slice"}
    journal.write(
        entry("dovecot", NOW),
        entry("script", NOW, _EXE="/home/eve/script"),
        entry("popa3d", NOW, **instance, _EXE="/usr/sbin/popa3d"),
        entry("filter", NOW, **instance, _EXE="/usr/bin/logger"),
        entry("other", NOW, unit="other.service", _EXE="/usr/sbin/popa3d"),
    )
    settings = LogSettings(
        units=("dovecot.service", "system-popa3d.slice"),
        executables=("/usr/lib/dovecot/log", "/usr/sbin/popa3d"),
        journal_directory=str(journal.folder),
    )
    source = JournalSource(settings, None, LATE)
    lines = b"".join(source.blocks()).decode().splitlines()
    source.close()
    assert [line.split(": ", 1)[1] for line in lines] == ["dovecot", "popa3d"]


def test_units_that_never_wrote_are_named(journal: Journal) -> None:
    journal.write(entry("x", NOW))
    units = ("dovecot.service", "dovcot.service", "system-popa3d.slice")
    settings = LogSettings(units=units, journal_directory=str(journal.folder))
    assert list(absent_units(settings)) == [
        "dovcot.service: the journal has no entry of it",
        "system-popa3d.slice: the journal has no entry of it",
    ]


def test_a_journal_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = LogSettings(units=("dovecot.service",), journal_directory=str(tmp_path / "none"))
    (line,) = absent_units(settings)
    assert line.startswith(f"journal:{tmp_path / 'none'}: journalctl ended with 1")


# When journalctl fails


@pytest.mark.usefixtures("short_pauses")
def test_a_journalctl_that_is_killed_is_started_again_and_nothing_is_lost(reading: Reading) -> None:
    written: list[str] = []
    for _ in range(3):
        written += reading.write(2)
        reading.wait_until_read(written[-2:])
        written += reading.write(1)
        os.kill(reading.pid, signal.SIGKILL)
        wait_for("the end", lambda: (reading.poll(), reading.source.trouble())[1])
        reading.wait_until_read(written[-1:])
        wait_for("health", lambda: (reading.poll(), reading.source.trouble() is None)[1])
    assert reading.read == written


def test_a_journalctl_that_is_killed_is_a_trouble_and_is_not_started_at_once(
    reading: Reading,
) -> None:
    reading.write(1)
    reading.poll()
    os.kill(reading.pid, signal.SIGKILL)
    wait_for("the end", lambda: not alive(reading.pid))
    reading.poll()
    assert reading.source.trouble() == (
        "journalctl ended with -9 (without a word): it is started again"
    )
    assert reading.source.waits() == []


@pytest.mark.usefixtures("short_pauses")
def test_a_journal_that_is_not_there_is_waited_for_and_said_once(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    reading = Reading(journal)
    away = journal.folder.rename(journal.folder.with_name("away"))
    for _ in range(4):
        reading.wait_for_another_start()
    assert "No such file or directory" in (reading.source.trouble() or "")
    assert len([record for record in caplog.records if "journalctl_said" in record.message]) == 1
    away.rename(journal.folder)
    reading.wait_until_read(reading.write(1))
    reading.source.close()


@pytest.mark.usefixtures("short_pauses")
def test_a_missing_journalctl_is_a_trouble(
    reading: Reading, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(journal_module, "_ENVIRONMENT", {"PATH": str(tmp_path)})
    reading.poll()
    assert reading.source.trouble() == (
        "journalctl cannot be started (No such file or directory): it is started again"
    )


def test_a_follower_is_replaced_now_and_then_and_nothing_is_lost(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = reading.write(1)
    reading.poll()
    os.kill(reading.pid, signal.SIGSTOP)
    written += reading.write(2)
    assert reading.poll() == []
    monkeypatch.setattr(journal_module, "RENEWED", 0.0)
    reading.wait_until_read(written[-2:])
    assert reading.read == written


def test_a_journalctl_ends_with_its_reader(reading: Reading) -> None:
    reading.poll()
    pid = reading.pid
    reading.source.close()
    assert not alive(pid)

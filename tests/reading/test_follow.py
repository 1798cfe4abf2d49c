"""Files, standard input and the journal side by side, each with its position and its troubles."""

from __future__ import annotations

import gzip
import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time

from lab.journal import Journal, entry
from tests.moments import NOW, login_line
from tracker.reading import follow
from tracker.reading.follow import LogReader
from tracker.reading.formats import find
from tracker.reading.sources import matching
from tracker.reading.sources.files import QUIET
from tracker.reading.sources.stdin import Stdin
from tracker.records import Origin, Position
from tracker.settings import LogSettings

DOVECOT = find("dovecot", None)
LONG_AGO = NOW - timedelta(hours=1)


class Saved:
    """What the store keeps of positions."""

    def __init__(self) -> None:
        self.places: dict[str, list[Position]] = {}
        self.cursors: dict[str, str] = {}

    def positions(self, path: str) -> list[Position]:
        return self.places.get(path, [])

    def cursor(self, journal: str) -> str | None:
        return self.cursors.get(journal)

    def memory(self) -> bytes:
        return b""


class Site:
    """Settings, what is saved, and the reader of now."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.saved = Saved()
        self.reader: LogReader

    def open(self, *files: Path | str, **more: object) -> None:
        settings = LogSettings(files=tuple(map(Path, files)), **more)  # type: ignore[arg-type]
        self.settings = settings
        self.reader = LogReader(settings, [DOVECOT], self.saved, NOW, LONG_AGO)
        self._stack.callback(self.reader.close)

    def step(self, now: datetime = NOW, *, save: bool = True) -> list[str]:
        """One step; the users that logged in."""
        events, _ = self.reader.read(now)
        if save:
            self.saved.places |= self.reader.positions()
            self.saved.cursors |= self.reader.cursors()
            self.reader.saved()
        return [event.user or "" for event in events]

    def restart(self) -> None:
        self.reader.close()
        self.reader = LogReader(self.settings, [DOVECOT], self.saved, NOW, LONG_AGO)
        self._stack.callback(self.reader.close)


@pytest.fixture
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(stack)


def write(path: Path, *users: str) -> None:
    with path.open("a") as file:
        file.writelines(login_line("203.0.113.5", user) for user in users)


# Stars


def test_all_files_that_match_are_followed_also_those_that_come_later(
    site: Site, tmp_path: Path
) -> None:
    write(tmp_path / "a.log", "a1")
    write(tmp_path / "b.log", "b1")
    write(tmp_path / "other", "no")
    site.open(tmp_path / "*.log")
    assert site.step() == ["a1", "b1"]
    write(tmp_path / "c.log", "c1")
    write(tmp_path / "a.log", "a2")
    assert site.step() == ["a2", "c1"]
    site.restart()
    write(tmp_path / "b.log", "b2")
    assert site.step() == ["b2"]


@pytest.mark.parametrize("rotated", ["mail.log.1", "mail.log-20261124", "mail.log.2.gz"])
def test_a_rotated_neighbour_is_not_followed_for_itself(
    site: Site, tmp_path: Path, rotated: str
) -> None:
    log = tmp_path / "mail.log"
    write(log, "one")
    site.open(tmp_path / "*")
    assert site.step() == ["one"]
    write(log, "two")
    log.rename(tmp_path / rotated)
    assert site.step() == ["two"]
    write(log, "three")
    assert site.step() == ["three"]
    site.restart()
    assert site.step() == []


@pytest.mark.parametrize("rotated", ["mail.1.log", "mail-20261124.log", "mail-old.log"])
def test_one_that_still_matches_when_it_was_renamed_is_not_read_again(
    site: Site, tmp_path: Path, rotated: str
) -> None:
    log = tmp_path / "mail.log"
    write(log, "one")
    site.open(tmp_path / "*.log")
    assert site.step() == ["one"]
    write(log, "two")
    log.rename(tmp_path / rotated)
    write(log, "three")
    assert sorted(site.step()) == ["three", "two"]
    assert site.step() == []
    site.restart()
    assert site.step() == []
    write(log, "four")
    assert site.step() == ["four"]


def test_a_new_file_with_the_inode_of_one_that_was_renamed_is_read(
    site: Site, tmp_path: Path
) -> None:
    log, old = tmp_path / "mail.log", tmp_path / "mail-old.log"
    with freeze_time(NOW) as clock:
        write(log, "one")
        site.open(tmp_path / "*.log")
        site.step()
        log.rename(old)
        write(log, "two")
        site.step()
        clock.tick(QUIET + 1)
        site.step()
        old.unlink()
        site.step()
        write(tmp_path / "new.log", "three")
        assert site.step() == ["three"]


def test_a_file_named_beside_a_pattern_that_matches_it_is_read_once(
    site: Site, tmp_path: Path
) -> None:
    log = tmp_path / "mail.log"
    write(log, "one")
    site.open(log, tmp_path / "*")
    assert site.step() == ["one"]
    log.rename(tmp_path / "mail.log.1")
    write(log, "two")
    assert site.step() == ["two"]


def test_dated_files_that_are_no_neighbours_of_a_log_are_followed(
    site: Site, tmp_path: Path
) -> None:
    site.open(tmp_path / "mail-*")
    write(tmp_path / "mail-20261123", "monday")
    assert site.step() == ["monday"]
    write(tmp_path / "mail-20261124", "tuesday")
    assert site.step() == ["tuesday"]


def test_stars_that_match_nothing_are_waited_for(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "folder.log").mkdir()
    site.open(tmp_path / "*.log")
    for _ in range(2):
        site.step()
        assert site.reader.troubles() == [f"{tmp_path}/*.log: nothing matches yet"]
    write(tmp_path / "mail.log", "one")
    assert site.step() == ["one"]
    assert site.reader.troubles() == []
    assert [record.getMessage() for record in caplog.records] == [
        f"event=waiting file={tmp_path}/*.log reason='nothing matches yet'",
        f"event=reading file={tmp_path}/*.log",
    ]


def test_a_file_that_is_gone_for_good_is_let_go_of(site: Site, tmp_path: Path) -> None:
    gone, stays = tmp_path / "gone.log", tmp_path / "stays.log"
    with freeze_time(NOW) as clock:
        write(gone, "one")
        write(stays, "two")
        site.open(tmp_path / "*.log")
        site.step()
        gone.unlink()
        site.step()
        assert site.reader.troubles() == [f"{gone}: does not exist yet"]
        clock.tick(QUIET + 1)
        site.step()
        assert site.reader.troubles() == []
        assert site.saved.places[str(gone)] == []
        assert str(gone) not in site.reader.watched()
        write(gone, "three")
        assert site.step() == ["three"]


def test_too_many_files_are_a_trouble(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "MOST", 2)
    for number in range(3):
        write(tmp_path / f"{number}.log", str(number))
    site.open(tmp_path / "*.log")
    assert site.step() == ["0", "1"]
    assert site.reader.troubles() == [f"{tmp_path}/*.log: matches 3 files: only 2 are followed"]


# Standard input


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Standard input is a pipe; this writes to it, and nothing ends it."""
    reads, writes = os.pipe()
    source = Stdin(reads)
    monkeypatch.setattr(follow, "standard_input", lambda: source)

    def put(text: bytes) -> None:
        if text:
            os.write(writes, text)
        else:
            os.close(writes)

    yield put
    os.close(reads)


def line(user: str) -> bytes:
    return login_line("203.0.113.5", user).encode()


def test_lines_of_standard_input_count_when_they_are_whole(
    site: Site, pipe: Callable[[bytes], None]
) -> None:
    site.open("-")
    pipe(line("one") + line("two")[:40])
    assert site.step() == ["one"]
    assert site.step() == []
    assert not site.reader.ended()
    pipe(line("two")[40:] + line("cut off")[:-1])
    assert site.step() == ["two"]
    pipe(b"")
    assert site.step() == []
    assert site.reader.ended()
    assert site.reader.waits() == []


def test_lines_of_a_step_that_was_not_saved_are_given_again(
    site: Site, pipe: Callable[[bytes], None]
) -> None:
    site.open("-")
    pipe(line("one"))
    assert site.step() == ["one"]
    pipe(line("two") + line("three")[:50])
    assert site.step(save=False) == ["two"]
    site.restart()
    pipe(line("three")[50:])
    assert site.step() == ["two", "three"]
    site.restart()
    assert site.step() == []


# Side by side


def test_all_kinds_of_sources_are_read_side_by_side(
    site: Site, tmp_path: Path, pipe: Callable[[bytes], None], journal: Journal
) -> None:
    log = tmp_path / "mail.log"
    write(log, "of the file")
    pipe(line("of the pipe"))
    message = login_line("203.0.113.5", "of the journal").partition("dovecot: ")[2].strip()
    journal.write(entry(message, NOW))
    site.open(log, "-", units=("dovecot.service",), journal_directory=str(journal.folder))
    assert site.step() == ["of the pipe", "of the journal", "of the file"]
    assert len(site.reader.waits()) == 2
    site.restart()
    write(log, "more")
    assert site.step() == ["more"]


def test_a_source_that_has_much_to_catch_up_on_does_not_hold_up_the_others(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    large, live = tmp_path / "a.log", tmp_path / "b.log"
    with large.open("w") as file:
        for _ in range(5):
            file.write("noise that is no line of a mail server at all\n" * 100_000)
    write(large, "last")
    site.open(large, live)
    write(live, "one")
    assert site.step() == ["one"]
    assert site.reader.more()
    (percent,) = site.reader.progress().values()
    assert percent is not None
    assert 0 < percent < 100
    write(live, "two")
    assert site.step(NOW + timedelta(seconds=11)) == ["two"]
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"event=catching_up file={large} percent=")
    found: list[str] = []
    while site.reader.more():
        found += site.step()
    assert found == ["last"]
    assert site.reader.progress() == {}


def test_catching_up_goes_on_where_it_was_interrupted(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    with log.open("w") as file:
        file.writelines(login_line("203.0.113.5", f"u{n}") for n in range(200_000))
    site.open(log)
    first = site.step()
    assert site.reader.more()
    site.restart()
    rest: list[str] = site.step()
    while site.reader.more():
        rest += site.step()
    assert first + rest == [f"u{n}" for n in range(200_000)]


def line_at(origin: Origin | None) -> str:
    """The line that stands at the place that was told, in the file that has that inode."""
    assert origin is not None
    _, inode, offset = map(int, origin.place.split("/"))
    folder = Path(origin.source).parent
    (file,) = (one for one in folder.iterdir() if one.stat().st_ino == inode)
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
        opened.seek(offset)
        return opened.readline().decode()


def test_the_line_of_an_event_stands_at_the_place_that_is_told(site: Site, tmp_path: Path) -> None:
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    one.write_text("noise\n" + "".join(login_line(f"203.0.113.{n}", f"u{n}") for n in range(5)))
    two.write_text("".join(f"noise {n}\n{login_line('203.0.113.9', f'v{n}')}" for n in range(2000)))
    site.open(one, two)
    users = site.step()
    assert len(users) == 2005
    for number in (0, 4, 5, 1500, 2004):
        origin = site.reader.origin(number)
        assert origin is not None
        assert f"user=<{users[number]}>" in origin.line
        assert line_at(origin) == f"{origin.line}\n"
    one.rename(tmp_path / "one.log.1")
    one.write_text("more noise\n" + login_line("203.0.113.7", "after"))
    assert site.step() == ["after"]
    assert line_at(site.reader.origin(0)).startswith(NOW.isoformat())
    assert site.reader.origin(1) is None


def test_the_place_in_a_packed_file_is_that_of_what_is_in_it(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_text("")
    with gzip.open(tmp_path / "mail.log.1.gz", "wt") as packed:
        packed.write("noise\n" + login_line("203.0.113.5", "packed"))
    site.open(log)
    assert site.step() == ["packed"]
    assert "user=<packed>" in line_at(site.reader.origin(0))


def test_the_line_of_a_server_that_writes_two_is_the_one_that_names_the_user(
    site: Site, tmp_path: Path
) -> None:
    log = tmp_path / "mail.log"
    stamp = NOW.isoformat()
    log.write_text(
        f"{stamp} mailhost popa3d[88]: Session from 203.0.113.6\n"
        f"{stamp} mailhost popa3d[88]: Authentication passed for bob\n"
    )
    settings = LogSettings(files=(log,))
    popa3d = find("popa3d", None)
    reader = LogReader(settings, [popa3d], site.saved, NOW, LONG_AGO)
    events, _ = reader.read(NOW)
    reader.close()
    lines = [reader.origin(number) for number in range(len(events))]
    assert [one.line.rpartition(": ")[2] for one in lines if one] == [
        "Authentication passed for bob"
    ]


def test_the_place_in_the_journal_is_the_cursor_of_the_entry(site: Site, journal: Journal) -> None:
    message = login_line("203.0.113.5", "alice").partition("dovecot: ")[2].strip()
    other = login_line("203.0.113.6", "bob").partition("dovecot: ")[2].strip()
    journal.write(*(entry(text, NOW) for text in ("noise", message, "noise", other)))
    site.open(units=("dovecot.service",), journal_directory=str(journal.folder))
    users: list[str] = []
    with freeze_time(NOW, tick=True):
        while users != ["alice", "bob"]:
            users = site.step() or users
    for number, user in enumerate(users):
        origin = site.reader.origin(number)
        assert origin is not None
        shown = subprocess.run(
            [
                "journalctl",
                f"--directory={journal.folder}",
                "--output=cat",
                "--lines=1",
                f"--cursor={origin.place}",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f"user=<{user}>" in shown


def test_nobody_can_go_back_to_a_line_of_standard_input(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    monkeypatch.setattr(follow, "standard_input", lambda: Stdin(read))
    os.write(write, login_line("203.0.113.5", "alice").encode())
    site.open("-")
    assert site.step() == ["alice"]
    origin = site.reader.origin(0)
    assert origin is not None
    assert (origin.source, origin.place) == ("-", "")
    assert "user=<alice>" in origin.line
    os.close(read)
    os.close(write)

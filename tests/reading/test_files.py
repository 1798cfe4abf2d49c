"""A log file is read line by line, once and in order, whatever is done to it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from freezegun import freeze_time

from tracker.errors import ReadingError
from tracker.reading.scanner import LONGEST_LINE
from tracker.reading.sources import listing
from tracker.reading.sources.files import MOST, QUIET, FileSource
from tracker.reading.sources.rotated import neighbours
from tracker.records import Position

OLD = 1_000_000_000.0
"""A time of last writing that is long before any `since`."""


class Log:
    """A log and what a writer, logrotate and popgate do to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.source = FileSource(path, [], since=0)
        self.read: list[str] = []

    def append(self, lines: int = 1, path: Path | None = None) -> list[str]:
        """Write so many numbered lines."""
        made = [f"line {self.count + n} {'x' * ((self.count + n) % 37)}" for n in range(lines)]
        self.count += lines
        with (path or self.path).open("a") as file:
            file.writelines(f"{line}\n" for line in made)
        return made

    def poll(self) -> list[str]:
        """What reading gives now, as lines."""
        new = b"".join(self.source.blocks()).decode().splitlines()
        self.read += new
        return new

    def restart(self, since: float = 0) -> None:
        """As after a stop of popgate: only the positions remain."""
        positions = self.source.positions()
        self.source.close()
        self.source = FileSource(self.path, positions, since)

    def neighbour(self, number: int, packed: bool = False) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}{'.gz' if packed else ''}")

    def _make_room(self) -> None:
        """log.1 becomes log.2 and so on; the ninth goes."""
        for number in range(9, 0, -1):
            for packed in (False, True):
                if self.neighbour(number, packed).exists():
                    if number == 9:
                        self.neighbour(number, packed).unlink()
                    else:
                        self.neighbour(number, packed).rename(self.neighbour(number + 1, packed))

    def rename(self, *, create: bool = True) -> None:
        self._make_room()
        self.path.rename(self.neighbour(1))
        if create:
            self.path.touch()

    def copytruncate(self) -> None:
        self._make_room()
        shutil.copyfile(self.path, self.neighbour(1))
        os.truncate(self.path, 0)

    def pack(self, number: int = 1) -> None:
        """As gzip does: a new file with the time of the old one, which is removed."""
        plain = self.neighbour(number)
        with gzip.open(self.neighbour(number, packed=True), "wb") as file:
            file.write(plain.read_bytes())
        status = plain.stat()
        os.utime(self.neighbour(number, packed=True), ns=(status.st_atime_ns, status.st_mtime_ns))
        plain.unlink()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path / "mail.log")
    yield made
    made.source.close()


# Growing


def test_what_is_appended_is_read_once(log: Log) -> None:
    first = log.append(3)
    assert log.poll() == first
    assert log.poll() == []
    second = log.append(2)
    assert log.poll() == second


def test_a_line_counts_when_its_end_is_written(log: Log) -> None:
    with log.path.open("a") as file:
        file.write("whole\nhalf a ")
        file.flush()
        assert log.poll() == ["whole"]
        assert log.poll() == []
        file.write("line\n")
    assert log.poll() == ["half a line"]


def test_a_half_line_is_completed_across_a_restart(log: Log) -> None:
    log.path.write_text("whole\nhalf a ")
    assert log.poll() == ["whole"]
    log.restart()
    with log.path.open("a") as file:
        file.write("line\n")
    assert log.poll() == ["half a line"]


def test_a_large_file_comes_in_blocks_of_whole_lines(log: Log) -> None:
    lines = log.append(20_000)
    blocks = list(log.source.blocks())
    assert len(blocks) > 1
    assert all(block.endswith(b"\n") for block in blocks)
    assert b"".join(blocks).decode().splitlines() == lines


def test_a_missing_file_is_waited_for(log: Log) -> None:
    assert log.poll() == []
    lines = log.append(2)
    assert log.poll() == lines
    log.restart()
    assert log.poll() == []


def test_a_file_that_is_missing_at_the_restart_goes_on_where_it_stopped(log: Log) -> None:
    log.append(2)
    log.poll()
    away = log.path.with_name("unmounted")
    log.path.rename(away)
    log.restart()
    assert log.poll() == []
    away.rename(log.path)
    lines = log.append(1)
    assert log.poll() == lines


# Rotation


def test_rename_and_create(log: Log) -> None:
    log.append(2)
    log.poll()
    last = log.append(1)
    log.rename()
    first = log.append(2)
    assert log.poll() == last + first


def test_a_writer_goes_on_in_the_renamed_file_until_it_is_told(log: Log) -> None:
    log.append(2)
    log.poll()
    with log.path.open("a") as writer:
        log.rename()
        assert log.poll() == []
        writer.write("late 1\n")
        writer.flush()
        assert log.poll() == ["late 1"]
        new = log.append(1)
        writer.write("late 2\n")
        writer.flush()
        assert log.poll() == ["late 2", *new]


def test_a_renamed_file_is_let_go_of_when_it_is_quiet_and_its_successor_grows(log: Log) -> None:
    with freeze_time("2026-11-24 12:00:00") as clock:
        log.append(2)
        log.poll()
        log.rename()
        log.append(2)
        log.poll()
        assert len(log.source.positions()) == 2
        clock.tick(QUIET + 1)
        log.poll()
        assert len(log.source.positions()) == 1


def test_a_renamed_file_is_kept_while_its_successor_is_empty(log: Log) -> None:
    with freeze_time("2026-11-24 12:00:00") as clock:
        log.append(2)
        log.poll()
        log.rename()
        log.poll()
        clock.tick(QUIET + 1)
        log.poll()
        assert len(log.source.positions()) == 2


def test_no_file_between_two_that_are_read_is_let_go_of(log: Log) -> None:
    """Else a restart would take it for one that was never read."""
    with freeze_time("2026-11-24 12:00:00") as clock:
        log.append(2)
        log.poll()
        with log.path.open("a") as writer:
            for _ in range(2):
                log.rename()
                log.append(2)
                log.poll()
            clock.tick(QUIET + 1)
            writer.write("still here\n")
            writer.flush()
            log.poll()
        log.poll()
        log.restart()
        assert log.poll() == []


def rotate_when_listed(log: Log, monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    """The next look lists the rotated files, and then the log is rotated."""
    done = False

    def listed(path: str) -> list[str]:
        nonlocal done
        names = neighbours(path)
        if not done:
            done = True
            log.rename()
            lines.extend(log.append(2))
        return names

    monkeypatch.setattr(listing, "neighbours", listed)


def test_a_rotation_in_the_middle_of_a_look(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append(2)
    log.poll()
    log.rename()
    lines = log.append(2)
    rotate_when_listed(log, monkeypatch, lines)
    assert log.poll() == lines


def test_a_rotation_in_the_middle_of_a_restart(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append(2)
    log.rename()
    log.append(2)
    log.poll()
    lines = log.append(2)
    log.restart()
    rotate_when_listed(log, monkeypatch, lines)
    assert log.poll() == lines


def test_many_quick_rotations_keep_few_files_open(log: Log) -> None:
    lines: list[str] = []
    for _ in range(3 * MOST):
        lines += log.append(1)
        log.poll()
        log.rename()
    assert log.read == lines
    assert len(log.source.positions()) <= MOST + 1
    log.restart()
    assert log.poll() == []


@pytest.mark.parametrize("lines", [0, 3])
def test_two_rotations_within_one_pause(log: Log, lines: int) -> None:
    log.append(2)
    log.poll()
    new: list[str] = []
    for _ in range(2):
        new += log.append(lines)
        log.rename()
    new += log.append(1)
    assert log.poll() == new


def test_copytruncate(log: Log) -> None:
    log.append(5)
    log.poll()
    log.copytruncate()
    assert log.poll() == []
    lines = log.append(2)
    assert log.poll() == lines


def test_copytruncate_when_the_new_content_is_longer_than_the_old(log: Log) -> None:
    log.append(2)
    log.poll()
    log.copytruncate()
    lines = log.append(200)
    assert log.poll() == lines


def test_copytruncate_saves_lines_that_were_not_read_yet(log: Log) -> None:
    log.append(2)
    log.poll()
    saved = log.append(2)
    log.copytruncate()
    lines = log.append(50)
    assert log.poll() == saved + lines


def test_copytruncate_twice_within_one_pause(log: Log) -> None:
    log.append(2)
    log.poll()
    new: list[str] = []
    for _ in range(2):
        new += log.append(2)
        log.copytruncate()
    new += log.append(1)
    assert log.poll() == new


def test_copytruncate_of_a_file_of_which_nothing_was_read(log: Log) -> None:
    log.append(2)
    log.poll()
    log.copytruncate()
    log.poll()
    lines = log.append(3)
    log.copytruncate()
    assert log.poll() == lines
    log.restart()
    assert log.poll() == []


def test_copytruncate_of_a_file_that_was_empty_at_the_first_start(log: Log) -> None:
    log.path.touch()
    log.source = FileSource(log.path, [], since=log.path.stat().st_mtime - 60)
    log.poll()
    lines = log.append(3)
    log.copytruncate()
    log.restart(log.path.stat().st_mtime - 60)
    assert log.poll() == lines


def test_a_copy_that_is_still_being_made_is_not_read(log: Log) -> None:
    log.append(2)
    log.poll()
    log.copytruncate()
    log.poll()
    lines = log.append(3)
    log._make_room()
    whole = log.path.read_bytes()
    for part in (b"", whole[:10], whole):
        log.neighbour(1).write_bytes(part)
        log.poll()
    os.truncate(log.path, 0)
    log.poll()
    assert log.read[2:] == lines


def test_the_rest_of_a_line_that_copytruncate_cut_in_two_is_no_line(log: Log) -> None:
    log.path.write_text("whole\nhalf a ")
    log.poll()
    log.copytruncate()
    with log.path.open("a") as file:
        file.write("Nov 24 08:45:29 forged\nnext\n")
    assert log.poll() == ["next"]


def test_truncation_without_a_copy(log: Log) -> None:
    log.append(5)
    log.poll()
    os.truncate(log.path, 0)
    lines = log.append(2)
    assert log.poll() == lines


def test_delete_and_recreate(log: Log) -> None:
    log.append(5)
    log.poll()
    log.path.unlink()
    assert log.poll() == []
    lines = log.append(9)
    assert log.poll() == lines


def test_a_reused_inode_number_is_not_taken_for_the_old_file(log: Log) -> None:
    log.append(5)
    log.poll()
    (position,) = log.source.positions()
    log.source.close()
    log.path.unlink()
    lines = log.append(9)
    inode = log.path.stat().st_ino
    reused = Position(
        position.path,
        position.device,
        inode,
        position.offset,
        position.fingerprint_length,
        position.fingerprint,
    )
    log.source = FileSource(log.path, [reused], since=0)
    assert log.poll() == lines


def test_a_link_that_is_pointed_elsewhere(tmp_path: Path) -> None:
    log = Log(tmp_path / "mail.log")
    log.path.symlink_to(tmp_path / "monday")
    monday = log.append(2)
    assert log.poll() == monday
    late = log.append(1)
    log.path.unlink()
    log.path.symlink_to(tmp_path / "tuesday")
    tuesday = log.append(2)
    assert log.poll() == late + tuesday
    log.source.close()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


@pytest.mark.parametrize("end", ["", *PACKERS])
@pytest.mark.parametrize(
    "name",
    [
        "mail.log.2",
        "mail.log-20261123",
        "mail.log.20261123",
        "mail.log-2026112308",
        "mail.log-20261123-1764000000",
        "mail.1.log",
        "mail-20261123.log",
    ],
)
def test_rotated_names(log: Log, name: str, end: str) -> None:
    log.append(2)
    log.poll()
    saved = log.append(2)
    content = log.path.read_bytes()
    log.path.unlink()
    rotated = log.path.with_name(name + end)
    rotated.write_bytes(PACKERS[end](content) if end else content)
    new = log.append(1)
    log.restart()
    assert log.poll() == saved + new


@pytest.mark.parametrize("name", ["mail.log.1.zst", "mail.log.old", "mail.logs.1", "xmail.log.1"])
def test_names_of_other_files(log: Log, name: str) -> None:
    log.append(1, log.path.with_name(name))
    lines = log.append(1)
    assert log.poll() == lines


def test_dated_neighbours_are_read_in_the_order_of_their_dates(log: Log) -> None:
    lines: list[str] = []
    for date in ("20261121", "20261122-1764000000", "20261123"):
        lines += log.append(2, log.path.with_name(f"mail.log-{date}"))
    lines += log.append(2)
    assert log.poll() == lines


def test_a_neighbour_that_is_no_file_does_not_stop_the_log(log: Log) -> None:
    log.neighbour(1).mkdir()
    os.mkfifo(log.neighbour(2))
    lines = log.append(2)
    assert log.poll() == lines


def test_a_damaged_packed_file_does_not_stop_the_log(log: Log) -> None:
    for number, (end, pack) in enumerate(PACKERS.items()):
        name = f"{log.path.name}.{2 * number + 1}{end}"
        log.path.with_name(name).write_bytes(pack(b"a line\n" * 1000)[:40])
        name = f"{log.path.name}.{2 * number + 2}{end}"
        log.path.with_name(name).write_bytes(b"not packed at all")
    lines = log.append(2)
    assert log.poll() == lines


# Restart


def test_restart_in_the_same_file(log: Log) -> None:
    log.append(100)
    log.poll()
    log.restart()
    assert log.poll() == []
    lines = log.append(2)
    assert log.poll() == lines


def test_restart_in_a_file_that_other_device_numbers_have_since(log: Log) -> None:
    log.append(3)
    log.poll()
    moved = [
        Position(
            one.path, one.device + 1, one.inode, one.offset, one.fingerprint_length, one.fingerprint
        )
        for one in log.source.positions()
    ]
    log.source.close()
    log.source = FileSource(log.path, moved, since=0)
    assert log.poll() == []


@pytest.mark.parametrize("packed", [False, True])
def test_restart_after_a_rename(log: Log, packed: bool) -> None:
    log.append(2)
    log.poll()
    saved = log.append(2)
    log.rename()
    if packed:
        log.pack()
    new = log.append(2)
    log.restart()
    assert log.poll() == saved + new
    log.restart()
    assert log.poll() == []


def test_restart_while_copytruncate_has_made_the_copy_and_not_filled_it(log: Log) -> None:
    log.append(3)
    log.poll()
    log.copytruncate()
    log.append(3)
    log.poll()
    log.neighbour(1).rename(log.neighbour(2))
    log.neighbour(1).touch()
    log.restart()
    assert log.poll() == []
    shutil.copyfile(log.path, log.neighbour(1))
    assert log.poll() == []
    os.truncate(log.path, 0)
    more = log.append(2)
    assert log.poll() == more


@pytest.mark.parametrize("later", [0, 1, 100])
def test_restart_after_copytruncate(log: Log, later: int) -> None:
    log.append(2)
    log.poll()
    saved = log.append(2)
    log.copytruncate()
    new = log.append(later)
    log.restart()
    assert log.poll() == saved + new
    log.restart()
    assert log.poll() == []


def test_restart_when_the_file_is_gone(log: Log) -> None:
    log.append(2)
    log.poll()
    log.path.unlink()
    log.restart()
    assert log.poll() == []
    lines = log.append(3)
    assert log.poll() == lines


def test_restart_in_two_files_at_once(log: Log) -> None:
    log.append(2)
    log.poll()
    with log.path.open("a") as writer:
        log.rename()
        log.append(2)
        log.poll()
        assert len(log.source.positions()) == 2
        log.restart()
        writer.write("late\n")
        writer.flush()
    new = log.append(1)
    assert log.poll() == ["late", *new]


def test_the_order_of_the_saved_positions_does_not_matter(log: Log) -> None:
    for _ in range(3):
        log.append(2)
        log.rename()
    log.append(2)
    log.poll()
    positions = log.source.positions()
    for shuffled in (positions[::-1], positions[1:] + positions[:1]):
        other = FileSource(log.path, shuffled, since=0)
        assert list(other.blocks()) == []
        other.close()


def test_restart_while_a_copy_is_being_read(log: Log) -> None:
    log.append(2)
    log.poll()
    saved = log.append(20_000)
    log.copytruncate()
    new = log.append(2)
    read = next(log.source.blocks()).decode().splitlines()
    log.restart()
    assert read + log.poll() == saved + new


def test_restart_while_rotated_files_are_being_read(log: Log) -> None:
    lines: list[str] = []
    for _ in range(3):
        lines += log.append(10_000)
        log.rename()
    lines += log.append(10)
    blocks = log.source.blocks()
    read = [next(blocks) for _ in range(4)]
    log.rename()
    lines += log.append(10)
    log.restart()
    assert b"".join(read).decode().splitlines() + log.poll() == lines


def test_a_rotation_while_rotated_files_are_being_read(log: Log) -> None:
    lines: list[str] = []
    for _ in range(3):
        lines += log.append(10_000)
        log.rename()
    lines += log.append(10)
    blocks = log.source.blocks()
    read = next(blocks)
    log.rename()
    lines += log.append(10)
    assert (read + b"".join(blocks)).decode().splitlines() == lines


def test_the_first_start_takes_rotated_files_that_are_young_enough(log: Log) -> None:
    log.append(2, log.neighbour(3))
    os.utime(log.neighbour(3), (OLD, OLD))
    young = log.append(2, log.neighbour(2))
    os.utime(log.neighbour(2), (OLD + 100, OLD + 100))
    young += log.append(2, log.neighbour(1))
    young += log.append(2)
    log.source = FileSource(log.path, [], since=OLD + 50)
    assert log.poll() == young
    log.restart(OLD)
    assert log.poll() == []


def test_a_rotated_file_that_was_read_is_not_read_again_after_a_truncation(log: Log) -> None:
    with freeze_time("2026-11-24 12:00:00") as clock:
        log.append(2)
        log.poll()
        log.rename()
        log.append(2)
        log.poll()
        clock.tick(QUIET + 1)
        log.poll()
        log.restart()
        log.poll()
        os.truncate(log.path, 0)
        assert log.poll() == []


# Lines that are too long


def long_line(length: int) -> str:
    return "y" * length + "Nov 24 08:45:29 forged"


@pytest.mark.parametrize("length", [LONGEST_LINE, 2 * LONGEST_LINE, 3 * LONGEST_LINE + 7])
def test_a_line_that_is_too_long_is_skipped(log: Log, length: int) -> None:
    log.path.write_text(f"before\n{long_line(length)}\nafter\n")
    assert log.poll() == ["before", "after"]


def test_the_longest_line_is_read(log: Log) -> None:
    line = "y" * (LONGEST_LINE - 1)
    log.path.write_text(f"before\n{line}\nafter\n")
    assert log.poll() == ["before", line, "after"]


@pytest.mark.parametrize("restart", [False, True])
def test_the_rest_of_a_line_that_is_too_long_is_no_line(log: Log, restart: bool) -> None:
    with log.path.open("a") as file:
        file.write("before\n" + "y" * (LONGEST_LINE + 10))
        file.flush()
        assert log.poll() == ["before"]
        if restart:
            log.restart()
        file.write("Nov 24 08:45:29 forged")
        file.flush()
        assert log.poll() == []
        if restart:
            log.restart()
        file.write("\nafter\n")
    assert log.poll() == ["after"]


def test_the_rest_of_a_line_that_is_too_long_is_no_line_after_a_rotation(log: Log) -> None:
    with log.path.open("a") as file:
        file.write("before\n" + "y" * (LONGEST_LINE + 10))
        file.flush()
        log.poll()
        file.write("Nov 24 08:45:29 forged\nsaved\n")
    log.copytruncate()
    log.restart()
    assert log.poll() == ["saved"]


# What cannot be read


@contextmanager
def nobody() -> Iterator[None]:
    """Root may read everything; as nobody it may not."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)


def test_a_file_without_permission_is_an_error_and_read_when_it_is_permitted() -> None:
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # pytest's own are closed to nobody
        log = Log(Path(folder) / "mail.log")
        lines = log.append(2)
        log.path.chmod(0)
        with nobody(), pytest.raises(PermissionError):
            log.poll()
        log.path.chmod(0o644)
        with nobody():
            assert log.poll() == lines
        log.source.close()


def test_a_folder_is_refused_each_time(log: Log) -> None:
    log.path.mkdir()
    for _ in range(2):
        with pytest.raises(ReadingError, match=r"mail\.log: is no file"):
            log.poll()
    log.path.rmdir()
    lines = log.append(2)
    assert log.poll() == lines


def test_a_pipe_is_refused_and_nobody_waits_for_its_writer(log: Log) -> None:
    os.mkfifo(log.path)
    with pytest.raises(ReadingError, match="name a log file"):
        log.poll()


def test_a_fault_at_the_restart_loses_and_doubles_nothing(log: Log) -> None:
    log.append(2)
    log.poll()
    log.rename()
    saved = log.append(1, log.neighbour(1))
    log.path.unlink()
    log.path.mkdir()
    log.restart()
    before = log.source.positions()
    for _ in range(2):
        with pytest.raises(ReadingError):
            log.poll()
        assert log.source.positions() == before
    log.path.rmdir()
    new = log.append(2)
    assert log.poll() == saved + new


# Many rotations

KINDS = ["rename", "copytruncate", "rename, pack", "all of them"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_five_hundred_rotations_lose_and_double_nothing(log: Log, kind: str, seed: int) -> None:
    dice = random.Random(f"{kind} {seed}")
    moment = datetime(2026, 11, 24, 12, tzinfo=UTC)
    with freeze_time(moment) as clock:
        unpolled = 0
        log.path.touch()
        log.poll()
        for _ in range(500):
            log.append(dice.choice([0, 0, 1, 2, 30]))
            if dice.random() < 0.3:
                log.poll()
                log.append(dice.choice([0, 1]))
            now = kind if kind != "all of them" else dice.choice(KINDS[:3])
            if now == "copytruncate":
                log.copytruncate()
            else:
                log.rename()
                if now == "rename, pack":
                    log.pack()
            if dice.random() < 0.5:
                log.append(dice.choice([0, 1, 50]))
            unpolled += 1
            if dice.random() < 0.2:
                log.restart(moment.timestamp() - 3600)
            if unpolled == 3 or dice.random() < 0.4:
                log.poll()
                unpolled = 0
                clock.tick(dice.choice([1, QUIET + 1]))
        log.poll()
    assert [int(line.split()[1]) for line in log.read] == list(range(log.count))
    assert len(log.source.positions()) < 20

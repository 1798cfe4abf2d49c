"""inotify wakes the reader: for files, for what comes to match stars, and for nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchdog.events import FileModifiedEvent

from lab.processes import PATIENCE, wait_for
from tracker.reading.sources.watch import Watch


@pytest.fixture
def woken() -> threading.Event:
    return threading.Event()


@pytest.fixture
def watch(woken: threading.Event) -> Iterator[Watch]:
    made = Watch([], woken.set)
    yield made
    made.close()


def test_a_file_that_grows(watch: Watch, woken: threading.Event, tmp_path: Path) -> None:
    watch.refresh([str(tmp_path / "mail.log")])
    (tmp_path / "mail.log").write_text("x")
    assert woken.wait(PATIENCE)


def test_a_file_that_comes_to_match(watch: Watch, woken: threading.Event, tmp_path: Path) -> None:
    watch.refresh([str(tmp_path / "*.log")])
    (tmp_path / "other").write_text("x")
    (tmp_path / "mail.log").write_text("x")
    assert woken.wait(PATIENCE)


def test_what_a_link_points_to_in_another_folder(
    watch: Watch, woken: threading.Event, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere/target"
    target.touch()
    (tmp_path / "mail.log").symlink_to(target)
    watch.refresh([str(tmp_path / "mail.log")])
    target.write_text("x")
    assert woken.wait(PATIENCE)


def test_a_folder_that_comes_later(watch: Watch, woken: threading.Event, tmp_path: Path) -> None:
    file = tmp_path / "later/mail.log"
    watch.refresh([str(file)])
    file.parent.mkdir()
    watch.refresh([str(file)])

    def wakes() -> bool:
        file.write_text("x")
        return woken.wait(0.05)

    wait_for("the event", wakes)


@pytest.mark.parametrize(
    ("name", "wakes"),
    [
        ("mail.log", True),
        ("a.txt", True),
        ("mail.log.tmp", False),
        ("a.txt.gz", False),
        ("other", False),
    ],
)
def test_only_files_that_are_meant_wake(
    watch: Watch, woken: threading.Event, tmp_path: Path, name: str, wakes: bool
) -> None:
    watch.refresh([str(tmp_path / "mail.log"), str(tmp_path / "*.txt")])
    watch.dispatch(FileModifiedEvent(str(tmp_path / name)))
    assert woken.is_set() == wakes

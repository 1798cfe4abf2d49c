"""The list's file replaced: whole or not at all, with its owner and mode, the old one kept."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lab.processes import wait_for
from tracker.errors import ListFileError
from tracker.listfile import locked, replace


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "trusted.txt"
    made.write_text("old\n")
    return made


def test_the_new_text_takes_the_place_and_the_old_one_is_kept(file: Path) -> None:
    replace(file, "new\n")
    assert file.read_text() == "new\n"
    assert (file.parent / "trusted.txt~").read_text() == "old\n"
    replace(file, "newer\r\n")
    assert file.read_bytes() == b"newer\r\n"
    assert (file.parent / "trusted.txt~").read_text() == "new\n"
    assert sorted(os.listdir(file.parent)) == ["trusted.txt", "trusted.txt~"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664])
def test_the_mode_stays(file: Path, mode: int) -> None:
    file.chmod(mode)
    replace(file, "new\n")
    assert file.stat().st_mode & 0o7777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_stays(file: Path) -> None:
    os.chown(file, 65534, 65533)
    replace(file, "new\n")
    assert (file.stat().st_uid, file.stat().st_gid) == (65534, 65533)


def test_a_list_that_was_not_there_can_be_read_by_popgate_s_user(tmp_path: Path) -> None:
    replace(tmp_path / "trusted.txt", "new\n")
    assert (tmp_path / "trusted.txt").stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["trusted.txt"]


def test_what_a_link_points_to_is_replaced(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    with locked(link) as real:
        replace(real, "new\n")
    assert link.is_symlink()
    assert file.read_text() == "new\n"


def test_a_failure_leaves_the_old_list_and_no_litter(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ListFileError, match="No space left on device; it is as it was"):
        replace(file, "new\n")
    assert file.read_text() == "old\n"
    assert os.listdir(file.parent) == ["trusted.txt"]


def test_a_second_editor_waits_for_the_first(file: Path) -> None:
    inside, done = threading.Event(), []

    def second() -> None:
        inside.set()
        with locked(file):
            done.append(file.read_text())

    with locked(file) as real:
        thread = threading.Thread(target=second)
        thread.start()
        wait_for("the second", inside.is_set)
        replace(real, "new\n")
    thread.join()
    assert done == ["new\n"]


def test_a_second_editor_that_will_not_wait_is_told(file: Path) -> None:
    with locked(file), pytest.raises(ListFileError, match="is being edited by another"):  # noqa: SIM117
        with locked(file, patience=0):
            pass


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ListFileError, match="gone: cannot be opened"), locked(tmp_path / "gone/t"):
        pass

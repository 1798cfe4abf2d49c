"""Some space is kept for the end of rights; a full disk alone gives it back."""

from __future__ import annotations

from pathlib import Path

from tracker.errors import PostfixError
from tracker.writing.reserve import Reserve

FULL = PostfixError("postmap: fatal: error deleting from lmdb:x: No space left on device")


def test_space_is_really_taken_and_given_back_once(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    reserve.keep()
    assert (tmp_path / ".reserve").stat().st_blocks * 512 >= 256 * 1024
    assert reserve.release(FULL)
    assert list(tmp_path.iterdir()) == []
    assert not reserve.release(FULL)


def test_another_fault_does_not_cost_it(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    reserve.keep()
    assert not reserve.release(PostfixError("postmap is not in /usr/sbin"))
    assert (tmp_path / ".reserve").exists()


def test_a_folder_that_cannot_be_written_to_is_no_fault(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "missing")
    reserve.keep()
    assert not reserve.release(FULL)

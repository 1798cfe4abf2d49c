"""main.cf and master.cf kept beside themselves, and given back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracker.errors import InstallError
from tracker.records import Edit
from tracker.writing.saved import FILES, Saved, continued, digest

EDITS = [Edit("", "popgate_dir", "/x")]


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    for name in FILES:
        (tmp_path / name).write_bytes(name.encode() + b"\xff\n")
    return Saved(tmp_path)


def test_the_files_come_back_byte_for_byte_with_their_mode(saved: Saved, tmp_path: Path) -> None:
    texts = saved.texts()
    (tmp_path / "main.cf").chmod(0o640)
    with saved.exclusive():
        saved.begin(continued(None, texts, EDITS), texts)
    (tmp_path / "main.cf").write_text("other")
    saved.restore(saved.originals())
    assert saved.texts() == texts
    assert (tmp_path / "main.cf").stat().st_mode & 0o777 == 0o640
    assert saved.folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in saved.folder.iterdir()} == {0o600}


def test_a_link_stays_one(saved: Saved, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "main.cf").rename(elsewhere)
    (tmp_path / "main.cf").symlink_to(elsewhere)
    saved.restore({"main.cf": b"new\n"})
    assert (tmp_path / "main.cf").is_symlink()
    assert elsewhere.read_bytes() == b"new\n"


def test_every_state_of_ours_is_known_and_no_other(saved: Saved) -> None:
    before = saved.texts()
    step = {**before, "main.cf": b"a\nb\n"}
    steps = {name: (digest(step[name], ordered=False),) for name in FILES}
    record = continued(None, before, EDITS).planned(steps)
    assert not record.finished
    assert record.knows(before)
    assert record.knows({**before, "main.cf": b"b\na\n"}), "postconf adds in any order"
    assert not record.knows({**before, "main.cf": b"b\na\nc\n"})
    done = record.done({**before, "main.cf": b"b\na\n"})
    assert done.finished
    assert not done.knows(step)
    assert done.knows({**before, "main.cf": b"b\na\n"})
    assert not continued(done, step, EDITS).whole, "somebody edited between two installs"


def test_two_at_once_are_kept_apart(saved: Saved) -> None:
    other = saved.exclusive()
    with saved.exclusive(), pytest.raises(InstallError, match="another popgate is at it"):
        other.__enter__()
    assert not saved.folder.exists()


def test_a_folder_that_others_could_write_to_is_refused(saved: Saved, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    saved.folder.symlink_to(tmp_path / "theirs")
    with pytest.raises(InstallError, match="not a folder of root's own"), saved.exclusive():
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(saved: Saved) -> None:
    """Who owns it could choose what root puts into main.cf."""
    saved.folder.mkdir(mode=0o700)
    os.chown(saved.folder, 65534, 65534)
    with pytest.raises(InstallError, match="not a folder of root's own"), saved.exclusive():
        pass


def test_a_record_that_is_damaged_says_where_the_saved_files_are(saved: Saved) -> None:
    assert saved.record() is None
    saved.folder.mkdir()
    (saved.folder / "record.json").write_text("{")
    with pytest.raises(InstallError, match=r"record\.json: cannot be read: .* lie beside it"):
        saved.record()

"""Locks that a killed git left: they stop nothing; those of a living one are left alone."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tracker.errors import AuditError
from tracker.writing import gitlocks
from tracker.writing.audit import History


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    folder = tmp_path / "maps"
    folder.mkdir()
    (folder / "a").write_text("1")
    assert History(folder).commit("first")
    (folder / "a").write_text("2")
    return folder


@pytest.mark.parametrize("name", ["index.lock", "HEAD.lock", "config.lock", "refs/heads/x.lock"])
def test_a_lock_that_nobody_holds_is_taken_away_and_said(
    maps: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    lock = maps / ".git" / name
    lock.touch()
    with caplog.at_level(logging.WARNING):
        assert History(maps).commit("second")
    assert not lock.exists()
    assert f"event=stale_lock file={lock} action=removed" in caplog.text


def test_the_lock_of_a_git_that_lives_is_not_touched(
    maps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gitlocks, "_PATIENCE", 0.1)
    (maps / ".git/index.lock").touch()
    # cat-file waits for its standard input, as git commit does for an editor.
    command = ["git", "-C", str(maps), "cat-file", "--batch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as living:
        assert living.stdin is not None
        assert living.stdout is not None
        living.stdin.write(b"HEAD\n")
        living.stdin.flush()
        living.stdout.readline()
        with pytest.raises(AuditError, match=r"index\.lock.*File exists"):
            History(maps).commit("second")
        living.stdin.close()
    assert History(maps).commit("second")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_of_a_user_who_may_not_work_there_keeps_no_lock(maps: Path) -> None:
    """Whoever may call a program `git` could keep the history from being written."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copy(shutil.which("sleep") or "", f"{folder}/git")
        stranger = subprocess.Popen([f"{folder}/git", "60"], cwd=maps, user=65534)
        try:
            (maps / ".git/index.lock").touch()
            assert History(maps).commit("second")
        finally:
            stranger.kill()
            stranger.wait()


def test_a_repository_that_a_kill_left_half_made_is_completed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / ".git/hooks").mkdir(parents=True)
    assert History(tmp_path).commit("first")


def test_a_repository_that_was_moved_away_is_begun_anew(maps: Path) -> None:
    history = History(maps)
    history.commit("second")
    (maps / ".git").rename(maps.parent / "damaged.git")
    assert history.commit("anew")

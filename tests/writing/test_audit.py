"""The git history of the maps, with the real git."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from lab.processes import alive, wait_for
from tests.moments import NOW, after
from tracker.errors import AuditError
from tracker.records import Change, ChangeKind, Grant
from tracker.writing.audit import History
from tracker.writing.messages import message


@pytest.fixture(autouse=True)
def no_git_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration but the repository's."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    folder = tmp_path / "maps"
    folder.mkdir()
    return folder


def git(maps: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(maps), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def change(
    kind: ChangeKind, address: str = "203.0.113.5", user: str = "alice", why: str = "login"
) -> Change:
    grant = Grant(address, user, ("pop3",), NOW, NOW, after(1800), after(1800))
    return Change(kind, grant, why)


def test_texts_are_committed_and_compiled_tables_are_not(maps: Path) -> None:
    (maps / "pop_before_smtp.txt").write_text("203.0.113.5 1\n")
    (maps / "pop_before_smtp.lmdb").write_bytes(b"compiled")
    (maps / ".trusted.cidr.new").write_text("staged")
    assert History(maps).commit("first\n")
    assert git(maps, "ls-files").split() == [".gitignore", "pop_before_smtp.txt"]


def test_nothing_changed_is_no_commit(maps: Path) -> None:
    (maps / "a").write_text("1")
    history = History(maps)
    assert history.commit("first")
    assert not history.commit("second")
    assert git(maps, "log", "--format=%s").split() == ["first"]


def test_a_hook_of_another_repository_that_calls_popgate_gets_no_commit(
    maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An admin who keeps /etc in git: git tells its hooks by variables where it works."""
    other = tmp_path / "etc"
    subprocess.run(["git", "init", "--quiet", other], check=True)
    (maps / "a").write_text("1")
    with monkeypatch.context() as hook:
        hook.setenv("GIT_DIR", str(other / ".git"))
        hook.setenv("GIT_WORK_TREE", str(other))
        hook.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
        assert History(maps).commit("first")
    assert git(maps, "log", "--format=%s").split() == ["first"]
    assert git(other, "rev-list", "--all") == ""


def test_popgate_signs_as_itself_only_where_git_knows_nobody(maps: Path, tmp_path: Path) -> None:
    (maps / "a").write_text("1")
    History(maps).commit("first")
    (tmp_path / "gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.com\n")
    (maps / "a").write_text("2")
    History(maps).commit("second")
    assert git(maps, "log", "--format=%an").split() == ["Ada", "popgate"]


def test_a_hook_that_refuses_is_an_error_with_its_words(maps: Path) -> None:
    (maps / "a").write_text("1")
    history = History(maps)
    history.commit("first")
    hook = maps / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho 'not on a Friday' >&2; exit 1\n")
    hook.chmod(0o755)
    (maps / "a").write_text("2")
    with pytest.raises(AuditError, match="not on a Friday"):
        history.commit("second")


def test_a_missing_git_is_named_with_what_to_do(
    maps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(AuditError, match=r"git is not installed.*audit\.commit = false"):
        History(maps).commit("first")


def test_the_message_says_who_came_was_renewed_and_went() -> None:
    text = message(
        [
            change("added"),
            change("renewed", "203.0.113.6", "bob"),
            change("removed", "203.0.113.7", "eve", "window over"),
        ]
    )
    assert text == (
        "grants: 1 added, 1 renewed, 1 removed\n\n"
        "+ 203.0.113.5 alice until 2026-11-24 09:15:29Z (login)\n"
        "~ 203.0.113.6 bob until 2026-11-24 09:15:29Z (login)\n"
        "- 203.0.113.7 eve until 2026-11-24 09:15:29Z (window over)\n"
    )


def test_the_message_tells_the_net_change_of_a_batch() -> None:
    assert message([change("added"), change("renewed")]).startswith("grants: 1 added\n")
    assert message([change("added"), change("removed")]).startswith("tables brought in line")
    assert message([change("removed"), change("added")]).startswith("grants: 1 added\n")


def test_the_message_names_other_texts_and_stays_short() -> None:
    many = [change("added", f"203.0.{n // 250}.{n % 250}") for n in range(1000)]
    text = message(many, ["trusted.cidr"])
    assert text.startswith("grants: 1000 added; trusted.cidr\n")
    assert text.endswith("and 800 more\n")


def test_a_user_name_cannot_break_out_of_its_line() -> None:
    assert "\n+ fake" not in message([change("added", user="x\n+ fake 203.0.113.66 root")])


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_a_lock_that_a_power_cut_left_stops_no_commit(
    maps: Path, lock: str, caplog: pytest.LogCaptureFixture
) -> None:
    (maps / "a").write_text("1")
    history = History(maps)
    history.commit("first")
    (maps / ".git" / lock).touch()
    (maps / "a").write_text("2")
    assert history.commit("second")
    assert "event=stale_lock" in caplog.text


def test_a_lock_of_a_git_at_work_is_respected(maps: Path) -> None:
    (maps / "a").write_text("1")
    history = History(maps)
    history.commit("first")
    (maps / ".git/index.lock").touch()
    (maps / "a").write_text("2")
    with subprocess.Popen(
        ["git", "-C", str(maps), "cat-file", "--batch"], stdin=subprocess.PIPE
    ) as other:
        wait_for("git", lambda: Path(f"/proc/{other.pid}/cwd").readlink() == maps)
        with pytest.raises(AuditError, match=r"index\.lock"):
            history.commit("second")
        other.communicate()
    assert history.commit("second")


def test_a_hook_that_hangs_is_killed_with_all_that_it_started(
    maps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (maps / "a").write_text("1")
    history = History(maps)
    history.commit("first")
    hook = maps / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\nsleep 1000 & echo $! > hook.pid; wait\n")
    hook.chmod(0o755)
    monkeypatch.setattr("tracker.writing.git._TIMEOUT", 0.5)
    (maps / "a").write_text("2")
    with pytest.raises(AuditError, match=r"commit .*killed after 0.5 s"):
        history.commit("second")
    wait_for("the hook's end", lambda: not alive(int((maps / "hook.pid").read_text())))


def test_a_commit_that_fails_again_is_tried_ever_less_often(maps: Path) -> None:
    (maps / ".git").write_text("no repository")
    history = History(maps)
    began = time.monotonic()
    for _ in range(2):
        assert history.due(time.monotonic())
        with pytest.raises(AuditError):
            history.commit("first")
    assert not history.due(began + 50)
    assert history.due(began + 70)


def test_what_is_committed_is_pushed_to_the_remote_of_the_settings(
    maps: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "init", "--quiet", "--bare", bare], check=True)
    history = History(maps, push="origin")
    (maps / "a").write_text("1")
    made = history.commit("first")
    git(maps, "remote", "add", "origin", str(bare))
    assert list(history.finish(20)) == []
    branch = git(maps, "symbolic-ref", "--short", "HEAD").strip()
    assert git(bare, "rev-parse", branch).strip() == made


def test_a_push_that_fails_is_told_with_git_s_words(maps: Path) -> None:
    history = History(maps, push="nowhere")
    (maps / "a").write_text("1")
    assert history.commit("first")
    (fault,) = history.finish(20)
    assert "push --quiet nowhere HEAD: fatal: 'nowhere'" in fault
    assert list(history.finish(20)) == []


def test_many_loose_objects_are_packed(maps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.writing.audit._LOOSE_OBJECTS", 10)
    history = History(maps)
    for number in range(5):
        (maps / "a").write_text(str(number))
        history.commit(str(number))
    assert list(history.finish(60)) == []
    assert "count: 0\n" in git(maps, "count-objects", "-v")
    assert len(git(maps, "log", "--format=%h").split()) == 5


def test_what_changed_in_a_list_stands_in_the_message() -> None:
    words = [
        ("trusted list: added 192.0.2.0/24 (line 12)", ["added 192.0.2.0/24 (line 12)  # lab"])
    ]
    assert message([], ["trusted.cidr"], words) == (
        "trusted list: added 192.0.2.0/24 (line 12)\n\n"
        "trusted list: added 192.0.2.0/24 (line 12)\n"
        "  added 192.0.2.0/24 (line 12)  # lab\n"
    )

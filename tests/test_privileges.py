"""Root becomes the owner of popgate's folders, for good."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracker.errors import ConfigError, PopgateError
from tracker.privileges import as_owner, become_owner


def in_a_child(folder: Path) -> tuple[int, ...]:
    """The real, effective and saved uid and gid of a process that became the owner, and its other
    groups."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become_owner(folder)
            os.write(writer, repr((*os.getresuid(), *os.getresgid(), *os.getgroups())).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    return tuple(int(number) for number in said.strip("()").split(","))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_becomes_the_owner_with_no_way_back(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    assert in_a_child(tmp_path) == (65534,) * 7, "none of root's groups stays"


def test_ones_own_folder_and_a_missing_one_change_nothing(tmp_path: Path) -> None:
    me = (*os.getresuid(), *os.getresgid(), *os.getgroups())
    assert in_a_child(tmp_path) == me
    assert in_a_child(tmp_path / "missing") == me


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_an_owner_without_a_name_is_an_error(tmp_path: Path) -> None:
    os.chown(tmp_path, 54321, 54321)
    with pytest.raises(PopgateError, match="belongs to user 54321, who does not exist"):
        become_owner(tmp_path)


def test_root_has_its_rights_again_after_work_as_the_owner(tmp_path: Path) -> None:
    assert as_owner(tmp_path / "nowhere", lambda: 2) == 2
    assert os.geteuid() == os.getuid()


def test_an_error_of_the_work_is_a_line_and_its_exit_code(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise ConfigError(["a", "b"])

    assert as_owner(tmp_path, work) == 2
    assert capfd.readouterr().err == "popgate: a\npopgate: b\n"

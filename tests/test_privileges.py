"""Root becomes the owner of popgate's folders, for good."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracker.errors import PopgateError
from tracker.privileges import become_owner


def in_a_child(folder: Path) -> tuple[int, ...]:
    """The real, effective and saved uid and gid of a process that became the owner."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become_owner(folder)
            os.write(writer, repr((*os.getresuid(), *os.getresgid())).encode())
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
    assert in_a_child(tmp_path) == (65534,) * 6


def test_ones_own_folder_and_a_missing_one_change_nothing(tmp_path: Path) -> None:
    me = (*os.getresuid(), *os.getresgid())
    assert in_a_child(tmp_path) == me
    assert in_a_child(tmp_path / "missing") == me


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_an_owner_without_a_name_is_an_error(tmp_path: Path) -> None:
    os.chown(tmp_path, 54321, 54321)
    with pytest.raises(PopgateError, match="belongs to user 54321, who does not exist"):
        become_owner(tmp_path)

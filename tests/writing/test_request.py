"""A reload asked for by who is not root: the file that the path unit of systemd waits for."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lab.processes import wait_for
from tracker.errors import PostfixError
from tracker.settings import PostfixSettings
from tracker.writing import request
from tracker.writing.postfix import Postfix


def test_a_request_that_root_takes_is_a_reload(
    tmp_path: Path, postfix_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "reload"
    postfix = Postfix(PostfixSettings(config_directory=str(postfix_config), reload_request=file))
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    def root() -> None:
        wait_for("the request", file.exists)
        file.unlink()

    taking = threading.Thread(target=root)
    taking.start()
    assert postfix.reload()
    taking.join()
    assert not file.exists()


def test_a_request_that_nobody_takes_stays_and_names_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "_PATIENCE", 0.05)
    file = tmp_path / "reload"
    with pytest.raises(PostfixError, match=r"systemctl enable --now popgate-reload\.path"):
        request.ask(file)
    assert file.read_bytes() == b""
    with pytest.raises(PostfixError, match="nobody took the request"):
        request.ask(file)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    file = tmp_path / "reload"
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PostfixError, match="the request cannot be made"):
        request.ask(file)
    assert not (tmp_path / "elsewhere").exists()


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "reload")
    with pytest.raises(PostfixError, match="the request cannot be made"):
        request.ask(tmp_path / "reload")


def test_without_the_units_folder_a_reload_is_the_admins(tmp_path: Path) -> None:
    with pytest.raises(PostfixError, match="run `postfix reload` as root"):
        request.ask(tmp_path / "not-installed/reload")

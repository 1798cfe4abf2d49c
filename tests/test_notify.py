"""What systemd hears of the service, on a real socket, and that a step that hangs is silent."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.popgate import Popgate
from tracker import notify


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(20)
        yield channel


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Popgate:
    log = tmp_path / "mail.log"
    log.touch()
    return Popgate(tmp_path / "popgate", log, postfix_config, "[audit]\ncommit = false\n")


def until(heard: socket.socket, state: bytes) -> None:
    while heard.recv(4096) != state:
        pass


def test_ready_comes_first_and_the_watchdog_is_told_while_nothing_happens(
    heard: socket.socket, site: Popgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(heard.getsockname()))
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    with site:
        assert heard.recv(4096) == b"READY=1"
        for _ in range(5):
            until(heard, b"WATCHDOG=1")
    until(heard, b"STOPPING=1")


def test_a_step_that_hangs_tells_the_watchdog_nothing(
    heard: socket.socket, site: Popgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(heard.getsockname()))
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    with site:
        until(heard, b"WATCHDOG=1")
        with (site.maps.parent / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # what a step waits for, up to a minute
            heard.settimeout(2)
            with pytest.raises(TimeoutError):
                until(heard, b"never")
            heard.settimeout(20)
        until(heard, b"WATCHDOG=1")


def test_where_systemd_does_not_watch_no_watchdog_is_told(
    heard: socket.socket, site: Popgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(heard.getsockname()))
    with site:
        assert heard.recv(4096) == b"READY=1"
    said = [b""]
    while said[-1] != b"STOPPING=1":
        said.append(heard.recv(4096))
    assert b"WATCHDOG=1" not in said


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "120000000"}, 60.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_half_of_what_systemd_waits_is_the_interval(
    environment: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert notify.watchdog_interval() == seconds


def test_nobody_to_tell_is_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify.tell("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify.tell("READY=1")

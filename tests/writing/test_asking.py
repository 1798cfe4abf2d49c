"""When an smtpd can be asked."""

from __future__ import annotations

import socket
from pathlib import Path

from tracker.writing.asking import listens


def test_a_socket_that_is_there_and_takes_nobody_yet_is_waited_for(tmp_path: Path) -> None:
    place = tmp_path / "smtpd"
    assert not listens(place)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        assert not listens(place), "master binds all its sockets before it listens"
        server.listen()
        assert listens(place)

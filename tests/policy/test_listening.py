"""Where the policy service listens: made for Postfix's group; replaced when it is dead alone."""

from __future__ import annotations

import grp
import os
import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest

from lab.processes import run
from tracker.addresses import listen_place
from tracker.errors import PolicyError
from tracker.policy.listening import Listener, listening
from tracker.settings import PostfixSettings
from tracker.writing.postfix import Postfix

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders to groups")


class Site:
    def __init__(self, config: Path, folder: Path) -> None:
        self.queue = folder / "queue"
        self.queue.mkdir()
        self.path = self.queue / "popgate/policy"
        with (config / "main.cf").open("a") as file:
            file.write(f"queue_directory = {self.queue}\n")
        os.utime(config / "main.cf", (0, 0))
        self.postfix = Postfix(PostfixSettings(config_directory=str(config)))

    def listen(self, where: str = "unix:popgate/policy") -> closing[Listener]:
        return closing(listening(where, self.postfix))


@pytest.fixture
def site(postfix_config: Path, tmp_path: Path) -> Site:
    return Site(postfix_config, tmp_path)


@needs_root
def test_the_socket_is_shut_to_all_but_popgate_and_postfix(site: Site) -> None:
    with site.listen():
        folder, made = site.path.parent.stat(), site.path.stat()
        assert stat.S_IMODE(folder.st_mode) == 0o2750
        assert stat.S_IMODE(made.st_mode) == 0o660
        assert {grp.getgrgid(one.st_gid).gr_name for one in (folder, made)} == {"postfix"}
        assert [one.name for one in site.path.parent.iterdir()] == ["policy"]
    assert not site.path.exists()


@needs_root
def test_a_dead_socket_is_replaced_and_a_living_one_is_not(site: Site) -> None:
    with site.listen():
        with pytest.raises(PolicyError, match=f"{site.path}: another process answers there"):
            site.listen()
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(str(site.path))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(site.path))
    with site.listen(), socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(site.path))


@needs_root
def test_what_is_no_socket_stays(site: Site) -> None:
    site.path.parent.mkdir()
    run(["chgrp", "postfix", str(site.path.parent)])
    site.path.write_text("precious")
    with pytest.raises(PolicyError, match="is no socket"):
        site.listen()
    assert site.path.read_text() == "precious"


@needs_root
@pytest.mark.parametrize(
    ("mode", "group", "fault"),
    [
        (0o2770, "postfix", "others than popgate may write there"),
        (0o2777, "postfix", "others than popgate may write there"),
        (0o750, "daemon", "is not of Postfix's group, so shut to smtpd"),
    ],
)
def test_a_folder_that_is_unsafe_or_useless_is_refused(
    site: Site, mode: int, group: str, fault: str
) -> None:
    site.path.parent.mkdir()
    run(["chgrp", group, str(site.path.parent)])
    site.path.parent.chmod(mode)
    with pytest.raises(PolicyError, match=f"{fault}: run as root: install -d -m 2750 -o root"):
        site.listen()


def test_tcp_on_loopback_and_a_port_that_is_taken(site: Site) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with site.listen(f"inet:127.0.0.1:{port}"):
        with pytest.raises(PolicyError, match="Address already in use"):
            site.listen(f"inet:127.0.0.1:{port}")
        socket.create_connection(("127.0.0.1", port), 5).close()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("unix:popgate/policy", Path("popgate/policy")),
        ("unix:/run/popgate/policy", Path("/run/popgate/policy")),
        ("inet:127.0.0.1:10025", ("127.0.0.1", 10025)),
        ("inet:[::1]:10025", ("::1", 10025)),
    ],
)
def test_a_place_is_written_as_postfix_writes_it(text: str, place: tuple[str, int] | Path) -> None:
    assert listen_place(text) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix:",
        "popgate/policy",
        "unix:../x",
        "unix:a b",
        "unix:a,b",
        "unix:a}",
        "inet:x:1",
        "inet:127.0.0.1",
        "inet:127.0.0.1:0",
        "inet:127.0.0.1:99999",
        "inet::10025",
    ],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected unix:popgate/policy"):
        listen_place(text)

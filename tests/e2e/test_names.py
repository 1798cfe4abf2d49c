"""Host names of the trusted list, from a real name server to a real smtpd."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.clients import rcpt
from lab.names import NameServer, silence
from lab.network import Namespaces
from lab.popgate import Popgate
from lab.postfix import Postfix
from lab.processes import wait_for
from tests.conftest import require
from tests.moments import login_line

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers_allowed")]

NAME = "mail.example.com"
FIRST, SECOND, THIRD = "198.51.100.7", "203.0.113.9", "203.0.113.20"
SETTINGS = """
[trusted]
nameservers = ["{server}"]
timeout = "1s"
[postfix]
min_reload_interval = "1s"
"""


class Host:
    """A Postfix whose trusted list holds a name, and the name server that is asked for it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.names = stack.enter_context(NameServer())
        self.wire = stack.enter_context(Namespaces())
        self.log = folder / "mail.log"
        self.log.touch()
        settings = SETTINGS.format(server=self.names.address)
        self.popgate = Popgate(folder / "popgate", self.log, folder / "postfix/config", settings)
        self.popgate.command("once")
        self.postfix = stack.enter_context(
            Postfix(folder / "postfix", self.wire, self.popgate.snippet())
        )
        stack.enter_context(self.popgate)

    def code(self, client: str) -> int:
        return rcpt(self.wire, client, self.postfix.port)[0]

    def becomes(self, client: str, code: int, patience: float = 10) -> None:
        wait_for(f"{code} for {client}", lambda: self.code(client) == code, patience)

    def asked_of_the_table(self, address: str) -> str:
        table = f"cidr:{self.popgate.maps}/trusted.cidr"
        return subprocess.run(
            ["/usr/sbin/postmap", "-c", self.postfix.config, "-q", address, table],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()


@pytest.fixture
def host() -> Iterator[Host]:
    require(Namespaces.unavailable())
    with ExitStack() as stack:
        # Not pytest's own: Postfix's users must be able to pass through it.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-test-")))
        folder.chmod(0o755)
        yield Host(folder, stack)


def test_who_may_relay_follows_what_dns_says_of_the_name(host: Host) -> None:
    host.names.set(NAME, "A", FIRST, ttl=1)
    assert host.code(FIRST) == 554
    assert host.popgate.command("trust", "add", NAME).returncode == 0
    host.becomes(FIRST, 250)
    assert host.code(SECOND) == 554
    assert (host.asked_of_the_table(FIRST), host.asked_of_the_table(SECOND)) == ("OK", "")

    host.names.set(NAME, "A", SECOND, ttl=1)
    host.becomes(SECOND, 250, patience=60)  # it is asked again after half a minute, not before
    host.becomes(FIRST, 554)
    assert (host.asked_of_the_table(FIRST), host.asked_of_the_table(SECOND)) == ("", "OK")


def test_a_dns_that_is_dead_delays_no_grant_and_takes_no_right_away(host: Host) -> None:
    host.names.set(NAME, "A", FIRST, ttl=1)
    host.popgate.trusted.write_text(f"!guest.example.com\n{NAME}\n")
    host.names.set("guest.example.com", "A", SECOND)
    host.becomes(FIRST, 250)

    host.names.ways[""] = silence
    host.popgate.trusted.write_text(
        f"!guest.example.com\n{NAME}\n" + "".join(f"n{n}.example.com\n" for n in range(200))
    )
    wait_for("questions", lambda: len(host.names.asked) > 50)
    with host.log.open("a") as log:
        log.write(login_line(THIRD, at=datetime.now(UTC)))
    host.becomes(THIRD, 250)
    assert host.code(FIRST) == 250

    host.popgate.kill()
    host.popgate.start()
    host.becomes(THIRD, 250)
    assert host.code(FIRST) == 250
    assert host.code(SECOND) == 554


def test_a_zone_in_a_liar_s_hand_opens_nothing_that_no_client_has(host: Host) -> None:
    """Each name lies in its own way; next to the lies stands what it may well say."""
    many = [f"198.18.{number // 250}.{number % 250 + 1}" for number in range(1000)]
    lies = {
        "any.example.com": ["0.0.0.0", "255.255.255.255", FIRST],
        "loop.example.com": ["127.0.0.1", "127.8.9.1", SECOND],
        "inside.example.com": ["10.0.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254"],
        "crowd.example.com": many,
        "gone.example.com": [],
    }
    for name, addresses in lies.items():
        host.names.set(name, "A", *addresses)
    host.names.set("loop.example.com", "AAAA", "::1", "::", "fe80::1", "ff02::1", "fd00::1")
    host.names.set("inside.example.com", "AAAA", "::ffff:10.0.0.1", "::ffff:127.0.0.1")
    host.popgate.trusted.write_text("".join(f"{name}\n" for name in lies))
    host.becomes(FIRST, 250)
    host.becomes(SECOND, 250)
    told = ("1000 addresses", "169.254.169.254", "10.0.0.1", "fe80::1")
    wait_for("all of it", lambda: all(lie in host.popgate.said.read_text() for lie in told))
    text = (host.popgate.maps / "trusted.cidr").read_text()
    rows = [line.split()[0] for line in text.splitlines() if line[:1] not in ("#", "")]
    assert sorted(rows) == sorted([f"{FIRST}/32", f"{SECOND}/32"])
    for lie in ("127.0.0.1", "10.0.0.1", "0.0.0.0", "::1", "fe80::1", "fd00::1", many[0], many[-1]):
        assert host.asked_of_the_table(lie) == "", lie


def test_what_a_name_was_trusted_for_ends_when_there_is_no_such_name(host: Host) -> None:
    """A thousand addresses are an error, and change nothing; that there is none is an answer."""
    crowd, gone = "crowd.example.com", "gone.example.com"
    host.names.set(crowd, "A", FIRST, ttl=1)
    host.names.set(gone, "A", SECOND, ttl=1)
    host.popgate.trusted.write_text(f"{crowd}\n{gone}\n")
    host.becomes(FIRST, 250)
    host.becomes(SECOND, 250)
    many = [f"198.18.{number // 250}.{number % 250 + 1}" for number in range(1000)]
    host.names.set(crowd, "A", *many, ttl=1)
    host.names.forget(gone)
    host.becomes(SECOND, 554, patience=60)  # it is asked again after half a minute, not before
    wait_for("the crowd", lambda: "1000 addresses" in host.popgate.said.read_text(), 60)
    assert host.code(FIRST) == 250
    assert host.asked_of_the_table(many[0]) == ""

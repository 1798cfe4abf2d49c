"""The scope "address" on a real Postfix: who may send from an address that several share.

The Postfix runs exactly the snippet that popgate generated for that scope.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.clients import SmtpSession, pop3_login
from lab.dovecot import Dovecot
from lab.network import Wire
from lab.popgate import Popgate
from lab.postfix import Postfix
from lab.processes import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers_allowed")]

USERS = {"alice@example.com": "secret", "bob@example.com": "secret"}
SETTINGS = """
[grants]
window = "60s"
scope = "address"
[audit]
interval = "1s"
[local_senders]
domains = ["example.com"]
"""
CLIENT = "198.51.100.7"


class Host:
    """A mail host whose grants are for senders, and clients around it."""

    def __init__(
        self, folder: Path, wire: Wire, stack: ExitStack, settings: str = SETTINGS, main: str = ""
    ) -> None:
        self.wire = wire
        self.folder = folder
        log = folder / "dovecot/dovecot.log"
        self.popgate = Popgate(folder / "popgate", log, folder / "postfix/config", settings)
        self.popgate.command("once")  # there is no log yet; the snippet is there then
        self.dovecot = stack.enter_context(Dovecot(folder / "dovecot", wire, USERS))
        self.postfix = Postfix(folder / "postfix", wire, self.popgate.snippet() + main)
        self.postfix.prepare()
        stack.enter_context(self.popgate)
        stack.enter_context(self.postfix)

    def login(self, user: str, client: str = CLIENT) -> None:
        pop3_login(self.wire, client, self.dovecot.pop3_port, user, USERS[user])

    def code(self, sender: str, client: str = CLIENT) -> int:
        session = SmtpSession(self.wire, client, self.postfix.port)
        try:
            return session.rcpt(sender=sender)[0]
        finally:
            session.close()

    def becomes(self, sender: str, code: int, client: str = CLIENT) -> None:
        wait_for(f"{code} for {sender}", lambda: self.code(sender, client) == code, 10)


@pytest.fixture
def host(folder: Path, wire: Wire, stack: ExitStack) -> Host:
    return Host(folder, wire, stack)


def test_each_of_two_users_behind_one_address_may_send_as_itself_alone(host: Host) -> None:
    alice, bob, carol = (f"{name}@example.com" for name in ("alice", "bob", "carol"))
    assert host.code(alice) == 554
    host.login(alice)
    host.becomes(alice, 250)
    assert host.code(bob) == 554
    host.login(bob)
    host.becomes(bob, 250)
    assert host.code(alice) == 250
    assert host.code(carol) == 554
    assert host.code("alice@far.example.org") == 554
    assert host.code("") == 554
    assert host.code(alice, "203.0.113.9") == 554
    host.popgate.command("revoke", "--user", alice)
    host.becomes(alice, 554)
    assert host.code(bob) == 250

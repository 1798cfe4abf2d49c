"""The scope "address" on a real Postfix: who may send from an address that several share.

The Postfix runs exactly the snippet that popgate generated for that scope.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from lab.clients import SmtpSession, pop3_login, pop3_session
from lab.dovecot import Dovecot
from lab.network import Loopback, Wire
from lab.popgate import Popgate
from lab.postfix import Postfix
from lab.processes import wait_for
from lab.xclient import ForeignSession
from tests.moments import login_line

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
        self,
        folder: Path,
        wire: Wire,
        stack: ExitStack,
        settings: str = SETTINGS,
        *,
        main: str = "",
        prefix: tuple[str, ...] = (),
    ) -> None:
        """`main`: more of main.cf; `prefix`: a command that runs popgate in its own way."""
        self.wire = wire
        self.folder = folder
        log = folder / "dovecot/dovecot.log"
        self.popgate = Popgate(folder / "popgate", log, folder / "postfix/config", settings)
        self.popgate.command("once")  # there is no log yet; the snippet is there then
        self.dovecot = stack.enter_context(Dovecot(folder / "dovecot", wire, USERS))
        self.postfix = Postfix(folder / "postfix", wire, self.popgate.snippet() + main)
        self.postfix.prepare()
        self.popgate.start(prefix=prefix)
        stack.callback(self.popgate.end)
        stack.enter_context(self.postfix)
        self.socket = folder / "postfix/queue/popgate/policy"

    def login(self, user: str, client: str = CLIENT) -> None:
        pop3_login(self.wire, client, self.dovecot.pop3_port, user, USERS[user])

    def code(self, sender: str, client: str = CLIENT) -> int:
        session = SmtpSession(self.wire, client, self.postfix.port)
        try:
            return session.rcpt(sender=sender)[0]
        finally:
            session.close()

    @contextmanager
    def ask(self) -> Iterator[socket.socket]:
        """A connection to the policy service."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(10)
            channel.connect(str(self.socket))
            yield channel

    def configure(self, settings: str) -> None:
        """Other settings, taken up by the running popgate."""
        self.popgate.configure(self.dovecot.log, settings)
        before = self.popgate.said.read_text().count("event=reconfigured")
        self.popgate.signal(signal.SIGHUP)
        wait_for(
            "SIGHUP",
            lambda: self.popgate.said.read_text().count("event=reconfigured") > before,
        )

    def table(self) -> set[str]:
        """The addresses in the grant table."""
        listing = subprocess.run(
            ["/usr/sbin/postmap", "-s", f"lmdb:{self.popgate.maps}/pop_before_smtp"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return {line.split()[0] for line in listing.splitlines()}

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


class TestAServiceThat:
    """Nobody is let in by it or put off because of it, and it counts again when it is back."""

    ALICE, BOB = "alice@example.com", "bob@example.com"

    @pytest.fixture
    def granted(self, host: Host) -> Host:
        host.login(self.ALICE)
        host.becomes(self.ALICE, 250)
        return host

    def test_was_killed_and_started_anew_answers_in_an_open_smtp_session(
        self, granted: Host
    ) -> None:
        session = SmtpSession(granted.wire, CLIENT, granted.postfix.port)
        assert session.rcpt(sender=self.ALICE)[0] == 250
        for _ in range(3):
            granted.popgate.kill()
            assert session.rcpt(sender=self.ALICE)[0] == 554
            granted.popgate.start()
            assert session.rcpt(sender=self.ALICE)[0] == 250
            assert session.rcpt(sender=self.BOB)[0] == 554
        session.close()

    def test_hangs_grants_nothing_until_it_goes_on(self, granted: Host) -> None:
        granted.popgate.signal(signal.SIGSTOP)
        try:
            assert granted.code(self.ALICE) == 554
            assert granted.code(self.BOB) == 554
        finally:
            granted.popgate.signal(signal.SIGCONT)
        granted.becomes(self.ALICE, 250)

    def test_is_full_grants_nothing_until_there_is_room(
        self, folder: Path, wire: Wire, stack: ExitStack
    ) -> None:
        host = Host(folder, wire, stack, f"{SETTINGS}[policy]\nmax_connections = 2\n")
        host.login(self.ALICE)
        host.becomes(self.ALICE, 250)
        with ExitStack() as held:
            for _ in range(2):
                held.enter_context(host.ask())
            assert host.code(self.ALICE) == 554
        host.becomes(self.ALICE, 250)

    def test_leaves_its_socket_behind_is_replaced_but_a_living_one_is_not(
        self, granted: Host
    ) -> None:
        settings = f'{SETTINGS}[policy]\nlisten = "unix:{granted.socket}"\n'
        folder = granted.folder / "other"
        other = Popgate(folder, granted.dovecot.log, folder / "postfix", settings)
        with pytest.raises(RuntimeError, match="another process answers there"):
            other.start()
        assert granted.code(self.ALICE) == 250
        granted.popgate.kill()
        assert granted.socket.exists()
        other.start()
        other.stop()
        assert not granted.socket.exists()

    def test_fails_can_have_a_refused_client_come_again(
        self, folder: Path, wire: Wire, stack: ExitStack
    ) -> None:
        host = Host(folder, wire, stack, f'{SETTINGS}[policy]\non_failure = "defer"\n')
        assert host.code(self.ALICE) == 554
        host.popgate.kill()
        assert host.code(self.ALICE) == 450
        session = SmtpSession(wire, CLIENT, host.postfix.port)
        assert session.rcpt("user@example.net", self.ALICE)[0] == 250, "it is for this host"
        session.close()


def test_the_window_ends_to_the_second_though_nobody_steps(
    folder: Path, wire: Wire, stack: ExitStack
) -> None:
    host = Host(folder, wire, stack, SETTINGS.replace("60s", "3s"))
    with pop3_session(wire, CLIENT, host.dovecot.pop3_port, "alice@example.com", "secret"):
        host.becomes("alice@example.com", 250)
        time.sleep(3.5)
        assert host.code("alice@example.com") == 250, "the session is open"
    host.becomes("alice@example.com", 554)


def test_the_scope_can_change_while_popgate_runs(
    folder: Path, wire: Wire, stack: ExitStack
) -> None:
    host = Host(folder, wire, stack, SETTINGS.replace('"address"', '"ip"'))
    alice, bob = "alice@example.com", "bob@example.com"
    host.login(alice)
    host.becomes(bob, 250)
    assert host.table() == {CLIENT}
    host.configure(SETTINGS)
    host.becomes(bob, 554)
    assert host.table() == set(), "no table grants relay by IP"
    assert host.code(alice) == 554, "main.cf does not ask the service yet"
    host.postfix.take(host.popgate.snippet())
    host.becomes(alice, 250)
    assert host.code(bob) == 554
    for command in (["expire"], ["allow", "203.0.113.9", "--user", bob], ["once"]):
        assert host.popgate.command(*command).returncode == 0
        assert host.table() == set()
    assert host.code(bob, "203.0.113.9") == 250
    assert host.code(alice, "203.0.113.9") == 554
    host.configure(SETTINGS.replace('"address"', '"ip"'))
    host.becomes(alice, 554)
    assert host.table() == {CLIENT, "203.0.113.9"}
    host.postfix.take(host.popgate.snippet())
    host.becomes(bob, 250)


class TestAProcessOfItsOwn:
    ALONE = f"{SETTINGS}[policy]\nserve = false\n"

    @pytest.fixture
    def host(self, folder: Path, wire: Wire, stack: ExitStack) -> Host:
        return Host(folder, wire, stack, self.ALONE.replace("60s", "4s"))

    def test_answers_by_what_the_other_saved(self, host: Host) -> None:
        alice, bob = "alice@example.com", "bob@example.com"
        host.login(alice)
        assert host.code(alice) == 554
        with host.popgate.serving("policy") as policy:
            host.becomes(alice, 250)
            assert host.code(bob) == 554
            host.popgate.command("revoke", CLIENT)
            assert host.code(alice) == 554
            host.popgate.command("allow", CLIENT, "--user", bob)
            assert host.code(bob) == 250
            status = json.loads(host.popgate.command("status", "--json").stdout)
            assert status["policy"]["pid"] == policy.pid
            assert status["run"]["pid"] == host.popgate.pid

    def test_notices_that_nobody_follows_the_log_any_more(self, host: Host) -> None:
        alice = "alice@example.com"
        with (
            host.popgate.serving("policy"),
            pop3_session(host.wire, CLIENT, host.dovecot.pop3_port, alice, "secret"),
        ):
            host.becomes(alice, 250)
            time.sleep(5)
            assert host.code(alice) == 250, "the session is open"
            host.popgate.kill()
            host.becomes(alice, 554)
            host.popgate.start()
            host.becomes(alice, 250)


def test_status_tells_what_was_asked(host: Host) -> None:
    host.login("alice@example.com")
    host.becomes("alice@example.com", 250)

    def counted() -> bool:
        shown = json.loads(host.popgate.command("status", "--json").stdout)["run"]
        answers = shown.get("metrics", {}).get("policy_answers", {})
        return bool(answers.get("granted") and shown["grants"] == 1 and shown["running"])

    wait_for("the figures", counted)
    text = host.popgate.command("status").stdout
    assert "policy_answers: granted" in text
    host.popgate.kill()
    done = host.popgate.command("status")
    assert (done.returncode, done.stdout) == (1, "popgate run: not running\n")


def test_the_service_is_found_on_loopback_too(folder: Path, wire: Wire, stack: ExitStack) -> None:
    port = wire.free_port()
    settings = f'{SETTINGS}[policy]\nlisten = "inet:127.0.0.1:{port}"\n'
    host = Host(folder, wire, stack, settings, prefix=tuple(wire.command([])))
    host.login("alice@example.com")
    host.becomes("alice@example.com", 250)
    assert host.code("bob@example.com") == 554


def test_a_service_killed_again_and_again_lets_no_session_in_and_puts_none_off(
    folder: Path, stack: ExitStack
) -> None:
    """Ten thousand sessions and more, with and without a grant, while the service is killed and
    started. One without is never let in; one with a grant is let in or refused as a stranger;
    nobody gets a 4xx."""
    sessions = 500  # in each of them twenty
    wire = Loopback()
    host = Host(folder, wire, stack, main="smtpd_authorized_xclient_hosts = static:all\n")
    granted = [f"198.51.100.{number}" for number in range(1, 101)]
    with host.dovecot.log.open("a") as file:
        for number, client in enumerate(granted):
            now = datetime.now(UTC)
            file.write(login_line(client, "alice@example.com", session=f"k{number}", at=now))
    done = threading.Event()
    kills = 0

    def kill_and_start() -> None:
        nonlocal kills
        while not done.wait(1.5):
            host.popgate.kill()
            kills += 1
            time.sleep(0.1)
            host.popgate.start()

    def speak(first: int) -> Counter[tuple[bool, int]]:
        found: Counter[tuple[bool, int]] = Counter()
        for number in count(first, 4):
            if number >= sessions and kills >= 5:
                return found
            # A connection in which an answer was cut off is granted nothing to its end.
            with ForeignSession(wire, host.postfix.port, 25) as session:
                for at in range(20):
                    client = granted[number % 100] if at % 2 else f"203.0.113.{number % 200 + 1}"
                    sender = f"{'alice' if at % 4 != 3 else 'bob'}@example.com"
                    session.become(client, "client.example.org")
                    code = session.rcpt(sender, "someone@far.example.org")[0]
                    found[at % 4 == 1, code] += 1
        raise AssertionError("it counts for ever")

    killer = threading.Thread(target=kill_and_start)
    killer.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            found = sum(pool.map(speak, range(4)), Counter())
    finally:
        done.set()
        killer.join()
    assert sum(found.values()) >= 20 * sessions
    assert set(found) <= {(True, 250), (True, 554), (False, 554)}, found
    assert found[True, 250] > 100
    assert found[True, 554] > 0, "it was down now and then"

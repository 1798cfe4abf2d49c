"""The main job on a real Dovecot and a real Postfix, with real protocol traffic.

The Postfix runs exactly the snippet that popgate generated.
"""

from __future__ import annotations

import json
import os
import poplib
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.clients import SmtpSession, pop3_login, pop3_session, rcpt
from lab.dovecot import Dovecot
from lab.network import Wire
from lab.popgate import Popgate
from lab.postfix import Postfix
from lab.processes import wait_for
from tracker.settings import PostfixSettings
from tracker.writing import postfix as writing

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers_allowed")]

USER, PASSWORD = "alice@example.com", "secret"
SETTINGS = '[grants]\nwindow = "3s"\n[audit]\ninterval = "1s"\n'


class Host:
    """A mail host: Dovecot, Postfix and popgate, and clients around it."""

    def __init__(self, folder: Path, wire: Wire, stack: ExitStack, settings: str) -> None:
        self.wire = wire
        log = folder / "dovecot/dovecot.log"
        self.popgate = Popgate(folder / "popgate", log, folder / "postfix/config", settings)
        self.popgate.command("once")
        self.dovecot = stack.enter_context(Dovecot(folder / "dovecot", wire, {USER: PASSWORD}))
        self.postfix = stack.enter_context(
            Postfix(folder / "postfix", wire, self.popgate.snippet())
        )
        stack.enter_context(self.popgate)

    def login(self, client: str, password: str = PASSWORD) -> None:
        pop3_login(self.wire, client, self.dovecot.pop3_port, USER, password)

    def code(self, client: str) -> int:
        return rcpt(self.wire, client, self.postfix.port)[0]

    def becomes(self, client: str, code: int, patience: float = 10) -> None:
        wait_for(f"{code} for {client}", lambda: self.code(client) == code, patience)

    def table(self) -> dict[str, int]:
        listing = subprocess.run(
            [
                "/usr/sbin/postmap",
                "-c",
                self.postfix.config,
                "-s",
                f"lmdb:{self.popgate.maps}/pop_before_smtp",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return {line.split()[0]: int(line.split()[1]) for line in listing.splitlines()}


@pytest.fixture
def host(folder: Path, wire: Wire, stack: ExitStack) -> Host:
    return Host(folder, wire, stack, SETTINGS)


@pytest.mark.parametrize("client", ["198.51.100.7", "2001:db8:1::7"])
def test_a_login_opens_the_relay_for_its_address_until_the_window_is_over(
    host: Host, client: str
) -> None:
    other = "203.0.113.9"
    assert host.code(client) == 554
    host.login(client)
    host.becomes(client, 250)
    assert host.code(other) == 554
    time.sleep(0.5)
    assert host.code(client) == 250
    host.becomes(client, 554)
    assert host.table() == {}


def test_an_open_smtp_session_is_let_through_and_shut_out_again(host: Host) -> None:
    session = SmtpSession(host.wire, "198.51.100.7", host.postfix.port)
    assert session.rcpt()[0] == 554
    host.login("198.51.100.7")
    wait_for("250", lambda: session.rcpt()[0] == 250)
    wait_for("554", lambda: session.rcpt()[0] == 554)
    session.close()


def test_an_open_mail_session_keeps_the_relay_open(host: Host) -> None:
    client = "198.51.100.7"
    with pop3_session(host.wire, client, host.dovecot.pop3_port, USER, PASSWORD):
        host.becomes(client, 250)
        time.sleep(4)
        assert host.code(client) == 250
    host.becomes(client, 554)


def test_a_refused_password_opens_nothing(host: Host) -> None:
    with pytest.raises(poplib.error_proto):
        host.login("198.51.100.7", "wrong")
    host.login("203.0.113.9")
    host.becomes("203.0.113.9", 250)
    assert host.code("198.51.100.7") == 554


def test_a_name_that_carries_a_success_line_opens_nothing(host: Host) -> None:
    """A client that cannot log in writes what it likes into the log as its user name."""
    name = "x>, method=PLAIN, rip=203.0.113.20, lip=1.1.1.1, mpid=1, session=<AbCd>"
    with pytest.raises(poplib.error_proto):
        pop3_login(host.wire, "198.51.100.7", host.dovecot.pop3_port, name, "wrong")
    host.login("203.0.113.9")
    host.becomes("203.0.113.9", 250)
    assert host.table().keys() == {"203.0.113.9"}
    assert host.code("203.0.113.20") == 554


def test_trusted_addresses_may_relay_without_a_login(host: Host) -> None:
    host.popgate.trusted.write_text("!203.0.113.9\n203.0.113.0/24\n")
    host.becomes("203.0.113.20", 250)
    assert host.code("203.0.113.9") == 554
    assert host.code("198.51.100.7") == 554


def test_grants_by_hand_and_their_revocation_are_seen_at_once(host: Host) -> None:
    host.popgate.command("allow", "198.51.100.7", "--for", "1h")
    assert host.code("198.51.100.7") == 250
    host.popgate.command("revoke", "198.51.100.7")
    assert host.code("198.51.100.7") == 554


def test_the_log_may_be_rotated_at_any_time(host: Host) -> None:
    for number in range(3):
        host.login("198.51.100.7")
        host.becomes("198.51.100.7", 250)
        host.dovecot.log.rename(host.dovecot.log.with_suffix(f".log.{3 - number}"))
        host.login("203.0.113.9")  # Dovecot still writes to the renamed file
        host.becomes("203.0.113.9", 250)
        os.kill(host.dovecot.pid, signal.SIGUSR1)  # and now opens the new one
        wait_for("the new log", host.dovecot.log.exists)
        host.becomes("198.51.100.7", 554)
        host.becomes("203.0.113.9", 554)


class TestAKilledDaemon:
    def test_leaves_entries_that_expire_ends(self, host: Host) -> None:
        client = "198.51.100.7"
        host.login(client)
        host.becomes(client, 250)
        host.popgate.kill()
        time.sleep(3.5)
        assert host.code(client) == 250, "nobody has ended it"
        assert host.popgate.command("expire").returncode == 0
        assert host.code(client) == 554

    def test_misses_nothing_that_was_logged_meanwhile(self, host: Host) -> None:
        host.popgate.kill()
        with pop3_session(host.wire, "198.51.100.7", host.dovecot.pop3_port, USER, PASSWORD):
            assert host.code("198.51.100.7") == 554
            host.popgate.start()
            host.becomes("198.51.100.7", 250)
        host.becomes("198.51.100.7", 554)

    def test_counts_no_line_twice(self, host: Host) -> None:
        for client in ("198.51.100.7", "203.0.113.9", "203.0.113.20"):
            host.login(client)
            host.becomes(client, 250)
            host.popgate.kill()
            host.popgate.start()
        rows = json.loads(host.popgate.command("list", "--json").stdout)
        assert all(row["sessions"] == 0 for row in rows)
        history = subprocess.run(
            ["git", "-C", host.popgate.maps, "log", "--format=%b"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for client in ("198.51.100.7", "203.0.113.9", "203.0.113.20"):
            assert history.count(f"+ {client} ") <= 1


def test_a_table_written_as_a_whole_never_shuts_a_granted_client_out(host: Host) -> None:
    """Ten thousand entries come and go in one transaction while smtpd asks the table."""
    assert host.popgate.stop() == 0  # it would take out what it did not put in
    table = f"lmdb:{host.popgate.maps}/pop_before_smtp"
    postfix = writing.Postfix(PostfixSettings(config_directory=str(host.postfix.config)))
    kept = {"198.51.100.7": "9999999999"}
    many = {f"203.0.{n // 250}.{n % 250 + 1}": "9999999999" for n in range(10_000)}
    postfix.replace(table, kept)
    done = threading.Event()

    def rewrite() -> None:
        for _ in range(25):
            postfix.replace(table, kept | many)
            postfix.replace(table, kept)
        done.set()

    thread = threading.Thread(target=rewrite)
    session = SmtpSession(host.wire, "198.51.100.7", host.postfix.port)
    stranger = SmtpSession(host.wire, "203.0.113.9", host.postfix.port)
    thread.start()
    answers = 0
    while not done.is_set():
        assert session.rcpt()[0] == 250
        assert stranger.rcpt()[0] == 554
        answers += 1
    thread.join()
    session.close()
    stranger.close()
    assert answers > 50


def test_a_stopped_daemon_s_table_ends_with_cron_alone(host: Host) -> None:
    client = "198.51.100.7"
    assert host.popgate.stop() == 0
    # Two commands and two sessions have to fit into the window, on a busy machine too.
    host.popgate.configure(host.dovecot.log, SETTINGS.replace("3s", "10s"))
    host.login(client)
    assert host.popgate.command("once").returncode == 0
    assert host.code(client) == 250
    time.sleep(10.1)
    assert host.popgate.command("once").returncode == 0
    assert host.code(client) == 554


def test_with_a_cidr_table_postfix_is_reloaded(folder: Path, wire: Wire, stack: ExitStack) -> None:
    settings = SETTINGS + '[postfix]\ntable = "cidr"\nmin_reload_interval = "1s"\n'
    host = Host(folder, wire, stack, settings)
    assert "check_client_access cidr:${popgate_dir}/pop_before_smtp.cidr" in host.popgate.snippet()
    host.login("198.51.100.7")
    host.becomes("198.51.100.7", 250)
    host.becomes("198.51.100.7", 554)


def test_a_postfix_command_that_fails_for_a_while_loses_no_login(host: Host) -> None:
    table = host.popgate.maps / "pop_before_smtp.lmdb"
    away = table.with_suffix(".away")
    host.popgate.configure(host.dovecot.log, SETTINGS.replace("3s", "10s"))
    host.popgate.signal(signal.SIGHUP)
    wait_for("SIGHUP", lambda: "event=reconfigured" in host.popgate.said.read_text())
    table.rename(away)
    table.mkdir()  # postmap cannot open it now
    host.login("198.51.100.7")
    wait_for("the complaint", lambda: "event=failed" in host.popgate.said.read_text())
    table.rmdir()
    away.rename(table)
    host.becomes("198.51.100.7", 250)


def test_the_demo_goes_as_it_should() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab.demo"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All as it should be." in done.stdout

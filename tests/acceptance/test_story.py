"""From the package to the purge, on a booted Debian with its own Postfix, Dovecot and systemd.

The tests are one story: each goes on where the one before it stopped.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable

import pytest

from lab.clients import SmtpSession, rcpt
from lab.processes import wait_for
from tests.acceptance.mailhost import (
    HOME,
    OTHER,
    PASSWORD,
    THIRD,
    USER,
    WINDOW,
    Mailhost,
)

pytestmark = pytest.mark.acceptance

UNITS = (
    "popgate.service",
    "popgate-expire.service",
    "popgate-expire.timer",
    "popgate-reload.path",
    "popgate-reload.service",
)
# systemd.journal-fields(7), sd-messages(3)
STARTING = "7d4958e842da4a758f6c1cdc7b36dcc5"
STARTED = "39f53479d3a045ac8e11786248231fbf"
EXPOSURE = {"popgate": 1.5, "popgate-expire": 1.5, "popgate-reload": 1.5}
SETTINGS = {"grants.window": f"{WINDOW}s", "audit.interval": "5s", "submission.enabled": "true"}
EVE = "eve"
"""A user with a shell, and nothing else."""
DATAGRAM = (
    "import socket, sys; to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
    "to.sendto(sys.argv[1].encode(), '/dev/log')"
)
Show = Callable[[str, object], None]

_before: dict[str, dict[str, bytes]] = {}
"""Postfix's files as they were before popgate, by release."""


@pytest.fixture
def show(record_property: Show) -> Show:
    """A fact for the report."""
    return record_property


def test_the_package_installs_and_starts_nothing_before_it_is_configured(
    host: Mailhost, show: Show
) -> None:
    machine = host.machine
    _before[host.release] = host.configuration_files()
    machine.run("dpkg", "--install", "/root/popgate.deb")
    assert machine.run("id", "-Gn", "popgate").split() == ["popgate", "adm", "systemd-journal"]
    modes = machine.run("stat", "-c", "%a %U:%G %n", *FOLDERS)
    assert dict(zip(FOLDERS, modes.splitlines(), strict=True)) == {
        name: f"{rights} {name}" for name, rights in FOLDERS.items()
    }
    assert machine.property("popgate.service", "ActiveState") == "inactive"
    assert machine.property("popgate-expire.timer", "ActiveState") == "inactive"
    machine.run("dpkg", "--install", "/root/popgate.deb")  # again
    assert machine.state() == "running"
    show("package", machine.run("dpkg-query", "-W", "-f", "${Version}", "popgate"))


FOLDERS = {
    "/var/lib/popgate": "700 popgate:popgate",
    "/var/lib/popgate/maps": "700 popgate:popgate",
    "/var/lib/popgate-exports": "755 popgate:popgate",
    "/etc/popgate": "750 root:popgate",
    "/run/popgate": "770 root:popgate",
}


def test_systemd_finds_no_fault_with_the_units_and_little_that_they_may(
    host: Mailhost, show: Show
) -> None:
    verified = host.machine.command("systemd-analyze", "verify", *UNITS)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    for name, most in EXPOSURE.items():
        file = f"/usr/lib/systemd/system/{name}.service"
        said = host.machine.run("systemd-analyze", "security", "--offline=yes", "--no-pager", file)
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
        assert found, said
        assert float(found[1]) <= most, said
        show(f"exposure of {name}", found[1])


def test_it_is_configured_and_put_into_postfix(host: Mailhost, show: Show) -> None:
    show("popgate install", f"{configure(host):.1f} s")
    assert host.machine.property("popgate.service", "ActiveState") == "active"
    assert host.machine.property("popgate-expire.timer", "ActiveState") == "active"
    pid = host.machine.property("popgate.service", "MainPID")
    assert host.machine.run("ps", "-o", "user=", "-p", pid).strip() == "popgate"
    assert not host.may_relay(HOME)


def configure(host: Mailhost) -> float:
    """As an admin does it; the seconds that `popgate install` took."""
    machine = host.machine
    host.popgate("init")
    for name, value in SETTINGS.items():
        host.popgate("config", "set", name, value)
    machine.run("systemctl", "start", "popgate.service")
    began = time.monotonic()
    host.popgate("install")
    return time.monotonic() - began


def test_a_pop_login_opens_the_relay_for_the_window(host: Mailhost, show: Show) -> None:
    assert not host.may_relay(HOME)
    host.log_in(HOME)
    logged_in = time.monotonic()
    show("login to relay", f"{host.until(HOME, True, 10):.2f} s")
    assert host.may_relay(HOME)
    assert not host.may_relay(OTHER)
    host.until(HOME, False, WINDOW + 10)
    lasted = time.monotonic() - logged_in
    assert WINDOW - 2 < lasted < WINDOW + 5
    show("refused again", f"after {lasted:.1f} s; window {WINDOW} s")


def test_what_a_user_with_a_shell_writes_to_the_journal_opens_nothing(
    host: Mailhost, show: Show
) -> None:
    """Words that Dovecot itself wrote, with another address, by every way that a user has."""
    machine = host.machine
    machine.run("useradd", "--create-home", EVE)
    host.log_in(HOME)
    said = machine.run("journalctl", "-u", "dovecot.service", "-o", "cat", "--no-pager")
    (*_, real) = (line for line in said.splitlines() if f"rip={HOME}," in line and "user=" in line)
    forged = real.replace(HOME, OTHER)
    pid = machine.property("dovecot.service", "MainPID")
    fields = {
        "MESSAGE": forged,
        "SYSLOG_IDENTIFIER": "dovecot",
        "_SYSTEMD_UNIT": "dovecot.service",
        "_EXE": "/usr/lib/dovecot/log",
        "UNIT": "dovecot.service",
        "OBJECT_PID": pid,
    }
    entry = "".join(f"{name}={text}\n" for name, text in fields.items())
    as_eve(
        host,
        ["logger", "-p", "mail.info", "-t", "dovecot", forged],
        ["logger", f"--id={pid}", "-t", "dovecot", forged],
        ["systemd-cat", "-t", "dovecot", "echo", forged],
        ["sh", "-c", 'printf %s "$0" | logger --journald', entry],
        ["python3", "-c", DATAGRAM, f"<22>dovecot[{pid}]: {forged}"],
    )
    machine.run("journalctl", "--sync")
    written = machine.run("journalctl", "-t", "dovecot", "-o", "short-iso-precise", "--no-pager")
    lines = [line for line in written.splitlines() if f"rip={OTHER}," in line]
    assert len(lines) == 5, written
    scanned = machine.run("popgate", "scan", "-", text="\n".join([*lines, ""]))
    assert scanned.count(OTHER) == 5, "by their words alone they are logins"
    host.log_in(THIRD)  # behind all of them
    host.until(THIRD, True, 10)
    assert OTHER not in host.popgate("list")
    assert not host.may_relay(OTHER)
    show("lines that a user forged", "5, none believed")
    host.popgate("revoke", HOME)
    host.popgate("revoke", THIRD)


def as_eve(host: Mailhost, *commands: list[str]) -> None:
    """Run commands as a user with a shell, in a unit of his own as a session is."""
    script = "\n".join(["set -e", *map(shlex.join, commands), ""])
    host.machine.file(f"/home/{EVE}/work").write_text(script)
    unit = f"[Service]\nType=oneshot\nUser={EVE}\nExecStart=/bin/sh /home/{EVE}/work\n"
    host.machine.file("/run/systemd/system/session-of-eve.service").write_text(unit)
    host.machine.run("systemctl", "daemon-reload")
    host.machine.run("systemctl", "start", "session-of-eve.service")


@pytest.mark.parametrize(
    "attempt",
    [
        "ls /var/lib/popgate",
        "touch /var/lib/popgate/maps/new",
        "ln -s /etc/passwd /var/lib/popgate/maps/trusted.cidr",
        "cat /etc/popgate/popgate.toml",
        f"echo {OTHER} >> /etc/popgate/trusted.txt",
        "touch /run/popgate/reload",
        "ls /var/spool/postfix/popgate",
        f"popgate allow {OTHER}",
        f"popgate trust add {OTHER}",
        f"popgate --help && postmap -q {OTHER} lmdb:/var/lib/popgate/maps/pop_before_smtp",
    ],
)
def test_such_a_user_comes_to_none_of_popgate_s_files(host: Mailhost, attempt: str) -> None:
    done = host.machine.command("runuser", "-u", EVE, "--", "sh", "-c", f"cd /; {attempt}")
    assert done.returncode != 0, done.stdout
    assert "ermission denied" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_changed_trusted_list_reaches_postfix_though_the_daemon_is_not_root(
    host: Mailhost, show: Show
) -> None:
    assert not host.may_relay(OTHER)
    host.popgate("trust", "add", OTHER, "--note", "the scanner")
    show("trusted list to relay", f"{host.until(OTHER, True, 20):.2f} s")
    host.popgate("trust", "remove", "1")
    host.until(OTHER, False, 20)
    assert not host.machine.file("/run/popgate/reload").exists()
    said = host.machine.run("journalctl", "-u", "popgate.service", "-o", "cat", "--no-pager")
    assert "only root may reload" not in said
    assert "nobody took the request" not in said


def test_a_daemon_that_hangs_is_started_anew_by_the_watchdog(host: Mailhost, show: Show) -> None:
    drop_in(host, "[Service]\nWatchdogSec=4\n")
    host.machine.run("systemctl", "restart", "popgate.service")
    pid = host.machine.property("popgate.service", "MainPID")
    time.sleep(9)  # twice the time in which it would be ended if it were not heard
    assert host.machine.property("popgate.service", "MainPID") == pid
    host.machine.run("kill", "-STOP", pid)
    stopped = time.monotonic()
    wait_for(
        "another popgate",
        lambda: (
            host.machine.property("popgate.service", "ActiveState") == "active"
            and host.machine.property("popgate.service", "MainPID") != pid
        ),
        60,
    )
    show("hung daemon replaced", f"after {time.monotonic() - stopped:.0f} s; WatchdogSec=4")
    drop_in(host, None)
    host.machine.run("systemctl", "restart", "popgate.service")


def drop_in(host: Mailhost, text: str | None) -> None:
    """Change the daemon's unit until the machine is started again; None: not any more."""
    folder = host.machine.file("/run/systemd/system/popgate.service.d")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test.conf").unlink(missing_ok=True)
    if text is not None:
        (folder / "test.conf").write_text(text)
    host.machine.run("systemctl", "daemon-reload")


def test_the_doctor_finds_no_error(host: Mailhost, show: Show) -> None:
    done = host.machine.command("popgate", "doctor", "--json")
    findings = json.loads(done.stdout)
    errors = [one for one in findings if one["severity"] == "error"]
    assert not errors, errors
    show("doctor", ", ".join(f"{one['severity']} {one['code']}" for one in findings) or "well")


def test_the_package_brings_what_the_report_and_prometheus_need(host: Mailhost) -> None:
    done = host.machine.command("popgate", "report", "-o", "/root/report.html")
    assert done.returncode == 0, done.stderr
    done = host.machine.command("grep", "-c", "<svg", "/root/report.html")
    assert done.returncode == 0, "a page without a chart"
    path = "import sys; sys.path.insert(0, '/usr/lib/popgate'); import prometheus_client"
    assert host.machine.command("python3", "-c", path).returncode == 0


def test_grants_of_a_daemon_that_was_killed_end_on_time_by_the_timer(
    host: Mailhost, show: Show
) -> None:
    drop_in(host, "[Service]\nRestart=no\nExecStopPost=\n")
    host.machine.run("systemctl", "restart", "popgate.service")
    host.log_in(HOME)
    host.until(HOME, True, 10)
    host.popgate("allow", OTHER, "--for", "5s")
    over = {OTHER: time.monotonic() + 5, HOME: time.monotonic() + WINDOW}
    host.until(OTHER, True, 5)
    host.machine.run("systemctl", "kill", "--signal=KILL", "popgate.service")
    wait_for("its end", lambda: host.machine.property("popgate.service", "MainPID") == "0", 10)
    assert host.may_relay(HOME)
    late = {}
    for client, end in over.items():
        host.until(client, False, 120)
        late[client] = time.monotonic() - end
    assert host.machine.property("popgate.service", "ActiveState") == "failed"
    assert max(late.values()) <= 60 + 5
    show("killed: ended by the timer", ", ".join(f"{one:.0f} s late" for one in late.values()))
    drop_in(host, None)
    host.machine.run("systemctl", "restart", "popgate.service")


def test_after_a_power_cut_nothing_that_is_over_opens_and_nothing_in_force_is_lost(
    host: Mailhost, show: Show
) -> None:
    host.popgate("allow", HOME, "--for", "6s")
    host.popgate("allow", OTHER, "--for", "1h")
    over = time.monotonic() + 6
    assert host.may_relay(HOME)
    assert host.may_relay(OTHER)
    host.machine.cut()
    wait_for("the end of the grant", lambda: time.monotonic() > over, 10)
    host.machine.boot(wait=False)
    first = first_answers(host, HOME, OTHER)
    assert "Relay access denied" in first[HOME][1]
    assert first[OTHER][0] == 250
    host.machine.wait_until_up()
    show("boot: before Postfix", before_postfix(host))
    assert host.machine.state() == "running"


def test_after_a_reboot_the_tables_are_right_before_postfix_accepts_mail(
    host: Mailhost, show: Show
) -> None:
    assert host.may_relay(OTHER)
    host.popgate("allow", HOME, "--for", "1s")
    host.machine.reboot()
    assert not host.may_relay(HOME)
    assert host.may_relay(OTHER)
    show("reboot: before Postfix", before_postfix(host))
    host.log_in(THIRD)
    host.until(THIRD, True, 10)
    host.popgate("revoke", OTHER)
    host.until(OTHER, False, 5)


def first_answers(host: Mailhost, *clients: str) -> dict[str, tuple[int, str]]:
    """What each client is told by the first smtpd that answers at all."""
    answers: dict[str, tuple[int, str]] = {}

    def asked() -> bool:
        for client in clients:
            if client not in answers:
                try:
                    answers[client] = rcpt(host.wire, client, 25)
                except OSError:
                    return False
        return True

    wait_for("Postfix", asked, 60)
    return answers


def before_postfix(host: Mailhost) -> str:
    """How long the tables had been right when Postfix was started."""
    right = first_since_boot(host, "popgate-expire.service", STARTED)
    began = first_since_boot(host, host.postfix_unit, STARTING)
    assert right < began
    return f"{(began - right) / 1000:.0f} ms"


def first_since_boot(host: Mailhost, unit: str, message: str) -> int:
    """When the journal first has a message of systemd's about a unit, in microseconds."""
    manager = "--property=UserspaceTimestamp"
    boot = host.machine.run("systemctl", "show", "--timestamp=unix", "--value", manager).strip()
    terms = [f"--since={boot}", "--output=json", f"UNIT={unit}", f"MESSAGE_ID={message}"]
    said = host.machine.run("journalctl", "--no-pager", *terms).splitlines()
    assert said, f"{unit}: no such message since {boot}"
    return int(json.loads(said[0])["__REALTIME_TIMESTAMP"])


def test_port_587_opens_for_authentication_alone_and_port_25_offers_none(host: Mailhost) -> None:
    host.popgate("trust", "add", OTHER)
    host.until(OTHER, True, 20)
    session = SmtpSession(host.wire, OTHER, 587)
    assert "auth" not in session.extensions()
    assert session.rcpt()[0] == 530  # STARTTLS first
    session.start_tls()
    assert "auth" in session.extensions()
    assert session.rcpt()[0] == 554
    session.log_in(USER, PASSWORD)
    assert session.rcpt()[0] == 250
    session.close()
    plain = SmtpSession(host.wire, OTHER, 25)
    assert "auth" not in plain.extensions()
    plain.start_tls()
    assert "auth" not in plain.extensions()
    plain.close()


def test_purged_postfix_is_as_before(host: Mailhost) -> None:
    machine = host.machine
    machine.run("dpkg", "--purge", "popgate")
    assert host.configuration_files() == _before[host.release]
    assert "popgate" not in machine.run("postconf", "-n")
    for folder in FOLDERS:
        assert not machine.file(folder).exists()
    assert machine.command("systemctl", "cat", "popgate.service").returncode != 0
    for client in (HOME, OTHER, THIRD):
        assert not host.may_relay(client)
    assert machine.state() == "running"

"""A mail host as it stood before popgate: Debian's Postfix and Dovecot, SMTP AUTH on port 25."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from lab.clients import pop3s_login, rcpt
from lab.machine import Machine
from lab.network import Namespaces
from lab.processes import wait_for

USER, PASSWORD = "alice", "correct horse"
HOME, OTHER, THIRD = "198.51.100.7", "203.0.113.9", "203.0.113.20"
"""Clients that have nothing to do with the host, until one of them logs in."""

WINDOW = 20

_SASL = """\
service auth {
  unix_listener /var/spool/postfix/private/auth {
    mode = 0660
    user = postfix
    group = postfix
  }
}
"""
_MAIN_CF = (
    "myhostname = mail.example.com",
    "smtpd_sasl_type = dovecot",
    "smtpd_sasl_path = private/auth",
    "smtpd_sasl_auth_enable = yes",
)


@dataclass(frozen=True)
class Mailhost:
    """The machine, and the network from which clients reach it."""

    machine: Machine
    wire: Namespaces
    release: str

    @property
    def postfix_unit(self) -> str:
        """The unit that smtpd belongs to."""
        return "postfix@-.service" if self.release == "bookworm" else "postfix.service"

    def prepare(self, package: Path) -> None:
        """What its admin did before popgate came; and the package is brought there."""
        run = self.machine.run
        run("useradd", "--create-home", USER)
        run("chpasswd", text=f"{USER}:{PASSWORD}\n")
        self.machine.file("/etc/dovecot/conf.d/99-sasl.conf").write_text(_SASL)
        run("postconf", "-e", *_MAIN_CF)
        run("systemctl", "restart", "dovecot.service", "postfix.service")
        self.machine.file("/root/popgate.deb").write_bytes(package.read_bytes())

    def log_in(self, client: str) -> None:
        """POP3 over TLS, from a client's address."""
        pop3s_login(self.wire, client, USER, PASSWORD)

    def may_relay(self, client: str) -> bool:
        """What port 25 answers at RCPT; anything but yes or the refusal is an error."""
        code, words = rcpt(self.wire, client, 25)
        assert code == 250 or "Relay access denied" in words, f"{code} {words}"
        return code == 250

    def until(self, client: str, may: bool, patience: float) -> float:
        """Ask until the answer is that; how long it took. Each time anew: a session that was open
        when Postfix was reloaded keeps its answers."""
        began = time.monotonic()
        what = f"{client} {'may' if may else 'may not'} relay"
        wait_for(what, lambda: self.may_relay(client) is may, patience)
        return time.monotonic() - began

    def popgate(self, *arguments: str) -> str:
        """A command of popgate's, as root; what it printed."""
        return self.machine.run("popgate", *arguments)

    def configuration_files(self) -> dict[str, bytes]:
        """Postfix's own files, byte for byte."""
        folder = self.machine.file("/etc/postfix")
        return {name: (folder / name).read_bytes() for name in ("main.cf", "master.cf")}

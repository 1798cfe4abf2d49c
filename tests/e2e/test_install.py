"""`popgate install` and `uninstall` on real Postfix instances, with main.cf as admins have it.

Postfix listens on port 25 of a network namespace, and popgate runs there.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.clients import rcpt
from lab.dovecot import Dovecot
from lab.network import Wire
from lab.popgate import Popgate
from lab.postfix import Postfix
from lab.processes import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers_allowed")]

STRANGER, TRUSTED, GRANTED = "203.0.113.9", "203.0.113.20", "198.51.100.7"
DEBIAN = """\
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
"""
SHAPES = {
    "nothing set": "",
    "Debian's": DEBIAN,
    "hardened, over several lines": """
# who may connect
smtpd_client_restrictions =
    permit_mynetworks,
    # users first
    permit_sasl_authenticated,
    check_client_access cidr:{folder}/listed
smtpd_helo_required = yes
smtpd_helo_restrictions = permit_mynetworks permit_sasl_authenticated
    reject_invalid_helo_hostname reject_non_fqdn_helo_hostname
smtpd_sender_restrictions = reject_non_fqdn_sender, permit_mynetworks, permit_sasl_authenticated,
    check_sender_access texthash:{folder}/senders, permit
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions = reject_non_fqdn_recipient,
    permit_mynetworks,permit_sasl_authenticated,
    check_client_access cidr:{folder}/listed
smtpd_data_restrictions = reject_unauth_pipelining, permit
""",
    "classes and parameters": """
smtpd_restriction_classes = greylist, strict
greylist = check_client_access cidr:{folder}/listed
strict = reject_unknown_sender_domain
users = permit_mynetworks, permit_sasl_authenticated
smtpd_recipient_restrictions = $users, reject_unauth_destination,
    check_client_access cidr:{folder}/listed, check_recipient_access { inline:{ abuse@=OK } }
smtpd_relay_restrictions =
smtpd_sender_login_maps = texthash:{folder}/logins
smtpd_sender_restrictions = reject_sender_login_mismatch, $users
smtpd_end_of_data_restrictions = $users
""",
}
OVERRIDES = """\
  -o smtpd_client_restrictions=permit_sasl_authenticated,check_client_access,cidr:{folder}/listed
  # not for others
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject_unauth_destination
"""


class Host:
    """A mail host: Postfix on port 25, and popgate, which is not installed yet."""

    def __init__(
        self,
        folder: Path,
        wire: Wire,
        stack: ExitStack,
        shape: str = DEBIAN,
        *,
        options: str = "",
        services: str = "",
        settings: str = "",
        extra: dict[str, str] | None = None,
    ) -> None:
        self.wire = wire
        self.folder = folder
        (folder / "listed").write_text(f"{TRUSTED} REJECT listed\n{GRANTED} REJECT listed\n")
        (folder / "senders").write_text("spammer@far.example.org REJECT\n")
        (folder / "logins").write_text("alice@example.com alice\n")
        self.dovecot = stack.enter_context(Dovecot(folder / "dovecot", wire, {"alice": "secret"}))
        self.popgate = Popgate(
            folder / "popgate", self.dovecot.log, folder / "postfix/config", settings
        )
        self.popgate.trusted.write_text(f"{TRUSTED}\n")
        self.postfix = stack.enter_context(
            Postfix(
                folder / "postfix",
                wire,
                shape.replace("{folder}", str(folder)),
                {
                    "smtpd_sasl_auth_enable": "yes",
                    "smtpd_sasl_type": "dovecot",
                    "smtpd_sasl_path": str(self.dovecot.smtp_auth),
                    "mynetworks": "127.0.0.0/8",
                    **(extra or {}),
                },
                services.replace("{folder}", str(folder)),
                port=25,
                options=options.replace("{folder}", str(folder)),
            )
        )
        self.before = self.files()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.popgate.command(*arguments, prefix=self.wire.command([]))

    def does(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def files(self) -> tuple[bytes, bytes]:
        """main.cf and master.cf."""
        config = self.postfix.config
        return (config / "main.cf").read_bytes(), (config / "master.cf").read_bytes()

    def code(self, client: str) -> int:
        return rcpt(self.wire, client, 25)[0]

    def codes(self) -> tuple[int, int, int]:
        """For a stranger, a trusted and a granted address."""
        return self.code(STRANGER), self.code(TRUSTED), self.code(GRANTED)

    def works(self) -> None:
        self.does("allow", GRANTED, "--for", "1h")
        wait_for("the reload", lambda: self.codes()[1:] == (250, 250))
        assert self.codes()[0] in (454, 553, 554)

    def edit(self, *arguments: str) -> None:
        command = ["/usr/sbin/postconf", "-c", str(self.postfix.config), *arguments]
        subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_grants_and_the_trusted_list_open_the_relay_and_everything_comes_back(
    folder: Path, wire: Wire, stack: ExitStack, shape: str
) -> None:
    host = Host(folder, wire, stack, SHAPES[shape])
    mode = (host.postfix.config / "main.cf").stat().st_mode
    assert 250 not in host.codes()
    print(host.does("install"))
    assert (host.postfix.config / "main.cf").stat().st_mode == mode
    host.works()
    installed = host.files()
    assert host.does("install") == "nothing to do\n"
    assert host.files() == installed
    print(host.does("uninstall"))
    assert host.files() == host.before
    assert not (host.postfix.config / "popgate.saved").exists()
    wait_for("the reload", lambda: 250 not in host.codes())
    assert host.does("uninstall") == "nothing to do\n"

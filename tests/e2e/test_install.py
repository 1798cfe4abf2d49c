"""`popgate install` and `uninstall` on real Postfix instances, with main.cf as admins have it.

Postfix listens on port 25 of a network namespace, and popgate runs there.
"""

from __future__ import annotations

import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest

from lab.clients import rcpt
from lab.dovecot import Dovecot
from lab.network import Wire
from lab.popgate import Popgate
from lab.postfix import Postfix, certificate
from lab.processes import alive, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers_allowed")]

STRANGER, TRUSTED, GRANTED = "203.0.113.9", "203.0.113.20", "198.51.100.7"
NEAR = "2001:db8:1::7"
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


class _Smtp(smtplib.SMTP):
    def __init__(self, channel: socket.socket) -> None:
        super().__init__(local_hostname="client.example.org", timeout=20)
        self.sock = channel
        self._host = "mail.example.net"  # the name that STARTTLS asks for
        self.getreply()


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
        command: Literal["smtpd", "postscreen"] = "smtpd",
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
                command=command,
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

    def setup(self) -> dict[str, str]:
        """main.cf as Postfix reads it."""
        command = ["/usr/sbin/postconf", "-c", str(self.postfix.config), "-n"]
        listed = subprocess.run(command, check=True, capture_output=True, text=True)
        unused = re.findall(r"unused parameter: (\w+)=(.*)", listed.stderr)
        lines = (line.partition(" =") for line in listed.stdout.splitlines())
        return {name: value.strip() for name, _, value in lines} | dict(unused)

    def offers(self, port: int) -> frozenset[str]:
        """What a stranger is offered."""
        with _Smtp(self.wire.connect(STRANGER, port)) as session:
            session.ehlo()
            return frozenset(name.upper() for name in session.esmtp_features)

    def submits(self, client: str, port: int, user: str | None = None) -> tuple[int, int]:
        """What a client is told at RCPT for a foreign recipient, and at DATA for <postmaster>."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        channel = self.wire.connect(client, port)
        if port == 465:
            channel = context.wrap_socket(channel)
        with _Smtp(channel) as session:
            session.ehlo()
            if port == 587:
                session.starttls(context=context)
                session.ehlo()
            if user is not None:
                session.login(user, "secret")
            session.mail("alice@example.com")
            code = session.rcpt("someone@far.example.org")[0]
            session.rset()
            session.mail("alice@example.com")
            assert session.rcpt("postmaster")[0] == 250
            data = session.docmd("DATA")[0]
            if data == 354:
                session.send("Subject: x\r\n\r\nHello.\r\n.\r\n")
                assert session.getreply()[0] == 250
            return code, data

    def process(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tracker", *arguments, "--config", str(self.popgate.file)]
        return subprocess.Popen(self.wire.command(command), stdout=subprocess.DEVNULL)

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


def test_lists_in_master_cf_and_the_admins_submission_port(
    folder: Path, wire: Wire, stack: ExitStack
) -> None:
    """Their submission port takes its lists from main.cf: it must not open for trusted addresses,
    and not even for those that may relay on port 25."""
    services = "submission inet n - n - - smtpd\n  -o smtpd_tls_security_level=none\n"
    host = Host(folder, wire, stack, options=OVERRIDES, services=services)
    host.does("install")
    host.works()
    assert rcpt(wire, TRUSTED, 587)[0] == 454
    host.does("uninstall")
    assert host.files() == host.before


SECOND = "[2001:db8::1]:25 inet n - n - - smtpd"


def test_each_smtpd_of_port_25_is_asked(folder: Path, wire: Wire, stack: ExitStack) -> None:
    host = Host(folder, wire, stack, services=f"{SECOND}\n", extra={"inet_interfaces": wire.host})
    said = host.does("install").splitlines()
    for smtpd in ("smtp/inet", "[2001:db8::1]:25/inet"):
        asked = [line for line in said if line.startswith(f"asked: {smtpd}: a granted address")]
        assert [line for line in asked if ": 250 " in line], said


def test_a_second_smtpd_that_relays_for_everybody_is_found(
    folder: Path, wire: Wire, stack: ExitStack
) -> None:
    everybody = "check_sender_access,static:OK,reject_unauth_destination"
    services = f"{SECOND} -o smtpd_relay_restrictions={everybody}\n"
    host = Host(folder, wire, stack, services=services, extra={"inet_interfaces": wire.host})
    refused = host.run("install")
    assert refused.returncode != 0
    assert "[2001:db8::1]:25/inet: this Postfix relays for strangers already" in refused.stderr
    assert host.files() == host.before


POSTSCREEN = """
postscreen_greet_wait = 1s
postscreen_access_list = permit_mynetworks
smtpd_recipient_restrictions = permit_sasl_authenticated, permit_mynetworks,
    check_client_access cidr:{folder}/listed, reject_invalid_helo_hostname,
    reject_unauth_destination
smtpd_sender_restrictions = reject_authenticated_sender_login_mismatch, permit_mynetworks,
    permit_sasl_authenticated, reject_unlisted_sender
smtpd_data_restrictions = reject_unauth_pipelining, permit
"""


def test_behind_postscreen(folder: Path, wire: Wire, stack: ExitStack) -> None:
    services = f"smtpd pass - - n - - smtpd\n{OVERRIDES}dnsblog unix - - n - 0 dnsblog\n"
    host = Host(folder, wire, stack, POSTSCREEN, services=services, command="postscreen")
    host.does("install")
    host.works()
    assert b"check_client_access" in host.files()[1]
    assert b"permit_sasl_authenticated,$popgate_clients" in host.files()[1]
    host.does("uninstall")
    assert host.files() == host.before


def test_an_admin_s_edit_since_stays(folder: Path, wire: Wire, stack: ExitStack) -> None:
    host = Host(folder, wire, stack, SHAPES["hardened, over several lines"])
    before = host.setup()
    host.does("install")
    host.edit("-e", "smtpd_helo_restrictions = permit_mynetworks, $popgate_clients", "a_b = c")
    said = host.does("uninstall")
    assert "without what was popgate's" in said
    after = host.setup()
    assert after.pop("a_b") == "c"
    assert after.pop("smtpd_helo_restrictions") == "permit_mynetworks"
    assert after == {key: value for key, value in before.items() if "helo_restr" not in key}
    assert host.files()[1] == host.before[1]
    assert b"popgate_" not in b"".join(host.files())


def test_a_class_that_refuses_everybody_is_found_before_anything_is_touched(
    folder: Path, wire: Wire, stack: ExitStack
) -> None:
    shape = (
        DEBIAN
        + "smtpd_client_restrictions = permit_mynetworks, check_client_access static:REJECT\n"
    )
    host = Host(folder, wire, stack, shape)
    done = host.run("install")
    assert done.returncode == 3
    assert "a trusted address" in done.stderr
    assert "Client host rejected" in done.stderr
    assert host.files() == host.before
    assert not (host.postfix.config / "popgate.saved").exists()


def test_a_restriction_that_postfix_does_not_know_is_found_before_anything_is_touched(
    folder: Path, wire: Wire, stack: ExitStack
) -> None:
    shape = DEBIAN + "smtpd_client_restrictions = permit_mynetworks, greylisting\n"
    host = Host(folder, wire, stack, shape)
    done = host.run("install")
    assert done.returncode == 2
    assert "refused: port 25 gives no answer as it is: 451 4.3.5" in done.stderr
    assert 'unknown smtpd restriction: "greylisting"' in done.stdout
    assert host.files() == host.before


def test_when_the_running_postfix_does_not_answer_any_more_all_goes_back(
    folder: Path, wire: Wire, stack: ExitStack
) -> None:
    """A `postfix reload` that ends Postfix, once."""
    host = Host(folder, wire, stack, SHAPES["hardened, over several lines"])
    commands = folder / "commands"
    commands.mkdir()
    for name in ("postconf", "postmap"):
        (commands / name).symlink_to(f"/usr/sbin/{name}")
    (commands / "postfix").write_text(
        f"#!/bin/sh\ncase $3 in reload) kill {host.postfix.pid};; "
        '*) exec /usr/sbin/postfix "$@";; esac\n'
    )
    (commands / "postfix").chmod(0o755)
    host.popgate.configure(host.dovecot.log, f'[postfix]\ncommand_directory = "{commands}"\n')
    done = host.run("install")
    assert done.returncode == 3
    assert "Postfix is not running any more; main.cf and master.cf are as they were" in done.stderr
    assert host.files() == host.before


@pytest.mark.parametrize("after", ["install", "uninstall"])
def test_an_install_that_is_killed_between_two_edits_is_gone_on_with_or_undone(
    folder: Path, wire: Wire, stack: ExitStack, after: str
) -> None:
    host = Host(folder, wire, stack, SHAPES["hardened, over several lines"], options=OVERRIDES)
    process = host.process("install")
    wait_for("the first edit", lambda: host.files() != host.before, 60)
    process.kill()
    process.wait()
    host.does(after)
    if after == "install":
        host.works()
        host.does("uninstall")
    assert host.files() == host.before
    assert not (host.postfix.config / "popgate.saved").exists()


def test_an_install_that_is_killed_while_it_tries_leaves_nothing_that_others_could_use(
    folder: Path, wire: Wire, stack: ExitStack
) -> None:
    """Its own Postfix takes any client's word for who they are: so only root and Postfix's user may
    speak with it, and it ends by itself."""
    host = Host(folder, wire, stack)
    process = host.process("install")
    pattern = f"popgate-rehearsal-{process.pid}-*/run-*/queue"
    found: list[Path] = []

    def started() -> bool:
        found[:] = [one for one in temporary.glob(pattern) if (one / "private/real-1").exists()]
        return bool(found)

    temporary = Path(tempfile.gettempdir())
    wait_for("its own Postfix", started, 60)
    process.kill()
    process.wait()
    pid = int((found[0] / "pid/master.pid").read_text())
    try:
        assert b"-e\x00240\x00" in Path(f"/proc/{pid}/cmdline").read_bytes()
        speak = f"import socket; socket.socket(1).connect({str(found[0] / 'private/real-1')!r})"
        done = subprocess.run(
            ["/usr/bin/env", "python3", "-c", speak],
            user="nobody",
            group="nogroup",
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert "PermissionError" in done.stderr
        assert host.files() == host.before
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for("its end", lambda: not alive(pid))
    host.does("install")
    assert not list(temporary.glob(f"popgate-rehearsal-{process.pid}-*"))


def test_the_commands_of_a_dry_run_do_the_same_when_they_are_pasted(
    folder: Path, wire: Wire, stack: ExitStack
) -> None:
    host = Host(folder, wire, stack, SHAPES["hardened, over several lines"], options=OVERRIDES)
    commands = host.does("install", "--dry-run")
    assert host.files() == host.before
    host.does("install")
    installed = host.files()
    host.does("uninstall")
    python = f'popgate() {{ "{sys.executable}" -m tracker "$@"; }}\n'
    script = wire.command(["sh", "-ec", python + commands])
    subprocess.run(script, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    for made, pasted in zip(installed, host.files(), strict=True):
        assert sorted(pasted.splitlines()) == sorted(made.splitlines())
    host.works()


def test_without_a_running_postfix_and_without_lmdb(
    folder: Path, wire: Wire, stack: ExitStack
) -> None:
    host = Host(folder, wire, stack, settings='[postfix]\ntable = "cidr"\n')
    host.postfix.stop()
    said = host.does("install")
    assert "asked: a granted address" in said
    assert "each login costs a reload" in said
    assert "Postfix is not running, so it was not asked" in said
    host.popgate.file.write_text(host.popgate.file.read_text() + "[nonsense]\n")
    host.does("uninstall")
    assert host.files() == host.before


class TestSubmission:
    @pytest.fixture
    def host(self, folder: Path, wire: Wire, stack: ExitStack) -> Host:
        made = certificate(folder) | {"mynetworks": f"127.0.0.0/8, [{NEAR}]/128"}
        return Host(folder, wire, stack, settings="[submission]\nenabled = true\n", extra=made)

    def test_port_587_is_for_those_who_log_in_and_port_25_for_all_others(self, host: Host) -> None:
        assert "AUTH" in host.offers(25)
        host.does("install")
        host.works()
        assert "AUTH" not in host.offers(25)
        for port in (587, 465):
            for client in (TRUSTED, GRANTED, NEAR):
                assert host.submits(client, port) == (554, 554), (client, port)
            assert host.submits(STRANGER, port, "alice") == (250, 354)
        assert host.does("install") == "nothing to do\n"
        host.does("uninstall")
        assert host.files() == host.before
        wait_for("the reload", lambda: "AUTH" in host.offers(25))

    @pytest.mark.parametrize(
        ("parameter", "words"),
        [
            ("smtpd_tls_cert_file=", "no TLS certificate"),
            ("smtpd_sasl_path=/nowhere", "/nowhere (smtpd_sasl_path; is Dovecot running?)"),
        ],
    )
    def test_is_refused_where_it_could_not_work(
        self, host: Host, parameter: str, words: str
    ) -> None:
        host.edit("-e", parameter)
        before = host.files()
        for arguments in (("install",), ("install", "--dry-run")):
            done = host.run(*arguments)
            assert done.returncode == 2
            assert words in done.stderr
        assert host.files() == before

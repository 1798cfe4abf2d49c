"""The exports read by the programs that they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.network import Loopback
from lab.popgate import Popgate
from lab.postfix import Postfix
from lab.processes import alive, run, stop, wait_for
from lab.rspamd import Rspamd
from tests.conftest import require
from tests.moments import login_line
from tracker.deciding.rights import Listed, Rights
from tracker.host import utc_now
from tracker.settings import ExportSettings
from tracker.writing.exports import wanted_exports

pytestmark = pytest.mark.e2e

GRANTED, STRANGER, TRUSTED = "203.0.113.5", "203.0.113.7", "198.51.100.7"
RIGHTS = Rights(
    ("198.51.100.0/25", "2001:db8:5::/48"),
    Listed((r"^friend@far\.test$",), ("192.0.2.9",)),
    Listed((r"@(?:.+[.])?spam\.test$",)),
)
MESSAGE = (
    "From: alice@example.org\nTo: bob@example.net\nSubject: hello\n"
    "Date: Tue, 24 Nov 2026 10:00:00 +0000\nMessage-ID: <1@example.org>\n\nhello\n"
)
MARK = "X-Popgate-Reason: H\n"
BOTH = ("trusted", "granted")


def needs(package: str, *programs: str) -> None:
    """Skip where one of the programs is missing."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    missing = [name for name in programs if shutil.which(name, path=path) is None]
    require(f"not installed: {package}" if missing else None)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Not pytest's own: the programs' users must be able to pass through it."""
    with tempfile.TemporaryDirectory(prefix="popgate-test-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def write(folder: Path, granted: Mapping[str, int] | None = None, **asked: Any) -> Path:
    """Exports as popgate writes them; the folder they are in."""
    settings = ExportSettings(directory=folder / "exports", **asked)
    ends = {GRANTED: 9_999_999_999} if granted is None else granted
    for table in wanted_exports(settings, RIGHTS, ends, prefix=128):
        place = folder / table.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_name(f".{place.name}.new").write_text(table.text)
        place.with_name(f".{place.name}.new").rename(place)
    return settings.directory


class TestRspamd:
    """Debian's rspamd, with the generated files where an admin puts them."""

    KINDS = (*BOTH, "whitelist", "blacklist")

    @pytest.fixture(scope="class")
    @classmethod
    def rspamd(cls, folder: Path) -> Iterator[Rspamd]:
        needs("rspamd", "rspamd", "rspamc", "rspamadm")
        require("rspamd is started by root alone" if os.geteuid() != 0 else None)
        exports = write(folder, rspamd=cls.KINDS) / "rspamd"
        names = ("multimap.conf", "settings.conf", "rspamd.local.lua")
        local = {name: (exports / name).read_text() for name in names}
        with Rspamd(folder / "rspamd", local) as made:
            yield made

    @staticmethod
    def symbols(reply: Mapping[str, Any]) -> set[str]:
        return {name for name in reply["symbols"] if name.startswith("POPGATE_")}

    @staticmethod
    def checked(reply: Mapping[str, Any]) -> bool:
        """Whether the client's address and name, and SPF, were looked at."""
        looked_at = {"HFILTER_HOSTNAME_UNKNOWN", "R_SPF_DNSFAIL"}
        return not looked_at.isdisjoint(reply["symbols"])

    def test_finds_no_fault_in_the_configuration(self, rspamd: Rspamd) -> None:
        assert "syntax OK" in rspamd.configtest()

    def test_spares_trusted_granted_and_authenticated_sessions_what_it_checks_of_others(
        self, rspamd: Rspamd
    ) -> None:
        sender = "alice@example.org"
        stranger = rspamd.scan(MESSAGE, STRANGER, sender)
        granted = rspamd.scan(MESSAGE, GRANTED, sender)
        trusted = rspamd.scan(MESSAGE, TRUSTED, sender)
        login = rspamd.scan(MESSAGE, STRANGER, sender, user="alice")
        assert (self.symbols(stranger), self.checked(stranger)) == (set(), True)
        assert (self.symbols(granted), self.checked(granted)) == ({"POPGATE_GRANTED"}, False)
        assert (self.symbols(trusted), self.checked(trusted)) == ({"POPGATE_TRUSTED"}, False)
        assert not self.checked(login)
        assert stranger["score"] > granted["score"]
        applied = rspamd.said.read_text()
        for name in ("granted", "trusted", "authenticated"):
            assert f"apply static settings popgate_{name} " in applied

    def test_takes_the_mark_as_evidence_against_whoever_bears_it(self, rspamd: Rspamd) -> None:
        sender = "alice@example.org"
        for marked in (MARK + MESSAGE, "X-Popgate-Reason: P\n" + MARK + MESSAGE):
            reply = rspamd.scan(marked, GRANTED, sender)
            assert self.symbols(reply) == {"POPGATE_GRANTED", "POPGATE_LOCAL_SENDER"}
            assert self.checked(reply), "the mark cancels what a grant spares"

    def test_gives_nothing_for_a_header_that_a_client_wrote(self, rspamd: Rspamd) -> None:
        for value in ("T", "P", "A", "W", "trusted", ""):
            reply = rspamd.scan(f"X-Popgate-Reason: {value}\n{MESSAGE}", STRANGER, "a@example.org")
            assert (self.symbols(reply), self.checked(reply)) == (set(), True)

    def test_knows_the_lists_and_the_mark_cancels_the_white_one(self, rspamd: Rspamd) -> None:
        white = rspamd.scan(MESSAGE, STRANGER, "friend@far.test")
        client = rspamd.scan(MESSAGE, "192.0.2.9", "alice@example.org")
        black = rspamd.scan(MESSAGE, STRANGER, "x@sub.spam.test")
        marked = rspamd.scan(MARK + MESSAGE, STRANGER, "friend@far.test")
        assert self.symbols(white) == {"POPGATE_WHITELIST_SENDER"}
        assert self.symbols(client) == {"POPGATE_WHITELIST_CLIENT"}
        assert self.symbols(black) == {"POPGATE_BLACKLIST_SENDER"}
        assert self.symbols(marked) == {"POPGATE_LOCAL_SENDER"}

    def test_takes_the_envelope_sender_alone_for_the_white_list(self, rspamd: Rspamd) -> None:
        forged = MESSAGE.replace("alice@example.org", "friend@far.test")
        for sender in ("", "alice@example.org"):
            assert self.symbols(rspamd.scan(forged, STRANGER, sender)) == set()

    def test_takes_the_end_of_a_grant_up_while_it_runs(self, folder: Path, rspamd: Rspamd) -> None:
        write(folder, {}, rspamd=self.KINDS)

        def over() -> bool:
            return self.symbols(rspamd.scan(MESSAGE, GRANTED, "a@example.org")) == set()

        wait_for("the end of the grant", over, 10)
        assert self.checked(rspamd.scan(MESSAGE, GRANTED, "a@example.org"))
        write(folder, rspamd=self.KINDS)
        wait_for("the grant", lambda: not over(), 10)

    def test_may_be_told_to_take_no_action_for_spam_at_all(self, folder: Path) -> None:
        """The other value of exports.whitelist_trusted_and_authenticated, in a second rspamd."""
        needs("rspamd", "rspamd", "rspamc", "rspamadm")
        require("rspamd is started by root alone" if os.geteuid() != 0 else None)
        apart = folder / "all"
        spares: dict[str, Any] = {"whitelist_trusted_and_authenticated": "all"}
        exports = write(apart, rspamd=self.KINDS, **spares) / "rspamd"
        names = ("multimap.conf", "settings.conf", "rspamd.local.lua")
        local = {name: (exports / name).read_text() for name in names}
        with Rspamd(apart / "rspamd", local) as rspamd:
            sender = "x@spam.test"
            assert rspamd.scan(MESSAGE, STRANGER, sender)["action"] == "reject"
            assert rspamd.scan(MESSAGE, GRANTED, sender)["action"] == "no action"
            assert rspamd.scan(MARK + MESSAGE, GRANTED, sender)["action"] != "no action"


class TestSpamAssassin:
    """Debian's spamassassin, without network tests."""

    @pytest.fixture(scope="class")
    @classmethod
    def scan(cls, folder: Path) -> Callable[[str], set[str]]:
        needs("spamassassin", "spamassassin")
        exports = write(folder / "sa", spamassassin=BOTH, whitelist_trusted_and_authenticated="all")
        site = folder / "sa/site"
        site.mkdir()
        for file in Path("/etc/spamassassin").glob("*.pre"):
            shutil.copy(file, site / file.name)
        names = ("rules", "trusted", "granted")
        included = [f"include {exports}/spamassassin/{name}.cf\n" for name in names]
        (site / "local.cf").write_text("use_bayes 0\n" + "".join(included))
        argv = ["spamassassin", "-L", "-x", "--siteconfigpath", str(site)]

        def scanned(message: str) -> set[str]:
            if not message:
                return {run([*argv, "--lint"])}
            done = subprocess.run(
                argv, input=message, capture_output=True, text=True, check=True, timeout=60
            )
            head = done.stdout.partition("\n\n")[0].replace("\n\t", " ")
            line = next(one for one in head.splitlines() if one.startswith("X-Spam-Status:"))
            tests = line.partition("tests=")[2].partition("autolearn")[0]
            return set(tests.replace(",", " ").split())

        return scanned

    @staticmethod
    def received(client: str) -> str:
        return (
            f"Received: from x.example.org (unknown [{client}])\n\tby mail.example.net (Postfix) "
            "with ESMTP id 1\n\tfor <bob@example.net>; Tue, 24 Nov 2026 10:00:00 +0000 (UTC)\n"
        )

    def test_finds_no_fault_in_the_rules(self, scan: Callable[[str], set[str]]) -> None:
        assert scan("") == {""}

    @pytest.mark.parametrize("client", [GRANTED, TRUSTED, "2001:db8:5::7"])
    def test_spares_trusted_and_granted_clients(
        self, scan: Callable[[str], set[str]], client: str
    ) -> None:
        prefix = "IPv6:" if ":" in client else ""
        assert {"ALL_TRUSTED", "POPGATE_SPARED"} <= scan(self.received(prefix + client) + MESSAGE)

    def test_spares_no_stranger_even_one_that_forged_a_granted_hop(
        self, scan: Callable[[str], set[str]]
    ) -> None:
        forged = self.received(STRANGER) + self.received(GRANTED) + MESSAGE
        for message in (self.received(STRANGER) + MESSAGE, forged):
            assert not {"ALL_TRUSTED", "POPGATE_SPARED"} & scan(message)

    def test_takes_the_mark_as_evidence_against_whoever_bears_it(
        self, scan: Callable[[str], set[str]]
    ) -> None:
        found = scan(self.received(GRANTED) + MARK + MESSAGE)
        assert "POPGATE_LOCAL_SENDER" in found
        assert "POPGATE_SPARED" not in found


def test_fail2ban_bans_neither_trusted_nor_granted_addresses(folder: Path) -> None:
    needs("fail2ban", "fail2ban-client", "fail2ban-server")
    needs("postfix", "postmap")
    exports, site = write(folder / "f2b", fail2ban=BOTH) / "fail2ban", folder / "f2b/site"
    (site / "filter.d").mkdir(parents=True)
    log = site / "mail.log"
    log.touch()
    (site / "fail2ban.conf").write_text(
        f"[Definition]\nloglevel = INFO\nlogtarget = {site}/said\nsyslogsocket = auto\n"
        f"socket = {site}/socket\npidfile = {site}/pid\ndbfile = None\ndbpurgeage = 1d\n"
    )
    asked = f"cidr:{exports}/trusted.cidr cidr:{exports}/granted.cidr"
    (site / "jail.conf").write_text(
        f"[mail]\nenabled = true\nfilter = mail\nbackend = polling\nlogpath = {log}\nusedns = no\n"
        "maxretry = 1\nfindtime = 600\nbantime = 600\nignoreself = false\n"
        f"ignorecommand = /usr/sbin/postmap -q <ip> {asked}\n"
    )
    (site / "filter.d/mail.conf").write_text(
        "[Definition]\nfailregex = ^ failed <HOST>$\ndatepattern = {^LN-BEG}EPOCH\n"
    )
    client = ["fail2ban-client", "-c", str(site)]
    assert "successful" in run([*client, "--test"])
    assert "ignorecommand" in run([*client, "-d"])
    server = subprocess.Popen(
        ["fail2ban-server", "-c", str(site), "-f"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        done = subprocess.run([*client, "status", "mail"], capture_output=True, check=False)
        return done.returncode == 0

    try:
        wait_for("fail2ban", answers)
        with log.open("a") as file:
            for address in (GRANTED, TRUSTED, "2001:db8:5::7", STRANGER):
                file.write(f"{time.time():.0f} failed {address}\n")
        wait_for("a ban", lambda: STRANGER in run([*client, "status", "mail"]))
        assert run([*client, "get", "mail", "banip"]).split() == [STRANGER]
    finally:
        if alive(server.pid):
            stop(server.pid)
        server.wait(5)


def test_opendkim_signs_what_trusted_and_granted_clients_send(folder: Path) -> None:
    needs("opendkim", "opendkim")
    needs("miltertest", "miltertest")
    exports, site = write(folder / "dkim", opendkim=BOTH) / "opendkim", folder / "dkim/site"
    site.mkdir()
    run(["openssl", "genrsa", "-out", str(site / "key"), "2048"])
    port = Loopback().free_port()
    config = site / "opendkim.conf"
    config.write_text(
        f"Domain example.org\nSelector s\nKeyFile {site}/key\nRequireSafeKeys no\n"
        f"InternalHosts {exports}/InternalHosts\nSocket inet:{port}@127.0.0.1\nMode sv\n"
    )
    run(["opendkim", "-n", "-x", str(config)])
    clients = (GRANTED, TRUSTED, "2001:db8:5::7", "127.0.0.1", STRANGER, "198.51.100.200")
    script = site / "clients.lua"
    script.write_text(f"""
for client in string.gmatch("{" ".join(clients)}", "%S+") do
  local conn = mt.connect("inet:{port}@127.0.0.1", 100, 0.05)
  mt.conninfo(conn, "client.example.org", client)
  mt.macro(conn, SMFIC_MAIL, "i", "1")
  mt.mailfrom(conn, "<alice@example.org>")
  mt.rcptto(conn, "<bob@example.net>")
  mt.header(conn, "From", "alice@example.org")
  mt.header(conn, "Date", "Tue, 24 Nov 2026 10:00:00 +0000")
  mt.eoh(conn)
  mt.bodystring(conn, "hello\\r\\n")
  mt.eom(conn)
  local signed = mt.eom_check(conn, MT_HDRINSERT, "DKIM-Signature")
      or mt.eom_check(conn, MT_HDRADD, "DKIM-Signature")
  mt.echo(client .. " " .. tostring(signed))
  mt.disconnect(conn)
end
""")
    server = subprocess.Popen(["opendkim", "-f", "-x", str(config)], stdin=subprocess.DEVNULL)
    try:
        said = dict(line.split() for line in run(["miltertest", "-s", str(script)]).splitlines())
    finally:
        server.kill()  # it would take five seconds over SIGTERM
        server.wait(5)
    assert said == {client: str(client in clients[:4]).lower() for client in clients}


@pytest.mark.usefixtures("servers_allowed")
def test_postscreen_permits_trusted_and_granted_clients(folder: Path) -> None:
    wire = Loopback()
    granted, stranger, _ = wire.clients
    write(folder / "ps", {granted: 9_999_999_999}, postscreen=BOTH)
    tables = [f"cidr:{folder}/ps/postscreen_{kind}.cidr" for kind in BOTH]
    port = wire.free_port()
    services = f"{port} inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\n"
    extra = {
        "postscreen_access_list": ", ".join(tables),
        "postscreen_greet_wait": "1s",
        "postscreen_cache_map": "",
    }
    for client, answer in ((granted, "permit"), (TRUSTED, "permit"), (stranger, "")):
        asked = ["/usr/sbin/postmap", "-q", client, *tables]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.stderr) == (answer, ""), client
    with Postfix(folder / "ps/postfix", wire, extra=extra, services=services) as postfix:
        assert run(["/usr/sbin/postfix", "-c", str(postfix.config), "check"]) == ""
        for client in (granted, stranger):
            with wire.connect(client, port) as channel:
                wait_for("a greeting", lambda: b"220" in channel.recv(256), 10)
        said = postfix.log.read_text()
        assert f"ALLOWLISTED [{granted}]" in said
        assert f"ALLOWLISTED [{stranger}]" not in said


class TestService:
    """`popgate run` and its exports."""

    @pytest.fixture
    def popgate(self, tmp_path: Path, postfix_config: Path) -> Iterator[Popgate]:
        settings = (
            f'[exports]\ndirectory = "{tmp_path}/exports"\nrspamd = ["trusted", "granted"]\n'
            'opendkim = ["granted"]\n[grants]\nwindow = "2s"\n[audit]\ninterval = "1s"\n'
        )
        made = Popgate(tmp_path / "popgate", tmp_path / "mail.log", postfix_config, settings)
        (tmp_path / "mail.log").touch()
        with ExitStack() as stack:
            stack.enter_context(made)
            yield made

    def test_a_login_is_exported_within_a_second_and_gone_when_its_grant_ends(
        self, popgate: Popgate, tmp_path: Path
    ) -> None:
        granted = tmp_path / "exports/rspamd/granted.map"
        hosts = tmp_path / "exports/opendkim/InternalHosts"
        wait_for("the first export", hosts.exists)
        line = login_line(GRANTED, at=utc_now())
        with (tmp_path / "mail.log").open("a") as file:
            file.write(line)
            file.write(line.replace("pop3-login: Login", "pop3-login: Unrelated"))
        wait_for("the address", lambda: GRANTED in granted.read_text(), 5)
        wait_for("the address", lambda: GRANTED in hosts.read_text(), 5)
        assert popgate.command("revoke", GRANTED).returncode == 0
        wait_for("its end", lambda: GRANTED not in granted.read_text(), 5)
        wait_for("its end", lambda: GRANTED not in hosts.read_text(), 5)

    def test_a_change_of_the_trusted_list_is_exported(
        self, popgate: Popgate, tmp_path: Path
    ) -> None:
        popgate.trusted.write_text("!198.51.100.128/25\n198.51.100.0/24\n")
        trusted = tmp_path / "exports/rspamd/trusted.map"
        wait_for("the first export", trusted.exists)
        wait_for("the network", lambda: "198.51.100.0/25\n" in trusted.read_text(), 5)

    def test_what_cannot_be_exported_is_said_and_stops_nothing_else(
        self, popgate: Popgate, tmp_path: Path
    ) -> None:
        granted = tmp_path / "exports/rspamd/granted.map"
        wait_for("the first export", granted.exists)
        (tmp_path / "exports/rspamd/.granted.map.new").mkdir()
        assert popgate.command("allow", GRANTED).returncode == 0
        wait_for("its word", lambda: b"granted.map: stays as it was" in popgate.said.read_bytes())
        assert GRANTED in popgate.command("list").stdout
        assert GRANTED in (tmp_path / "exports/opendkim/InternalHosts").read_text()

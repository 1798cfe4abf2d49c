"""`popgate doctor` on a real Postfix, Dovecot and popgate: each fault is really made.

What it names is that fault and nothing else, and where a command of its own mends it, that command
is run and the next look finds nothing.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.clients import SmtpSession, pop3_login
from lab.dovecot import Dovecot
from lab.network import Wire
from lab.popgate import Popgate
from lab.postfix import Postfix, certificate
from lab.processes import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers_allowed")]

USER, PASSWORD = "alice@example.com", "secret"
CLIENT = "198.51.100.7"
AS_NOBODY = """
import os, pathlib, sys
import msgspec
from tracker.doctor import examine

file = pathlib.Path(sys.argv[1])
examine(file)  # loads all that is needed: Python may lie where nobody else may look
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
print(msgspec.json.encode(examine(file).findings).decode())
"""
CLASSES_LACK = (
    "smtpd_restriction_classes lacks popgate_warn_local, popgate_local_sender, popgate_local_mark, "
    "popgate_mark_sender"
)


class Site:
    """A healthy installation, with the submission ports; its crontab is its own too."""

    def __init__(self, folder: Path, wire: Wire, stack: ExitStack) -> None:
        self.folder, self.wire = folder, wire
        self.crontabs = folder / "cron.d"
        self.crontabs.mkdir()
        (self.crontabs / "popgate").write_text("* * * * * root /usr/bin/popgate expire\n")
        log = folder / "dovecot/dovecot.log"
        self.popgate = Popgate(folder / "popgate", log, folder / "postfix/config")
        self.popgate.command("once")
        command = folder / "bin/popgate"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m tracker "$@"\n')
        command.chmod(0o755)
        self.dovecot = stack.enter_context(Dovecot(folder / "dovecot", wire, {USER: PASSWORD}))
        extra = {
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": str(self.dovecot.smtp_auth),
            **certificate(folder),
        }
        services = (self.popgate.maps / "master.cf.snippet").read_text()
        self.postfix = stack.enter_context(
            Postfix(folder / "postfix", wire, self.popgate.snippet(), extra, services)
        )
        # What hangs on Postfix's own words may lag behind a main.cf that is new.
        past = time.time() - 600
        os.utime(self.postfix.config / "main.cf", (past, past))
        stack.enter_context(self.popgate)
        pop3_login(wire, CLIENT, self.dovecot.pop3_port, USER, PASSWORD)
        wait_for("the grant", lambda: CLIENT in self.popgate.command("list").stdout)
        self.popgate.command("expire")
        self.expired = self.popgate.maps.parent / "expired"

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """A command on the mail host, where the site's crontabs are the host's."""
        own = 'mount --bind "$0" /etc/cron.d && exec "$@"'
        return subprocess.run(
            self.wire.command(["unshare", "--mount", "sh", "-c", own, str(self.crontabs), *argv]),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={
                **os.environ,
                "PATH": f"{self.folder}/bin:/usr/sbin:{os.environ['PATH']}",
                "MAIL_CONFIG": str(self.postfix.config),
            },
        )

    def doctor(self, *options: str) -> subprocess.CompletedProcess[str]:
        config = ("--config", str(self.popgate.file))
        return self.run(sys.executable, "-m", "tracker", "doctor", *config, *options)

    def findings(self) -> list[dict[str, str]]:
        """All but the notes."""
        done = self.doctor("--json")
        assert done.stderr == ""
        found = [one for one in json.loads(done.stdout) if one["severity"] != "note"]
        assert done.returncode == bool(found)
        return found

    def codes(self) -> list[str]:
        return sorted(one["code"] for one in self.findings())

    def mend(self, finding: dict[str, str]) -> None:
        """Run the command that the finding names, as an admin would."""
        done = self.run("sh", "-c", finding["mend"])
        assert done.returncode == 0, (finding, done.stderr)

    def postconf(self, *arguments: str) -> None:
        """Change main.cf or master.cf, as an admin would."""
        done = self.run("postconf", *arguments)
        assert done.returncode == 0, done.stderr
        self.postfix.reload()

    def postmap(self, *arguments: str, text: str = "") -> None:
        done = subprocess.run(
            ["/usr/sbin/postmap", "-c", self.postfix.config, *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def is_healthy(self) -> None:
        """Once what was mended has taken effect."""
        found: list[dict[str, str]] = []

        def healthy() -> bool:
            found[:] = self.findings()
            return not found

        try:
            wait_for("health", healthy, 15)
        except TimeoutError:
            pytest.fail(str(found))


@pytest.fixture(scope="module")
def shared(wire: Wire) -> Iterator[Site]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-test-")))
        folder.chmod(0o755)
        yield Site(folder, wire, stack)


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    """The installation, with Postfix's configuration as it was when the test is over."""
    files = [shared.postfix.config / name for name in ("main.cf", "master.cf")]
    texts = [file.read_bytes() for file in files]
    os.utime(shared.expired)  # no cron is at work here
    yield shared
    if texts != [file.read_bytes() for file in files]:
        for file, text in zip(files, texts, strict=True):
            file.write_bytes(text)
            os.utime(file, (time.time() - 600, time.time() - 600))
        shared.postfix.reload()


def test_a_healthy_host_has_no_findings(site: Site) -> None:
    assert site.findings() == []
    assert site.doctor().stdout.rstrip() == "nothing found"


def test_it_changes_nothing(site: Site) -> None:
    def everything() -> dict[str, tuple[int, bytes]]:
        folders = [site.popgate.maps.parent, site.postfix.config, site.popgate.file.parent]
        files = {file for folder in folders for file in folder.rglob("*") if file.is_file()}
        return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}

    # A popgate at work writes now and then by itself, so none is.
    site.popgate.stop()
    before = everything()
    assert site.codes() == ["service-down"]
    assert everything() == before
    site.popgate.start()


def test_owners_and_modes(site: Site) -> None:
    maps, config = site.popgate.maps, site.popgate.file
    site.popgate.trusted.write_text("")
    maps.chmod(0o755)
    (maps / "pop_before_smtp.lmdb").chmod(0o644)
    os.chown(maps / "blacklist.txt", 65534, 65534)
    config.chmod(0o666)
    site.dovecot.log.chmod(0o622)
    os.chown(site.popgate.trusted, 65534, 65534)
    found = site.findings()
    assert {(one["code"], one["where"]) for one in found} == {
        ("open-to-others", str(maps)),
        ("open-to-others", str(maps / "pop_before_smtp.lmdb")),
        ("open-to-others", str(config)),
        ("open-to-others", str(site.dovecot.log)),
        ("wrong-owner", str(maps / "blacklist.txt")),
        ("wrong-owner", str(site.popgate.trusted)),
    }
    for one in found:
        site.mend(one)
    site.is_healthy()


def test_tables_that_were_changed_by_hand(site: Site) -> None:
    grants = f"lmdb:{site.popgate.maps}/pop_before_smtp"
    text = f"203.0.113.98 1000000000\n203.0.113.99 {int(time.time()) + 3600}\n"
    site.postmap("-i", grants, text=text)
    site.postmap("-d", CLIENT, grants)
    site.postmap("-d", "example.net", f"lmdb:{site.popgate.maps}/local_senders")
    trusted = site.popgate.maps / "trusted.cidr"
    trusted.write_text(trusted.read_text() + "203.0.113.0/24 OK\n")
    past = time.time() - 60
    os.utime(trusted, (past, past))
    found = {one["code"]: one for one in site.findings()}
    assert sorted(found) == ["grant-expired", "grant-extra", "grant-missing", "table-differs"]
    assert "203.0.113.99" in found["grant-extra"]["what"]
    assert CLIENT in found["grant-missing"]["what"]
    site.mend(found["grant-extra"])  # the popgate that runs puts the rest right too
    site.is_healthy()


def test_a_table_that_is_not_there(site: Site) -> None:
    table = site.popgate.maps / "whitelist.lmdb"
    away = table.with_name(".away")
    table.rename(away)
    found = site.findings()
    away.rename(table)
    assert [(one["code"], one["where"]) for one in found] == [
        ("table-unreadable", f"lmdb:{table.with_suffix('')}")
    ]


def test_the_history_and_a_reload_that_nobody_made(site: Site) -> None:
    maps = site.popgate.maps
    text = maps / "pop_before_smtp.txt"
    wait_for("a commit", lambda: text.exists() and CLIENT in text.read_text(), 90)
    wait_for("a clean repository", lambda: site.codes() == [], 30)
    text.write_text(text.read_text().replace(CLIENT, "203.0.113.77"))
    (maps / ".git/index.lock").touch()
    (maps / ".reload").touch(0o600)
    past = time.time() - 600
    for name in ("pop_before_smtp.txt", "pop_before_smtp.lmdb", ".git/index.lock", ".reload"):
        os.utime(maps / name, (past, past))
    found = {one["code"]: one for one in site.findings()}
    assert sorted(found) == ["git-locked", "reload-due", "text-behind", "uncommitted"]
    for code in ("git-locked", "text-behind", "reload-due"):
        site.mend(found[code])
    site.is_healthy()


def test_lists_that_do_not_ask_for_the_tables(site: Site) -> None:
    known = "permit_mynetworks, permit_sasl_authenticated"
    site.postconf(
        f"smtpd_relay_restrictions={known}, reject_unauth_destination",
        f"smtpd_sender_restrictions={known}, reject_unknown_sender_domain, $popgate_clients, "
        "$popgate_sender_rules, reject_unlisted_sender",
        "smtpd_helo_restrictions=$popgate_misspelt",
        f"smtpd_recipient_restrictions={known}, $popgate_clients, $popgate_sender_rules",
        "smtpd_restriction_classes=popgate_skip_lists",
    )
    found = site.findings()
    assert sorted((one["code"], one["what"].partition(":")[0]) for one in found) == [
        ("classes-missing", CLASSES_LACK),
        ("clients-late", "smtpd_sender_restrictions"),
        ("clients-missing", "smtpd_relay_restrictions"),
        ("open-relay", "smtpd_recipient_restrictions"),
        ("postfix-warns", "/usr/sbin/postconf"),
        ("refused-before", "smtpd_helo_restrictions"),
        # They are asked by classes that are none any more.
        ("table-not-read", "neither main.cf nor master.cf names it"),
        ("table-not-read", "neither main.cf nor master.cf names it"),
    ]


def test_install_mends_what_stands_in_the_wrong_place(site: Site) -> None:
    known = "permit_mynetworks, permit_sasl_authenticated"
    site.postconf(
        f"smtpd_relay_restrictions={known}, reject_unauth_destination",
        f"smtpd_recipient_restrictions={known}, reject_unlisted_recipient",
        "smtpd_restriction_classes=popgate_skip_lists",
    )
    found = site.findings()
    by_code = {one["code"]: one for one in found}
    assert by_code.keys() == {"clients-missing", "classes-missing", "table-not-read"}
    site.mend(by_code["classes-missing"])
    assert site.codes() == ["clients-missing", "clients-missing"]
    site.mend(by_code["clients-missing"])
    site.is_healthy()


def test_processes_that_answer_from_an_old_table(site: Site) -> None:
    session = SmtpSession(site.wire, CLIENT, site.postfix.port)
    session.rcpt()
    time.sleep(3)
    os.utime(site.popgate.maps / "trusted.cidr")
    (found,) = site.findings()
    assert (found["code"], found["where"]) == ("old-readers", "trusted.cidr")
    session.close()
    site.mend(found)
    site.is_healthy()


def test_whom_mynetworks_trusts(site: Site) -> None:
    site.popgate.trusted.write_text("!8.8.4.4\n8.8.4.0/24\n")
    site.postconf("mynetworks=127.255.255.254/32, 8.0.0.0/8, !8.8.8.8, 0.0.0.0/0, cidr:/etc/nets")
    found = site.findings()
    notes = [one for one in json.loads(site.doctor("--json").stdout) if one["severity"] == "note"]
    site.popgate.trusted.write_text("")
    assert sorted((one["code"], one["what"].split(" ")[0]) for one in found) == [
        ("mynetworks-everybody", "0.0.0.0/0"),
        ("mynetworks-order", "!8.8.8.8/32"),
        ("mynetworks-wide", "8.0.0.0/8"),
        ("trusted-mynetworks", "8.8.4.4"),
    ]
    assert [one["code"] for one in notes] == ["mynetworks-unlisted"]


def test_ports_that_are_not_what_they_are_for(site: Site) -> None:
    smtp, submission, submissions = (site.postfix.ports[port] for port in (25, 587, 465))
    site.postconf(
        "-P",
        f"{smtp}/inet/smtpd_sasl_auth_enable=yes",
        f"{submission}/inet/smtpd_tls_security_level=may",
        f"{submission}/inet/smtpd_tls_auth_only=no",
        f"{submissions}/inet/smtpd_sasl_auth_enable=no",
    )
    site.postconf("-PX", f"{submission}/inet/smtpd_data_restrictions")
    site.postconf("-P", f"{submissions}/inet/smtpd_client_restrictions=permit_mynetworks,reject")
    relay = "permit_mynetworks,permit_sasl_authenticated,reject"
    site.postconf("-P", f"{submissions}/inet/smtpd_relay_restrictions={relay}")
    found = site.findings()
    assert sorted((one["code"], one["where"]) for one in found) == [
        ("auth-on-25", f"master.cf: {smtp}/inet"),
        ("submission-clear-auth", f"master.cf: {submission}/inet"),
        ("submission-no-auth", f"master.cf: {submissions}/inet"),
        ("submission-open", f"master.cf: {submissions}/inet"),
        ("submission-postmaster", f"master.cf: {submission}/inet"),
    ]
    for one in found:
        if one["mend"].startswith("postconf -P"):
            site.mend(one)
    assert site.codes() == ["submission-no-auth", "submission-open"]


def test_master_cf_that_goes_around_the_tables(site: Site) -> None:
    place = f"{site.postfix.ports[25]}/inet/smtpd_relay_restrictions"
    site.postconf("-P", f"{place}=permit_mynetworks,reject_unauth_destination")
    (found,) = site.findings()
    assert (found["code"], found["where"]) == ("around-us", f"master.cf: {place[:-24].rstrip('/')}")


def test_a_postfix_that_never_heard_of_popgate(site: Site) -> None:
    main = site.postfix.config / "main.cf"
    lines = main.read_text().splitlines()
    ours = ("popgate_", "smtpd_restriction_classes", "smtpd_sender", "smtpd_relay", "smtpd_data")
    main.write_text("\n".join(line for line in lines if not line.startswith(ours)) + "\n")
    past = time.time() - 600
    os.utime(main, (past, past))
    site.postfix.reload()
    assert site.codes() == ["not-installed"]


def test_a_service_that_hangs_or_is_gone(site: Site) -> None:
    database = site.popgate.maps.parent / "popgate.db"
    site.popgate.signal(signal.SIGSTOP)
    with sqlite3.connect(database) as state:
        (read_until,) = state.execute("SELECT value FROM meta WHERE key = 'read_until'").fetchone()
        state.execute("UPDATE meta SET value = value - 3600 WHERE key = 'read_until'")
    state.close()
    assert site.codes() == ["service-behind"]
    with sqlite3.connect(database) as state:
        state.execute("UPDATE meta SET value = ? WHERE key = 'read_until'", (read_until,))
    state.close()
    site.popgate.signal(signal.SIGCONT)
    assert site.codes() == []
    (site.crontabs / "popgate").unlink()
    site.popgate.stop()
    assert site.codes() == ["expiry-unwatched", "service-down"]
    (site.crontabs / "popgate").write_text("* * * * * root popgate expire && popgate once\n")
    assert site.codes() == []
    site.popgate.start()


def test_a_cron_that_does_not_come_any_more(site: Site) -> None:
    past = time.time() - 3600
    os.utime(site.expired, (past, past))
    (found,) = site.findings()
    assert found["code"] == "expiry-late"
    site.mend(found)
    assert site.codes() == []


def test_a_request_for_a_reload_that_nobody_takes(site: Site) -> None:
    text = site.popgate.file.read_text()
    request = site.folder / "reload"
    site.popgate.file.write_text(
        text.replace("[postfix]\n", f'[postfix]\nreload_request = "{request}"\n')
    )
    request.touch()
    past = time.time() - 60
    os.utime(request, (past, past))
    assert site.codes() == ["reload-due"]
    request.unlink()
    assert site.codes() == []
    site.popgate.file.write_text(text)


def test_a_stopped_postfix_is_said_once(site: Site) -> None:
    site.postfix.stop()
    assert site.codes() == ["postfix-stopped"]
    site.postfix.__enter__()


def test_a_broken_configuration_is_a_finding_and_hides_no_other(site: Site) -> None:
    text = site.popgate.file.read_text()
    site.popgate.file.write_text(text + '[grants]\nwindow = "5x"\n[trustd]\n')
    site.popgate.trusted.write_text("nonsense/99\n")
    done = site.doctor("--json")
    site.popgate.file.write_text(text)
    site.popgate.trusted.write_text("")
    assert done.returncode == 2
    found = [one["code"] for one in json.loads(done.stdout)]
    assert found == ["config-bad", "config-bad", "trusted-bad", "not-checked"]


def test_another_user_is_told_what_could_not_be_looked_at(site: Site) -> None:
    done = site.run(sys.executable, "-c", AS_NOBODY, str(site.popgate.file))
    found = json.loads(done.stdout)
    unseen = {one["where"] for one in found if one["code"] == "not-checked"}
    assert {"Postfix", "state"} <= unseen
    assert all(one["what"].startswith("could not check") for one in found if one["where"] in unseen)

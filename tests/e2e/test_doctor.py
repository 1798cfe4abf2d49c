"""`popgate doctor` on a real Postfix, Dovecot and popgate: each fault is really made.

What it names is that fault and nothing else, and where a command of its own mends it, that command
is run and the next look finds nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.clients import pop3_login
from lab.dovecot import Dovecot
from lab.network import Wire
from lab.popgate import Popgate
from lab.postfix import Postfix, certificate
from lab.processes import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers_allowed")]

USER, PASSWORD = "alice@example.com", "secret"
CLIENT = "198.51.100.7"


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
        command.write_text(
            f'#!/bin/sh\nexec {sys.executable} -m tracker "$@" --config {self.popgate.file}\n'
        )
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
    os.chown(maps / "trusted.cidr", 65534, 65534)
    config.chmod(0o666)
    os.chown(site.popgate.trusted, 65534, 65534)
    found = site.findings()
    assert {(one["code"], one["where"]) for one in found} == {
        ("open-to-others", str(maps)),
        ("open-to-others", str(maps / "pop_before_smtp.lmdb")),
        ("open-to-others", str(config)),
        ("wrong-owner", str(maps / "trusted.cidr")),
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
    site.mend(found["grant-extra"])
    assert site.codes() == ["grant-missing", "table-differs", "table-differs"]
    site.mend(found["grant-missing"])
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
    for f in site.findings():
        print(f)
    assert 0

"""The story that an audit is for: spam went out, and it must be told through whose login.

Real Dovecot, Postfix, popgate, and git. All that is known is what an abuse report has: an address
and a minute.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lab.clients import SmtpSession, pop3_login, rcpt
from lab.dovecot import Dovecot
from lab.network import Wire
from lab.popgate import Popgate
from lab.postfix import Postfix
from lab.processes import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers_allowed")]

SPAMMER, OTHER, OFFICE = "198.51.100.7", "203.0.113.9", "203.0.113.20"
USERS = {"alice@example.com": "secret", "bob@example.com": "secret"}
SETTINGS = (
    '[grants]\nwindow = "3s"\n[audit]\ninterval = "1s"\ncheck_interval = "1s"\n'
    '[postfix]\nmin_reload_interval = "1s"\n'
)
TAKEN = re.compile(
    r"^(\w{3} [ \d]\d \d\d:\d\d:\d\d) \S+ \S+smtpd\[\d+\]: \w+: client=.*\[(.*)\]", re.M
)


class Host:
    """A mail host that is audited."""

    def __init__(self, folder: Path, wire: Wire, stack: ExitStack) -> None:
        self.wire = wire
        log = folder / "dovecot/dovecot.log"
        self.popgate = Popgate(folder / "popgate", log, folder / "postfix/config", SETTINGS)
        self.popgate.command("once")
        self.dovecot = stack.enter_context(Dovecot(folder / "dovecot", wire, USERS))
        self.postfix = stack.enter_context(
            Postfix(folder / "postfix", wire, self.popgate.snippet())
        )
        stack.enter_context(self.popgate)

    def login(self, client: str, user: str) -> None:
        pop3_login(self.wire, client, self.dovecot.pop3_port, user, USERS[user])

    def becomes(self, client: str, code: int) -> None:
        wait_for(f"{code}", lambda: rcpt(self.wire, client, self.postfix.port)[0] == code)

    def spam(self, client: str) -> int:
        session = SmtpSession(self.wire, client, self.postfix.port)
        try:
            return session.send("victim@far.example.org", "Subject: cheap watches\n\nbuy\n")
        finally:
            session.close()

    def audit(self, *arguments: str, code: int = 0) -> Any:
        done = self.popgate.command("audit", *arguments, "--json")
        assert done.returncode == code, done.stderr + done.stdout
        return json.loads(done.stdout)

    def commits(self) -> list[str]:
        return self.git("log", "--format=%s").splitlines()

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", self.popgate.maps, *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout


@pytest.fixture
def host(folder: Path, wire: Wire, stack: ExitStack) -> Host:
    return Host(folder, wire, stack)


def test_spam_through_a_granted_address_is_traced_to_user_line_and_commit(host: Host) -> None:
    host.login(OTHER, "bob@example.com")
    host.login(SPAMMER, "alice@example.com")
    host.becomes(SPAMMER, 250)
    assert host.spam(SPAMMER) == 250
    host.becomes(SPAMMER, 554)  # the window is over
    wait_for("the last commit", lambda: any("removed" in one for one in host.commits()))

    # What the abuse report has: Postfix took a mail from that address in that minute.
    taken = {found[2]: found[1] for found in TAKEN.finditer(host.postfix.log.read_text())}
    assert taken.keys() == {SPAMMER}
    year = datetime.now().year
    minute = datetime.strptime(f"{year} {taken[SPAMMER]}", "%Y %b %d %H:%M:%S")
    at = f"{minute:%Y-%m-%d %H:%M}"

    (reason,) = host.audit("--ip", SPAMMER, "--at", at)["reasons"]
    (earned,) = reason["earned"]
    assert reason["relayed"]["code"] == "P"
    assert earned["life"]["user"] == "alice@example.com"
    assert earned["life"]["how"] == "window over"

    origin = earned["life"]["first"]["origin"]
    _, inode, offset = map(int, origin["place"].split("/"))
    assert host.dovecot.log.stat().st_ino == inode
    with host.dovecot.log.open("rb") as log:
        log.seek(offset)
        assert log.readline().decode().rstrip("\n") == origin["line"]
    assert f"rip={SPAMMER}," in origin["line"]

    commit = host.git("show", reason["commit"]["id"])
    assert re.search(rf"^ +\+ {SPAMMER} alice@example.com until", commit, re.M)
    assert f"+{SPAMMER} " in commit

    text = host.popgate.command("audit", "--ip", SPAMMER, "--at", at).stdout
    for word in ("alice@example.com", origin["line"], reason["commit"]["id"]):
        assert word in text
    host.audit("--ip", OFFICE, "--at", at, code=1)


def test_a_list_that_changes_is_committed_at_once_in_an_admin_s_words(host: Host) -> None:
    host.popgate.trusted.write_text(f"# the office\n{OFFICE}/30 # first floor\n")
    host.becomes(OFFICE, 250)
    words = f"trusted list: added {OFFICE}/30 (line 2)"
    wait_for("the commit", lambda: words in host.commits())
    (reason,) = host.audit("--ip", OFFICE, "--at", "now")["reasons"]
    assert (reason["relayed"]["code"], reason["relayed"]["on"]) == ("T", f"line 2: {OFFICE}/30")
    assert host.git("log", "-1", "--format=%s", reason["commit"]["id"]).strip() == words
    assert (
        "Postfix was reloaded for this trusted list"
        in host.popgate.command("audit", "--ip", OFFICE, "--at", "now").stdout
    )


def test_an_address_put_into_the_table_by_hand_is_taken_out_and_told(host: Host) -> None:
    table = f"lmdb:{host.popgate.maps}/pop_before_smtp"
    postmap = ["/usr/sbin/postmap", "-c", str(host.postfix.config), "-ir", table]
    host.login(OTHER, "bob@example.com")
    host.becomes(OTHER, 250)  # it is past its first step, which compares the table too
    host.popgate.signal(signal.SIGSTOP)  # it looks every second, and would be there first
    subprocess.run(postmap, input=f"{SPAMMER} OK\n", text=True, check=True)
    host.becomes(SPAMMER, 250)
    host.popgate.signal(signal.SIGCONT)
    host.becomes(SPAMMER, 554)
    changes = host.audit("--since", "5m")["changes"]
    edits = [line for one in changes if one["of"] == "edit" for line in one["detail"]]
    assert any(f"'{SPAMMER} OK'" in line for line in edits)
    wait_for("all in line", lambda: host.popgate.command("audit", "--verify").returncode == 0)


def test_a_hook_that_refuses_stops_no_grant_and_no_end_of_one(host: Host) -> None:
    hook = host.popgate.maps / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho 'not on a Friday' >&2; exit 1\n")
    hook.chmod(0o755)
    host.login(OTHER, "bob@example.com")
    host.becomes(OTHER, 250)
    wait_for("the word of it", lambda: "not on a Friday" in host.popgate.said.read_text())
    host.becomes(OTHER, 554)
    hook.unlink()
    host.login(OTHER, "bob@example.com")
    host.becomes(OTHER, 250)

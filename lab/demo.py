"""`make demo`: the main job, shown on a real Dovecot and a real Postfix.

A client may not relay; it logs in by POP3; the same RCPT is accepted; another client is still
refused; the window passes; the client is refused again. The exit status is 0 only if each step went
as it should. Without root or without the servers, the same up to the written tables, from a
sample log, with a word on what was not shown.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lab.clients import SmtpSession, pop3_login, rcpt
from lab.dovecot import Dovecot
from lab.network import Loopback, Namespaces, Wire
from lab.popgate import Popgate
from lab.postfix import Postfix
from tracker.deciding.ledger import Ledger
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.rules import RuleSet
from tracker.deciding.trusted import TrustedList
from tracker.reading.events import EventReader
from tracker.reading.formats import find
from tracker.reading.timestamps import StampReader
from tracker.settings import Duration, GrantSettings, Settings, TableSettings
from tracker.writing import render

WINDOW = 4
USER, PASSWORD = "alice@example.com", "secret"


class MismatchError(Exception):
    """A step did not go as it should."""


def expect(what: str, answer: tuple[int, str], code: int) -> None:
    """Print an answer of Postfix; raise MismatchError when it is another one."""
    print(f"  {what}: {answer[0]} {answer[1]}")
    if answer[0] != code:
        raise MismatchError(f"expected {code}")


def show(title: str) -> None:
    print(f"\n== {title}")


def full(folder: Path, stack: ExitStack) -> None:
    """The whole main job, with real protocol traffic."""
    reason = Namespaces.unavailable()
    wire: Wire
    wire = Loopback() if reason else stack.enter_context(Namespaces())
    settings = f'[grants]\nwindow = "{WINDOW}s"\n[audit]\ninterval = "1s"\n'
    if reason:
        print(f"No network namespaces ({reason}): the clients are loopback addresses, which earn")
        print("no grant by default, so this demo's configuration lifts that rule.")
        settings = settings.replace("[audit]", "refuse = []\n[audit]")
    show("Setting up, in " + str(folder))
    log = folder / "dovecot/dovecot.log"
    popgate = Popgate(folder / "popgate", log, folder / "postfix/config", settings)
    first = popgate.command("once")
    if not (popgate.maps / "main.cf.snippet").exists():
        raise MismatchError(first.stderr)
    print("  popgate once wrote the first tables and main.cf.snippet, which Postfix runs with:")
    print(_indented("\n".join(line for line in popgate.snippet().splitlines() if line[:1] != "#")))
    dovecot = stack.enter_context(Dovecot(folder / "dovecot", wire, {USER: PASSWORD}))
    postfix = stack.enter_context(Postfix(folder / "postfix", wire, popgate.snippet()))
    print(f"  Dovecot (pid {dovecot.pid}) and Postfix (pid {postfix.pid}) listen at {wire.host}")
    stack.enter_context(popgate)
    print(f"  popgate run (pid {popgate.pid}) follows {dovecot.log}; window {WINDOW} s")
    reaction = tell(wire, dovecot, postfix, popgate)
    if popgate.stop() != 0:
        raise MismatchError("popgate run did not end well")
    show("What happened to the maps, in git")
    print(
        _indented(
            _output("git", "-C", str(popgate.maps), "log", "--reverse", "--format=%h %ai%n%B")
        )
    )
    print(f"Reaction time, login to acceptance: {reaction * 1000:.0f} ms")


def tell(wire: Wire, dovecot: Dovecot, postfix: Postfix, popgate: Popgate) -> float:
    """Refused, logged in, accepted, refused again; the seconds from login to acceptance."""
    here, other = wire.clients[:2]
    show(f"A stranger at {here} may not relay")
    expect("RCPT", rcpt(wire, here, postfix.port), 554)

    show(f"{USER} logs in by POP3 from {here}")
    session = SmtpSession(wire, here, postfix.port)
    pop3_login(wire, here, dovecot.pop3_port, USER, PASSWORD)
    logged_in = time.monotonic()
    print("  +OK Logged in. (and QUIT)")

    show("The same RCPT is accepted")
    reaction = _until(session, 250, 5)
    print(
        f"  250 after {reaction * 1000:.0f} ms, in an SMTP session that was open before the login"
    )
    expect("RCPT in a new session", rcpt(wire, here, postfix.port), 250)

    show(f"Another address, {other}, is still refused")
    expect("RCPT", rcpt(wire, other, postfix.port), 554)

    show("The table")
    print(_indented(popgate.command("list").stdout))
    table = f"lmdb:{popgate.maps}/pop_before_smtp"
    print(f"  postmap -s {table}")
    print(_indented(_output("/usr/sbin/postmap", "-c", str(popgate.postfix), "-s", table)))

    show(f"The window of {WINDOW} s passes, and the address is refused again")
    _until(session, 554, WINDOW + 5)
    print(f"  554 after {time.monotonic() - logged_in:.1f} s")
    expect("RCPT in a new session", rcpt(wire, here, postfix.port), 554)
    session.close()
    return reaction


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def _until(session: SmtpSession, code: int, seconds: float) -> float:
    """Ask until the answer is that code; how long it took. Raises MismatchError."""
    began = time.monotonic()
    while (answer := session.rcpt())[0] != code:
        if time.monotonic() - began > seconds:
            raise MismatchError(f"still {answer[0]} {answer[1]} after {seconds} s")
        time.sleep(0.001)
    return time.monotonic() - began


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def tables_only(folder: Path, why: str) -> None:
    """From a sample log to the texts of the tables, with popgate's own parts and nothing else."""
    now = datetime.now(UTC)
    stamp = (now - timedelta(seconds=60)).isoformat(timespec="seconds")
    sample = (
        f"{stamp} mailhost dovecot: pop3-login: Login: user=<{USER}>, method=PLAIN, "
        "rip=198.51.100.7, lip=192.0.2.1, mpid=4387, session=<dVCJuwFh/a9/AAAC>\n"
        f"{stamp} mailhost dovecot: pop3-login: Disconnected: Aborted login by logging out (auth "
        f"failed, 1 attempts in 1 secs): user=<{USER}>, method=PLAIN, rip=203.0.113.9, "
        "lip=192.0.2.1, session=<YlKruwFhJbF/AAAC>\n"
    )
    show("A sample log")
    print(_indented(sample))
    show("Its events")
    reader = EventReader([find("dovecot")], StampReader(now))
    ledger = Ledger(GrantPolicy(GrantSettings(window=Duration(minutes=30))))
    for event in reader.read(sample.encode()):
        print(f"  {type(event).__name__}: {event.user} at {event.address}")
        ledger.apply(event, now)
    show(f"The tables, in {folder}")
    rules = RuleSet(TrustedList(), ledger.expiries())
    tables = [
        *render.grant_texts(rules.granted(), ledger.holders(), "cidr"),
        render.main_cf_snippet(Settings(tables=TableSettings(folder)), "cidr"),
    ]
    for table in tables:
        (folder / table.name).write_text(table.text)
        print(f"  {table.name}\n{_indented(table.text)}")
    if rules.granted().keys() != {"198.51.100.7"}:
        raise MismatchError("the sample log should have granted 198.51.100.7 alone")
    print(f"Not shown: Postfix refusing and accepting, since {why}.")


def why_not() -> str | None:
    """What keeps the whole demo from being shown here; None when nothing does."""
    missing = [*Postfix.missing(), *Dovecot.missing()]
    if missing:
        return f"these packages are missing (apt-get install {' '.join(missing)})"
    if os.geteuid() != 0:
        return "Postfix and Dovecot are started by root alone (run make demo as root)"
    return None


def main() -> int:
    """Show it; 0 only if each step went as it should."""
    with tempfile.TemporaryDirectory(prefix="popgate-demo-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            why = why_not()
            if why is None:
                full(folder, stack)
            else:
                tables_only(folder, why)
        except MismatchError as error:
            print(f"\nNot as it should be: {error}", file=sys.stderr)
            return 1
    print("\nAll as it should be.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

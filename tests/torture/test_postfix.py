"""Postfix's commands fail, hang or are killed, or Postfix is stopped; DNS fails."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack

import dns.message
import dns.rrset
import pytest

from lab import tracing
from lab.names import NameServer, servfail, silence
from lab.network import Loopback
from lab.postfix import Postfix
from tests.conftest import require
from tests.outcomes import Outcome
from tests.torture.faults import Host

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

FIRST, SECOND, THIRD = "203.0.113.1", "203.0.113.2", "203.0.113.3"
QUICK = '[postfix]\ntimeout = "1s"\nmin_reload_interval = "0s"\n'


@pytest.mark.parametrize(
    ("name", "script", "words"),
    [
        ("postmap fails", "echo postmap: fatal: out of luck >&2; exit 1", "out of luck"),
        ("postmap hangs", "exec sleep 60", "killed after 1 s without an end"),
        ("postmap is killed", "kill -9 $$", "exit code -9"),
    ],
)
@pytest.mark.parametrize("host", [QUICK], indirect=True)
def test_postmap(host: Host, name: str, script: str, words: str, outcome: Outcome) -> None:
    with host.at_work():
        host.login(FIRST)
        host.holds(FIRST)
        host.spoil("postmap", script)
        host.login(SECOND)
        assert words in host.says("event=failed")
        assert host.table() == {FIRST}
        host.mend("postmap")
        recovery = host.holds(FIRST, SECOND)
        host.says("event=recovered")
    outcome(name, recovery=recovery)


@pytest.mark.torture
@pytest.mark.parametrize("host", [QUICK], indirect=True)
def test_postmap_killed_at_each_of_its_changes_on_disk(host: Host, outcome: Outcome) -> None:
    missing = tracing.missing()
    require(f"not installed: {' '.join(missing)}" if missing else None)
    calls = "pwrite64,pwritev,write,fdatasync,fsync,msync,ftruncate,fcntl,rename,unlink"
    host.login(*(f"198.51.100.{number}" for number in range(1, 200)))
    assert host.command("once")[0] == 0
    number, code, recovery = 1, 3, 0.0
    while code:
        host.spoil(
            "postmap",
            'case "$*" in *" -ir "*) exec strace -f -o /dev/null '
            f"-e trace={calls} -e inject={calls}:signal=KILL:when={number} "
            '/usr/sbin/postmap "$@";; esac\nexec /usr/sbin/postmap "$@"',
        )
        before = host.table()
        host.login(f"203.0.113.{number}")
        code = host.command("once")[0]
        assert before <= host.table() <= before | {f"203.0.113.{number}"}
        host.mend("postmap")
        began = time.monotonic()
        assert host.command("once")[0] == 0
        recovery = max(recovery, time.monotonic() - began)
        assert host.table() == before | {f"203.0.113.{number}"}
        number += 1
    assert number > 3, "strace has not seen what is done"
    outcome("postmap killed at each change on disk", runs=number - 1, recovery=recovery)


@pytest.mark.parametrize("host", [QUICK], indirect=True)
def test_a_postfix_that_is_stopped_reads_the_tables_when_it_is_started(
    host: Host, outcome: Outcome
) -> None:
    host.popgate.trusted.write_text("192.0.2.0/28\n")
    assert host.command("once")[0] == 0
    with ExitStack() as stack, host.at_work():
        server = Postfix(host.folder / "postfix", Loopback(), host.popgate.snippet())
        stack.enter_context(server)
        server.stop()
        host.popgate.trusted.write_text("192.0.2.16/28\n")
        host.login(FIRST)
        recovery = host.holds(FIRST)
        recovery += host.wait_for("the list", lambda: trusted(host) == "192.0.2.16/28 OK")
        assert "event=failed" not in host.said()
    outcome("Postfix stopped", recovery=recovery)


def trusted(host: Host) -> str:
    """The last line of the trusted list's table."""
    return (host.maps / "trusted.cidr").read_text().splitlines()[-1]


@pytest.mark.torture
@pytest.mark.parametrize("host", [QUICK], indirect=True)
def test_a_reload_that_fails_is_said_and_tried_again(host: Host, outcome: Outcome) -> None:
    """After a minute; and by the next start."""
    host.popgate.trusted.write_text("192.0.2.0/28\n")
    assert host.command("once")[0] == 0
    with ExitStack() as stack:
        server = Postfix(host.folder / "postfix", Loopback(), host.popgate.snippet())
        stack.enter_context(server)
        host.spoil("postfix", "echo postfix: fatal: not today >&2; exit 1")
        with host.at_work():
            host.popgate.trusted.write_text("192.0.2.16/28\n")
            assert "not today" in host.says("event=failed")
            host.login(FIRST)
            host.holds(FIRST)
            assert (host.maps / ".reload").exists()
            host.mend("postfix")
            recovery = host.wait_for(
                "the reload", lambda: "event=reload" in host.said(), patience=90
            )
            assert not (host.maps / ".reload").exists()
    outcome("reload fails", recovery=recovery)


# DNS

WAYS = {"dead": 10, "failing": 20, "slow": 30, "lying": 40}


@pytest.mark.torture
def test_dns_that_is_dead_failing_slow_or_lies(host: Host, outcome: Outcome) -> None:
    """Grants go on; a name stands for what DNS last said, and never for what no client can be."""
    with NameServer() as names:
        for way, number in WAYS.items():
            names.set(f"{way}.example.com", "A", f"198.51.100.{number}", ttl=1)
        host.popgate.trusted.write_text("".join(f"{way}.example.com\n" for way in WAYS))
        text = host.popgate.file.read_text()
        resolving = f'[trusted]\nnameservers = ["{names.address}"]\ntimeout = "1s"'
        host.popgate.file.write_text(text.replace("[trusted]", resolving))
        with host.at_work():
            host.wait_for("the names", lambda: stood_for(host) == set(WAYS.values()))
            names.ways["dead.example.com"] = silence
            names.ways["failing.example.com"] = servfail
            names.ways["slow.example.com"] = lambda query: time.sleep(3)
            names.ways["lying.example.com"] = lie
            names.asked.clear()
            host.login(FIRST)
            host.holds(FIRST)
            host.wait_for("new questions", lambda: asked(names) >= set(WAYS), patience=60)
            host.wait_for("the end of one name", lambda: stood_for(host) == {10, 20, 30})
            wrong = set(re.findall(r"^(?:0\.0\.0\.0|127\.).*", policy(host), re.MULTILINE))
            names.ways.clear()
            for way, number in WAYS.items():
                names.set(f"{way}.example.com", "A", f"198.51.100.{100 + number}", ttl=1)
            recovery = host.wait_for(
                "new addresses", lambda: stood_for(host) == {110, 120, 130, 140}, patience=150
            )
            assert host.table() == {FIRST}
    assert wrong == set()
    for way in WAYS:
        outcome(f"DNS {way}", recovery=recovery)


def policy(host: Host) -> str:
    """The table of the trusted list."""
    return (host.maps / "trusted.cidr").read_text()


def stood_for(host: Host) -> set[int]:
    """The addresses that it permits, by their last number."""
    permitted = re.findall(r"^198\.51\.100\.(\d+)/32 OK$", policy(host), re.MULTILINE)
    return set(map(int, permitted))


def asked(names: NameServer) -> set[str]:
    """Which of the names DNS was asked for."""
    return {name.partition(".")[0] for name, _ in names.asked}


def lie(query: dns.message.QueryMessage) -> dns.message.Message:
    """Everything is this host, or nobody."""
    reply = dns.message.make_response(query)
    name, kind = query.question[0].name, query.question[0].rdtype.name
    if kind == "A":
        reply.answer.append(dns.rrset.from_text(name, 1, "IN", "A", "127.0.0.1", "0.0.0.0"))
    return reply

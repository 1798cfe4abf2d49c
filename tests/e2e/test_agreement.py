"""`decide` and a real Postfix, held against each other on random sessions.

Postfix runs the snippets and tables that popgate generated, and an admin's own rejects in the
client, helo, sender and recipient lists. Each session is told to it by XCLIENT, and to `decide`.
What Postfix answers must be what the rules say, word by word, and a message that comes through must
bear the mark H exactly when `decide` says so. POPGATE_SEED and POPGATE_SESSIONS make it other
sessions, and more of them.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import Struct

from lab.dovecot import Dovecot
from lab.network import Loopback, Wire
from lab.popgate import Popgate
from lab.postfix import Postfix, certificate
from lab.processes import run, wait_for
from lab.xclient import ForeignSession
from tests.moments import login_line, logout_line
from tracker import config
from tracker.deciding.mailaddress import internal
from tracker.deciding.rules import RuleSet, decide
from tracker.deciding.senders import lookups
from tracker.offline import rules_now, with_owners
from tracker.records import Decision, MailHost, SmtpSession
from tracker.settings import Settings

pytestmark = pytest.mark.e2e

SEED = int(os.environ.get("POPGATE_SEED", "20261124"))
SESSIONS = int(os.environ.get("POPGATE_SESSIONS", "240"))
"""For each of the ten settings below."""

IPV6 = Path("/proc/net/if_inet6").exists()
GRANTED = ("203.0.113.5", "203.0.113.140", "2001:db8:1::7", "198.51.100.200", "192.0.2.9")
CLIENTS = (
    *GRANTED,
    "198.51.100.7",  # trusted
    "198.51.100.130",  # taken out of the trusted list
    "2001:db8:5::1",  # trusted
    "192.0.2.3",  # in mynetworks
    "2001:db8:aa::3",  # in mynetworks
    "203.0.113.9",  # a stranger
    "203.0.113.141",  # a stranger whom the admin's list refuses
    "2001:db8:9::9",
    "::ffff:203.0.113.9",
    "192.0.2.65",  # white
    "192.0.2.129",  # black
    "2001:db8:b::1",  # black
    "192.0.2.200",  # an exception
    "192.0.2.130",  # black and an exception
)
LOCAL = (
    "example.com",
    "www.example.com",
    "news.example.com",
    "example.net",
    "localhost",
    "sub.test",
    "deep.sub.test",
    "virtual.test",
    "alias.test",
    "relay.test",
    "mx.relay.test",
    "bücher.test",
    "xn--bcher-kva.test",
    "straße.test",
    "xn--strae-oqa.test",
)
FAR = (
    "far.example.org",
    "white.example.org",
    "mx.white.example.org",
    "black.example.org",
    "mx.black.example.org",
    "test",
)
NAMES = ("alice", "ALICE", "bounce", "bounce+1", "al-ext", "owner-x+y", "x", "+x", "white", "black")
FORMS = (
    "{l}@{d}",
    "{l}@{d}",
    "{l}@{D}",
    "{l}+ext@{d}",
    '"{l}"@{d}',
    '"{l} x"@{d}',
    '"{l}\\"x"@{d}',
    '"{l}@{d}"',
    '"{l}@{e}"@{d}',
    '"{l}@{d}"@{e}',
    '"{l}%{d}"@{e}',
    '"{d}!{l}"@{e}',
    "{l}%{d}",
    "{l}%{d}@{e}",
    "{l}%{e}%{d}",
    "{l}%{e}%{d}@example.net",
    "{d}!{l}",
    "{d}!{l}@{e}",
    "{e}!{d}!{l}",
    "@{e}:{l}@{d}",
    "@{e},@{d}:{l}@{e}",
    "{l}@{d}.",
    "{l}%{d}.",
    "{l}",
    "{l}@[127.0.0.1]",
    "{l}%{d}@[127.0.0.1]",
    '"{l}@{d}"@[127.0.0.1]',
    "{l}@[192.0.2.77]",
    "{l}%{d}@[192.0.2.77]",
    "{l}@[IPv6:::1]",
    "{l}@{e}@{d}",
    "",
)
RECIPIENTS = (
    "postmaster",
    "PostMaster",
    "postmaster@example.net",
    "user@example.net",
    "user@example.net",
    "user@virtual.test",
    "user@mx.relay.test",
    "trap@example.net",
    "user%far.example.org@example.net",
    "user@far.example.org",
    "user@far.example.org",
    "trap@far.example.org",
    '"user@far.example.org"@virtual.test',
)
PARTS = (
    *("x", "y", "+e", "a b", "@", "@", "@", "%", "%", "!", ".", ":", '"', '"', "\\", "[", "]"),
    *(
        "(",
        ")",
        " ",
        "[127.0.0.1]",
        "bounce",
        "postmaster",
        "ÉÀ",
        "bücher.test",
        "black.example.org",
    ),
    *("example.com", "example.com", "example.net", "example.net", "virtual.test", "sub.test"),
    *("far.example.org", "news.example.com"),
)
LISTS = """
[local_senders]
domains = ["example.com", ".sub.test", "bücher.test"]
domain_files = ["{folder}/domains.txt"]
exceptions = ["news.example.com", "bounce@example.com", "192.0.2.200", "192.0.2.130/32"]
reject = {reject}
action = "{action}"
skip_lists_for_local_untrusted = {skip}
[whitelist]
entries = ["white.example.org", "white@black.example.org", "192.0.2.64/28"]
[blacklist]
entries = [".black.example.org", "black@far.example.org", "black@example.com", "192.0.2.128/28"]
files = ["{folder}/blacklist.txt"]
"""
ADMIN = {
    "client": "check_client_access cidr:{folder}/admin.cidr",
    "helo": "check_helo_access texthash:{folder}/admin.helo",
    "sender": "check_sender_access texthash:{folder}/admin.sender",
    "recipient": "check_recipient_access texthash:{folder}/admin.recipient",
}
OURS = "permit_mynetworks, permit_sasl_authenticated, $popgate_clients"
HOSTS = {
    "auth on 25, as Debian sets it up": {
        "smtpd_sasl_auth_enable": "yes",
        "recipient_delimiter": "+",
    },
    "no auth on 25, other ways with addresses": {
        "smtpd_sasl_auth_enable": "no",
        "recipient_delimiter": "+-",
        "parent_domain_matches_subdomains": "relay_domains",
        "append_dot_mydomain": "yes",
        "mydomain": "example.net",
        "myorigin": "sub.test",
        "resolve_dequoted_address": "no",
    },
}
SETTINGS = (
    ("true", "reject", "true"),
    ("true", "warn", "true"),
    ("true", "warn", "false"),
    ("false", "reject", "true"),
    ("false", "reject", "false"),
)


class Case(Struct, frozen=True):
    """A session as it is told to Postfix."""

    client: str
    helo: str
    sender: str
    recipient: str
    port: int
    login: str | None


class Outcome(Struct, frozen=True):
    """What Postfix answered to RCPT, then to DATA, and how often the message bears the mark."""

    rcpt: str
    data: str = ""
    marks: int = 0


def case(rng: random.Random) -> Case:
    d, e = rng.choice((LOCAL, LOCAL, FAR)), rng.choice((LOCAL, FAR, FAR))
    domain, other = rng.choice(d), rng.choice(e)
    form, name = rng.choice(FORMS), rng.choice(NAMES)
    return Case(
        client=rng.choice(CLIENTS if IPV6 else [one for one in CLIENTS if ":" not in one]),
        helo=rng.choice(("ok.example.org", "ok.example.org", "bad.example.org")),
        sender=form.format(l=name, d=domain, D=domain.upper(), e=other),
        recipient=rng.choice(RECIPIENTS),
        port=rng.choice((25, 25, 25, 25, 587, 465)),
        login=rng.choice((None, None, "alice")),
    )


class Host:
    """Postfix with popgate's snippets, and an admin's rules around them."""

    def __init__(
        self,
        folder: Path,
        wire: Wire,
        stack: ExitStack,
        main: dict[str, str],
        more: str = "",
    ) -> None:
        """`main`: parameters of main.cf; `more`: settings of popgate."""
        self._more = more
        self.wire = wire
        self.folder = folder
        self.log = folder / "mail.log"
        self._write_lists()
        dovecot = stack.enter_context(Dovecot(folder / "dovecot", wire, {"alice": "secret"}))
        # Popgate asks the configuration that Postfix runs with, so that comes first.
        bare = Popgate(folder / "bare", self.log, folder / "bare-postfix", more)
        assert bare.command("once").returncode == 0
        lists = {
            f"smtpd_{name}_restrictions": f"{OURS}, {check.format(folder=folder)}"
            for name, check in ADMIN.items()
        }
        lists["smtpd_sender_restrictions"] += ", $popgate_sender_rules"
        self.popgate = Popgate(folder / "popgate", self.log, folder / "postfix/config")
        snippet = bare.snippet().replace(str(bare.maps), str(self.popgate.maps))
        extra = {
            "smtpd_authorized_xclient_hosts": "static:all",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": str(dovecot.smtp_auth),
            **certificate(folder),
            "mynetworks": "127.255.255.254/32, !192.0.2.9, 192.0.2.0/28, [2001:db8:aa::]/64",
            "mydestination": "example.net, localhost",
            "virtual_mailbox_domains": f"lmdb:{folder}/virtual",
            "virtual_alias_domains": f"{folder}/alias.txt",
            "virtual_transport": "discard",
            "relay_domains": "relay.test",
            "inet_protocols": "all",
            "header_checks": f"regexp:{folder}/headers",
            **lists,
            **main,
        }
        self.auth = extra["smtpd_sasl_auth_enable"] == "yes"
        services = (bare.maps / "master.cf.snippet").read_text()
        self.postfix = Postfix(folder / "postfix", wire, snippet, extra, services)
        self.postfix.prepare()
        self.publish(*SETTINGS[0])
        stack.enter_context(self.postfix)

    def _write_lists(self) -> None:
        folder = self.folder
        texts = {
            "domains.txt": "# from a file\nstraße.test\nmail.test # unused\n",
            "blacklist.txt": "2001:db8:b::/48\n",
            "virtual": "virtual.test yes\n",
            "alias.txt": "alias.test\n",
            "admin.cidr": "203.0.113.128/25 REJECT admin: client\n",
            "admin.helo": "bad.example.org REJECT admin: helo\n",
            "admin.sender": "alice@white.example.org REJECT admin: sender\n",
            "admin.recipient": "trap@ REJECT admin: recipient\n",
            "headers": "/^(X-Popgate-Reason|Subject): / INFO\n",
        }
        for name, text in texts.items():
            (folder / name).write_text(text)
        run(["/usr/sbin/postmap", f"lmdb:{folder}/virtual"])
        now = datetime.now(UTC)
        for number, client in enumerate(GRANTED):
            with self.log.open("a") as file:
                file.write(login_line(client, session=f"s{number}", at=now))
                file.write(logout_line(session=f"s{number}", at=now))
        folder.joinpath("popgate").mkdir()
        (folder / "popgate/trusted.txt").write_text(
            "!198.51.100.128/25\n198.51.100.0/24\n2001:db8:5::/48\n"
        )

    def publish(self, reject: str, action: str, skip: str) -> RuleSet:
        """Put tables in place for other settings; the rules that `decide` walks then."""
        text = LISTS.format(folder=self.folder, reject=reject, action=action, skip=skip)
        self.popgate.configure(self.log, text + self._more)
        done = self.popgate.command("once")
        assert done.returncode == 0, done.stderr
        return rules_now(config.load(self.popgate.file), published=True)[0]

    def answers(self, cases: list[Case]) -> list[Outcome]:
        """What Postfix says to each session, by several connections at once."""
        share = [
            (port, range(number, len(cases), 3)) for port in (25, 587, 465) for number in range(3)
        ]

        def speak(work: tuple[int, range]) -> list[tuple[int, Outcome]]:
            port, numbers = work
            mine = [number for number in numbers if cases[number].port == port]
            with ForeignSession(self.wire, self.postfix.ports[port], port) as session:
                return [(number, self._answer(session, cases[number])) for number in mine]

        with ThreadPoolExecutor(len(share)) as pool:
            found = dict(pair for pairs in pool.map(speak, share) for pair in pairs)
        marks = self._marks([found[number].data for number in sorted(found)])
        return [
            Outcome(found[number].rcpt, found[number].data, marks.get(found[number].data, 0))
            for number in sorted(found)
        ]

    def _answer(self, session: ForeignSession, one: Case) -> Outcome:
        # Where a port offers no AUTH, nobody can have logged in. Postfix 3.7 takes an XCLIENT LOGIN
        # there for none, 3.10 for one: so the word of `--login` must change nothing.
        login = one.login if self.auth or one.port != 25 else None
        session.become(one.client, one.helo, login)
        code, text = session.rcpt(one.sender, one.recipient)
        if code != 250:
            return Outcome(f"{code} {text}")
        said = session.data("agreement")
        return Outcome(f"{code} {text}", f"{said[0]} {said[1]}")

    def _marks(self, answers: list[str]) -> dict[str, int]:
        """How often each message that was queued bears the mark, by the answer to it."""
        queued = {answer.rpartition(" ")[2]: answer for answer in answers if "queued as" in answer}
        wanted = set(queued)

        def headers() -> Counter[tuple[str, str]]:
            return Counter(
                re.findall(
                    r": (\w+): info: header (X-Popgate-Reason: H|Subject:) ",
                    self.postfix.log.read_text(),
                )
            )

        wait_for(
            "the log", lambda: wanted <= {key for key, name in headers() if name == "Subject:"}
        )
        return {
            queued[key]: n
            for (key, name), n in headers().items()
            if name[0] == "X" and key in queued
        }


def expected(one: Case, decision: Decision, host: MailHost) -> str:
    """What Postfix should say to RCPT: the rules' answer, behind the admin's own rejects."""
    if one.recipient.lower() == "postmaster" or decision.decision == "relay":
        return "250 2.1.5 Ok"
    sender = internal(one.sender)
    before = {
        f"unknown[{one.client}]>: Client host": one.client in ("203.0.113.140", "203.0.113.141"),
        "bad.example.org>: Helo command": one.helo == "bad.example.org",
        f"{sender}>: Sender address": "alice@white.example.org" in lookups(sender, host),
    }
    for what, refuses in before.items() if one.port == 25 else ():
        if refuses:
            return f"554 5.7.1 <{what} rejected: admin: {what.split()[-2].lower()}"
    if decision.refused:
        return decision.reply
    if one.recipient.startswith("trap@"):
        return f"554 5.7.1 <{one.recipient}>: Recipient address rejected: admin: recipient"
    return "250 2.1.5 Ok"


@pytest.fixture(scope="module", params=HOSTS)
def host(request: pytest.FixtureRequest, servers_allowed: None) -> Iterator[Host]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-test-")))
        folder.chmod(0o755)
        yield Host(folder, Loopback(), stack, HOSTS[request.param])


@pytest.mark.parametrize(("reject", "action", "skip"), SETTINGS)
def test_postfix_answers_what_the_rules_say(
    host: Host, reject: str, action: str, skip: str
) -> None:
    rules = host.publish(reject, action, skip)
    agree(host, rules, random.Random(f"{SEED} {reject} {action} {skip}"))


def test_without_lmdb_texts_are_the_tables(servers_allowed: None) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-test-")))
        folder.chmod(0o755)
        main = next(iter(HOSTS.values()))
        host = Host(folder, Loopback(), stack, main, '[postfix]\ntable = "cidr"\n')
        assert "texthash:${popgate_dir}/blacklist.txt" in host.popgate.snippet()
        agree(host, host.publish(*SETTINGS[0]), random.Random(SEED))


OWNED = """
[grants]
scope = "address"
[policy]
senders = { "x@far.example.org" = ["white@deep.sub.test", "@relay.test", "@www.example.com"] }
"""
OWNERS = (
    "alice",
    "bounce",
    "white",
    "x@far.example.org",
    "bounce@virtual.test",
    "al@sub.test",
    "carol",
    "dave",
)
LOGIN_MAPS = """
owner-x@example.com carol, Somebody
ALICE@far.example.org dave
black carol
@alias.test dave carol
"""


@pytest.mark.parametrize("main", HOSTS.values(), ids=HOSTS.keys())
def test_the_policy_service_answers_what_the_rules_say(
    servers_allowed: None, main: dict[str, str]
) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-test-")))
        folder.chmod(0o755)
        (folder / "owners").write_text(LOGIN_MAPS)
        maps = f"texthash:{folder}/owners, regexp:{{{{/^white@mx/ dave}}}}"
        host = Host(folder, Loopback(), stack, {**main, "smtpd_sender_login_maps": maps}, OWNED)
        for number, (client, user) in enumerate((c, u) for c in GRANTED for u in OWNERS):
            now = datetime.now(UTC)
            with host.log.open("a") as file:
                file.write(login_line(client, user, session=f"o{number}", at=now))
                file.write(logout_line(user, session=f"o{number}", at=now))
        rules = host.publish("false", "reject", "true")
        assert "check_policy_service" in host.popgate.snippet()
        with host.popgate:
            rng, settings = random.Random(f"{SEED} {main}"), config.load(host.popgate.file)
            decisions = [one for _ in range(2) for one in agree(host, rules, rng, settings)]
        reasons = [one.trace[-1].on or "" for one in decisions if one.code == "P"]
        for reason in (
            "the login is that address",
            "a login without a domain",
            "policy.senders",
            "smtpd_sender_login_maps",
        ):
            assert any(reason in one for one in reasons), reason


def agree(
    host: Host, rules: RuleSet, rng: random.Random, settings: Settings | None = None
) -> list[Decision]:
    """Hold `decide` and Postfix against each other on sessions that chance gives. `settings`: of
    the scope "address", where Postfix's login maps count. What the rules decided."""
    cases = [case(rng) for _ in range(SESSIONS)]
    differing, decisions = [], []
    for one, answer in zip(cases, host.answers(cases), strict=True):
        session = SmtpSession(
            one.client, internal(one.sender), internal(one.recipient), one.port, one.login
        )
        if settings is not None:
            session = with_owners(settings, rules, session)
        decision = decide(rules, session, datetime.now(UTC))
        wanted = expected(one, decision, rules.senders.host)
        decisions.append(decision)
        marks = 1 if decision.marked and "queued as" in answer.data else 0
        refused_at_data = "then to DATA" in decision.reply
        agrees = (
            answer.rcpt == wanted
            and answer.marks == marks
            and (not answer.data or answer.data.startswith("554") == refused_at_data)
        )
        if not agrees:
            differing.append((one, answer, wanted, decision))
    assert not differing, "\n\n".join("\n".join(map(str, one)) for one in differing[:8])
    assert {one.code for one in decisions} == set("NTAPHWB-"), "each rule was met"
    return decisions


def test_addresses_that_nobody_would_type_are_read_alike(host: Host) -> None:
    """Any string of an address's parts: those that Postfix takes for an address at all."""
    rules = host.publish("true", "reject", "true")
    rng = random.Random(SEED)
    client, to = "203.0.113.9", "user@example.net"
    differing, taken = [], 0
    with ForeignSession(host.wire, host.postfix.port, 25) as session:
        session.become(client, "ok.example.org")
        for _ in range(SESSIONS * 4):
            sender = "".join(rng.choices(PARTS, k=rng.randint(1, 9)))
            try:
                code, text = session.again().rcpt(sender, to)
            except RuntimeError:
                continue  # no address to Postfix
            taken += 1
            decision = decide(rules, SmtpSession(client, internal(sender), to), datetime.now(UTC))
            wanted = decision.reply if decision.decision == "reject" else "250 2.1.5 Ok"
            if f"{code} {text}" != wanted:
                differing.append((sender, text, wanted))
    assert not differing, "\n\n".join("\n".join(one) for one in differing[:8])
    assert taken > SESSIONS


def test_a_warning_is_logged_and_the_mail_goes_on(host: Host) -> None:
    host.publish("true", "warn", "true")
    with ForeignSession(host.wire, host.postfix.port, 25) as session:
        session.become("203.0.113.9", "ok.example.org")
        assert session.rcpt("warned@example.com", "user@example.net")[0] == 250
    said = (
        "warn: RCPT from unknown[203.0.113.9]: local sender, would be refused: not logged in; "
        "from=<warned@example.com>"
    )
    wait_for("the warning", lambda: said in host.postfix.log.read_text())


def test_a_running_popgate_takes_up_a_domain_within_a_second(host: Host) -> None:
    host.publish("true", "reject", "true")
    with host.popgate, ForeignSession(host.wire, host.postfix.port, 25) as session:

        def becomes(code: int) -> None:
            def answers() -> bool:
                session.become("203.0.113.9", "ok.example.org")
                return session.rcpt("x@new.test", "user@example.net")[0] == code

            wait_for(f"{code}", answers, patience=5)

        domains = host.folder / "domains.txt"
        becomes(250)
        before = domains.read_text()
        domains.write_text(f"{before}new.test\n")
        becomes(554)
        domains.write_text(before)
        becomes(250)


def test_postfix_has_nothing_to_say_of_snippets_and_tables(host: Host) -> None:
    said = subprocess.run(
        ["/usr/sbin/postconf", "-c", host.postfix.config, "-n"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert said == ""
    complaints = [
        line
        for line in host.postfix.log.read_text().splitlines()
        if re.search(r"(warning|error|fatal): ", line)
        and re.search(r"popgate|restriction|parameter|lmdb:|cidr:|static:", line)
    ]
    assert complaints == []

"""What is fuzzed, and what must hold whatever the bytes: four functions of bytes that raise
AssertionError where something does not.

`python -m tests.fuzz TARGET` looks for such bytes with atheris (`make fuzz`); `test_corpus.py` has
each kept input go through its target again.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache

from tests.moments import NOW, after
from tests.reading.scanning import reader
from tracker import config
from tracker.addresses import canonical
from tracker.deciding import trusted
from tracker.deciding.access import SenderPolicy
from tracker.deciding.entries import spans_or_name
from tracker.deciding.index import GrantIndex
from tracker.deciding.owners import Owners
from tracker.deciding.rules import RuleSet
from tracker.deciding.spans import BITS, network, text
from tracker.deciding.trusted import TrustedList
from tracker.errors import ConfigError, PolicyError, TrustedError
from tracker.metrics import Metrics, PolicyMetrics
from tracker.policy.answering import Answering
from tracker.policy.loginmaps import LoginMaps
from tracker.policy.protocol import Action, Requests
from tracker.reading.events import EventReader
from tracker.records import Event, Grant, Login, MailHost
from tracker.settings import PolicySettings, PostfixSettings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _each_begins_with(where: str, faults: list[str]) -> None:
    assert faults
    for fault in faults:
        assert fault.startswith(where), fault
        assert fault.isprintable(), fault


# The scanner

_SUCCESS = re.compile(
    rb"[0-9Z:-] {1,2}(?:[a-z][a-z0-9-]*): (?:Info: )?"
    rb"(?:Login|Logged in|(?:proxy\([^\n]*?\): )?[Ss]tarted proxying to [^\n]*): user=<"
)
"""The words that a login process writes before it lets a client choose any. A proxy's begin with
the name of a user whom the other server let in."""
_RIP = re.compile(rb".*, rip=([0-9A-Fa-f.:]+)", re.DOTALL)


@cache
def _reader(name: str) -> EventReader:
    return reader(name)


def scanner(data: bytes) -> None:
    """A login comes from a line that has the server's own success words before any of a client's,
    and its address is the one that the server wrote last; each line is read as if it were alone."""
    block = data + b"\n"
    reading = _reader("dovecot")
    reading.forget()
    placed = list(reading.placed(block))
    for start, event in placed:
        line = block[start : block.index(b"\n", start)]
        if isinstance(event, Login):
            _earned(line, event)
    assert [event for _, event in placed] == reading.read(block)
    alone = [event for line in block.split(b"\n") for event in reading.read(line + b"\n")]
    assert [event for _, event in placed] == alone
    counted, lines, parts = reading.count(block)
    assert sum(counted.values()) + len(reading.join(parts)) == len(placed)
    assert lines == block.count(b"\n")


def _earned(line: bytes, event: Event) -> None:
    words = line.partition(b"user=<")[0] + b"user=<"
    if re.search(rb"[0-9Z:-] {1,2}[a-z0-9-]+: (?:Info: )?proxy\(", words):
        words = line
    assert _SUCCESS.search(words), line
    written = _RIP.match(line)
    assert written, line
    assert event.address == canonical(written[1].decode()), line


# The trusted list


def trusted_list(data: bytes) -> None:
    """What a list trusts is what its text says, by another reading of it, and the table that
    Postfix gets says the same; what is no list is a TrustedError with a line for each mistake."""
    written = data.decode("utf-8", "replace")
    try:
        listed = trusted.parse(written, "trusted.txt")
    except TrustedError as error:
        _each_begins_with("trusted.txt:", str(error).split("\n"))
        return
    groups = listed.groups()
    for address in _edges(listed):
        said = _by_text(written, address)
        assert listed.trusts(str(address)) == said, address
        assert _by_table(groups, address) == said, address


def _edges(listed: TrustedList) -> Iterator[Address]:
    """Where the answer may change."""
    for entry in listed.entries:
        for version, first, last in (*entry.spans[:4], *entry.spans[-4:]):
            for number in {first - 1, first, (first + last) // 2, last, last + 1}:
                if 0 <= number < 1 << BITS[version]:
                    yield ipaddress.ip_address(canonical(text(version, number)) or "")


def _by_table(groups: list[trusted.Group], address: Address) -> bool:
    """As Postfix reads a cidr table: the first network that holds the address counts."""
    for group in groups:
        for one in group.networks:
            version, first, last = network(one)
            if version == address.version and first <= int(address) <= last:
                return group.trusts
    return False


def _by_text(written: str, address: Address) -> bool:
    for line in written.removeprefix("\ufeff").split("\n"):
        entry = line.partition("#")[0].strip()
        out = entry.startswith("!")
        entry = entry.removeprefix("!").strip()
        if entry and _holds(entry, address):
            return not out
        # A name that was never looked up takes everything out.
        if entry and out and isinstance(spans_or_name(entry), str):
            return False
    return False


def _holds(entry: str, address: Address) -> bool:
    """Whether an entry holds the address, read with the standard library alone."""
    entry = re.sub(r"\s", "", entry)
    if ":" not in entry and re.search(r"[A-Za-z_]", entry):
        return False  # a name, of which nothing is known
    if "/" in entry:
        return address in _unmapped(ipaddress.ip_network(entry))
    ends = entry.split("-")
    if len(ends) == 2 and all(end.count(".") == 3 or ":" in end for end in ends):
        low, high = (_address(end) for end in ends)
        return address.version == low.version and int(low) <= int(address) <= int(high)
    if re.fullmatch(r"[0-9.*-]+", entry):
        octets = [re.fullmatch(r"(\d+)(?:-(\d+))?", part) for part in entry.split(".")]
        return address.version == 4 and all(
            octet is None or int(octet[1]) <= number <= int(octet[2] or octet[1])
            for number, octet in zip(address.packed, octets, strict=True)
        )
    return ":" in entry and address == _address(entry)


def _address(written: str) -> Address:
    address = ipaddress.ip_address(written)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _unmapped(
    net: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    mapped = (
        net.network_address.ipv4_mapped
        if isinstance(net.network_address, ipaddress.IPv6Address)
        else None
    )
    return ipaddress.IPv4Network((mapped, net.prefixlen - 96)) if mapped else net


# The policy protocol

CLIENT, OTHER = "198.51.100.7", "2001:db8::7"
SENDER = "alice@example.com"
_LONGEST = 1024


@cache
def _answering() -> Answering:
    host = MailHost(myorigin="example.com")
    owners = Owners(PolicySettings(), host, ["example.com"])
    grants = GrantIndex(
        Grant(address, SENDER, ("imap",), NOW, NOW, after(60), after(60))
        for address in (CLIENT, OTHER)
    )
    senders = SenderPolicy(host, owners=owners)
    rules = RuleSet(
        TrustedList(), {}, senders=senders, grants=grants, scope="address", owners=owners
    )
    maps = LoginMaps(PostfixSettings())
    return Answering(lambda: rules, maps, PolicyMetrics(Metrics()), lambda: NOW)


def policy(data: bytes) -> None:
    """Only OK and DUNNO are answered, OK only to a question that names a granted address and the
    sender that is its own; and it does not matter in which pieces a question comes."""
    whole, fault = _asked([data])
    pieces = [data[at : at + 7] for at in range(0, len(data), 7)]
    cut, cut_fault = _asked(pieces)
    assert fault == cut_fault
    # What came before the fault may have been answered already where it came in pieces.
    assert cut[: len(whole)] == whole
    for answer, question in zip(cut, data.split(b"\n\n"), strict=False):
        assert isinstance(answer, Action)
        if answer is Action.OK:
            lines = question.split(b"\n")
            client, sender = (
                next(line.partition(b"=")[2] for line in lines if line.startswith(name))
                for name in (b"client_address=", b"sender=")
            )
            assert canonical(client.decode()) in (CLIENT, OTHER), question
            assert _may_be_alice(sender.decode()), question
            assert b"request=smtpd_access_policy" in lines, question


def _asked(pieces: list[bytes]) -> tuple[list[Action | None], bool]:
    requests, answers = Requests(_LONGEST), []
    try:
        for piece in pieces:
            answers += [_answering().at_once(one, time.monotonic()) for one in requests.feed(piece)]
    except PolicyError:
        return answers, True
    return answers, False


def _may_be_alice(sender: str) -> bool:
    """Whether Postfix could take that for a way to write SENDER: tok822(3) leaves quotes out, and
    gives a name without a domain $myorigin."""
    written = re.sub(r'["\\<>\s]', "", sender).lower()
    return "alice" in written and ("@" not in written or "example.com" in written)


# The configuration


def configuration(data: bytes) -> None:
    """A text is settings, which `show` writes so that they are read as the same, or a ConfigError
    whose problems are a line each that begins with the file's name."""
    try:
        settings = config.parse(data.decode("utf-8", "replace"), "popgate.toml")
    except ConfigError as error:
        _each_begins_with("popgate.toml", error.problems)
        return
    assert config.parse(config.show(settings), "popgate.toml") == settings
    assert timedelta(0) <= settings.grants.window <= timedelta(days=30)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "scanner": scanner,
    "trusted": trusted_list,
    "policy": policy,
    "config": configuration,
}

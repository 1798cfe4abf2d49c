"""Why popgate should not be installed as things stand, or what an admin should know of; pure.

It refuses where mail would break, where forgers would get through who are stopped today, and where
grants would come to nothing. What only weakens is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from tracker.addresses import IPNetwork
from tracker.deciding import restrictions
from tracker.deciding.installing import (
    AUTH_PARAMETER,
    applied,
    lists_of,
)
from tracker.deciding.placement import judge
from tracker.deciding.restrictions import CLIENTS, SENDER_LIST, flat, items
from tracker.deciding.services import port_25
from tracker.records import Edit, MailService, PostfixSetup

_WIDE = {4: 8, 6: 24}
"""A network of mynetworks that is shorter holds much of the Internet."""


class Objection(Struct, frozen=True):
    """`refuses`: nothing is installed for that reason; else it is a warning."""

    refuses: bool
    text: str


class Circumstances(Struct, frozen=True):
    """What counts besides main.cf and master.cf.

    `indexed`: grants are in an lmdb table. `submission`: submission.enabled. `refuses_local`:
    local_senders.reject, not with action = "warn". `mynetworks`: in order, `!` as False. `absent`:
    files that are named for TLS or AUTH and are not there. `taken`: submission ports where another
    program than Postfix listens.
    """

    indexed: bool
    submission: bool
    refuses_local: bool
    mynetworks: Sequence[tuple[IPNetwork, bool]] = ()
    absent: Sequence[str] = ()
    taken: Sequence[int] = ()


def objections(setup: PostfixSetup, edits: Sequence[Edit], known: Circumstances) -> list[Objection]:
    """What is to be said of these edits before any is made, refusals first."""
    after = applied(setup, edits)
    found = [*_lists(setup, after), *_hosts(setup, known)]
    if known.submission:
        found += _submission(setup, known)
    found += _forgers(setup, after, known)
    return sorted(dict.fromkeys(found), key=lambda one: not one.refuses)


def _lists(setup: PostfixSetup, after: PostfixSetup) -> Iterator[Objection]:
    before = {one.id: one for one in setup.services}
    for service in port_25(after.services) or (None,):
        for one in judge(lists_of(after, service), after.main):
            text = one.text
            if one.problem == "missing":
                text += f": put ${CLIENTS} right after permit_sasl_authenticated there yourself"
            yield Objection(one.severity == "error", text)
        senders = lists_of(after, service)[SENDER_LIST]
        last = items(senders)[-1:]
        ends = bool(last) and last[0].name in ("reject", "defer")
        if (
            ends
            and senders != lists_of(setup, before.get(service.id) if service else None)[SENDER_LIST]
        ):
            text = (
                f"{SENDER_LIST} ends in {last[0].name}: the white list and all who are known are "
                "let through before it"
            )
            yield Objection(refuses=True, text=text)


def _hosts(setup: PostfixSetup, known: Circumstances) -> Iterator[Objection]:
    if not port_25(setup.services):
        text = "master.cf has no smtpd on port 25 (smtp/inet): grants open nothing until it does"
        yield Objection(refuses=False, text=text)
    if not known.indexed:
        text = (
            "grants are kept in a cidr table, so each login costs a reload; lmdb needs none "
            "(apt-get install postfix-lmdb; postfix.table)"
        )
        yield Objection(refuses=False, text=text)
    for network, wanted in known.mynetworks:
        if wanted and network.prefixlen < _WIDE[network.version]:
            text = f"mynetworks holds {network}: who comes from there relays already; narrow it"
            yield Objection(refuses=True, text=text)
        elif wanted and _public(network):
            text = f"mynetworks holds {network}: all of it may relay, before any rule of popgate's"
            yield Objection(refuses=False, text=text)


def _public(network: IPNetwork) -> bool:
    """Whether it is larger than what one site has, and not for private use."""
    if network.version == 4:
        private = str(network).startswith(("10.", "127.", "172.", "192.168."))
        return network.prefixlen < 16 and not private
    return network.prefixlen < 48 and not str(network).startswith(("fc", "fd", "fe80"))


def _submission(setup: PostfixSetup, known: Circumstances) -> Iterator[Objection]:
    values = setup.values
    if not (values.get("smtpd_tls_cert_file") or values.get("smtpd_tls_chain_files")):
        text = (
            "submission.enabled: there is no TLS certificate, and port 587 asks for TLS: set "
            "smtpd_tls_cert_file and smtpd_tls_key_file in main.cf first"
        )
        yield Objection(refuses=True, text=text)
    kind = values.get("smtpd_sasl_type", "")
    used = "smtpd_sasl_type" in setup.main or values.get(AUTH_PARAMETER) == "yes"
    if not kind or not used:
        text = (
            "submission.enabled: no AUTH server is set: smtpd_sasl_type = dovecot and "
            "smtpd_sasl_path = private/auth in main.cf, and Dovecot's auth listener there, first"
        )
        yield Objection(refuses=True, text=text)
    elif kind not in setup.sasl_types:
        text = (
            f"submission.enabled: smtpd_sasl_type = {kind}, but this Postfix has "
            f"{', '.join(sorted(setup.sasl_types)) or 'none'} (postconf -a)"
        )
        yield Objection(refuses=True, text=text)
    for port in known.taken:
        text = (
            f"submission.enabled: another program listens on port {port}: stop it first (ss -ltnp)"
        )
        yield Objection(refuses=True, text=text)
    for path in known.absent:
        text = f"submission.enabled: {path}: is not there, and main.cf names it for TLS or AUTH"
        yield Objection(refuses=True, text=text)


def _forgers(setup: PostfixSetup, after: PostfixSetup, known: Circumstances) -> Iterator[Objection]:
    """Where a check of the sender's login stops strangers today, and would not any more."""
    for service in port_25(after.services):
        before = next(one for one in port_25(setup.services) if one.id == service.id)
        if not _auth(setup, before) or _auth(after, service):
            continue
        for value in lists_of(after, service).values():
            checks = [one.name for one in flat(value, after.main) if restrictions.is_mismatch(one)]
            if checks and not known.refuses_local:
                text = (
                    f"port 25 will offer no AUTH, and {checks[0]} then stops no forger there "
                    "any more: have local_senders.reject do it first: "
                    "popgate config set local_senders.reject true"
                )
                yield Objection(refuses=True, text=text)
            elif checks:
                text = f"without AUTH on port 25, {checks[0]} does nothing there"
                yield Objection(refuses=False, text=f"{text}: local_senders.reject does it instead")


def _auth(setup: PostfixSetup, service: MailService) -> bool:
    offered = service.options.get(AUTH_PARAMETER, setup.values.get(AUTH_PARAMETER, "no"))
    return offered.strip() == "yes"

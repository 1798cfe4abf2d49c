"""The rule core: one ordered set of rules that drives the tables and that `decide` walks; pure.

| code | rule | effect |
| --- | --- | --- |
| N | the client is in Postfix's mynetworks | may relay |
| T | the client is in the trusted list; the first entry that holds it counts | may relay |
| A | the session is authenticated by SMTP AUTH | may relay |
| P | the client has a grant; with the scope "address", of the user whose sender it is | may relay |
| H | the sender is local, and none of the above | refused, or goes on with the mark H |
| W | the white list | the black list is not asked |
| B | the black list | refused |
| - | nothing said | Postfix goes on with its own rules |

Each of N, T, A and P ends the same way, so their order names the reason and changes nothing else.
On ports 587 and 465 only A counts, and who lacks it is refused. On port 25 A counts where Postfix
offers AUTH there. What H, W and B answer is read from the very tables that Postfix reads.

With the scope "ip" Postfix asks P of a table. With "address" that table is empty, since none can
join client and sender, and Postfix asks the policy service, which answers by `granted`: rule P.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from tracker.addresses import canonical, subject
from tracker.deciding import replies
from tracker.deciding.access import SKIP_LISTS, WARN_LOCAL, SenderPolicy
from tracker.deciding.expiries import Expiries, ends
from tracker.deciding.lists import holds
from tracker.deciding.owners import Owners
from tracker.deciding.senders import fold, lookups
from tracker.deciding.trusted import TrustedList
from tracker.records import Decision, Grant, Row, SmtpSession, Step

SUBMISSION_PORTS = frozenset({587, 465})

Scope = Literal["ip", "address"]

_NAMED = 3
"""Users who are named of those that have a grant."""

Effect = Literal["relay", "reject", "end", "none"]
"""What a rule does when it matches: `end` asks no further rule, `none` goes on."""


class RuleSet:
    """What is in force: the trusted list, for each address with a grant when it ends, and what is
    said of senders."""

    def __init__(
        self,
        trusted: TrustedList,
        expiries: Mapping[str, datetime],
        ipv6_prefix: int = 128,
        senders: SenderPolicy | None = None,
        grants: Mapping[str, Sequence[Grant]] = MappingProxyType({}),
        *,
        scope: Scope = "ip",
        owners: Owners | None = None,
        unread: datetime | None = None,
    ) -> None:
        """`grants`: those of each address, for the scope "address", and for whoever wants to know
        which login earned one. `owners`: to whom a sender belongs. `unread`: nobody has read the
        log lately, so open sessions count no longer than until then."""
        self.trusted = trusted
        self.senders = senders or SenderPolicy()
        self.scope: Scope = scope
        self.owners = owners
        self._expiries = expiries
        self._prefix = ipv6_prefix
        self._grants = grants
        self._unread = unread

    def expiry(self, client: str) -> datetime | None:
        """When the grant of a client's address ends; None when it has none."""
        return self._expiries.get(subject(client, self._prefix))

    def earners(self, client: str) -> list[Grant]:
        """The grants for a client's address, the one that ends last first."""
        found = self._grants.get(subject(client, self._prefix), ())
        return sorted(found, key=lambda grant: (grant.expires, grant.user), reverse=True)

    def held(self, client: str, at: datetime) -> list[tuple[datetime, Grant]]:
        """The grants for a client's address that are in force, each with when it ends; the one that
        ends last first."""
        found = ((ends(one, self._unread), one) for one in self.earners(client))
        return sorted(
            ((end, one) for end, one in found if end > at), key=lambda pair: pair[0], reverse=True
        )

    def granted(self, only: Iterable[str] | None = None) -> Mapping[str, int]:
        """The entries of the grant table: address to expiry, in whole seconds since 1970. Worked
        out anew each time that it is looked at: go through `items` once.

        An address that the trusted list or mynetworks lets relay anyway stands here too: Postfix
        takes up a change of those only with a reload, which may come late or, where popgate is not
        root, be left to the admin; the grant must hold meanwhile. `only`: of these addresses alone.
        With the scope "address" there is none: no address as such may relay.
        """
        if self.scope == "address":
            return {}
        if only is None:
            return Granted(self._expiries)
        ends = ((address, self._expiries.get(address)) for address in only)
        return {address: int(end.timestamp()) for address, end in ends if end is not None}


class Granted(Mapping[str, int]):
    """Expiries in whole seconds since 1970: a view, since a million of them are no small copy."""

    def __init__(self, expiries: Mapping[str, datetime]) -> None:
        self._expiries = expiries

    def __getitem__(self, address: str) -> int:
        return int(self._expiries[address].timestamp())

    def __iter__(self) -> Iterator[str]:
        return iter(self._expiries)

    def __len__(self) -> int:
        return len(self._expiries)

    def items(self) -> GrantedItems:
        return GrantedItems(self, self._expiries)


class GrantedItems(ItemsView[str, int]):
    """Its entries, in one pass."""

    def __init__(self, granted: Granted, expiries: Mapping[str, datetime]) -> None:
        super().__init__(granted)
        self._expiries = expiries

    def __iter__(self) -> Iterator[tuple[str, int]]:
        if isinstance(self._expiries, Expiries):
            return ((address, int(end)) for address, end in self._expiries.seconds())
        return ((address, int(end.timestamp())) for address, end in self._expiries.items())


class Found(Struct, frozen=True):
    """What a rule says of a session."""

    matched: bool
    on: str | None = None
    effect: Effect = "none"
    reply: str = ""


class Asked(Struct, frozen=True):
    """A session, made ready to be looked up: its address canonical (None when it is none), its
    sender as Postfix asks tables for it."""

    session: SmtpSession
    client: str | None
    keys: tuple[str, ...]
    at: datetime


class Rule(Struct, frozen=True):
    """One rule: how it is asked, and the checks that make Postfix ask it, in order."""

    code: str
    name: str
    ask: Callable[[RuleSet, Asked], Found]
    checks: tuple[str, ...] = ()


def granted(rules: RuleSet, session: SmtpSession, now: datetime) -> Step:
    """What rule P says of a session, whatever other rules do: the answer of the policy service,
    which Postfix asks where it has found N, T and A wanting."""
    rule = next(rule for rule in RULES if rule.code == "P")
    if session.port in SUBMISSION_PORTS:
        return Step(rule.code, rule.name, matched=False, on="a submission port")
    found = rule.ask(rules, Asked(session, canonical(session.client), (), now))
    return Step(rule.code, rule.name, found.matched, found.on)


def decide(rules: RuleSet, session: SmtpSession, now: datetime) -> Decision:
    """What the rules say of an SMTP session at `now`, with each rule that was asked."""
    host = rules.senders.host
    if session.port in SUBMISSION_PORTS:
        return _submitted(rules, session, now)
    asked = Asked(session, canonical(session.client), lookups(session.sender, host), now)
    trace: list[Step] = []
    code, marked = "-", False
    for rule in RULES:
        found = rule.ask(rules, asked)
        trace.append(Step(rule.code, rule.name, found.matched, found.on))
        if not found.matched:
            continue
        if found.effect == "relay":
            return Decision("relay", rule.code, tuple(trace), replies.OK)
        code = rule.code if code == "-" or found.effect == "reject" else code
        marked = marked or rule.code == "H"
        if found.effect == "reject" and not replies.bare_postmaster(session):
            return Decision("reject", code, tuple(trace), found.reply, refused=True)
        if found.effect != "none":
            break
    reply, refused = replies.left_to_postfix(host, session)
    return Decision("pass", code, tuple(trace), reply, refused, marked)


def _submitted(rules: RuleSet, session: SmtpSession, now: datetime) -> Decision:
    rule = next(rule for rule in RULES if rule.code == "A")
    found = rule.ask(rules, Asked(session, None, (), now))
    trace = (Step(rule.code, rule.name, found.matched, found.on),)
    if found.matched:
        return Decision("relay", "A", trace, replies.OK)
    reply = replies.not_logged_in(rules.senders.host, session)
    return Decision("reject", "A", trace, reply, refused=True)


def _mynetworks(rules: RuleSet, asked: Asked) -> Found:
    net = holds(rules.senders.host.mynetworks, asked.client) if asked.client else None
    return Found(net is not None, str(net) if net is not None else None, "relay")


def _trusted(rules: RuleSet, asked: Asked) -> Found:
    entry = rules.trusted.match(asked.client) if asked.client else None
    if entry is None:
        return Found(matched=False)
    return Found(entry.trusts, f"line {entry.line}: {entry.text}", "relay")


def _authenticated(rules: RuleSet, asked: Asked) -> Found:
    login, port = asked.session.login, asked.session.port
    if login is not None and port not in SUBMISSION_PORTS and not rules.senders.host.auth:
        return Found(matched=False, on=f"port {port} offers no AUTH (smtpd_sasl_auth_enable)")
    return Found(login is not None, login, "relay")


def _granted(rules: RuleSet, asked: Asked) -> Found:
    if rules.scope == "address":
        return _granted_to_sender(rules, asked)
    expires = rules.expiry(asked.client) if asked.client else None
    if asked.client is None or expires is None or expires <= asked.at:
        return Found(matched=False)
    on = f"grant until {expires.astimezone(UTC).isoformat(timespec='seconds')}"
    for grant in rules.earners(asked.client)[:1]:
        when = grant.last_login.astimezone(UTC).isoformat(timespec="seconds")
        on += f", earned by {grant.user} ({' '.join(grant.services)}) at {when}"
    return Found(matched=True, on=on, effect="relay")


def _granted_to_sender(rules: RuleSet, asked: Asked) -> Found:
    """The scope "address": a grant of one to whom the sender belongs."""
    held = rules.held(asked.client, asked.at) if asked.client else []
    if not held or rules.owners is None:
        return Found(matched=False)
    logins = rules.owners.logins(asked.session.sender, asked.session.owners)
    for end, grant in held:
        if why := logins.get(fold(grant.user, rules.owners.host)):
            until = end.astimezone(UTC).isoformat(timespec="seconds")
            return Found(True, f"grant of {grant.user} until {until}; {why}", "relay")
    users = ", ".join(grant.user for _, grant in held[:_NAMED])
    users += f" and {len(held) - _NAMED} more" if len(held) > _NAMED else ""
    return Found(matched=False, on=f"granted to {users}, to whom the sender does not belong")


def _local_sender(rules: RuleSet, asked: Asked) -> Found:
    found = rules.senders.by_client("local_clients", asked.client)
    if found is not None and not found[1].exempts:
        found = rules.senders.by_sender("local_senders", asked.keys)
    if found is None or not asked.session.sender:
        return Found(matched=False)
    key, row = found
    if row.exempts:
        return Found(matched=False, on=f"exception {_named(key, row)}")
    return _answered(rules, asked, key, row, by_client=False)


def _white(rules: RuleSet, asked: Asked) -> Found:
    return _listed(rules, asked, "whitelist_clients", "whitelist")


def _black(rules: RuleSet, asked: Asked) -> Found:
    return _listed(rules, asked, "blacklist_clients", "blacklist")


def _listed(rules: RuleSet, asked: Asked, clients: str, senders: str) -> Found:
    if found := rules.senders.by_client(clients, asked.client):
        return _answered(rules, asked, *found, by_client=True)
    if found := rules.senders.by_sender(senders, asked.keys):
        return _answered(rules, asked, *found, by_client=False)
    return Found(matched=False)


def _answered(rules: RuleSet, asked: Asked, key: str, row: Row, *, by_client: bool) -> Found:
    """What Postfix does on an answer of an access table."""
    verb, _, text = row.value.partition(" ")
    if verb == "REJECT":
        reply = replies.rejected(rules.senders.host, asked.session, text, by_client=by_client)
        return Found(matched=True, on=_named(key, row), effect="reject", reply=reply)
    ends = row.value in ("OK", SKIP_LISTS, WARN_LOCAL)
    return Found(matched=True, on=_named(key, row), effect="end" if ends else "none")


def _named(key: str, row: Row) -> str:
    return f"{key} ({row.entry.where})" if row.entry else key


RULES: tuple[Rule, ...] = (
    Rule("N", "Postfix's mynetworks", _mynetworks),
    Rule("T", "trusted list", _trusted, ("trusted",)),
    Rule("A", "SMTP AUTH", _authenticated),
    Rule("P", "POP before SMTP", _granted, ("grants",)),
    Rule("H", "local sender", _local_sender, ("local_clients",)),
    Rule("W", "white list", _white, ("whitelist_clients", "whitelist")),
    Rule("B", "black list", _black, ("blacklist_clients", "blacklist")),
)
"""In order. The snippet for Postfix names the checks of T and P as `popgate_clients`, those of H, W
and B as `popgate_sender_rules`."""

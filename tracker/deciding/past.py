"""Who could relay at a moment of the past, and why; pure.

The rules of the rule core are asked, made of what was in force then. What the grant table held
counts, not what the ledger had: Postfix knows nothing else. SMTP AUTH (A) is Postfix's alone, and
no part of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from msgspec import Struct

from tracker.addresses import IPNetwork
from tracker.deciding import spans
from tracker.deciding.access import SenderPolicy
from tracker.deciding.rules import RULES, Asked, Rule, RuleSet
from tracker.deciding.spans import ALL, FirstMatch, Span
from tracker.deciding.trusted import TrustedList
from tracker.records import MailHost, SmtpSession

_BEFORE = tuple(rule for rule in RULES if rule.code in "NT")
_GRANTS = next(rule for rule in RULES if rule.code == "P")


class Then(Struct, frozen=True):
    """What was in force at a moment: the trusted list with what its names stood for, Postfix's
    mynetworks, and the addresses and networks that the grant table held."""

    trusted: TrustedList
    mynetworks: tuple[tuple[IPNetwork, bool], ...]
    held: Sequence[str]


class Relayed(Struct, frozen=True):
    """A client, or all of a network or range, that could relay: by which rule, and on what it
    matched. `decides`: of the rules that matched it, this is the first."""

    client: str
    code: str
    rule: str
    on: str
    decides: bool = True


def could_relay(then: Then, asked: IPNetwork | None, at: datetime) -> list[Relayed]:
    """All in a network, or all there are, that could relay at that moment, each with its reason.

    Of a network, each part that a rule let through is told; a part can be let through by several.
    """
    rules = RuleSet(then.trusted, {}, senders=SenderPolicy(MailHost(mynetworks=then.mynetworks)))
    within = ALL if asked is None else (_span(str(asked)),)
    found: list[Relayed] = []
    for place, rule in enumerate(_BEFORE):
        for part in _parts(rule, then, within):
            on = _ask(rule, rules, part, at)
            if on is not None:
                decides = _first(_BEFORE[:place], rules, part, at)
                found.append(Relayed(str(part), rule.code, rule.name, on, decides))
    # The table itself ends a grant: so long as it holds an address, Postfix lets it relay.
    for held in then.held:
        for part in _cut(_span(held), within):
            decides = _first(_BEFORE, rules, part, at)
            on = f"the grant table held {held}"
            found.append(Relayed(str(part), _GRANTS.code, _GRANTS.name, on, decides))
    return found


def _ask(rule: Rule, rules: RuleSet, part: Span, at: datetime) -> str | None:
    """On what a rule matches the first address of a part; None when it does not."""
    client = spans.text(part.version, part.first)
    found = rule.ask(rules, Asked(SmtpSession(client), client, (), at))
    return (found.on or "") if found.matched else None


def _first(before: Iterable[Rule], rules: RuleSet, part: Span, at: datetime) -> bool:
    return all(_ask(rule, rules, part, at) is None for rule in before)


def _parts(rule: Rule, then: Then, within: Iterable[Span]) -> Iterator[Span]:
    """What of the addresses asked for the entries of a list treat alike, part by part."""
    if rule.code == "T":
        claims = then.trusted.first
    else:
        claims = FirstMatch(
            (*_span(str(net)), place) for place, (net, _) in enumerate(then.mynetworks)
        )
    for span in within:
        yield from (piece.span for piece in claims.within(span))


def _span(net: str) -> Span:
    return spans.network(net) if "/" in net else spans.number(net)


def _cut(span: Span, within: Iterable[Span]) -> Iterator[Span]:
    for one in within:
        first, last = max(span.first, one.first), min(span.last, one.last)
        if one.version == span.version and first <= last:
            yield Span(span.version, first, last)

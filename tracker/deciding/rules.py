"""The rule core: one ordered set of rules that drives the tables and that `decide` walks; pure.

The order is that of Postfix: what the generated snippet puts first is asked first.

| code | rule | effect |
| --- | --- | --- |
| A | the session is authenticated by SMTP AUTH | may relay |
| T | the client is in the trusted list; the first entry that holds it counts | may relay |
| P | the client has a grant | may relay |
| - | nothing said | Postfix goes on with its own rules |

On ports 587 and 465 only A counts. On port 25 AUTH counts where Postfix offers it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from tracker.addresses import canonical, subject
from tracker.deciding.trusted import TrustedList
from tracker.records import Decision, SmtpSession, Step

SUBMISSION_PORTS = frozenset({587, 465})


class RuleSet:
    """What is in force: the trusted list, and for each address with a grant when it ends."""

    def __init__(
        self, trusted: TrustedList, expiries: Mapping[str, datetime], ipv6_prefix: int = 128
    ) -> None:
        self.trusted = trusted
        self._expiries = expiries
        self._prefix = ipv6_prefix

    def expiry(self, client: str) -> datetime | None:
        """When the grant of a client's address ends; None when it has none."""
        return self._expiries.get(subject(client, self._prefix))

    def granted(self, only: Iterable[str] | None = None) -> dict[str, int]:
        """The entries of the grant table: address to expiry, in whole seconds since 1970.

        An address that the trusted list lets relay anyway is not written twice. `only`: of these
        addresses alone.
        """
        found: dict[str, int] = {}
        for address in self._expiries if only is None else only:
            expires = self._expiries.get(address)
            if expires is not None and ("/" in address or not self.trusted.trusts(address)):
                found[address] = int(expires.timestamp())
        return found


def decide(rules: RuleSet, session: SmtpSession, now: datetime) -> Decision:
    """What the rules say of an SMTP session at `now`, with each rule that was asked."""
    steps = [_authenticated(session)]
    if session.port not in SUBMISSION_PORTS:
        client = canonical(session.client)
        if client is not None:
            steps += [_trusted(rules, client), _granted(rules, client, now)]
    trace: list[Step] = []
    for step in steps:
        trace.append(step)
        if step.matched:
            return Decision("relay", step.code, tuple(trace))
    return Decision("pass", "-", tuple(trace))


def _authenticated(session: SmtpSession) -> Step:
    return Step("A", "SMTP AUTH", session.login is not None, session.login)


def _trusted(rules: RuleSet, client: str) -> Step:
    entry = rules.trusted.match(client)
    if entry is None:
        return Step("T", "trusted list", False)
    return Step("T", "trusted list", entry.trusts, f"line {entry.line}: {entry.text}")


def _granted(rules: RuleSet, client: str, now: datetime) -> Step:
    expires = rules.expiry(client)
    if expires is None or expires <= now:
        return Step("P", "POP before SMTP", False)
    until = expires.astimezone(UTC).isoformat(timespec="seconds")
    return Step("P", "POP before SMTP", True, f"grant until {until}")

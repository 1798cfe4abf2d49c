"""What Postfix did with mail, by rule: counted from the lines of its log; pure.

Mail that was taken is counted by what gave its client the right: A for SMTP AUTH, T for the
trusted list, P for a grant that was in force in that second (most logs have no smaller unit). The
rest needed none of them: it came for a domain of this host, or out of Postfix's mynetworks.

An entry of the trusted list mattered when mail was taken from an address that is its own, or, for
an entry that takes out (`!`), when such an address was refused to relay.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from tracker.addresses import order, subject
from tracker.deciding.trusted import TrustedList
from tracker.deciding.views import (
    OUTCOMES,
    RIGHTS,
    Mattered,
    PostfixView,
    Refusals,
    Refused,
    Sent,
)
from tracker.records import Outcome, SmtpLine

REFUSED_LISTED = 15

Stretches = tuple[tuple[datetime, datetime], ...]


class MailFlow:
    """Told of lines, it counts them."""

    def __init__(self, trusted: TrustedList, granted: Mapping[str, Stretches], prefix: int) -> None:
        """`trusted`: the list of now. `granted`: when each address had a grant, for IPv6 when each
        network of that prefix had."""
        self._trusted = trusted
        self._prefix = prefix
        self._granted = granted
        self._outcomes: dict[Outcome, Counter[str]] = defaultdict(Counter)
        self._last: dict[Outcome, datetime] = {}
        self._rights: dict[str, Counter[str]] = defaultdict(Counter)
        self._mattered: dict[int, Mattered] = {}

    def add(self, line: SmtpLine) -> None:
        """One message or recipient."""
        if line.outcome == "taken":
            self._rights[self._right(line)][line.client] += 1
        else:
            self._outcomes[line.outcome][line.client] += 1
            self._last[line.outcome] = max(line.time, self._last.get(line.outcome, line.time))
            if line.outcome == "relay":
                self._entry(line, trusts=False)

    def _right(self, line: SmtpLine) -> str:
        if line.authenticated:
            return "A"
        if self._entry(line, trusts=True):
            return "T"
        return "P" if within(self._stretches(line.client), line.time) else "-"

    def _stretches(self, client: str) -> Stretches:
        return self._granted.get(subject(client, self._prefix), ())

    def _entry(self, line: SmtpLine, *, trusts: bool) -> bool:
        """Whether an entry of that sign decided; it mattered then."""
        entry = self._trusted.match(line.client) if self._trusted.entries else None
        if entry is None or entry.trusts != trusts:
            return False
        known = self._mattered.get(entry.line, Mattered())
        last = line.time if known.last is None else max(known.last, line.time)
        self._mattered[entry.line] = Mattered(known.count + 1, last)
        return True

    def taken(self) -> Mapping[str, int]:
        """Messages that were taken from each client by its grant."""
        return self._rights["P"]

    def view(self) -> PostfixView:
        """The rows: each kind that there can be, also where nothing was counted."""
        refusals = [
            Refusals(
                code,
                about,
                self._outcomes[outcome].total(),
                len(self._outcomes[outcome]),
                self._last.get(outcome),
            )
            for outcome, (code, about) in OUTCOMES.items()
        ]
        sent = [
            Sent(code, about, self._rights[code].total(), len(self._rights[code]))
            for code, about in RIGHTS.items()
        ]
        return PostfixView(
            tuple(refusals),
            tuple(self._clients()),
            tuple(sent),
            dict(sorted(self._mattered.items())),
        )

    def _clients(self) -> list[Refused]:
        """The clients that were refused most."""
        totals: Counter[str] = Counter()
        for outcome, clients in self._outcomes.items():
            if outcome != "warned":
                totals.update(clients)
        names = sorted(totals, key=lambda name: (-totals[name], order(name)))[:REFUSED_LISTED]
        return [
            Refused(name, totals[name], self._by(name), bool(self._stretches(name)))
            for name in names
        ]

    def _by(self, client: str) -> tuple[tuple[str, int], ...]:
        return tuple(
            (about, self._outcomes[outcome][client])
            for outcome, (_, about) in OUTCOMES.items()
            if outcome != "warned" and self._outcomes[outcome][client]
        )


def merged(spans: Iterable[tuple[datetime, datetime]]) -> Stretches:
    """The same moments in the fewest stretches, in order."""
    found: list[tuple[datetime, datetime]] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return tuple(found)


def within(stretches: Stretches, time: datetime) -> bool:
    """Whether one of the stretches holds that moment, or begins in that second."""
    place = bisect_right(stretches, time, key=lambda one: one[0].replace(microsecond=0)) - 1
    return place >= 0 and time <= stretches[place][1]

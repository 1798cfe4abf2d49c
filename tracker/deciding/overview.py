"""A stretch of time seen as a whole: who may send, who logged in, what was refused; pure.

An `Overview` is told of grants, of the lives of grants, of counts of events, and then of lines of
Postfix's log, and makes the rows of `views.py` of them: counted whole, listed up to a bound. The
same facts in any order give the same rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from tracker.addresses import order
from tracker.deciding.mailflow import MailFlow, merged
from tracker.deciding.trusted import TrustedList
from tracker.deciding.views import Bar, Listed, Ranked, Shared, Strip, View
from tracker.history.records import CountOf, Life
from tracker.records import Grant, SmtpLine

LISTED = 200
"""Addresses with a grant that are listed."""
STRIPS = 40
RANKED = 15
SHARED_LISTED = 25

_HOUR = timedelta(hours=1)
_STEPS = ((8, _HOUR), (50, timedelta(hours=6)), (10**6, timedelta(days=1)))
"""Up to so many days, how long a bar of the charts is."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTED: Mapping[CountOf, str] = {"login": "logins", "failed": "failed"}
_KINDS = ("logins", "failed", "grants", "refused")


class Overview:
    """Told of what happened between `since` and `now`, it gives the View."""

    def __init__(
        self,
        since: datetime,
        now: datetime,
        trusted: TrustedList | None = None,
        ipv6_prefix: int = 128,
        users_per_address: int = 0,
    ) -> None:
        """`users_per_address`: with more, an address is called a gateway; 0: none is."""
        self._users_per_address = users_per_address
        self._since, self._now = since, now
        self._prefix = ipv6_prefix
        self._trusted = trusted or TrustedList()
        days = (now - since) / timedelta(days=1)
        self.step = next(step for most, step in _STEPS if days <= most)
        self._bars: dict[str, Counter[int]] = {kind: Counter() for kind in _KINDS}
        self._grants: dict[str, list[Grant]] = defaultdict(list)
        self._lives: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
        self._users, self._addresses = _Counts(), _Counts()
        self._mail: MailFlow | None = None

    # What it is told

    def grant(self, grant: Grant) -> None:
        """A grant in force."""
        if grant.expires > self._now:
            self._grants[grant.address].append(grant)

    def life(self, life: Life) -> None:
        """The life of a grant; one that was over before the period is left out."""
        end = min(life.ended or self._now, self._now)
        if end < self._since or life.began > self._now:
            return
        address, user = life.address, life.user
        self._lives[address].append((max(life.began, self._since), end))
        earned = life.began >= self._since
        self._addresses.add(address, user, life.logins, earned=earned)
        self._users.add(user, address, life.logins, earned=earned)
        if earned:
            self._bars["grants"][self._place(life.began)] += 1

    def counted(self, of: CountOf, hour: datetime, number: int) -> None:
        """So many events in the hour that begins at `hour`; that of `since` counts whole."""
        kind = _COUNTED.get(of)
        if kind is not None and self._since - _HOUR < hour <= self._now:
            self._bars[kind][self._place(max(hour, self._since))] += number

    def mail(self, lines: Iterable[SmtpLine]) -> None:
        """What Postfix's log tells; after all lives, since a grant is what lets mail in."""
        if self._mail is None:
            granted = {address: merged(spans) for address, spans in self._lives.items()}
            self._mail = MailFlow(self._trusted, granted, self._prefix)
        for line in lines:
            if self._since <= line.time <= self._now:
                self._mail.add(line)
                if line.outcome not in ("taken", "warned"):
                    self._bars["refused"][self._place(line.time)] += 1

    def _place(self, time: datetime) -> int:
        return (time - _EPOCH) // self.step

    # What it makes

    def view(self) -> View:
        """The rows."""
        listed, strips, shared = self._listed(), self._strips(), self._shared()
        mails = self._mail.taken() if self._mail else {}
        return View(
            since=self._since,
            now=self._now,
            step=self.step,
            listed=tuple(listed[:LISTED]),
            addresses=len(self._grants),
            grants=sum(map(len, self._grants.values())),
            users=len({one.user for those in self._grants.values() for one in those}),
            logins=self._bars["logins"].total(),
            failed=self._bars["failed"].total(),
            earned=self._bars["grants"].total(),
            refused=self._bars["refused"].total(),
            bars=tuple(self._all_bars()),
            strips=tuple(strips[:STRIPS]),
            strips_all=len(strips),
            top_users=tuple(self._users.ranked(str)[:RANKED]),
            users_all=len(self._users.others),
            top_addresses=tuple(self._addresses.ranked(order, mails)[:RANKED]),
            addresses_all=len(self._addresses.others),
            shared=tuple(shared[:SHARED_LISTED]),
            shared_all=len(shared),
            postfix=self._mail.view() if self._mail else None,
        )

    def _listed(self) -> list[Listed]:
        """Addresses in force, the one that logged in last first."""
        rows = [
            Listed(
                address,
                tuple(sorted(one.user for one in those)),
                tuple(sorted({service for one in those for service in one.services})),
                max(one.last_login for one in those),
                max(one.expires for one in those),
                sum(len(one.sessions) for one in those),
            )
            for address, those in self._grants.items()
        ]
        return sorted(rows, key=lambda row: (_EPOCH - row.last_login, order(row.address)))

    def _all_bars(self) -> Iterator[Bar]:
        for place in range(self._place(self._since), self._place(self._now) + 1):
            counts = {kind: self._bars[kind][place] for kind in _KINDS}
            yield Bar(_EPOCH + place * self.step, **counts)

    def _strips(self) -> list[Strip]:
        """Addresses by how long they had a grant, the longest first."""
        met, grants = self._addresses.others, self._addresses.grants
        strips = []
        for address, spans in self._lives.items():
            stretches = merged(spans)
            total = sum((end - begin for begin, end in stretches), timedelta(0))
            users = tuple(sorted(met[address]))
            strips.append(
                Strip(address, users, grants[address], stretches, total, address in self._grants)
            )
        return sorted(strips, key=lambda one: (-one.total, order(one.address)))

    def _shared(self) -> list[Shared]:
        """Addresses with more than one user in the period, the one with most first."""
        most = self._users_per_address
        rows = [
            Shared(address, tuple(sorted(users)), 0 < most < len(users), address in self._grants)
            for address, users in self._addresses.others.items()
            if len(users) > 1
        ]
        return sorted(rows, key=lambda row: (-len(row.users), order(row.address)))


class _Counts:
    """Logins and grants by name, and which others each name was met with."""

    def __init__(self) -> None:
        self.logins: Counter[str] = Counter()
        self.grants: Counter[str] = Counter()
        self.others: dict[str, set[str]] = defaultdict(set)

    def add(self, name: str, other: str, logins: int, *, earned: bool) -> None:
        self.logins[name] += logins
        self.grants[name] += earned
        self.others[name].add(other)

    def ranked(
        self, ordered: Callable[[str], Any], mails: Mapping[str, int] = MappingProxyType({})
    ) -> list[Ranked]:
        """Every name, the one with most logins first, then with most grants, then in order."""
        names = sorted(
            self.others,
            key=lambda name: (-self.logins[name], -self.grants[name], ordered(name)),
        )
        return [
            Ranked(
                name,
                self.logins[name],
                self.grants[name],
                len(self.others[name]),
                mails.get(name, 0),
            )
            for name in names
        ]

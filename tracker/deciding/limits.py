"""How many grants there may be: in all, of the users at one address, of one user; pure.

`grants.max_grants` bounds memory and always refuses: new grants are not made, those that are there
go on and are renewed. The other two say what looks like a gateway and like a stolen account; they
refuse where `grants.refuse_beyond` names them. Grants by an admin's word neither count nor are
refused. The logins of users whom the log does not name count for no user.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from heapq import heappop, heappush
from itertools import islice

from msgspec import Struct

from tracker.deciding.book import Kept
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.recent import HOUR, Recent
from tracker.records import MANUAL_SERVICE, Grant
from tracker.settings import LimitName

_ENOUGH = 10_000
"""Addresses of a user that are asked for at most."""
_LONG_AGO = datetime(1971, 1, 1, tzinfo=UTC)
NAMELESS = "?"
"""The user of a login whose line names none."""


class Crossing(Struct, frozen=True):
    """A login that would be, or is, one grant more than a limit. `subject`: the address or the user
    that it is about; empty for all. `refused`: it earned nothing."""

    limit: LimitName
    subject: str
    most: int
    refused: bool


class Watch:
    """Which crossings were told: each once, until an hour has passed without another."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], datetime] = {}
        self._untold: list[Crossing] = []

    def see(self, crossing: Crossing, now: datetime) -> None:
        """It happened."""
        key = (crossing.limit, crossing.subject)
        if self._told.pop(key, None) is None:
            self._untold.append(crossing)
        self._told[key] = now

    def forget(self, now: datetime) -> None:
        """What has not happened for an hour is told again when it does."""
        while self._told:
            key, seen = next(iter(self._told.items()))
            if now - HOUR < seen <= now:
                break
            del self._told[key]

    def crossings(self) -> list[Crossing]:
        """Those to tell of; a second call has none of them."""
        untold, self._untold = self._untold, []
        return untold


class Limits:
    """What the limits count, kept beside the grants."""

    def __init__(
        self,
        policy: GrantPolicy,
        recent: Iterable[Recent] = (),
        watch: Watch | None = None,
        *,
        kept: Kept | None = None,
        earned: int = 0,
    ) -> None:
        """`kept`: the grants, and what is over, as they were last saved; `earned`: how many of
        those logins earned."""
        self.policy = policy
        self._watch = watch or Watch()
        self._kept = kept
        self._earned = earned
        self._of_user: dict[str, dict[str, datetime | None]] = {}
        self._gone: dict[str, list[tuple[Grant, bool]]] = {}
        self._over: list[tuple[datetime, str, str]] = []
        self._now = _LONG_AGO
        for one in recent:
            self._remember(one)

    def put(self, old: Grant | None, grant: Grant) -> None:
        """A grant came, or changed."""
        before, after = old is not None and not by_hand(old), not by_hand(grant)
        self._earned += after - before
        if before == after or grant.user == NAMELESS:
            return
        self._know(grant.user)
        if after:
            self._of_user.setdefault(grant.user, {})[grant.address] = None
        else:
            self._take(grant)

    def drop(self, grant: Grant, *, over: bool) -> None:
        """A grant went. `over`: its window is, so that its login counts for the rest of an hour."""
        if by_hand(grant):
            return
        self._earned -= 1
        if self._kept is not None and grant.user not in self._of_user:
            self._gone.setdefault(grant.user, []).append((grant, over))
            return
        self._take(grant)
        if over:
            self._remember(Recent(grant.user, grant.address, grant.last_login))

    def saved(self) -> None:
        """All that happened so far is kept now."""
        if self._kept is not None:
            self._of_user.clear()
            self._gone.clear()
            self._over.clear()

    def _know(self, user: str) -> None:
        """Have the addresses of a user at hand: None where a grant is in force, else the last login
        there."""
        if self._kept is None or user in self._of_user:
            return
        addresses = self._of_user[user] = {}
        for recent in self._kept.recent(user, self._now - HOUR, _ENOUGH):
            self._remember(recent)
        for grant in self._kept.users_grants(user, _ENOUGH):
            if not by_hand(grant):
                addresses[grant.address] = None
        for grant, over in self._gone.pop(user, ()):
            self._take(grant)
            if over:
                self._remember(Recent(user, grant.address, grant.last_login))

    def _take(self, grant: Grant) -> None:
        self._of_user.get(grant.user, {}).pop(grant.address, None)
        self._forget_user(grant.user)

    def _forget_user(self, user: str) -> None:
        """Where all is kept here, who has no address any more is nobody."""
        if self._kept is None and not self._of_user.get(user, True):
            del self._of_user[user]

    def _remember(self, one: Recent) -> None:
        addresses = self._of_user.get(one.user, {})
        # More than the limit need not be known, and would grow with what an attacker does.
        if one.user == NAMELESS or len(addresses) >= self.policy.max_grants_per_user:
            return
        if one.address not in addresses:
            self._of_user.setdefault(one.user, {})[one.address] = one.last_login
            heappush(self._over, (one.last_login, one.user, one.address))

    def forget(self, now: datetime) -> None:
        """What is an hour ago counts no more."""
        while self._over and self._over[0][0] + HOUR <= now:
            last_login, user, address = heappop(self._over)
            addresses = self._of_user.get(user, {})
            if addresses.get(address) == last_login:
                del addresses[address]
                self._forget_user(user)
        self._watch.forget(now)

    def reached(self, grant: Grant, beside: Iterable[Grant], now: datetime) -> list[LimitName]:
        """The limits that a new grant would exceed. `beside`: the others of its address."""
        policy = self.policy
        found: list[LimitName] = []
        if self._earned >= policy.max_grants:
            found.append("max_grants")
        most = policy.max_users_per_address
        earned = (one for one in beside if not by_hand(one))
        if most and sum(1 for _ in islice(earned, most)) >= most:
            found.append("max_users_per_address")
        most = policy.max_grants_per_user
        if most and grant.user != NAMELESS:
            self._now = now
            self._know(grant.user)
            self.forget(now)
            addresses = self._of_user.get(grant.user, {})
            if len(addresses) - (grant.address in addresses) >= most:
                found.append("max_grants_per_user")
        return found

    def admits(self, grant: Grant, reached: Iterable[LimitName], now: datetime) -> bool:
        """Whether the grant is made though it exceeds those; each is told of once."""
        admitted = True
        subjects = {"max_users_per_address": grant.address, "max_grants_per_user": grant.user}
        for limit in reached:
            refused = self.policy.refuses(limit)
            admitted = admitted and not refused
            most: int = getattr(self.policy, limit)
            self._watch.see(Crossing(limit, subjects.get(limit, ""), most, refused), now)
        return admitted


def by_hand(grant: Grant) -> bool:
    """Whether an admin gave it."""
    return MANUAL_SERVICE in grant.services


def beyond(
    policy: GrantPolicy, grants: Iterable[Grant], count: int, now: datetime
) -> Iterator[tuple[Grant, str]]:
    """Those in force that are more than the limits that refuse, and why: the youngest, whatever
    order they come in. `count`: how many grants there are."""
    watched = [
        limit
        for limit in ("max_users_per_address", "max_grants_per_user")
        if policy.refuses(limit) and getattr(policy, limit)
    ]
    if not watched and count <= policy.max_grants:
        return
    earned = [one for one in grants if not by_hand(one) and one.expires > now]
    kept = 0
    users: dict[str, int] = {}
    addresses: dict[str, int] = {}
    for one in sorted(earned, key=lambda one: (one.first_login, one.address, one.user)):
        at, of = users.get(one.address, 0), addresses.get(one.user, 0)
        if kept >= policy.max_grants:
            yield one, "more than grants.max_grants"
        elif "max_users_per_address" in watched and at >= policy.max_users_per_address:
            yield one, "more than grants.max_users_per_address"
        elif (
            "max_grants_per_user" in watched
            and one.user != NAMELESS
            and of >= policy.max_grants_per_user
        ):
            yield one, "more than grants.max_grants_per_user"
        else:
            kept, users[one.address], addresses[one.user] = kept + 1, at + 1, of + 1

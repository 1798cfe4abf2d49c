"""All grants in force: a state machine. Event or clock in, changes out; pure, `now` is an argument.

A grant is for (address, user). Its window starts at each login, and again when the last session
from that address ends; while a session is open the grant stays, but no longer than `max_session`
after that session began, since the line of its end may have been lost.

The same events in the same order give the same ledger, and an event that was already applied
changes nothing, so a line may be read twice. No event, however it is dated, can make a grant
outlive `now` by more than its window, or an open session by more than `max_session`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from msgspec import structs

from tracker.deciding.limits import Limits, Recent, Watch, beyond
from tracker.deciding.policy import GrantPolicy
from tracker.records import (
    MANUAL_SERVICE,
    Change,
    Ended,
    Event,
    Grant,
    Login,
    Logout,
    Restart,
    Session,
)

_ORPHAN_AGE = timedelta(minutes=1)
"""How far a logout line may stand before the login line of its session."""

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

_OVER = "window over"

_Key = tuple[str, str]


class Ledger:
    """The grants, by address and user."""

    def __init__(
        self,
        policy: GrantPolicy,
        grants: Iterable[Grant] = (),
        ended: Iterable[Ended] = (),
        recent: Iterable[Recent] = (),
        watch: Watch | None = None,
    ) -> None:
        """`recent`: grants that were over in the last hour. `watch`: what is told of limits."""
        self._policy = policy
        self._limits = Limits(policy, recent, watch)
        self._by_address: dict[str, dict[str, Grant]] = {}
        self._open: dict[str, _Key] = {}
        self._open_of: dict[str, set[str]] = {}
        self._await({one.session: one.time for one in ended})
        self._past = _NEVER
        self._heap: list[tuple[datetime, str, str]] = []
        self._count = 0
        for grant in grants:
            self._put(grant)

    def __len__(self) -> int:
        return self._count

    def has_sessions(self) -> bool:
        """Whether any session counts as open."""
        return bool(self._open)

    def grants(self) -> Iterator[Grant]:
        """Every grant, in no order."""
        for users in self._by_address.values():
            yield from users.values()

    def of(self, address: str) -> list[Grant]:
        """The grants of one address."""
        return list(self._by_address.get(address, {}).values())

    def apply(self, event: Event, now: datetime) -> list[Change | Ended]:
        """What the event changes. An event from the future counts as of now."""
        if isinstance(event, Login):
            return self._login(event, min(event.time, now), now)
        if not self._policy.while_connected:
            return []
        time = min(event.time, now)
        if isinstance(event, Restart):
            return [*self._end_all(list(self._open), event, time)]
        if isinstance(event, Logout):
            if event.session:
                return [self._logout(event.session, time)]
            # It is one of the user's sessions that ended, and nobody knows which.
            return [*self._end_all(self._open_of.get(event.user or "?", ()), event, time)]
        return []

    def _login(self, login: Login, time: datetime, now: datetime) -> list[Change | Ended]:
        if login.address is None or self._policy.refusal(login) is not None:
            return []
        changes: list[Change | Ended] = []
        user, service = login.user or "?", login.service or "?"
        address = self._policy.subject(login.address)
        old = self._by_address.get(address, {}).get(user)
        sessions = old.sessions if old else ()
        until = time + self._policy.window
        if login.session and self._policy.while_connected:
            ended = self._ended.pop(login.session, None)
            if ended is not None:
                until = max(until, ended + self._policy.window)
            elif self._open.get(login.session) != (address, user):
                if login.session in self._open:
                    # Ids are unique but where a proxy makes them up: when the other session ended
                    # is not known, so no window begins there.
                    changes.append(self._end(login.session, None, now))
                opened = Session(login.session, time, login.host, login.format)
                sessions = (*sessions, opened)
        services: tuple[str, ...] = old.services if old else (service,)
        if service not in services:
            services = tuple(sorted({*services, service}))
        first = min(old.first_login, time) if old else time
        last = max(old.last_login, time) if old else time
        until = max(old.until, until) if old else until
        sessions, expires = self._lasting(sessions, until, now)
        grant = Grant(address, user, services, first, last, until, expires, sessions)
        if grant != old and grant.expires > now:
            if old is None and not self._room(grant, now, changes):
                return changes
            self._put(grant)
            changes.append(Change("renewed" if old else "added", grant, "login"))
        return changes

    def _room(self, grant: Grant, now: datetime, changes: list[Change | Ended]) -> bool:
        """Whether the limits let a new grant in. Where one does not, what is over makes room."""
        reached = self._limits.reached(grant, self._beside(grant))
        if reached:
            changes += self._end_over(now)
            reached = self._limits.reached(grant, self._beside(grant))
        return self._limits.admits(grant, reached, now)

    def _beside(self, grant: Grant) -> Iterable[Grant]:
        return self._by_address.get(grant.address, {}).values()

    def _logout(self, session: str, time: datetime) -> Change | Ended:
        if session in self._open:
            return self._end(session, time + self._policy.window, time)
        self._ended[session] = time
        heapq.heappush(self._orphans, (time, session))
        return Ended(session, time)

    def _await(self, ended: dict[str, datetime]) -> None:
        """Logouts that wait for their logins: for a minute, the oldest first."""
        self._ended = ended
        self._orphans = sorted((time, session) for session, time in ended.items())

    def _end_all(self, sessions: Iterable[str], event: Event, time: datetime) -> Iterator[Change]:
        """Close those of the sessions that the event's server told of before."""
        for session in list(sessions):
            address, user = self._open[session]
            grant = self._by_address[address][user]
            began = next(one for one in grant.sessions if one.id == session)
            if (began.host, began.format) == (event.host, event.format) and began.started <= time:
                yield self._end(session, time + self._policy.window, time)

    def gone(
        self, keys: Iterable[tuple[str, str]], host: str, last_seen: datetime, now: datetime
    ) -> list[Change]:
        """Close the sessions of each user and address that the server on `host` listed at
        `last_seen` and lists no more. The window begins there: nobody knows of a later moment."""
        changes: list[Change] = []
        for user, host_address in keys:
            address = self._policy.subject(host_address)
            grant = self._by_address.get(address, {}).get(user)
            changes += [
                self._end(one.id, last_seen + self._policy.window, now)
                for one in (grant.sessions if grant else ())
                if one.started <= last_seen
                and (one.host is None or one.host.partition(".")[0] == host)
            ]
        return changes

    def _end(self, session: str, until: datetime | None, now: datetime) -> Change:
        """Close an open session; the window it leaves behind ends at `until`."""
        address, user = self._open[session]
        old = self._by_address[address][user]
        left = tuple([one for one in old.sessions if one.id != session])
        last = max(old.until, until) if until else old.until
        left, expires = self._lasting(left, last, now)
        grant = structs.replace(old, sessions=left, until=last, expires=expires)
        self._put(grant)
        return Change("renewed", grant, "session ended")

    def _bounded(self, grant: Grant, now: datetime) -> Grant:
        """The grant with its `expires` worked out, without sessions that have lasted too long."""
        sessions, expires = self._lasting(grant.sessions, grant.until, now)
        return structs.replace(grant, sessions=sessions, expires=expires)

    def _lasting(
        self, sessions: tuple[Session, ...], until: datetime, now: datetime
    ) -> tuple[tuple[Session, ...], datetime]:
        """Those that have not lasted too long, and when a grant ends that has them."""
        if not sessions:
            return sessions, until
        bound = self._policy.max_session
        oldest = now - bound
        kept = tuple([one for one in sessions if one.started > oldest])
        return kept, max([until, *[one.started + bound for one in kept]])

    def allow(self, address: str, user: str, now: datetime, length: timedelta) -> Change:
        """Grant by an admin's word: no rule of who earns a grant is asked."""
        old = self._by_address.get(address, {}).get(user)
        grant = self._bounded(
            Grant(
                address=address,
                user=user,
                services=tuple(sorted({*(old.services if old else ()), MANUAL_SERVICE})),
                first_login=old.first_login if old else now,
                last_login=old.last_login if old else now,
                until=max(old.until, now + length) if old else now + length,
                expires=now + length,
                sessions=old.sessions if old else (),
            ),
            now,
        )
        self._put(grant)
        return Change("renewed" if old else "added", grant, "allowed by an admin")

    def revoke(self, address: str | None = None, user: str | None = None) -> list[Change]:
        """End all grants of an address, of a user, or of that user at that address, at once."""
        ended = [
            grant
            for grant in (self.grants() if address is None else self.of(address))
            if user is None or grant.user == user
        ]
        return [self._drop(grant, "revoked by an admin") for grant in ended]

    def expire(self, now: datetime, most: int | None = None) -> list[Change]:
        """End what is over at `now`. Costs what ends, not what there is.

        `most`: so many grants at most. The others are over too, for `expiry` and `expiries`; they
        go by further calls.
        """
        changes = self._end_over(now, most)
        while self._orphans and self._orphans[0][0] + _ORPHAN_AGE <= now:
            time, session = heapq.heappop(self._orphans)
            if self._ended.get(session) == time:
                del self._ended[session]
        return changes

    def is_over(self, now: datetime) -> bool:
        """Whether `expire` has left some."""
        return bool(self._heap) and self._heap[0][0] <= now

    def _end_over(self, now: datetime, most: int | None = None) -> list[Change]:
        self._past = now
        changes: list[Change] = []
        while self._heap and self._heap[0][0] <= now and (most is None or len(changes) < most):
            expires, address, user = heapq.heappop(self._heap)
            grant = self._by_address.get(address, {}).get(user)
            if grant is not None and grant.expires == expires:
                changes.append(self._drop(grant, _OVER))
        self._limits.forget(now)
        return changes

    def next_expiry(self) -> datetime | None:
        """When `expire` may next have something to do."""
        return self._heap[0][0] if self._heap else None

    def reconfigure(
        self, policy: GrantPolicy, now: datetime, why_shrunk: str = "settings changed"
    ) -> list[Change | Ended]:
        """Go on under another policy: what it would not grant ends, what it grants shorter shrinks.
        A clock that was put back makes windows too long in the same way, and logouts that wait for
        their logins too late.

        A window that an admin opened by hand stays as it is; sessions beside it do not.
        """
        self._policy = self._limits.policy = policy
        self._past = min(self._past, now)
        early = [Ended(session, now) for session, time in self._ended.items() if time > now]
        self._await({**self._ended, **{one.session: one.time for one in early}})
        changes: list[Change | Ended] = [*early]
        for grant in list(self.grants()):
            by_hand = MANUAL_SERVICE in grant.services
            why = self._no_longer(grant)
            if why and not by_hand:
                changes.append(self._drop(grant, why))
                continue
            kept = tuple(
                structs.replace(one, started=min(one.started, now))
                for one in (grant.sessions if policy.while_connected and not why else ())
            )
            until = grant.until if by_hand else min(grant.until, now + policy.window)
            shrunk = self._bounded(structs.replace(grant, sessions=kept, until=until), now)
            if shrunk != grant:
                self._put(shrunk)
                changes.append(Change("renewed", shrunk, why_shrunk))
        return changes + [self._drop(*one) for one in beyond(policy, self.grants(), now)]

    def _no_longer(self, grant: Grant) -> str | None:
        host = grant.address.split("/")[0]
        if self._policy.subject(host) != grant.address:
            return "grants.ipv6_prefix changed"
        refusals = [
            self._policy.refusal(Login(grant.last_login, service, grant.user, host, None))
            for service in grant.services
        ]
        return None if None in refusals else refusals[0]

    def expiry(self, address: str) -> datetime | None:
        """When the last grant of an address ends; None when it has none, or was over the last time
        that `expire` was called."""
        users = self._by_address.get(address)
        last = max([one.expires for one in users.values()]) if users else _NEVER
        return last if last > self._past else None

    def expiries(self) -> Mapping[str, datetime]:
        """For each address with a grant, when the last one ends: a view, not a copy."""
        return _Expiries(self)

    def expiries_unread(self, read_until: datetime) -> dict[str, datetime]:
        """The same for when nobody has read the log since `read_until`: nothing is known of the
        sessions from then on, so an open one counts as ended there."""
        bound = self.unread(read_until)
        return {
            address: max(ends(grant, bound) for grant in users.values())
            for address, users in self._by_address.items()
        }

    def unread(self, read_until: datetime) -> datetime:
        """How long a session then counts whose end may have been logged and not been read."""
        return read_until + self._policy.window

    def addresses(self) -> Iterator[str]:
        """Every address that has a grant."""
        return iter(self._by_address)

    def _put(self, grant: Grant) -> None:
        users = self._by_address.setdefault(grant.address, {})
        old = users.get(grant.user)
        self._count += old is None
        users[grant.user] = grant
        self._limits.put(old, grant)
        self._close(old)
        for session in grant.sessions:
            self._open[session.id] = (grant.address, grant.user)
            self._open_of.setdefault(grant.user, set()).add(session.id)
        if old is None or old.expires != grant.expires:
            heapq.heappush(self._heap, (grant.expires, grant.address, grant.user))
            if len(self._heap) > 2 * self._count + 1024:
                self._heap = [(one.expires, one.address, one.user) for one in self.grants()]
                heapq.heapify(self._heap)

    def _drop(self, grant: Grant, why: str) -> Change:
        users = self._by_address[grant.address]
        del users[grant.user]
        if not users:
            del self._by_address[grant.address]
        self._count -= 1
        self._limits.drop(grant, over=why == _OVER)
        self._close(grant)
        return Change("removed", grant, why)

    def _close(self, grant: Grant | None) -> None:
        """Take a grant's sessions out of the indexes."""
        if grant is None or not grant.sessions:
            return
        of_user = self._open_of[grant.user]
        for session in grant.sessions:
            self._open.pop(session.id, None)
            of_user.discard(session.id)
        if not of_user:
            del self._open_of[grant.user]


def ends(grant: Grant, unread: datetime | None) -> datetime:
    """When a grant ends. `unread`: nothing is known of sessions, so they count until then."""
    if unread is None or not grant.sessions:
        return grant.expires
    return min(grant.expires, max(grant.until, unread))


class _Expiries(Mapping[str, datetime]):
    """A ledger, seen as a mapping from address to the end of its last grant."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getitem__(self, address: str) -> datetime:
        expires = self._ledger.expiry(address)
        if expires is None:
            raise KeyError(address)
        return expires

    def __iter__(self) -> Iterator[str]:
        return self._ledger.addresses()

    def __len__(self) -> int:
        return sum(1 for _ in self._ledger.addresses())

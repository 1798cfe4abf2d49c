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
from datetime import datetime, timedelta

from msgspec import structs

from tracker.deciding.book import Book, Kept, Key
from tracker.deciding.expiries import Expiries
from tracker.deciding.limits import Limits, Watch, beyond
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.recent import Recent
from tracker.records import (
    MANUAL_SERVICE,
    NEVER,
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

_OVER = "window over"

_ROOM = 10_000
"""Grants that make room at one moment when they are over: more than can be earned in a step."""


class Ledger:
    """The grants, by address and user."""

    def __init__(
        self,
        policy: GrantPolicy,
        grants: Iterable[Grant] = (),
        ended: Iterable[Ended] = (),
        recent: Iterable[Recent] = (),
        watch: Watch | None = None,
        *,
        kept: Kept | None = None,
    ) -> None:
        """`recent`: grants that were over in the last hour. `watch`: what is told of limits.
        `kept`: grants and what was recent as they were last saved, in place of the first and the
        third; whoever gives it says when more is saved (`saved`)."""
        self._policy = policy
        count, given = kept.count() if kept else (0, 0)
        self._book = Book(kept, count)
        self._limits = Limits(policy, recent, watch, kept=kept, earned=count - given)
        self._await({one.session: one.time for one in ended})
        self._past = self._roomed = NEVER
        self._more_over = False
        for grant in grants:
            self._put(grant)

    def saved(self) -> None:
        """All changes so far are saved: what is kept knows of them."""
        self._book.saved()
        self._limits.saved()

    def __len__(self) -> int:
        return len(self._book)

    def has_sessions(self) -> bool:
        """Whether any session counts as open."""
        return self._book.has_sessions()

    def grants(self) -> Iterator[Grant]:
        """Every grant, in no order."""
        return self._book.grants()

    def holders(self) -> Iterator[tuple[str, str]]:
        """Address and user of every grant, those of an address together."""
        return self._book.holders()

    def of(self, address: str) -> list[Grant]:
        """The grants of one address."""
        return list(self._book.of(address).values())

    def expect(self, events: Iterable[Event]) -> None:
        """These will be applied."""
        told = [one for one in events if isinstance(one, Login | Logout)]
        addresses = {one.address for one in told if one.address is not None}
        self._book.expect(
            map(self._policy.subject, addresses), (one.session for one in told if one.session)
        )

    def apply(self, event: Event, now: datetime) -> list[Change | Ended]:
        """What the event changes. An event from the future counts as of now."""
        if isinstance(event, Login):
            return self._login(event, min(event.time, now), now)
        if not self._policy.while_connected:
            return []
        time = min(event.time, now)
        if isinstance(event, Restart):
            return [*self._end_all(self._book.sessions(), event, time)]
        if isinstance(event, Logout):
            if event.session:
                return [self._logout(event.session, time)]
            # It is one of the user's sessions that ended, and nobody knows which.
            return [*self._end_all(self._book.sessions(event.user or "?"), event, time)]
        return []

    def _login(self, login: Login, time: datetime, now: datetime) -> list[Change | Ended]:
        if login.address is None or self._policy.refusal(login) is not None:
            return []
        changes: list[Change | Ended] = []
        user, service = login.user or "?", login.service or "?"
        address = self._policy.subject(login.address)
        old = self._book.of(address).get(user)
        sessions = old.sessions if old else ()
        until = time + self._policy.window
        if login.session and self._policy.while_connected:
            ended = self._ended.pop(login.session, None)
            if ended is not None:
                until = max(until, ended + self._policy.window)
            elif (opened_by := self._book.session(login.session)) != (address, user):
                if opened_by is not None:
                    # Ids are unique but where a proxy makes them up: when the other session ended
                    # is not known, so no window begins there.
                    changes.append(self._end(login.session, opened_by, None, now))
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
        reached = self._limits.reached(grant, self._beside(grant), now)
        if reached:
            changes += self._make_room(grant, now)
            reached = self._limits.reached(grant, self._beside(grant), now)
        return self._limits.admits(grant, reached, now)

    def _make_room(self, grant: Grant, now: datetime) -> list[Change]:
        """End what is over: once in a moment, since who is beyond a limit may try without pause,
        and not all of a million, which go by and by. Of those, what counts against this one."""
        changes: list[Change] = []
        if self._roomed != now:
            self._roomed = now
            changes = self._end_over(now, _ROOM)
            self._more_over = len(changes) == _ROOM
        if self._more_over:
            near = (*self._beside(grant), *self._book.users_grants(grant.user))
            over = {(one.address, one.user): one for one in near if one.expires <= now}
            changes += [self._drop(one, _OVER) for one in over.values()]
        return changes

    def _beside(self, grant: Grant) -> Iterable[Grant]:
        return self._book.of(grant.address).values()

    def _logout(self, session: str, time: datetime) -> Change | Ended:
        if (key := self._book.session(session)) is not None:
            return self._end(session, key, time + self._policy.window, time)
        self._ended[session] = time
        heapq.heappush(self._orphans, (time, session))
        return Ended(session, time)

    def _await(self, ended: dict[str, datetime]) -> None:
        """Logouts that wait for their logins: for a minute, the oldest first."""
        self._ended = ended
        self._orphans = sorted((time, session) for session, time in ended.items())

    def _end_all(self, sessions: Iterable[str], event: Event, time: datetime) -> Iterator[Change]:
        """Close those of the sessions that the event's server told of before."""
        for session in sessions:
            key = self._book.session(session)
            if key is None:
                continue
            grant = self._book.of(key[0])[key[1]]
            began = next(one for one in grant.sessions if one.id == session)
            if (began.host, began.format) == (event.host, event.format) and began.started <= time:
                yield self._end(session, key, time + self._policy.window, time)

    def gone(
        self, keys: Iterable[tuple[str, str]], host: str, last_seen: datetime, now: datetime
    ) -> list[Change]:
        """Close the sessions of each user and address that the server on `host` listed at
        `last_seen` and lists no more. The window begins there: nobody knows of a later moment."""
        changes: list[Change] = []
        for user, host_address in keys:
            address = self._policy.subject(host_address)
            grant = self._book.of(address).get(user)
            changes += [
                self._end(one.id, (address, user), last_seen + self._policy.window, now)
                for one in (grant.sessions if grant else ())
                if one.started <= last_seen
                and (one.host is None or one.host.partition(".")[0] == host)
            ]
        return changes

    def _end(self, session: str, key: Key, until: datetime | None, now: datetime) -> Change:
        """Close an open session of that grant; the window it leaves behind ends at `until`."""
        old = self._book.of(key[0])[key[1]]
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
        old = self._book.of(address).get(user)
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
        if address is None:
            ended = list(self.grants() if user is None else self._book.users_grants(user))
        else:
            ended = [one for one in self.of(address) if user is None or one.user == user]
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
        """Whether `expire` has left some. To be asked when its changes are saved."""
        due = self._book.next_expiry()
        return due is not None and due <= now

    def _end_over(self, now: datetime, most: int | None = None) -> list[Change]:
        self._past = now
        changes = [self._drop(grant, _OVER) for grant in self._book.over(now, most)]
        self._limits.forget(now)
        return changes

    def next_expiry(self) -> datetime | None:
        """When `expire` may next have something to do."""
        return self._book.next_expiry()

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
        for grant in self.grants():
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
        over = beyond(policy, self.grants(), len(self), now)
        return changes + [self._drop(*one) for one in over]

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
        return self.expiries().get(address)

    def expiries(self) -> Mapping[str, datetime]:
        """For each address with a grant, when the last one ends, but for those that were over the
        last time that `expire` was called: a view, not a copy."""
        return Expiries(self._book, None, self._past)

    def expiries_unread(
        self, read_until: datetime, now: datetime | None = None
    ) -> Mapping[str, datetime]:
        """The same for when nobody has read the log since `read_until`: nothing is known of the
        sessions from then on, so an open one counts as ended there. With `now`: of those addresses
        alone that are not over so, and for each the end that was known."""
        return Expiries(self._book, self.unread(read_until), now)

    def unread(self, read_until: datetime) -> datetime:
        """How long a session then counts whose end may have been logged and not been read."""
        return read_until + self._policy.window

    def _put(self, grant: Grant) -> None:
        self._limits.put(self._book.put(grant), grant)

    def _drop(self, grant: Grant, why: str) -> Change:
        self._book.drop(grant)
        self._limits.drop(grant, over=why == _OVER)
        return Change("removed", grant, why)

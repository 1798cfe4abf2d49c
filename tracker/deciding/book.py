"""The grants, and what finds them: by address, by session, by user, by when they end; pure.

A book holds all there is by itself, or what changed since the grants were last saved, over what is
`kept` elsewhere and asked for one by one: then a million grants take no memory here, and no time
before the first event.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Protocol

from tracker.deciding.recent import Recent
from tracker.records import Grant

Key = tuple[str, str]
"""Address and user."""

Facts = tuple[float, float, bool]
"""Of a grant: `until` and `expires` in seconds since 1970, and whether a session is open."""

_REMEMBERED = 20_000
"""Addresses whose grants are remembered after they were saved, so as not to be asked for again."""


class Kept(Protocol):
    """The grants as they were last saved."""

    def grants(self) -> Iterator[Grant]:
        """All of them, those of an address together."""

    def holders(self) -> Iterator[Key]:
        """Address and user of all of them, those of an address together."""

    def grants_of(self, address: str) -> list[Grant]:
        """Those of one address."""

    def grants_at(self, addresses: Collection[str]) -> Iterator[Grant]:
        """Those of some addresses."""

    def users_grants(self, user: str, most: int = -1) -> list[Grant]:
        """Those of one user; so many at most, where that is no negative number."""

    def over(self, since: datetime, now: datetime, most: int) -> list[Grant]:
        """Those that end after `since`, and at `now` at the latest; so many at most, where that is
        no negative number."""

    def ends(self) -> Iterator[tuple[str, float, float, bool]]:
        """For each: address, `until` and `expires` in seconds since 1970, and whether a session is
        open; those of an address together."""

    def next_expiry(self) -> datetime | None:
        """When the first one ends."""

    def count(self) -> tuple[int, int]:
        """How many there are, and how many of them an admin gave."""

    def session(self, id_: str) -> Key | None:
        """Whose session that is, if it is open."""

    def sessions_named(self, ids: Collection[str]) -> Mapping[str, Key]:
        """Whose those of them are that are open."""

    def sessions(self, user: str | None = None) -> list[str]:
        """All open sessions, or those of one user."""

    def has_sessions(self) -> bool:
        """Whether any session is open."""

    def recent(self, user: str, since: datetime, most: int) -> list[Recent]:
        """Grants of one user that are over, with a last login after `since`; so many at most."""


class Book:
    """Grants by address and user."""

    def __init__(self, kept: Kept | None = None, count: int = 0) -> None:
        """`count`: how many are kept."""
        self._kept = kept
        self._users: dict[str, dict[str, Grant]] = {}
        self._open: dict[str, Key | None] = {}
        self._open_of: dict[str, set[str]] = {}
        self._asked: dict[str, Key | None] = {}
        self._due: list[tuple[datetime, str, str]] = []
        self._over_until = datetime.min.replace(tzinfo=UTC)
        self._count = count

    def __len__(self) -> int:
        return self._count

    def of(self, address: str) -> dict[str, Grant]:
        """The grants of an address, by user; not to be changed."""
        users = self._users.get(address)
        if users is not None:
            return users
        if self._kept is None:
            return {}
        found = self._users[address] = {one.user: one for one in self._kept.grants_of(address)}
        return found

    def expect(self, addresses: Iterable[str], sessions: Iterable[str]) -> None:
        """These will be asked for: some thousand at once take a quarter of the time."""
        if self._kept is None:
            return
        unknown = {one for one in addresses if one not in self._users}
        found: dict[str, dict[str, Grant]] = {address: {} for address in unknown}
        for grant in self._kept.grants_at(unknown) if unknown else ():
            found[grant.address][grant.user] = grant
        self._users.update(found)
        if ids := {one for one in sessions if one not in self._open}:
            open_ = self._kept.sessions_named(ids)
            self._asked.update((id_, open_.get(id_)) for id_ in ids)

    def grants(self) -> Iterator[Grant]:
        """Every grant as it is now, in no order; they may be put and dropped meanwhile."""
        changed = {address: list(users.values()) for address, users in self._users.items()}
        if self._kept is not None:
            yield from (one for one in self._kept.grants() if one.address not in changed)
        for grants in changed.values():
            yield from grants

    def holders(self) -> Iterator[Key]:
        """Address and user of every grant, those of an address together."""
        changed = self._users if self._kept is None else dict(self._users)
        if self._kept is not None:
            yield from (key for key in self._kept.holders() if key[0] not in changed)
        for address, users in changed.items():
            yield from ((address, user) for user in users)

    def users_grants(self, user: str) -> list[Grant]:
        """The grants of a user."""
        kept = self._kept.users_grants(user) if self._kept else ()
        found = [one for one in kept if one.address not in self._users]
        return found + [users[user] for users in self._users.values() if user in users]

    def ends(self) -> Iterator[tuple[str, list[Facts]]]:
        """For each address what there is to know of the ends of its grants."""
        changed = self._users if self._kept is None else dict(self._users)
        if self._kept is not None:
            before = ""
            those: list[Facts] = []
            for row in self._kept.ends():
                if row[0] != before:
                    if those and before not in changed:
                        yield before, those
                    before, those = row[0], [row[1:]]
                else:
                    those.append(row[1:])
            if those and before not in changed:
                yield before, those
        for address, users in changed.items():
            if users:
                yield address, [facts(one) for one in users.values()]

    def put(self, grant: Grant) -> Grant | None:
        """It came, or changed; what it was before."""
        users = self.of(grant.address)
        if not users:
            users = self._users.setdefault(grant.address, users)
        old = users.get(grant.user)
        self._count += old is None
        users[grant.user] = grant
        self._close(old)
        for session in grant.sessions:
            self._open[session.id] = (grant.address, grant.user)
            self._open_of.setdefault(grant.user, set()).add(session.id)
        if old is None or old.expires != grant.expires:
            self._put_due(grant)
        return old

    def _put_due(self, grant: Grant) -> None:
        heapq.heappush(self._due, (grant.expires, grant.address, grant.user))
        if len(self._due) > 2 * self._count + 1024:
            self._due = [
                (one.expires, one.address, one.user)
                for users in self._users.values()
                for one in users.values()
            ]
            heapq.heapify(self._due)

    def drop(self, grant: Grant) -> None:
        """It is no more."""
        users = self.of(grant.address)
        del users[grant.user]
        if not users and self._kept is None:
            del self._users[grant.address]
        self._count -= 1
        self._close(grant)

    def _close(self, grant: Grant | None) -> None:
        """Take a grant's sessions out of the indexes."""
        if grant is None or not grant.sessions:
            return
        of_user = self._open_of.get(grant.user, set())
        for session in grant.sessions:
            if self._kept is None:
                self._open.pop(session.id, None)
            else:
                self._open[session.id] = None
            of_user.discard(session.id)
        if not of_user:
            self._open_of.pop(grant.user, None)

    def over(self, now: datetime, most: int | None = None) -> list[Grant]:
        """What has ended at `now` and was neither dropped nor told of before. `most`: so many at
        most; the others are told of when these are saved."""
        found: dict[Key, Grant] = {}
        while self._due and self._due[0][0] <= now and (most is None or len(found) < most):
            expires, address, user = heapq.heappop(self._due)
            grant = self.of(address).get(user)
            if grant is not None and grant.expires == expires:
                found[(address, user)] = grant
        if self._kept is not None and self._over_until < now:
            left = -1 if most is None else most - len(found)
            for kept in self._kept.over(self._over_until, now, left):
                grant = self.of(kept.address).get(kept.user)
                if grant is not None and grant.expires <= now:
                    found[(grant.address, grant.user)] = grant
            if most is None:
                self._over_until = now
        return list(found.values())

    def next_expiry(self) -> datetime | None:
        """When `over` may next find something."""
        kept = self._kept.next_expiry() if self._kept else None
        due = self._due[0][0] if self._due else None
        return min((one for one in (kept, due) if one is not None), default=None)

    def session(self, id_: str) -> Key | None:
        """Whose session that is, if it is open."""
        if id_ in self._open or self._kept is None:
            return self._open.get(id_)
        return self._asked[id_] if id_ in self._asked else self._kept.session(id_)

    def sessions(self, user: str | None = None) -> list[str]:
        """All open sessions, or those of one user."""
        kept = self._kept.sessions(user) if self._kept else ()
        found = [id_ for id_ in kept if id_ not in self._open]
        if user is not None:
            return found + list(self._open_of.get(user, ()))
        return found + [id_ for id_, key in self._open.items() if key is not None]

    def has_sessions(self) -> bool:
        """Whether any session is open."""
        if any(key is not None for key in self._open.values()):
            return True
        return self._kept is not None and self._kept.has_sessions()

    def saved(self) -> None:
        """All that changed is kept now."""
        if self._kept is None:
            return
        self._open.clear()
        self._asked.clear()
        self._open_of.clear()
        self._due.clear()
        self._over_until = datetime.min.replace(tzinfo=UTC)
        if len(self._users) > _REMEMBERED:
            self._users = {}


def facts(grant: Grant) -> Facts:
    """What there is to know of a grant's end."""
    return grant.until.timestamp(), grant.expires.timestamp(), bool(grant.sessions)

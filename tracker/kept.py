"""The grants as the state has them, asked one by one: what a ledger rests on that does not hold
them itself.

Each answer is of the moment in which it is asked; whoever asks keeps others from changing the state
meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from tracker.deciding.recent import Recent
from tracker.history.lives import NEVER_LOGGED, WINDOW_OVER
from tracker.records import MANUAL_SERVICE, Grant, Session

SCHEMA = """
CREATE INDEX grants_expires ON grants (expires);
CREATE INDEX grants_user ON grants (user);
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, user TEXT NOT NULL, address TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (user, address);
INSERT OR REPLACE INTO sessions
    SELECT json_extract(one.value, '$[0]'), user, address
    FROM grants, json_each(grants.sessions) AS one WHERE grants.sessions <> '[]';
CREATE INDEX lives_user_ended ON lives (user, ended)
"""
"""Version 4 of the database: what finds grants without reading them all."""

_GRANTS = (
    "SELECT address, user, services, first_login, last_login, until, expires, sessions FROM grants"
)
_NONE = "[]"
_BY_HAND = f"' ' || services || ' ' LIKE '% {MANUAL_SERVICE} %'"

Select = Callable[..., Iterator[tuple[Any, ...]]]
"""Runs a query with its values."""


class KeptGrants:
    """The grants of one state."""

    def __init__(self, select: Select, damaged: Callable[[str], Exception]) -> None:
        """`damaged`: what is raised for a grant that makes no sense, with what is wrong with it."""
        self._select = select
        self._damaged = damaged

    def _grants(self, query: str, *values: str | float) -> Iterator[Grant]:
        try:
            yield from map(_grant, self._select(f"{_GRANTS} {query}", values))
        except (ValueError, TypeError, OverflowError, AttributeError, OSError) as error:
            raise self._damaged(f"a grant cannot be understood: {error}") from error

    def grants(self) -> Iterator[Grant]:
        """All of them, ordered by address as text."""
        return self._grants("ORDER BY address, user")

    def holders(self) -> Iterator[tuple[str, str]]:
        """Address and user of all of them, ordered by address as text."""
        query = "SELECT address, user FROM grants ORDER BY address, user"
        return ((address, user) for address, user in self._select(query))

    def grants_of(self, address: str) -> list[Grant]:
        """Those of one address."""
        return list(self._grants("WHERE address = ?", address))

    def grants_at(self, addresses: Collection[str]) -> Iterator[Grant]:
        """Those of some addresses."""
        wanted = msgspec.json.encode(list(addresses)).decode()
        return self._grants("WHERE address IN (SELECT value FROM json_each(?))", wanted)

    def users_grants(self, user: str, most: int = -1) -> list[Grant]:
        """Those of one user; so many at most, where that is no negative number."""
        return list(self._grants("WHERE user = ? LIMIT ?", user, most))

    def over(self, since: datetime, now: datetime, most: int) -> list[Grant]:
        """Those that end after `since`, and at `now` at the latest; so many at most, where that is
        no negative number."""
        first = since.timestamp() if since.year > 1 else 0.0
        query = "WHERE expires > ? AND expires <= ? ORDER BY expires, address, user LIMIT ?"
        return list(self._grants(query, first, now.timestamp(), most))

    def ends(self) -> Iterator[tuple[str, float, float, bool]]:
        """For each: address, `until` and `expires` in seconds since 1970, and whether a session is
        open; ordered by address."""
        return self._select(
            f"SELECT address, until, expires, sessions <> '{_NONE}' FROM grants ORDER BY address"
        )

    def next_expiry(self) -> datetime | None:
        """When the first one ends."""
        ((first,),) = self._select("SELECT min(expires) FROM grants")
        return None if first is None else moment(first)

    def count(self) -> tuple[int, int]:
        """How many there are, and how many of them an admin gave."""
        ((all_, by_hand),) = self._select(f"SELECT count(*), total({_BY_HAND}) FROM grants")
        return all_, int(by_hand)

    def session(self, id_: str) -> tuple[str, str] | None:
        """Whose session that is, address and user, if it is open."""
        for address, user in self._select(
            "SELECT address, user FROM sessions WHERE id = ?", (id_,)
        ):
            return address, user
        return None

    def sessions_named(self, ids: Collection[str]) -> dict[str, tuple[str, str]]:
        """Whose those of them are that are open."""
        wanted = msgspec.json.encode(list(ids)).decode()
        query = (
            "SELECT id, address, user FROM sessions WHERE id IN (SELECT value FROM json_each(?))"
        )
        return {id_: (address, user) for id_, address, user in self._select(query, (wanted,))}

    def sessions(self, user: str | None = None) -> list[str]:
        """All open sessions, or those of one user."""
        if user is None:
            return [row[0] for row in self._select("SELECT id FROM sessions")]
        return [row[0] for row in self._select("SELECT id FROM sessions WHERE user = ?", (user,))]

    def has_sessions(self) -> bool:
        """Whether any session is open."""
        return bool(list(self._select("SELECT 1 FROM sessions LIMIT 1")))

    def recent(self, user: str, since: datetime, most: int) -> list[Recent]:
        """Grants of a user that logins earned, that the clock has ended, and whose last login is
        after `since`; the latest first, so many at most."""
        at = since.timestamp()
        query = (
            "SELECT user, address, last_login FROM lives WHERE user = ? AND ended > ? "
            f"AND last_login > ? AND how IN (?, ?) AND NOT {_BY_HAND} "
            "ORDER BY last_login DESC LIMIT ?"
        )
        rows = self._select(query, (user, at, at, WINDOW_OVER, NEVER_LOGGED, most))
        return [Recent(name, address, moment(last)) for name, address, last in rows]


def _grant(row: tuple[Any, ...]) -> Grant:
    address, user, services, first, last, until, expires, sessions = row
    return Grant(
        address=address,
        user=user,
        services=tuple(services.split(" ")),
        first_login=moment(first),
        last_login=moment(last),
        until=moment(until),
        expires=moment(expires),
        sessions=()
        if sessions == _NONE
        else tuple(
            Session(name, moment(began), *server)
            for name, began, *server in msgspec.json.decode(sessions)
        ),
    )


def row_of(grant: Grant) -> tuple[str | float, ...]:
    """The grant as the table `grants` has it."""
    sessions = _NONE
    if grant.sessions:
        opened = [(one.id, one.started.timestamp(), one.host, one.format) for one in grant.sessions]
        sessions = msgspec.json.encode(opened).decode()
    return (
        grant.address,
        grant.user,
        " ".join(grant.services),
        grant.first_login.timestamp(),
        grant.last_login.timestamp(),
        grant.until.timestamp(),
        grant.expires.timestamp(),
        sessions,
    )


def moment(stamp: float) -> datetime:
    """A time as the state has it."""
    return datetime.fromtimestamp(stamp, UTC)

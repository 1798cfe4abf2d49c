"""Lives of grants, written with the grants themselves; a batch's changes of one grant as one.

A client that logs in every minute is one life with a count. Kept whole are its first and its last
login, in between one an hour at most, and every word of an admin.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from tracker.history.records import CountOf
from tracker.history.schema import address_key
from tracker.records import (
    MANUAL_SERVICE,
    Change,
    Ended,
    Event,
    Failed,
    Grant,
    Login,
    Logout,
    Origin,
)

LOGIN, SESSION_ENDED, WINDOW_OVER = "login", "session ended", "window over"
"""The ledger's words for why a grant changed."""

KEPT_EVERY = 3600.0
"""Seconds between two logins of one life that are kept whole, but for the last one."""

_COUNTED: dict[type[Event], CountOf] = {Login: "login", Logout: "logout", Failed: "failed"}

_NO_LINE: tuple[None, None] = (None, None)


class Told:
    """What the log had to say of a batch of changes: which event each of them comes from, the
    line of an event, and how many events there were."""

    def __init__(self, line: Callable[[int], Origin | None] = lambda _: None) -> None:
        """`line`: of an event, by its number in the batch; asked for few of them."""
        self.line = line
        self.numbers: list[int | None] = []
        self.counts: Counter[tuple[int, str]] = Counter()

    def add(self, number: int, event: Event, changes: int) -> None:
        """An event, its number, and how many changes it made."""
        self.numbers += [number] * changes
        kind = _COUNTED.get(type(event))
        if kind is not None:
            self.counts[(int(event.time.timestamp()) // 3600, kind)] += 1

    def origin(self, index: int) -> Origin | None:
        """The line of a change, by its place in the batch."""
        number = self.numbers[index] if index < len(self.numbers) else None
        return None if number is None else self.line(number)


class _Steps:
    """What a batch does to one grant, up to its end if it has one."""

    def __init__(self, change: Change) -> None:
        self.came = change if change.kind == "added" else None
        self.first = self.last = -1
        self.logins = 0
        self.closed: float | None = None
        self.words: list[Change] = []
        self.change = change

    def add(self, index: int, change: Change) -> None:
        self.change = change
        if change.why == LOGIN:
            self.logins += 1
            self.last = index
            self.first = index if self.first < 0 else self.first
        elif change.why == SESSION_ENDED:
            self.closed = change.grant.until.timestamp()
        elif change.kind == "renewed":
            self.words.append(change)


class LifeWriter:
    """Writes into an open transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def write(self, changes: Iterable[Change | Ended], now: datetime, told: Told) -> None:
        """What a batch of changes means for the lives, and its counts."""
        steps: dict[tuple[str, str], _Steps] = {}
        at = now.timestamp()
        for index, change in enumerate(changes):
            if isinstance(change, Ended):
                continue
            key = (change.grant.address, change.grant.user)
            if key not in steps:
                steps[key] = _Steps(change)
            steps[key].add(index, change)
            if change.kind == "removed":
                self._write(steps.pop(key), at, told)
        for step in steps.values():
            self._write(step, at, told)
        self._db.executemany(
            "INSERT INTO counts VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET number = number + excluded.number",
            [(hour, kind, number) for (hour, kind), number in told.counts.items()],
        )

    def _write(self, step: _Steps, at: float, told: Told) -> None:
        grant = step.change.grant
        if step.came is not None:
            self._insert(step, step.came, at, told)
        else:
            self._update(step, grant, told)
        for word in step.words:
            self._keep(grant, at, word.why, _NO_LINE)
        if step.change.kind == "removed":
            self._db.execute(
                "UPDATE lives SET ended = ?, how = ? "
                "WHERE address = ? AND user = ? AND ended IS NULL",
                (at, _how(step.change), grant.address, grant.user),
            )

    def _insert(self, step: _Steps, came: Change, at: float, told: Told) -> None:
        grant = step.change.grant
        first = _place(told.origin(step.first)) if step.first >= 0 else _NO_LINE
        last = _place(told.origin(step.last)) if step.last > step.first else _NO_LINE
        self._db.execute(
            "INSERT INTO lives (address, key, user, services, why, began, first_login, checkpoint, "
            "line, logins, last_login, last_checkpoint, last_line, kept, closed, expires) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                grant.address,
                address_key(grant.address),
                grant.user,
                " ".join(grant.services),
                came.why,
                at,
                came.grant.first_login.timestamp(),
                *first,
                step.logins,
                grant.last_login.timestamp(),
                *last,
                came.grant.last_login.timestamp(),
                step.closed,
                grant.expires.timestamp(),
            ),
        )

    def _update(self, step: _Steps, grant: Grant, told: Told) -> None:
        where = (grant.address, grant.user)
        if not step.logins:
            self._db.execute(
                "UPDATE lives SET expires = ?, closed = coalesce(?, closed) "
                "WHERE address = ? AND user = ? AND ended IS NULL",
                (grant.expires.timestamp(), step.closed, *where),
            )
            return
        time, place = grant.last_login.timestamp(), _place(told.origin(step.last))
        self._keep(grant, time, LOGIN, place, at_most_every=KEPT_EVERY)
        self._db.execute(
            "UPDATE lives SET services = ?, logins = logins + ?, last_login = ?, "
            "last_checkpoint = ?, last_line = ?, kept = iif(kept <= ?, ?, kept), "
            "closed = coalesce(?, closed), expires = ? "
            "WHERE address = ? AND user = ? AND ended IS NULL",
            (
                " ".join(grant.services),
                step.logins,
                time,
                *place,
                time - KEPT_EVERY,
                time,
                step.closed,
                grant.expires.timestamp(),
                *where,
            ),
        )

    def _keep(
        self,
        grant: Grant,
        time: float,
        why: str,
        place: Sequence[str | None],
        at_most_every: float = 0.0,
    ) -> None:
        bound = "AND kept <= ?" if at_most_every else ""
        self._db.execute(
            "INSERT INTO kept SELECT id, ?, ?, ?, ? FROM lives "
            f"WHERE address = ? AND user = ? AND ended IS NULL {bound}",
            (
                time,
                why,
                *place,
                grant.address,
                grant.user,
                *((time - at_most_every,) if bound else ()),
            ),
        )


def _place(origin: Origin | None) -> tuple[str, str] | tuple[None, None]:
    return _NO_LINE if origin is None else (f"{origin.place} {origin.source}", origin.line)


def _how(change: Change) -> str:
    """What ended a grant, in more detail than the ledger tells its change."""
    if change.why != WINDOW_OVER:
        return change.why
    if change.grant.sessions:
        return "end of session never logged (grants.max_session)"
    if MANUAL_SERVICE in change.grant.services:
        return "time of an admin's word over"
    return WINDOW_OVER

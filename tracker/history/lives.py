"""Lives of grants, written with the grants themselves; a batch's changes of one grant as one.

A client that logs in every minute is one life with a count. Kept whole are its first and its last
login, in between one an hour at most, and every word of an admin.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime

from tracker.history.records import CountOf
from tracker.history.schema import address_key
from tracker.records import (
    MANUAL_SERVICE,
    Change,
    Ended,
    Event,
    Failed,
    Login,
    Logout,
    Origin,
)

LOGIN, SESSION_ENDED, WINDOW_OVER = "login", "session ended", "window over"
"""The ledger's words for why a grant changed."""

NEVER_LOGGED = "end of session never logged (grants.max_session)"

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

    def key(self) -> tuple[str, str]:
        return self.change.grant.address, self.change.grant.user

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


_INSERT = (
    "INSERT INTO lives (address, key, user, services, why, began, first_login, checkpoint, line, "
    "logins, last_login, last_checkpoint, last_line, kept, closed, expires, ended, how) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_OPEN = "WHERE address = ? AND user = ? AND ended IS NULL"
_LOGINS = (
    "UPDATE lives SET services = ?, logins = logins + ?, last_login = ?, last_checkpoint = ?, "
    "last_line = ?, kept = iif(kept <= ?, ?, kept), closed = coalesce(?, closed), expires = ?, "
    f"ended = ?, how = ? {_OPEN}"
)
_NO_LOGIN = (
    "UPDATE lives SET expires = ?, closed = coalesce(?, closed), ended = ?, how = ? " + _OPEN
)
_KEEP = f"INSERT INTO kept SELECT id, ?, ?, ?, ? FROM lives {_OPEN}"
_COUNT = (
    "INSERT INTO counts VALUES (?, ?, ?) "
    "ON CONFLICT DO UPDATE SET number = number + excluded.number"
)

_Rows = list[tuple[object, ...]]


class LifeWriter:
    """Writes into an open transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def write(self, changes: Iterable[Change | Ended], now: datetime, told: Told) -> None:
        """What a batch of changes means for the lives, and its counts."""
        steps: dict[tuple[str, str], _Steps] = {}
        ended: list[_Steps] = []
        for index, change in enumerate(changes):
            if isinstance(change, Ended):
                continue
            key = (change.grant.address, change.grant.user)
            step = steps.get(key)
            if step is None:
                step = steps[key] = _Steps(change)
            step.add(index, change)
            if change.kind == "removed":
                ended.append(steps.pop(key))
        self._write([*ended, *steps.values()], now.timestamp(), told)
        self._db.executemany(
            _COUNT, [(hour, kind, number) for (hour, kind), number in told.counts.items()]
        )

    def _write(self, steps: list[_Steps], at: float, told: Told) -> None:
        """All that was there before first: what ends makes room for what comes anew."""
        logins: _Rows = []
        others: _Rows = []
        inserts: _Rows = []
        for step in steps:
            if step.came is not None:
                inserts.append(_inserted(step, step.came, at, told))
            elif step.logins:
                self._keep_hourly(step, told)
                logins.append(_logged_in(step, at, told))
            else:
                others.append((*_rest(step, at), *step.key()))
        before = [step for step in steps if step.came is None]
        self._keep_words(before, at)
        self._db.executemany(_LOGINS, logins)
        self._db.executemany(_NO_LOGIN, others)
        self._db.executemany(_INSERT, inserts)
        self._keep_words([step for step in steps if step.came is not None], at)

    def _keep_hourly(self, step: _Steps, told: Told) -> None:
        """Keep the last login of a step whole, where the last that was kept is an hour older."""
        grant = step.change.grant
        time = grant.last_login.timestamp()
        if time - grant.first_login.timestamp() >= KEPT_EVERY:
            place = _place(told.origin(step.last))
            values = (time, LOGIN, *place, *step.key(), time - KEPT_EVERY)
            self._db.execute(f"{_KEEP} AND kept <= ?", values)

    def _keep_words(self, steps: Iterable[_Steps], at: float) -> None:
        for step in steps:
            for word in step.words:
                self._db.execute(_KEEP, (at, word.why, *_NO_LINE, *step.key()))


def _inserted(step: _Steps, came: Change, at: float, told: Told) -> tuple[object, ...]:
    grant = step.change.grant
    first = _place(told.origin(step.first)) if step.first >= 0 else _NO_LINE
    last = _place(told.origin(step.last)) if step.last > step.first else _NO_LINE
    return (
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
        *_end(step, at),
    )


def _logged_in(step: _Steps, at: float, told: Told) -> tuple[object, ...]:
    grant = step.change.grant
    time = grant.last_login.timestamp()
    services = " ".join(grant.services)
    place = _place(told.origin(step.last))
    kept = (time - KEPT_EVERY, time)
    rest = (step.closed, grant.expires.timestamp(), *_end(step, at), *step.key())
    return (services, step.logins, time, *place, *kept, *rest)


def _rest(step: _Steps, at: float) -> tuple[object, ...]:
    return (step.change.grant.expires.timestamp(), step.closed, *_end(step, at))


def _end(step: _Steps, at: float) -> tuple[float, str] | tuple[None, None]:
    return (at, _how(step.change)) if step.change.kind == "removed" else _NO_LINE


def _place(origin: Origin | None) -> tuple[str, str] | tuple[None, None]:
    return _NO_LINE if origin is None else (f"{origin.place} {origin.source}", origin.line)


def _how(change: Change) -> str:
    """What ended a grant, in more detail than the ledger tells its change."""
    if change.why != WINDOW_OVER:
        return change.why
    if change.grant.sessions:
        return NEVER_LOGGED
    if MANUAL_SERVICE in change.grant.services:
        return "time of an admin's word over"
    return WINDOW_OVER

"""The history, read: by `popgate audit` and whatever else tells of the past. Changes nothing."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from tracker.addresses import IPNetwork
from tracker.errors import StoreError
from tracker.history.lives import LOGIN
from tracker.history.records import (
    ChangeOf,
    Commit,
    Count,
    Held,
    KeptLogin,
    Life,
    PastChange,
    SnapshotKind,
)
from tracker.history.schema import LIVES, holding_keys, key_range
from tracker.records import Origin

_VERSION = 4


class Past:
    """The history of one state folder. A context manager."""

    def __init__(self, directory: Path) -> None:
        """Raises StoreError where there is none."""
        self._file = directory / "popgate.db"
        if not self._file.exists():
            raise StoreError(f"{self._file}: is not there: popgate has not run yet")
        try:
            self._db = sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=10)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise self._failure(error) from error
        if version != _VERSION:
            self._db.close()
            raise StoreError(
                f"{self._file}: has schema {version}, this popgate reads {_VERSION}: "
                "run popgate once with this version"
            )

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def began(self) -> datetime | None:
        """From when on there is a history; None where nothing was written yet."""
        rows = list(self._select("SELECT value FROM meta WHERE key = 'history_began'"))
        return _moment(rows[0][0]) if rows else None

    def read_until(self) -> datetime | None:
        """When the log was last read to its end."""
        rows = list(self._select("SELECT value FROM meta WHERE key = 'read_until'"))
        return _moment(rows[0][0]) if rows else None

    def lives(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        network: IPNetwork | None = None,
        user: str | None = None,
        limit: int = -1,
    ) -> Iterator[Life]:
        """The grants that were in force at some moment from `since` until and with `until`, by
        when they began. `network`: for an address in it, or for a wider network. `user`: a glob,
        as GLOB of SQLite understands it."""
        where, values = _during("ended", "began", since, until)
        if network is not None:
            where, values = _within(network, where, values)
        if user is not None:
            where, values = [*where, "user GLOB ?"], [*values, user]
        order = "began, id" if where else "id"  # which all lives lie in already
        query = f"SELECT {LIVES} FROM lives {_where(where)} ORDER BY {order} LIMIT ?"
        for row in self._select(query, (*values, limit)):
            yield _life(row)

    def kept_logins(
        self, life: int, until: datetime | None = None, limit: int = -1
    ) -> list[KeptLogin]:
        """The logins of a life between its first and its last that are kept, and an admin's words;
        the newest first, up to and with `until`."""
        rows = self._select(
            "SELECT time, why, checkpoint, line FROM kept WHERE life = ? AND time <= ? "
            "ORDER BY time DESC LIMIT ?",
            (life, until.timestamp() if until else 1e18, limit),
        )
        return [KeptLogin(_moment(time), why, _origin(*place)) for time, why, *place in rows]

    def held(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        network: IPNetwork | None = None,
    ) -> Iterator[Held]:
        """The addresses that the grant table held at some moment of that time, as `lives`."""
        where, values = _during("until", "since", since, until)
        if network is not None:
            where, values = _within(network, where, values)
        query = f"SELECT address, kind, since, until FROM held {_where(where)} ORDER BY since, id"
        for address, kind, begin, end in self._select(query, values):
            yield Held(address, kind, _moment(begin), None if end is None else _moment(end))

    def changes(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        of: Iterable[ChangeOf] = (),
        newest_first: bool = False,
        limit: int = -1,
    ) -> list[PastChange]:
        """What changed from `since` until and with `until`, of those kinds or of all."""
        kinds = tuple(of)
        where, values = _between(since, until)
        if kinds:
            where.append(f"kind IN ({', '.join('?' * len(kinds))})")
        order = "DESC" if newest_first else "ASC"
        rows = self._select(
            f"SELECT time, kind, what, detail FROM happened {_where(where)} "
            f"ORDER BY time {order}, id {order} LIMIT ?",
            (*values, *kinds, limit),
        )
        return [
            PastChange(_moment(time), kind, what, tuple(detail.split("\n")) if detail else ())
            for time, kind, what, detail in rows
        ]

    def commits(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        newest_first: bool = False,
        limit: int = -1,
    ) -> list[Commit]:
        """The commits of the texts in that time."""
        where, values = _between(since, until)
        order = "DESC" if newest_first else "ASC"
        rows = self._select(
            f"SELECT time, id, subject FROM commits {_where(where)} ORDER BY time {order} LIMIT ?",
            (*values, limit),
        )
        return [Commit(_moment(time), id_, subject) for time, id_, subject in rows]

    def counts(self, since: datetime | None = None, until: datetime | None = None) -> list[Count]:
        """Events in the logs by the hour, for hours that begin in that time."""
        first = int(since.timestamp()) // 3600 if since else 0
        last = int(until.timestamp()) // 3600 if until else 2**40
        rows = self._select(
            "SELECT hour, kind, number FROM counts WHERE hour BETWEEN ? AND ? ORDER BY hour, kind",
            (first, last),
        )
        return [Count(_moment(hour * 3600), kind, number) for hour, kind, number in rows]

    def snapshot(self, kind: SnapshotKind, at: datetime) -> tuple[datetime, bytes] | None:
        """What was in force at that moment, and since when; None where nothing is known of it."""
        rows = list(
            self._select(
                "SELECT snapshots.time, bodies.body FROM snapshots "
                "JOIN bodies ON bodies.id = snapshots.body "
                "WHERE kind = ? AND time <= ? ORDER BY time DESC LIMIT 1",
                (kind, at.timestamp()),
            )
        )
        return (_moment(rows[0][0]), zlib.decompress(rows[0][1])) if rows else None

    def snapshot_times(
        self, kind: SnapshotKind, since: datetime, until: datetime
    ) -> list[datetime]:
        """When what is in force changed in that time."""
        rows = self._select(
            "SELECT time FROM snapshots WHERE kind = ? AND time BETWEEN ? AND ? ORDER BY time",
            (kind, since.timestamp(), until.timestamp()),
        )
        return [_moment(row[0]) for row in rows]

    def _select(self, query: str, values: Iterable[Any] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            with closing(self._db.execute(query, tuple(values))) as cursor:
                yield from cursor
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> StoreError:
        return StoreError(f"{self._file}: {error}")


def _during(
    end: str, begin: str, since: datetime | None, until: datetime | None
) -> tuple[list[str], list[Any]]:
    """Terms for what lasted at some moment of a time: its end counts as after it."""
    where: list[str] = []
    values: list[Any] = []
    if since is not None:
        where.append(f"({end} IS NULL OR {end} > ?)")
        values.append(since.timestamp())
    if until is not None:
        where.append(f"{begin} <= ?")
        values.append(until.timestamp())
    return where, values


def _between(since: datetime | None, until: datetime | None) -> tuple[list[str], list[Any]]:
    where = [term for term, given in (("time >= ?", since), ("time <= ?", until)) if given]
    return where, [given.timestamp() for given in (since, until) if given]


def _within(network: IPNetwork, where: list[str], values: list[Any]) -> tuple[list[str], list[Any]]:
    """The same, for a network: what lies in it, and wider ones that hold it."""
    first, last = key_range(network)
    wider = holding_keys(network)
    term = "key BETWEEN ? AND ?"
    if not wider:
        return [term, *where], [first, last, *values]
    # A wider network's key is its first address, which many single addresses do not have.
    marks = ", ".join("?" * len(wider))
    term = f"({term} OR (key IN ({marks}) AND instr(address, '/')))"
    return [term, *where], [first, last, *wider, *values]


def _where(terms: list[str]) -> str:
    return f"WHERE {' AND '.join(terms)}" if terms else ""


def _life(row: tuple[Any, ...]) -> Life:
    (
        id_,
        address,
        user,
        services,
        why,
        began,
        first,
        checkpoint,
        line,
        logins,
        last,
        last_checkpoint,
        last_line,
        closed,
        expires,
        ended,
        how,
    ) = row
    earned = KeptLogin(_moment(first), why, _origin(checkpoint, line))
    newest = earned
    if last_line is not None or last != first:
        newest = KeptLogin(_moment(last), LOGIN, _origin(last_checkpoint, last_line))
    return Life(
        id=id_,
        address=address,
        user=user,
        services=tuple(services.split(" ")),
        began=_moment(began),
        first=earned,
        logins=logins,
        last=newest,
        closed=None if closed is None else _moment(closed),
        expires=_moment(expires),
        ended=None if ended is None else _moment(ended),
        how=how,
    )


def _origin(checkpoint: str | None, line: str | None) -> Origin | None:
    if checkpoint is None or line is None:
        return None
    place, _, source = checkpoint.partition(" ")
    return Origin(line, source, place)


def _moment(stamp: float) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)

"""The end of the history: what is too old goes, a little at a time, so that nobody waits for it."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

_AT_ONCE = 500
"""Rows of a kind that a pruning takes at most: some hundredths of a second."""

_FREE_PAGES = 1024
_PAGES = 256
"""Free pages from which on the file is made smaller, and by how many at once."""


def prune(db: sqlite3.Connection, now: datetime, keep: timedelta, most: int) -> bool:
    """In an open transaction: take out what is older than `keep`, and the oldest lives beyond
    `most`; True when there is more. What is in force stays, however old."""
    horizon = max((now - keep).timestamp(), _newest_beyond(db, most))
    more = _prune_lives(db, horizon)
    for table, column in (("held", "until"), ("happened", "time"), ("commits", "time")):
        more |= _delete(db, table, f"{column} < ?", horizon)
    more |= _delete(
        db,
        "kept",
        "life IN (SELECT id FROM lives WHERE ended IS NULL AND began < ?) AND time < ?",
        horizon,
        horizon,
    )
    db.execute("DELETE FROM counts WHERE hour < ?", (int(horizon) // 3600,))
    db.execute(
        "DELETE FROM snapshots WHERE time < (SELECT max(time) FROM snapshots AS later "
        "WHERE later.kind = snapshots.kind AND later.time <= ?)",
        (horizon,),
    )
    db.execute("DELETE FROM bodies WHERE id NOT IN (SELECT body FROM snapshots)")
    db.execute(
        "UPDATE meta SET value = ? WHERE key = 'history_began' AND value < ?", (horizon, horizon)
    )
    return more


def shrink(db: sqlite3.Connection) -> None:
    """Outside of a transaction: give some of the file's free pages back."""
    if db.execute("PRAGMA freelist_count").fetchone()[0] > _FREE_PAGES:
        db.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()


def _newest_beyond(db: sqlite3.Connection, most: int) -> float:
    """When the newest of the lives ended that are too many; 0 where there are not."""
    if (db.execute("SELECT max(id) FROM lives").fetchone()[0] or 0) <= most:
        return 0.0
    found = db.execute(
        "SELECT ended FROM lives WHERE ended IS NOT NULL ORDER BY ended DESC LIMIT 1 OFFSET ?",
        (most,),
    ).fetchone()
    return float(found[0]) + 1e-6 if found else 0.0


def _prune_lives(db: sqlite3.Connection, horizon: float) -> bool:
    old = db.execute(
        "SELECT id FROM lives WHERE ended < ? ORDER BY ended LIMIT ?", (horizon, _AT_ONCE)
    ).fetchall()
    db.executemany("DELETE FROM kept WHERE life = ?", old)
    db.executemany("DELETE FROM lives WHERE id = ?", old)
    return len(old) == _AT_ONCE


def _delete(db: sqlite3.Connection, table: str, old: str, *values: float) -> bool:
    done = db.execute(
        f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {old} LIMIT ?)",
        (*values, _AT_ONCE),
    )
    return done.rowcount == _AT_ONCE

"""What is written of all else that happens: what the tables held, changes, snapshots, commits.

A snapshot is the whole of what was in force from a moment on; the same text is stored once. So the
rules of any moment can be made again, and what changed while nobody was at work is known at the
next start.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import chain

from tracker.history.records import Commit, PastChange, SnapshotKind
from tracker.history.schema import address_key

_MOST_LINES = 1000
"""Lines of a change's detail that are kept."""


class ChangeWriter:
    """Writes into an open transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def begin(self, now: datetime) -> None:
        """The history begins now, if it has not begun."""
        self._db.execute(
            "INSERT OR IGNORE INTO meta VALUES ('history_began', ?)", (now.timestamp(),)
        )

    def published(self, kind: str, come: Iterable[str], gone: Iterable[str], now: datetime) -> None:
        """The live table got and lost addresses; one that it lost and got again is among both."""
        at = now.timestamp()
        self._db.executemany(
            "UPDATE held SET until = ? WHERE address = ? AND until IS NULL",
            [(at, address) for address in gone],
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO held (address, key, kind, since) VALUES (?, ?, ?, ?)",
            [(address, _key(address), kind, at) for address in come],
        )

    def found_held(self, kind: str, held: Collection[str], now: datetime) -> list[str]:
        """What the table holds, which may be other than was written down: then the process before
        was killed between the one and the other. What the table got so, it got when the grant
        began. Returns what no kill explains, a line each: somebody edited it."""
        query = "SELECT address FROM held WHERE until IS NULL"
        (number,) = self._db.execute("SELECT count(*) FROM held WHERE until IS NULL").fetchone()
        # A million of them are looked up without a step of the interpreter for each.
        rows = chain.from_iterable(self._db.execute(query))
        if number == len(held) and all(map(held.__contains__, rows)):
            return []
        known = {row[0] for row in self._db.execute(query)}
        holds = set(held)
        edits = [
            f"{address} had a grant, and the table lacked it"
            for address in sorted(known - holds)
            if self._began(address) is not None
        ]
        self.published(kind, (), known - holds, now)
        for address in sorted(holds - known):
            began = self._began(address)
            if began is None:
                edits.append(f"{address} stood in the table without a grant")
            self._db.execute(
                "INSERT INTO held (address, key, kind, since) VALUES (?, ?, ?, ?)",
                (address, _key(address), kind, began or now.timestamp()),
            )
        return edits

    def _began(self, address: str) -> float | None:
        """When the oldest grant of an address began that is in force."""
        found: float | None = self._db.execute(
            "SELECT min(began) FROM lives WHERE address = ? AND key = ? AND ended IS NULL",
            (address, _key(address)),
        ).fetchone()[0]
        return found

    def happened(self, changes: Iterable[PastChange]) -> None:
        """Changes of lists, settings and tables."""
        self._db.executemany(
            "INSERT INTO happened (time, kind, what, detail) VALUES (?, ?, ?, ?)",
            [(one.time.timestamp(), one.of, one.what, _bounded(one.detail)) for one in changes],
        )

    def snapshots(self, bodies: Mapping[SnapshotKind, bytes], now: datetime) -> None:
        """What is in force from now on."""
        for kind, body in bodies.items():
            digest = hashlib.blake2b(body, digest_size=16).digest()
            self._db.execute(
                "INSERT OR IGNORE INTO bodies (digest, body) VALUES (?, ?)",
                (digest, zlib.compress(body)),
            )
            self._db.execute(
                "REPLACE INTO snapshots SELECT ?, ?, id FROM bodies WHERE digest = ?",
                (kind, now.timestamp(), digest),
            )

    def latest(self, kind: SnapshotKind) -> bytes | None:
        """The newest snapshot of a kind."""
        found = self._db.execute(
            "SELECT bodies.body FROM snapshots JOIN bodies ON bodies.id = snapshots.body "
            "WHERE kind = ? ORDER BY time DESC LIMIT 1",
            (kind,),
        ).fetchone()
        return zlib.decompress(found[0]) if found else None

    def committed(self, commit: Commit) -> None:
        """A commit of the texts."""
        self._db.execute(
            "REPLACE INTO commits VALUES (?, ?, ?)",
            (commit.id, commit.time.timestamp(), commit.subject),
        )


def _key(address: str) -> bytes:
    """The key of what stands in the table, which may be anything where somebody edited it."""
    try:
        return address_key(address)
    except OSError:
        return b"?" + address.encode()


def _bounded(lines: Iterable[str]) -> str:
    kept = list(lines)
    if len(kept) > _MOST_LINES:
        kept[_MOST_LINES:] = [f"and {len(kept) - _MOST_LINES} more"]
    return "\n".join(kept)

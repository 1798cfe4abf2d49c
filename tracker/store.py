"""What popgate remembers: grants, sessions and reading positions, in one SQLite file (WAL).

They change in one transaction, so that after a kill at any point no line is lost or counted twice.
Every process that changes the state holds `exclusive()` meanwhile, from reading the state to having
published it; whoever finds that another one changed it since reads it anew.

`alive` is held by `popgate run` for as long as it lives; it tells the others whom to wake.

A file that is damaged is a DamagedError. `set_aside` keeps it under another name and begins anew:
who follows the log then reads what was logged in the last window again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tracker import kept
from tracker.errors import DamagedError, StoreError
from tracker.history import pruning, schema
from tracker.history.changes import ChangeWriter
from tracker.history.lives import LifeWriter, Told
from tracker.kept import KeptGrants, moment, row_of
from tracker.records import Change, Ended, Grant, Position

_SCHEMA = """
CREATE TABLE grants (
    address TEXT NOT NULL, user TEXT NOT NULL, services TEXT NOT NULL,
    first_login REAL NOT NULL, last_login REAL NOT NULL, until REAL NOT NULL,
    expires REAL NOT NULL, sessions TEXT NOT NULL,
    PRIMARY KEY (address, user)
) WITHOUT ROWID;
CREATE TABLE ended (session TEXT PRIMARY KEY, time REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE positions (
    path TEXT NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL,
    offset INTEGER NOT NULL, fingerprint_length INTEGER NOT NULL, fingerprint BLOB NOT NULL,
    skipping INTEGER NOT NULL,
    PRIMARY KEY (path, device, inode)
) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
"""
_MIGRATIONS = [
    _SCHEMA,
    "CREATE TABLE cursors (journal TEXT PRIMARY KEY, cursor TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE memory (id INTEGER PRIMARY KEY, lines BLOB NOT NULL);",
    schema.SCHEMA,
    kept.SCHEMA,
]
"""What makes a database of each version from one of the version before; version 0 is empty."""
_WITH_HISTORY = 3
_VITAL = ("meta", "grants", "sessions", "ended", "positions", "cursors", "memory")
"""The tables without which grants cannot be known."""
_CACHE = 16 * 1024
"""KiB of the file that are held in memory: the paths to a grant among a million."""
_AGREED = ("terms", "terms_of_formats", "saved_at")
_LOCK_TIMEOUT = 60.0
_LOCK_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_ENDED_KEPT = 60.0
_FEW = 1000
_AGAIN = "popgate goes on by itself then"
_ADVICE = {
    sqlite3.SQLITE_FULL: (f"free space there; {_AGAIN}",),
    sqlite3.SQLITE_READONLY: (f"make it writable; {_AGAIN}",),
    sqlite3.SQLITE_CANTOPEN: (f"make its folder writable; {_AGAIN}",),
    sqlite3.SQLITE_IOERR: (f"look at the disk (df, dmesg); {_AGAIN}",),
    sqlite3.SQLITE_BUSY: (f"another program keeps it (fuser names it); {_AGAIN}",),
}


class Store:
    """The state database of one popgate and the locks beside it."""

    def __init__(self, directory: Path) -> None:
        """Open it, or make it. Raises StoreError with what to do; for a file that is damaged only
        when it is used."""
        self._directory = directory
        self._file = directory / "popgate.db"
        self._lock: int | None = None
        self._alive: int | None = None
        self._replaced = False
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _close_to_others(directory)
            self._lock = os.open(directory / "lock", _LOCK_FILE, 0o600)
            # Postfix's commands keep it too: one that outlives a killed popgate is waited for.
            os.set_inheritable(self._lock, True)
        except OSError as error:
            raise StoreError(
                f"{directory}: cannot be used for the state: {error.strerror}"
            ) from error
        try:
            self._open()
        except StoreError:
            os.close(self._lock)
            raise

    def _open(self) -> None:
        if self._file.is_symlink():
            raise StoreError(f"{self._file}: is a link: put the database itself there")
        try:
            # One thread at a time uses it, but not always the same one.
            self._db = sqlite3.connect(
                self._file, isolation_level=None, timeout=10, check_same_thread=False
            )
            status = self._file.stat()
            self._inode = status.st_ino
            if status.st_mode & 0o777 != 0o600:
                self._file.chmod(0o600)
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error
        self._version = -1
        self._forgot, self._waiting = float("-inf"), 0
        self._damage: DamagedError | None = None
        self._lives, self._changes = LifeWriter(self._db), ChangeWriter(self._db)
        try:
            self._db.create_function("address_key", 1, schema.address_key, deterministic=True)
            if self._schema() == 0:  # heeded by a new file alone; in others it is a write
                self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(f"PRAGMA cache_size=-{_CACHE}")
            self._migrate()
            self._version = self._data_version()
        except sqlite3.Error as error:
            failure = self._failure(error)
            if not isinstance(failure, DamagedError):
                self._db.close()
                raise failure from error
            self._damage = failure
        except StoreError:
            self._db.close()
            raise

    @classmethod
    def look(cls, directory: Path) -> Store:
        """The state as it is, only to be read: nothing is made, locked or changed.

        Raises StoreError, also where there is none.
        """
        store = cls.__new__(cls)
        store._directory, store._file = directory, directory / "popgate.db"
        store._lock = store._alive = None
        # Without a log beside it nobody has it open; SQLite would make one to read it.
        log = store._file.with_name("popgate.db-wal")
        how = "mode=ro" if log.exists() else "mode=ro&immutable=1"
        try:
            store._db = sqlite3.connect(
                f"{store._file.as_uri()}?{how}", uri=True, isolation_level=None, timeout=5
            )
            version = store._schema()
        except sqlite3.Error as error:
            raise store._failure(error) from error
        if version != len(_MIGRATIONS):
            store.close()
            raise StoreError(
                f"{store._file}: is of another popgate (schema {version}, this one knows "
                f"{len(_MIGRATIONS)}): `popgate expire` of the newer one brings it up to date"
            )
        return store

    def check(self) -> None:
        """Raises DamagedError when what the grants rest on is damaged. The history is not read for
        it: that can be long."""
        if self._damage is not None:
            raise self._damage
        for table in _VITAL:
            for (answer,) in self._select(f"PRAGMA quick_check({table})"):
                if answer != "ok":
                    raise self._damaged(answer)

    def set_aside(self) -> Path:
        """Keep the file under another name and begin anew, within `exclusive`; that name.

        Raises StoreError where another process follows the log, which has the file open.
        """
        if self._alive is None and (other := self.running()) is not None:
            raise StoreError(
                f"{self._file}: is damaged: left to the popgate that is at work there (pid {other})"
            )
        self._db.close()
        kept = self._file.with_name(f"{self._file.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
        try:
            for part in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(f"{self._file}{part}", f"{kept}{part}")
        except OSError as error:
            raise self._failure(error) from error
        self._open()
        return kept

    def close(self) -> None:
        """Let go of the file and of all locks; a second time does nothing."""
        self._db.close()
        for file in (self._lock, self._alive):
            if file is not None:
                os.close(file)
        self._lock = self._alive = None

    def _migrate(self) -> None:
        newest = len(_MIGRATIONS)
        version = self._schema()
        if version > newest:
            raise StoreError(
                f"{self._file}: was written by another popgate (schema {version}, this one knows "
                f"{newest}): upgrade popgate, or move the file away to start anew"
            )
        if version == newest:
            return
        self._db.execute("BEGIN IMMEDIATE")  # another process may be at it too
        try:
            for statement in "".join(_MIGRATIONS[self._schema() :]).split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version={newest}")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        if 0 < version < _WITH_HISTORY:
            with suppress(sqlite3.OperationalError):  # another process reads: no harm
                self._db.execute("VACUUM")  # so that auto_vacuum holds for it too

    def _schema(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep all other popgate processes from changing state and tables. Raises StoreError."""
        assert self._lock is not None, "the store is closed"
        end = time.monotonic() + _LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise StoreError(
                        f"{self._directory / 'lock'}: another popgate holds it for over "
                        f"{_LOCK_TIMEOUT:g} s (fuser names it)"
                    ) from error
                time.sleep(0.005)
        try:
            self._follow_replaced()
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _follow_replaced(self) -> None:
        """Use the file that has the name now: another process, or an admin, moved the old one."""
        try:
            if self._file.stat().st_ino == self._inode:
                return
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._failure(error) from error
        self._db.close()
        self._open()
        self._replaced, self._version = True, -1

    def replaced(self) -> bool:
        """Whether the file was begun anew by somebody else since this was last asked."""
        replaced, self._replaced = self._replaced, False
        return replaced

    def claim(self) -> int | None:
        """Be the one that follows the log: None when this process now is, else who does (0: a
        process that has not said its pid yet)."""
        try:
            file = os.open(self._directory / "alive", _LOCK_FILE, 0o600)
        except OSError as error:
            raise StoreError(
                f"{self._directory}/alive: cannot be opened: {error.strerror}"
            ) from error
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                other = self.running()
            if other is not None:
                os.close(file)
                return other
            time.sleep(0.005)  # somebody only looked who it is
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._alive = file
        return None

    def running(self) -> int | None:
        """The pid of the popgate that follows the log now; None when none does."""
        return running(self._directory)

    def take_over(self, other: Store) -> None:
        """Be the one that follows the log in another's place, in the same process."""
        self._alive, other._alive = other._alive, None

    @property
    def directory(self) -> Path:
        """The folder that it is in."""
        return self._directory

    def changed_elsewhere(self) -> bool:
        """Whether another process changed the state since this one last looked."""
        try:
            version = self._data_version()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        changed, self._version = version != self._version, version
        return changed

    def _data_version(self) -> int:
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def kept(self) -> KeptGrants:
        """The grants, asked one by one."""
        return KeptGrants(self._select, self._damaged)

    def grants(self) -> Iterator[Grant]:
        """All grants, ordered by address as text."""
        return self.kept().grants()

    def grants_of(self, address: str) -> list[Grant]:
        """The grants of one address, as they are at this moment."""
        return self.kept().grants_of(address)

    def ended(self) -> Iterator[Ended]:
        """Logouts whose login line has not been read yet."""
        for session, time_ in self._select("SELECT session, time FROM ended"):
            yield Ended(session, moment(time_))

    def positions(self, path: str) -> list[Position]:
        """Where reading stands in the files that a path named, the oldest first."""
        rows = self._select(
            "SELECT path, device, inode, offset, fingerprint_length, fingerprint, skipping "
            "FROM positions WHERE path = ?",
            (path,),
        )
        return [
            Position(path, device, inode, offset, length, fingerprint, bool(skipping))
            for _, device, inode, offset, length, fingerprint, skipping in rows
        ]

    def cursor(self, journal: str) -> str | None:
        """Where reading stands in a journal; None when it was never read."""
        rows = list(self._select("SELECT cursor FROM cursors WHERE journal = ?", (journal,)))
        return str(rows[0][0]) if rows else None

    def memory(self) -> bytes:
        """What was remembered of lines that others refer to."""
        rows = list(self._select("SELECT lines FROM memory"))
        return bytes(rows[0][0]) if rows else b""

    def read_until(self) -> datetime | None:
        """When the log was last read to its end."""
        rows = list(self._select("SELECT value FROM meta WHERE key = 'read_until'"))
        return moment(rows[0][0]) if rows else None

    def agreed(self, terms: tuple[int, int], now: datetime, *, follow: bool) -> bool:
        """Whether all grants were made, or looked at, under these terms (GrantPolicy.terms), and at
        no later moment. `follow`: for one who reads the log; to others its formats are unknown."""
        found = dict(self._select("SELECT key, value FROM meta WHERE key IN (?, ?, ?)", _AGREED))
        return (
            found.get("terms") == terms[0]
            and (not follow or found.get("terms_of_formats") == terms[1])
            and found.get("saved_at", 0) <= now.timestamp()
        )

    def agree(self, terms: tuple[int, int], now: datetime) -> None:
        """All grants were looked at under these terms."""
        with self._transaction():
            values = zip(_AGREED, (*terms, now.timestamp()), strict=True)
            self._db.executemany("REPLACE INTO meta VALUES (?, ?)", values)

    def saves(self) -> int:
        """How often what is known of grants and of the log was saved, by whatever process."""
        rows = list(self._select("SELECT value FROM meta WHERE key = 'saves'"))
        return int(rows[0][0]) if rows else 0

    def heard(self, now: datetime) -> bool:
        """The log was read to its end and had nothing new, which counts as no save. False, and
        nothing is done, where the clock was put back meanwhile."""
        before = self.read_until()
        if before is None or before > now:
            return False
        with self._transaction():
            self._db.execute("REPLACE INTO meta VALUES ('read_until', ?)", (now.timestamp(),))
        return True

    def save(
        self,
        changes: Iterable[Change | Ended],
        now: datetime,
        *,
        positions: Mapping[str, Sequence[Position]] | None = None,
        read_until: datetime | None = None,
        cursors: Mapping[str, str] | None = None,
        memory: bytes | None = None,
        told: Told | None = None,
    ) -> None:
        """Changes, what becomes of the lives of grants by them, and where reading stands behind the
        lines they come from, all or nothing. `told`: the lines."""
        changes = list(changes)
        with self._transaction():
            self._write(changes, now, positions or {}, read_until)
            self._count_save()
            self._db.execute("REPLACE INTO meta VALUES ('saved_at', ?)", (now.timestamp(),))
            for journal, cursor in (cursors or {}).items():
                self._db.execute("REPLACE INTO cursors VALUES (?, ?)", (journal, cursor))
            if memory is not None:
                self._db.execute("REPLACE INTO memory VALUES (1, ?)", (memory,))
            self._changes.begin(now)
            self._lives.write(changes, now, told or Told())

    @contextmanager
    def history(self) -> Iterator[ChangeWriter]:
        """What happened besides grants, all or nothing."""
        with self._transaction():
            yield self._changes

    def prune(self, now: datetime, keep: timedelta, most: int) -> bool:
        """Take some of what is too old out of the history; True when there is more. `keep`, `most`:
        the settings `audit.keep_days` and `audit.keep_grants`."""
        with self._transaction():
            more = pruning.prune(self._db, now, keep, most)
        try:
            pruning.shrink(self._db)
        except sqlite3.Error as error:
            raise self._failure(error) from error
        return more

    def ask_for_check(self) -> None:
        """Have whoever follows the log compare all tables; it is seen as a change of the state."""
        with self._transaction():
            self._db.execute("REPLACE INTO meta VALUES ('check_asked', 1)")
            self._count_save()

    def check_asked(self) -> bool:
        """Whether a comparison was asked for and has not been made yet."""
        return bool(list(self._select("SELECT 1 FROM meta WHERE key = 'check_asked'")))

    def checked(self) -> None:
        """The comparison was made."""
        with self._transaction():
            self._db.execute("DELETE FROM meta WHERE key = 'check_asked'")

    def _count_save(self) -> None:
        self._db.execute(
            "INSERT INTO meta VALUES ('saves', 1) ON CONFLICT DO UPDATE SET value = value + 1"
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _write(
        self,
        changes: Sequence[Change | Ended],
        now: datetime,
        positions: Mapping[str, Sequence[Position]],
        read_until: datetime | None,
    ) -> None:
        execute, many = self._db.execute, self._db.executemany
        ended = [(one.session, one.time.timestamp()) for one in changes if isinstance(one, Ended)]
        many("REPLACE INTO ended VALUES (?, ?)", ended)
        # A grant is written once, however often it changed.
        known = [one for one in changes if isinstance(one, Change)]
        last = {(one.grant.address, one.grant.user): one for one in known}
        gone = [key for key, one in last.items() if one.kind == "removed"]
        there = [one.grant for one in last.values() if one.kind != "removed"]
        opened = [(one.id, grant.user, grant.address) for grant in there for one in grant.sessions]
        many("DELETE FROM grants WHERE address = ? AND user = ?", gone)
        many("REPLACE INTO grants VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(row_of, there))
        many("DELETE FROM sessions WHERE address = ? AND user = ?", last)
        many("REPLACE INTO sessions VALUES (?, ?, ?)", opened)
        self._waiting += len(ended)
        self._forget_ended(now.timestamp())
        for path, places in positions.items():
            execute("DELETE FROM positions WHERE path = ?", (path,))
            self._db.executemany(
                "INSERT INTO positions VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        one.path,
                        one.device,
                        one.inode,
                        one.offset,
                        one.fingerprint_length,
                        one.fingerprint,
                        one.skipping,
                    )
                    for one in places
                ],
            )
        if read_until is not None:
            execute("REPLACE INTO meta VALUES ('read_until', ?)", (read_until.timestamp(),))

    def _forget_ended(self, now: float) -> None:
        """Where very many wait, now and then: it costs what there is, not what is too old."""
        if self._waiting < _FEW or not 0 <= now - self._forgot < _ENDED_KEPT / 10:
            self._forgot = now
            gone = self._db.execute("DELETE FROM ended WHERE time <= ?", (now - _ENDED_KEPT,))
            self._waiting -= gone.rowcount

    def _select(
        self, query: str, values: tuple[str | float, ...] = ()
    ) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> StoreError:
        """What SQLite says, and what to do about it."""
        if isinstance(error, OSError):
            return StoreError(f"{self._file}: {error.strerror}: make it writable; {_AGAIN}")
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._damaged(str(error))
        return StoreError(": ".join([str(self._file), str(error), *_ADVICE.get(code, ())]))

    def _damaged(self, why: str) -> DamagedError:
        words = " ".join(why.split())
        return DamagedError(
            f"{self._file}: is damaged ({words}): the next popgate run or once puts it aside "
            "and reads the logs of the last window anew"
        )


def _close_to_others(directory: Path) -> None:
    """Who can write into the folder grants what he likes. Raises StoreError, OSError."""
    found = directory.stat()
    if found.st_uid not in (0, os.geteuid()):
        raise StoreError(
            f"{directory}: belongs to user {found.st_uid}, popgate runs as {os.geteuid()}: "
            "run it as that user, or give the folder to this one"
        )
    if found.st_mode & 0o022 and found.st_uid == os.geteuid():
        directory.chmod(stat.S_IMODE(found.st_mode) & ~0o022)


def running(directory: Path) -> int | None:
    """The pid of the popgate that follows the log with its state in that folder (0: it has not said
    its pid yet); None when none does, or it is not for us to see. Makes nothing."""
    try:
        file = os.open(directory / "alive", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(file, 20).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(file)
    return None

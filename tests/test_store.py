"""The state: all or nothing, shared by processes, and one of them alone follows the log."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path

import pytest
from msgspec import structs

from tests.moments import NOW, after
from tracker.errors import DamagedError, StoreError
from tracker.history.reading import Past
from tracker.kept import row_of
from tracker.records import Change, Ended, Grant, Position, Session
from tracker.store import _MIGRATIONS, Store, running

GRANT = Grant(
    "203.0.113.5",
    "alice",
    ("imap", "pop3"),
    NOW,
    after(1.000001),
    after(1800),
    after(86400),
    (Session("dVCJuwFh/a9/AAAC", after(1.5)),),
)
POSITION = Position("/var/log/mail.log", 2049, 1234567890123, 2**40, 1024, b"\x00" * 16, True)


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the same state, as another process would, and closes it in the end."""
    with ExitStack() as stack:

        def opened() -> Store:
            made = Store(tmp_path / "state")
            stack.callback(made.close)
            return made

        yield opened


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


def test_what_is_saved_is_read_back_to_the_microsecond(store: Store) -> None:
    store.save(
        [Change("added", GRANT, "login"), Ended("s", NOW)],
        NOW,
        positions={POSITION.path: [POSITION]},
        read_until=NOW,
        memory=b"two lines",
    )
    assert list(store.grants()) == [GRANT]
    assert list(store.ended()) == [Ended("s", NOW)]
    assert store.positions(POSITION.path) == [POSITION]
    assert store.positions("/another") == []
    assert store.read_until() == NOW
    assert store.memory() == b"two lines"


def test_a_removed_grant_is_gone(store: Store) -> None:
    store.save([Change("added", GRANT, "login"), Change("removed", GRANT, "window over")], NOW)
    assert list(store.grants()) == []


def test_positions_of_a_log_are_replaced_as_a_whole(store: Store) -> None:
    store.save([], NOW, positions={POSITION.path: [POSITION]})
    store.save([], NOW, positions={POSITION.path: []})
    assert store.positions(POSITION.path) == []


def test_orphan_logouts_are_forgotten_after_a_minute(store: Store) -> None:
    store.save([Ended("s", NOW)], NOW)
    store.save([], after(60))
    assert list(store.ended()) == []


def test_a_transaction_that_fails_leaves_everything_as_it_was(store: Store) -> None:
    store.save([Change("added", GRANT, "login")], NOW, positions={POSITION.path: [POSITION]})
    bad = Position(POSITION.path, 1, 1, 2**70, 0, b"", False)
    with pytest.raises((StoreError, OverflowError)):
        store.save([Change("removed", GRANT, "x")], NOW, positions={POSITION.path: [bad]})
    assert list(store.grants()) == [GRANT]
    assert store.positions(POSITION.path) == [POSITION]


def test_another_process_s_change_is_noticed_and_one_s_own_is_not(
    store: Store, open_store: Callable[[], Store]
) -> None:
    store.save([Change("added", GRANT, "login")], NOW)
    assert not store.changed_elsewhere()
    other = open_store()
    other.save([Change("removed", GRANT, "revoked")], NOW)
    assert store.changed_elsewhere()
    assert not store.changed_elsewhere()


def test_only_one_process_follows_the_log(store: Store, open_store: Callable[[], Store]) -> None:
    assert store.running() is None
    assert store.claim() is None
    other = open_store()
    assert other.claim() == os.getpid()
    assert other.running() == os.getpid()
    store.close()
    assert other.running() is None
    assert other.claim() is None


def test_one_that_only_looks_who_is_at_work_is_not_taken_for_it(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    alive = folder / "alive"
    alive.write_text("4711\n")
    with alive.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert running(folder) is None
        release = threading.Timer(0.2, fcntl.flock, (looking, fcntl.LOCK_UN))
        release.start()
        assert store.claim() is None
        release.join()
    assert running(folder) == os.getpid()


def test_the_claim_ends_with_the_process_however_it_ends(store: Store, tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from tracker.store import Store; "
        f"print(Store(pathlib.Path({str(tmp_path / 'state')!r})).claim(), flush=True); "
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "None\n", done.stderr
    assert store.running() is None


def test_a_claim_can_be_handed_on_within_a_process(
    store: Store, open_store: Callable[[], Store]
) -> None:
    store.claim()
    other = open_store()
    other.take_over(store)
    store.close()
    assert open_store().running() == os.getpid()


def test_the_state_is_its_owners_alone(store: Store, tmp_path: Path) -> None:
    for file in (tmp_path / "state").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


def grant(address: str) -> Grant:
    return structs.replace(GRANT, address=address)


def damage(file: Path, how: str) -> None:
    """Spoil a database file."""
    whole = file.read_bytes()
    spoiled = {
        "garbage": whole[:4096] + b"\xa5rubbish" * 2048 + whole[20480:],
        "truncated": whole[: len(whole) // 2 - 100],
        "zeroes": bytes(len(whole)),
    }
    file.write_bytes(spoiled[how])


@pytest.mark.parametrize("how", ["garbage", "truncated", "zeroes"])
def test_a_database_that_is_damaged_is_named_kept_aside_and_begun_anew(
    tmp_path: Path, how: str
) -> None:
    file = tmp_path / "popgate.db"
    grants = [grant(f"203.0.113.{number}") for number in range(1, 250)]
    with closing(Store(tmp_path)) as store:
        store.save([Change("added", one, "login") for one in grants], NOW)
        store.check()
    damage(file, how)
    spoiled = file.read_bytes()
    with closing(Store(tmp_path)) as store, store.exclusive():
        with pytest.raises(DamagedError, match=r"popgate\.db: is damaged .*puts it aside"):
            store.check()
        kept = store.set_aside()
        assert kept.name.startswith("popgate.db.damaged-")
        assert kept.read_bytes() == spoiled
        store.check()
        assert list(store.grants()) == []


def test_what_another_process_follows_is_not_put_aside_under_it(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as follower, closing(Store(tmp_path)) as other:
        follower.claim()
        with other.exclusive(), pytest.raises(StoreError, match="left to the popgate"):
            other.set_aside()


def test_a_database_that_was_moved_away_under_it_is_begun_anew(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        store.save([Change("added", grant("203.0.113.5"), "login")], NOW)
        for part in ("", "-wal", "-shm"):
            (tmp_path / f"popgate.db{part}").rename(tmp_path / f"old.db{part}")
        with store.exclusive():
            assert store.changed_elsewhere()
            assert store.replaced()
            assert list(store.grants()) == []


def test_a_database_that_another_program_keeps_locked_is_said_with_what_to_do(
    tmp_path: Path,
) -> None:
    file = tmp_path / "popgate.db"
    with closing(Store(tmp_path)) as store, closing(sqlite3.connect(file)) as other:
        store._db.execute("PRAGMA busy_timeout = 10")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="is locked: another program keeps it"):
            store.save([Change("added", grant("203.0.113.5"), "login")], NOW)
        other.rollback()
        store.save([Change("added", grant("203.0.113.5"), "login")], NOW)


def test_the_state_of_a_newer_popgate_is_not_touched(tmp_path: Path) -> None:
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "popgate.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="schema 99"):
        Store(tmp_path)


def database_of(version: int, folder: Path) -> None:
    """The state as the popgate that knew that schema left it, with a grant and a position."""
    with sqlite3.connect(folder / "popgate.db") as database:
        database.executescript("".join(_MIGRATIONS[:version]))
        database.execute(f"PRAGMA user_version = {version}")
        database.execute("INSERT INTO grants VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row_of(GRANT))
        place = (POSITION.path, 2049, 1234567890123, 2**40, 1024, b"\x00" * 16, True)
        database.execute("INSERT INTO positions VALUES (?, ?, ?, ?, ?, ?, ?)", place)
    database.close()


@pytest.mark.parametrize("version", [1, 2])
def test_the_state_of_an_earlier_popgate_is_taken_over_as_it_is(
    tmp_path: Path, version: int
) -> None:
    database_of(version, tmp_path)
    store = Store(tmp_path)
    assert list(store.grants()) == [GRANT]
    assert store.positions(POSITION.path) == [POSITION]
    assert store.cursor("journal") is None
    store.save([], NOW, cursors={"journal": "s=1;i=2"})
    store.close()
    again = Store(tmp_path)
    assert again.cursor("journal") == "s=1;i=2"
    again.close()


def test_a_grant_of_before_the_history_has_a_life_without_a_line(tmp_path: Path) -> None:
    database_of(2, tmp_path)
    store = Store(tmp_path)
    store.save([Change("removed", GRANT, "window over")], after(2000))
    store.close()
    with Past(tmp_path) as past:
        (life,) = past.lives()
    assert (life.address, life.user, life.began) == ("203.0.113.5", "alice", NOW)
    assert (life.first.why, life.first.origin) == ("before the history began", None)
    assert life.ended == after(2000)


def test_a_cursor_is_saved_with_the_changes_or_not_at_all(store: Store) -> None:
    store.save([Change("added", GRANT, "login")], NOW, cursors={"journal": "one"})
    bad = Position(POSITION.path, 1, 1, 2**70, 0, b"", False)
    removed = Change("removed", GRANT, "x")
    with pytest.raises((StoreError, OverflowError)):
        store.save([removed], NOW, positions={POSITION.path: [bad]}, cursors={"journal": "two"})
    assert store.cursor("journal") == "one"
    assert list(store.grants()) == [GRANT]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used for the state"):
        Store(tmp_path / "file/state")


@pytest.mark.parametrize("moment", [NOW, after(0.000001), after(0.999999)])
def test_a_moment_survives_the_way_through_the_database(store: Store, moment: datetime) -> None:
    store.save([Ended("s", moment)], NOW)
    assert next(iter(store.ended())).time == moment

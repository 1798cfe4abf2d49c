"""The state database is damaged or locked while popgate is at work, or before it starts."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.outcomes import Outcome
from tests.torture.faults import Host, lines

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

FIRST, SECOND, THIRD, OVER = "203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"


def damage(database: Path, how: str) -> None:
    """Spoil it on disk, whoever has it open."""
    for part in ("-wal", "-shm"):
        database.with_name(database.name + part).unlink(missing_ok=True)
    with database.open("r+b") as file:
        if how == "truncated":
            file.truncate(5000)
        else:
            start = 0 if how == "zeroes" else 1000
            file.seek(start)
            filling = b"\0" if how == "zeroes" else b"\xa5rubbish"
            file.write(filling * (20000 // len(filling)))


@pytest.mark.parametrize("how", ["zeroes", "truncated", "garbage"])
def test_a_state_that_is_damaged_at_the_start(host: Host, how: str, outcome: Outcome) -> None:
    host.login(FIRST, SECOND)
    assert host.command("once")[0] == 0
    damage(host.state / "popgate.db", how)
    code, said = host.command("list")
    assert code == 3
    (line,) = lines(said)
    assert "popgate.db: is damaged" in line
    assert "the next popgate run or once puts it aside" in line
    began = time.monotonic()
    with host.at_work():
        host.login(THIRD)
        host.holds(FIRST, SECOND, THIRD)
        recovery = time.monotonic() - began
        host.says("event=state_damaged")
    assert list(host.state.glob("popgate.db.damaged-*"))
    outcome(f"SQLite damaged: {how}", recovery=recovery)


def test_expire_goes_by_the_table_where_the_state_is_damaged_and_nobody_follows_the_log(
    host: Host, outcome: Outcome
) -> None:
    host.login(OVER, over_in=4)
    host.login(FIRST)
    assert host.command("once")[0] == 0
    damage(host.state / "popgate.db", "zeroes")
    host.wait_for("its time", lambda: host.command("expire")[0] == 3 and OVER not in host.table())
    assert host.table() == {FIRST}
    with host.at_work():
        host.says("event=state_damaged")
        recovery = host.wait_for("the grant", lambda: FIRST in host.table())
        # The other's session has no end in the log, if its login is young enough to be read again.
        assert host.table() <= {FIRST, OVER}
    outcome("SQLite damaged: nobody at work", recovery=recovery)


def test_a_state_that_is_damaged_while_popgate_is_at_work(host: Host, outcome: Outcome) -> None:
    host.login(FIRST)
    with host.at_work():
        host.holds(FIRST)
        damage(host.state / "popgate.db", "zeroes")
        began = time.monotonic()
        host.login(SECOND)
        host.holds(FIRST, SECOND)
        host.login(THIRD)
        host.holds(FIRST, SECOND, THIRD)
        recovery = time.monotonic() - began
    # It may have had all of it in memory; the next start finds what is on disk.
    with host.at_work():
        host.holds(FIRST, SECOND, THIRD)
    outcome("SQLite damaged: while at work", recovery=recovery)


@pytest.mark.torture
def test_a_state_that_another_program_keeps_locked(host: Host, outcome: Outcome) -> None:
    with host.at_work():
        host.login(FIRST, over_in=16)
        host.login(SECOND)
        host.holds(FIRST, SECOND)
        with closing(sqlite3.connect(host.state / "popgate.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            host.login(THIRD)
            line = host.says("event=failed", patience=40)
            assert "database is locked: another program keeps it (fuser names it)" in line
            host.wait_for("the end of a right", lambda: FIRST not in host.table())
            other.rollback()
        recovery = host.holds(SECOND, THIRD)
        host.says("event=recovered")
    outcome("SQLite locked", recovery=recovery)


def test_a_state_that_was_moved_away_while_popgate_is_at_work(host: Host, outcome: Outcome) -> None:
    with host.at_work():
        host.login(FIRST)
        host.holds(FIRST)
        for part in ("", "-wal", "-shm"):
            file = host.state / f"popgate.db{part}"
            file.rename(file.with_name(f"old{part}"))
        host.login(SECOND)
        recovery = host.holds(FIRST, SECOND)
        host.wait_for("the new state", (host.state / "popgate.db").exists)
    assert host.command("list")[0] == 0
    outcome("SQLite moved away", recovery=recovery)

"""The disk is full, or the file system may only be read: said, nothing lost, nobody let in."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.conftest import require
from tests.outcomes import Outcome
from tests.torture.faults import (
    Host,
    fails,
    fill,
    fragile_disk,
    lines,
    loops_unavailable,
    mounting_unavailable,
    remount,
    small_disk,
)
from tracker.errors import PostfixError
from tracker.settings import PostfixSettings
from tracker.writing.postfix import Postfix
from tracker.writing.publish import Publisher

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

OVER, STAYS, LATER = "203.0.113.1", "203.0.113.2", "203.0.113.3"
FULL = ("disk is full", "No space left on device", "MDB_MAP_FULL")


@pytest.fixture(autouse=True)
def mounting() -> None:
    require(mounting_unavailable())


@pytest.mark.parametrize("full", ["state", "maps", "state and maps"])
def test_a_full_disk(host: Host, full: str, outcome: Outcome) -> None:
    places = {"state": host.state, "maps": host.maps}
    with ExitStack() as stack:
        for place in places.values():
            stack.enter_context(small_disk(place, "4m"))
        with host.at_work():
            host.login(OVER, over_in=6)
            host.login(STAYS)
            host.holds(OVER, STAYS)
            ballast = [fill(places[name]) for name in full.split(" and ")]
            host.login(LATER)
            line = host.says("event=failed")
            assert any(words in line for words in FULL), line
            # A right ends on time, whatever is full.
            host.wait_for("the end of a right", lambda: OVER not in host.table())
            for file in ballast:
                file.unlink()
            recovery = host.holds(STAYS, LATER)
            host.says("event=recovered")
    outcome(f"disk full: {full}", recovery=recovery)


def test_room_for_a_part_of_a_write_keeps_no_right_from_ending(
    host: Host, outcome: Outcome
) -> None:
    """One page is free, and LMDB says "Input/output error" of a write that stopped half-way."""
    postfix = Postfix(PostfixSettings(config_directory=str(host.popgate.postfix)))
    table = f"lmdb:{host.maps}/pop_before_smtp"
    with small_disk(host.maps, "4m"):
        publisher = Publisher(host.maps, postfix, "lmdb", 0, opens=True)
        publisher.prepare()
        publisher.match({OVER: 1, STAYS: 4_000_000_000})
        ballast = fill(host.maps)
        os.truncate(ballast, ballast.stat().st_size - os.sysconf("SC_PAGESIZE"))
        with pytest.raises(PostfixError, match="Input/output error"):
            postfix.delete(table, [OVER])
        began = time.monotonic()
        assert publisher.end_over(10) == [OVER]
        recovery = time.monotonic() - began
        assert postfix.read(table).keys() == {STAYS}
    outcome("disk full but for a page: maps", recovery=recovery)


def test_maps_on_a_file_system_that_can_only_be_read(host: Host, outcome: Outcome) -> None:
    with small_disk(host.maps, "4m"), host.at_work():
        host.login(STAYS)
        host.holds(STAYS)
        remount(host.maps, "ro")
        host.login(LATER)
        # A commit may have failed before: it ends no step, and nothing recovers from it.
        line = host.says("/pop_before_smtp: ")
        assert line.startswith("event=failed")
        assert "Read-only file system" in line
        remount(host.maps, "rw")
        recovery = host.holds(STAYS, LATER)
        host.says("event=recovered")
    outcome("read-only file system: maps", recovery=recovery)


def test_state_on_a_file_system_that_can_only_be_read(host: Host, outcome: Outcome) -> None:
    """Every command says so in a line and ends with 3; what is over leaves the table still."""
    with small_disk(host.state, "4m"), small_disk(host.maps, "4m"):
        host.login(OVER, over_in=4)
        host.login(STAYS)
        assert host.command("once")[0] == 0
        host.holds(OVER, STAYS)
        remount(host.state, "ro")
        host.login(LATER)
        for command in ("run", "once", "expire", "list"):
            code, said = host.command(command)
            (line,) = lines(said)
            assert (code, "Read-only file system" in line) == (3, True), line
        host.wait_for(
            "its time", lambda: host.command("expire")[0] == 3 and OVER not in host.table()
        )
        assert host.table() == {STAYS}
        remount(host.state, "rw")
        with host.at_work():
            recovery = host.holds(STAYS, LATER)
    outcome("read-only file system: state", recovery=recovery)


@pytest.mark.parametrize("fails_there", ["state", "maps"])
def test_a_disk_that_fails_while_popgate_is_at_work(
    host: Host, fails_there: str, outcome: Outcome
) -> None:
    """As ext4 does on an error (errors=remount-ro). It is mended as for any program: popgate is
    stopped, the file system checked and mounted again."""
    require(loops_unavailable())
    image = host.folder / "disk"

    @contextmanager
    def disks() -> Iterator[None]:
        if fails_there == "maps":
            with fragile_disk(image, host.maps):
                yield
        else:
            with fragile_disk(image, host.state), small_disk(host.maps, "4m"):
                yield

    with disks(), host.at_work():
        host.login(OVER, over_in=6)
        host.login(STAYS)
        host.holds(OVER, STAYS)
        fails(host.maps if fails_there == "maps" else host.state)
        host.login(LATER)
        line = host.says("event=failed")
        assert any(words in line for words in ("look at the disk", "Read-only file")), line
        if fails_there == "state":  # what is over ends all the same
            host.wait_for("the end of a right", lambda: host.table() == {STAYS})
    with disks(), host.at_work():
        recovery = host.holds(STAYS, LATER, patience=30)
    outcome(f"disk that fails: {fails_there}", recovery=recovery)


def test_a_log_that_could_not_be_written_to_the_end_of_a_line(host: Host, outcome: Outcome) -> None:
    """Dovecot's line is cut off where the disk was full, and the next one follows in its midst."""
    with host.at_work():
        host.login(STAYS)
        whole = host.log.read_bytes()
        with host.log.open("ab") as file:
            file.write(whole[: whole.index(b"rip=") + len(b"rip=203.0.113.")])
        host.login(OVER)
        host.login(LATER)
        recovery = host.wait_for("the last login", lambda: LATER in host.table())
        # The two that became one line may count as that login or as none; nobody else gets in.
        wrong = host.table() - {STAYS, OVER, LATER}
        assert wrong == set()
    outcome("disk full: log", wrong=len(wrong), recovery=recovery)

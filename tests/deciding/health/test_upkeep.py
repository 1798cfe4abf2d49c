"""What the doctor makes of who does popgate's work."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.moments import NOW, after
from tracker.deciding.health.upkeep import upkeep
from tracker.facts import Unit, Upkeep
from tracker.reading.health.upkeep import parse_units

SHOWN = """\
Result=success
Id=popgate.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled

Id=popgate-reload.path
LoadState=loaded
ActiveState=active
UnitFileState=enabled
Result=success

Id=popgate-expire.timer
LoadState=loaded
ActiveState=active
UnitFileState=enabled
Result=success
"""
"""What `systemctl show` of systemd 252 printed."""
UNITS = parse_units(SHOWN)
RUN, RELOAD, EXPIRE = UNITS
EXPIRE_BY_CRON = ("* * * * * popgate expire",)
CRON = ("* * * * * root /usr/bin/popgate once",)


LATELY = after(-60)


def codes(seen: Upkeep) -> list[str]:
    return sorted(one.code for one in upkeep(seen, NOW))


def known(**values: Any) -> Upkeep:
    """A host whose timer does its work."""
    return Upkeep(expired=LATELY, **values)


def unit(changed: Unit, **values: str) -> tuple[Unit, ...]:
    """All units, one of them otherwise."""
    return tuple(replace(one, **values) if one is changed else one for one in UNITS)


@pytest.mark.parametrize(
    "seen",
    [
        Upkeep(pid=7, read_until=after(-60), expired=LATELY, units=UNITS),
        Upkeep(read_until=after(-60), crontab=CRON),
        Upkeep(pid=7, read_until=after(-60), crontab=EXPIRE_BY_CRON, expired=LATELY),
        Upkeep(pid=7, read_until=after(-60), crontab=CRON, units=unit(EXPIRE, loaded="not-found")),
    ],
)
def test_a_service_or_cron_that_does_the_work_is_fine(seen: Upkeep) -> None:
    assert codes(seen) == []


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (known(units=UNITS), ["service-down"]),
        (known(read_until=after(-1), units=UNITS), ["service-down"]),
        (known(pid=7, read_until=after(-301), units=UNITS), ["service-behind"]),
        (known(pid=7, units=UNITS), ["service-behind"]),
        (known(read_until=after(-301), crontab=CRON), ["service-down"]),
        (known(pid=7, read_until=NOW), ["expiry-unwatched"]),
        (known(pid=7, read_until=NOW, crontab_unseen="no"), ["not-checked"]),
        (
            known(state="/s/popgate.db: is damaged (x): move it away", units=UNITS),
            ["state-unreadable"],
        ),
        (
            known(pid=7, read_until=after(61), newest=after(61), units=UNITS),
            ["clock-back"],
        ),
        (known(pid=7, read_until=NOW, units=unit(EXPIRE, active="failed")), ["unit-failed"]),
        (known(pid=7, read_until=NOW, units=unit(EXPIRE, active="inactive")), ["unit-off"]),
        (known(pid=7, read_until=NOW, units=unit(EXPIRE, enabled="disabled")), ["unit-off"]),
        (known(pid=7, read_until=NOW, units=unit(RELOAD, active="inactive")), ["unit-off"]),
        (known(pid=7, read_until=NOW, units=unit(RUN, enabled="disabled")), ["unit-off"]),
        (
            known(pid=7, read_until=NOW, units=unit(EXPIRE, loaded="not-found")),
            ["expiry-unwatched"],
        ),
        (Upkeep(pid=7, read_until=NOW, units=UNITS), ["expiry-late"]),
        (Upkeep(pid=7, read_until=NOW, expired=after(-301), units=UNITS), ["expiry-late"]),
        (Upkeep(pid=7, read_until=NOW, crontab=EXPIRE_BY_CRON), ["expiry-late"]),
        (known(pid=7, read_until=NOW, units=UNITS, reload_asked=after(-11)), ["reload-due"]),
        (known(pid=7, read_until=NOW, units=UNITS, reload_asked=after(-9)), []),
    ],
)
def test_each_fault_is_named(seen: Upkeep, expected: list[str]) -> None:
    assert codes(seen) == expected


def test_the_units_start_what_is_down() -> None:
    (found,) = upkeep(known(units=UNITS), NOW)
    assert found.mend == "systemctl enable --now popgate.service"
    assert found.what == "nobody follows the log; it was never read"
    without = [one for one in upkeep(Upkeep(), NOW) if one.code == "service-down"]
    assert without[0].mend == "popgate once"


def test_whoever_should_have_taken_a_request_or_ended_grants_is_started() -> None:
    asked = known(pid=7, read_until=NOW, units=UNITS, reload_asked=after(-60))
    assert [one.mend for one in upkeep(asked, NOW)] == [
        "systemctl enable --now popgate-reload.path"
    ]
    by_cron = Upkeep(pid=7, read_until=NOW, expired=after(-3600), crontab=EXPIRE_BY_CRON)
    (found,) = upkeep(by_cron, NOW)
    assert (found.mend, found.what) == (
        "popgate expire",
        "last did its work at 2026-11-24T07:45:29+00:00",
    )


def test_units_that_are_not_there_are_not_taken_for_ours() -> None:
    """A host with popgate under cron: systemctl names the units all the same."""
    absent = parse_units(
        "Id=popgate.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
    )
    assert codes(Upkeep(read_until=after(-60), crontab=CRON, units=absent)) == []


@pytest.mark.parametrize(
    ("why", "mend"),
    [
        ("/s/popgate.db: is of another popgate (schema 1)", "popgate expire"),
        ("/s/popgate.db: is damaged (x)", "mv /s/popgate.db /s/popgate.db.damaged; popgate once"),
        ("/s/popgate.db: unable to open database file", "ls -l /s/popgate.db"),
    ],
)
def test_a_state_that_cannot_be_read(why: str, mend: str) -> None:
    found = [one for one in upkeep(Upkeep(state=why, units=UNITS), NOW) if one.mend == mend]
    assert [(one.code, one.where) for one in found] == [("state-unreadable", "/s/popgate.db")]

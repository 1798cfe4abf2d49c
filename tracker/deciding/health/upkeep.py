"""Whether popgate's work is done: the log followed, grants ended, units on; pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime, timedelta

from tracker.deciding.health.catalogue import Diagnosis, found, unseen
from tracker.facts import Unit, Upkeep

FRESH = timedelta(minutes=5)
"""A popgate that follows the log says so every minute, and cron calls it as often."""

RELOAD_WITHIN = timedelta(seconds=10)
"""systemd takes a request within hundredths of a second."""

AHEAD = timedelta(minutes=1)
SERVICE, RELOAD, EXPIRE = "popgate.service", "popgate-reload.path", "popgate-expire.timer"


def upkeep(seen: Upkeep, now: datetime) -> Iterator[Diagnosis]:
    """What is not done."""
    units = {unit.name: unit for unit in seen.units or () if unit.loaded == "loaded"}
    if seen.state:
        yield _unreadable(seen.state)
    else:
        yield from _following(seen, units, now)
    for unit in units.values():
        yield from _unit(unit)
    yield from _expiry(seen, units, now)
    yield from _reload(seen, units, now)
    if seen.newest is not None and seen.newest > now + AHEAD:
        text = f"the state knows of {_stamp(seen.newest)}, and it is {_stamp(now)}: put back?"
        yield found("clock-back", "clock", text, "timedatectl; popgate list")


def _unreadable(why: str) -> Diagnosis:
    """The state: of another version, damaged, or kept from us."""
    file, _, what = why.partition(": ")
    mend = f"ls -l {shlex.quote(file)}"
    if "of another popgate" in what:
        mend = "popgate expire"
    elif "damaged" in what or "not a database" in what:
        mend = f"mv {shlex.quote(file)} {shlex.quote(file + '.damaged')}; popgate once"
    return found("state-unreadable", file, what, mend)


def _following(seen: Upkeep, units: dict[str, Unit], now: datetime) -> Iterator[Diagnosis]:
    read = seen.read_until
    until = f"it was last read to its end at {_stamp(read)}" if read else "it was never read"
    late = read is None or now - read > FRESH
    if seen.pid is not None and late:
        text = f"popgate (pid {seen.pid}) runs and has not come to the end of the log: {until}"
        mend = "popgate status"
        if SERVICE in units:
            mend = f"systemctl restart {SERVICE}; journalctl -u {SERVICE} -n 50"
        yield found("service-behind", "popgate run", text, mend)
    # Called by cron it does not run between two calls.
    elif seen.pid is None and (late or _on(units.get(SERVICE)) or not _called(seen)):
        mend = "systemctl enable --now popgate.service" if SERVICE in units else "popgate once"
        yield found("service-down", "popgate run", f"nobody follows the log; {until}", mend)


def _called(seen: Upkeep) -> bool:
    """Whether a crontab has the log read; one that cannot be seen may."""
    return bool(seen.crontab_unseen) or any("popgate once" in line for line in seen.crontab)


def _on(unit: Unit | None) -> bool:
    return unit is not None and unit.enabled.startswith("enabled")


def _unit(unit: Unit) -> Iterator[Diagnosis]:
    """A unit that is there should be on, now and after the next boot. Whether the service runs is
    told by its lock."""
    mend = f"systemctl enable --now {unit.name}"
    if unit.active == "failed":
        text = f"failed ({unit.result or 'no reason is known'})"
        mend = f"systemctl restart {unit.name}; journalctl -u {unit.name} -n 50"
        yield found("unit-failed", unit.name, text, mend)
    elif unit.name != SERVICE and unit.active != "active":
        yield found("unit-off", unit.name, f"is {unit.active or 'not active'}", mend)
    elif not _on(unit):
        text = f"is {unit.enabled or 'not enabled'}: the next boot does not start it"
        yield found("unit-off", unit.name, text, mend)


def _expiry(seen: Upkeep, units: dict[str, Unit], now: datetime) -> Iterator[Diagnosis]:
    timer = units.get(EXPIRE)
    if timer is not None or seen.crontab:
        called = any("popgate expire" in line for line in seen.crontab)
        if called or (timer is not None and timer.active == "active"):
            yield from _expired(seen, now, timed=timer is not None)
        return
    text = "neither systemd's timer nor a crontab calls popgate expire"
    if seen.crontab_unseen:
        yield unseen("crontab", f"{text}, as far as can be seen: {seen.crontab_unseen}")
        return
    line = "* * * * * root popgate expire"
    mend = f"echo '{line}' > /etc/cron.d/popgate"
    yield found("expiry-unwatched", "popgate expire", text, mend)


def _expired(seen: Upkeep, now: datetime, *, timed: bool) -> Iterator[Diagnosis]:
    """Whoever should call it each minute may have stopped, or it may fail."""
    if seen.state or (seen.expired is not None and now - seen.expired <= FRESH):
        return
    last = f"last did its work at {_stamp(seen.expired)}" if seen.expired else "never did its work"
    service = EXPIRE.replace(".timer", ".service")
    mend = f"systemctl restart {EXPIRE} {service}" if timed else "popgate expire"
    yield found("expiry-late", "popgate expire", last, mend)


def _reload(seen: Upkeep, units: dict[str, Unit], now: datetime) -> Iterator[Diagnosis]:
    if seen.reload_asked is None or now - seen.reload_asked <= RELOAD_WITHIN:
        return
    text = f"was asked for at {_stamp(seen.reload_asked)}, and nobody took the request"
    mend = f"systemctl enable --now {RELOAD}" if RELOAD in units else "postfix reload"
    yield found("reload-due", "postfix reload", text, mend)


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")

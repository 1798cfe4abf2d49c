"""Moments as an admin types them: `12:03`, `2026-11-24 12:03`, ISO 8601 with a zone, `2h` ago."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

import click

from tracker.config import parse_duration
from tracker.host import utc_now

EXPECTED = (
    "12:03, 2026-11-24 12:03, with Z or +01:00 behind it where it is not this host's time, "
    'or a time back from now such as "2h"'
)
_MOMENT = re.compile(
    r"(?:(?P<date>\d{4}-\d\d-\d\d)(?:[ T]|$))?"
    r"(?:(?P<time>\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?) ?(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)


class Stretch(click.ParamType[tuple[datetime, datetime]]):
    """The first and the last instant of what was typed: a minute, a second, or a day."""

    name = "time"

    def __init__(self, *, days: bool = True) -> None:
        """`days`: whether a date alone will do."""
        self._days = days

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[datetime, datetime]:
        if isinstance(value, tuple):
            return value
        try:
            first, last = stretch(value, utc_now())
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)
        if not self._days and last - first >= timedelta(hours=1):
            self.fail(f"{value!r}: a day has many moments: write {value} 12:03", param, ctx)
        return first, last


def stretch(text: str, now: datetime, zone: tzinfo | None = None) -> tuple[datetime, datetime]:
    """The first and the last instant that a text means, in UTC; a time without a date is the last
    that has been. `zone`: this host's, where None. Raises ValueError that says what was expected.
    """
    match = _MOMENT.fullmatch(text.strip())
    if match is None or not (match["date"] or match["time"]):
        return _back(text, now)
    given = _zone(match["zone"])
    day = date.fromisoformat(match["date"]) if match["date"] else None
    if match["time"] is None:
        assert day is not None
        first = _at(datetime.combine(day, time()), given, zone)
        following = _at(datetime.combine(day + timedelta(days=1), time()), given, zone)
        return first, following - timedelta(microseconds=1)
    clock = time.fromisoformat(match["time"])
    if day is None:
        today = now.astimezone(given or zone).date()
        first = _at(datetime.combine(today, clock), given, zone)
        if first > now:
            first = _at(datetime.combine(today - timedelta(days=1), clock), given, zone)
    else:
        first = _at(datetime.combine(day, clock), given, zone)
    return first, first + _length(match["time"]) - timedelta(microseconds=1)


def _back(text: str, now: datetime) -> tuple[datetime, datetime]:
    if text.strip() == "now":
        return now, now
    try:
        moment = now - parse_duration(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected {EXPECTED}") from error
    return moment, moment


def _length(clock: str) -> timedelta:
    """How long what was typed lasts: 12:03 is a minute."""
    if "." in clock:
        return timedelta(microseconds=1)
    return timedelta(minutes=1) if len(clock) == len("12:03") else timedelta(seconds=1)


def _zone(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    if text in ("Z", "UTC"):
        return UTC
    zone = datetime.fromisoformat(f"2000-01-01T00:00{text}").tzinfo
    assert zone is not None
    return zone


def _at(wall: datetime, given: tzinfo | None, host: tzinfo | None) -> datetime:
    """The instant of what a clock on the wall showed. Raises ValueError where it showed that twice,
    or never."""
    if given is not None:
        return wall.replace(tzinfo=given).astimezone(UTC)
    earlier, later = (wall.replace(tzinfo=host, fold=fold).astimezone(UTC) for fold in (0, 1))
    if earlier != later:
        shown = " or ".join(
            one.astimezone(host).isoformat(sep=" ", timespec="minutes") for one in (earlier, later)
        )
        raise ValueError(f"the clocks were changed then: write {shown}")
    return earlier

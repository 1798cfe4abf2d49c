"""Moments as an admin types them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tracker.cli.times import stretch

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 24, 11, 30, tzinfo=UTC)  # 12:30 in Berlin
MINUTE = timedelta(minutes=1, microseconds=-1)
SECOND = timedelta(seconds=1, microseconds=-1)


@pytest.mark.parametrize(
    ("text", "first", "length"),
    [
        ("12:03", "2026-11-24T11:03:00Z", MINUTE),
        ("12:45", "2026-11-23T11:45:00Z", MINUTE),  # today's is yet to come
        ("12:03:07", "2026-11-24T11:03:07Z", SECOND),
        ("12:03Z", "2026-11-23T12:03:00Z", MINUTE),
        ("11:03 UTC", "2026-11-24T11:03:00Z", MINUTE),
        ("2026-11-20 12:03", "2026-11-20T11:03:00Z", MINUTE),
        ("2026-07-20T12:03", "2026-07-20T10:03:00Z", MINUTE),  # summer time
        ("2026-11-20T12:03:04+05:30", "2026-11-20T06:33:04Z", SECOND),
        ("2026-11-20T12:03:04.25Z", "2026-11-20T12:03:04.25Z", timedelta(0)),
        ("2026-11-20", "2026-11-19T23:00:00Z", timedelta(days=1, microseconds=-1)),
        ("2026-03-29", "2026-03-28T23:00:00Z", timedelta(hours=23, microseconds=-1)),
        ("2h", "2026-11-24T09:30:00Z", timedelta(0)),
        ("7d", "2026-11-17T11:30:00Z", timedelta(0)),
        ("now", "2026-11-24T11:30:00Z", timedelta(0)),
    ],
)
def test_a_time_is_the_whole_of_what_was_typed(text: str, first: str, length: timedelta) -> None:
    begin, end = stretch(text, NOW, BERLIN)
    assert begin == datetime.fromisoformat(first)
    assert end - begin == length


@pytest.mark.parametrize(
    "text",
    ["", "noon", "12", "24:00", "12:60", "2026-02-30", "2026-11-24 12:03 CET", "12:03+1", "-2h"],
)
def test_what_is_no_time_is_told_what_one_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|hour|minute|day|out of range"):
        stretch(text, NOW, BERLIN)


def test_a_time_that_the_clocks_showed_twice_needs_a_zone() -> None:
    with pytest.raises(ValueError, match=r"02:30\+02:00 or 2026-10-25 02:30\+01:00"):
        stretch("2026-10-25 02:30", NOW, BERLIN)
    with pytest.raises(ValueError, match="the clocks were changed then"):
        stretch("2026-03-29 02:30", NOW, BERLIN)
    assert stretch("2026-10-25 02:30+02:00", NOW, BERLIN)[0].hour == 0

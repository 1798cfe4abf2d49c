"""A stamp gives the moment its line was written, and never one that is later than now."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.reading.timestamps import FUTURE, STAMP, StampReader

NOW = datetime(2026, 11, 24, 8, 45, 29, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def read(stamp: str, now: str | datetime = NOW, zone: ZoneInfo | timezone | None = UTC) -> datetime:
    """The moment of a stamp that is one; it is in UTC."""
    moment = StampReader(at(now) if isinstance(now, str) else now, zone).moment(stamp)
    assert moment is not None
    assert moment.tzinfo is UTC
    return moment


@contextmanager
def host_zone(name: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


@pytest.mark.parametrize(
    ("stamp", "now", "moment"),
    [
        ("Nov 24 08:45:28", "2026-11-24 08:45:29", "2026-11-24 08:45:28"),
        ("Nov  4 08:45:28", "2026-11-24 08:45:29", "2026-11-04 08:45:28"),
        ("Nov 04 08:45:28", "2026-11-24 08:45:29", "2026-11-04 08:45:28"),
        # around New Year
        ("Dec 31 23:59:59", "2027-01-01 00:00:05", "2026-12-31 23:59:59"),
        ("Jan  1 00:00:05", "2026-12-31 23:59:50", "2027-01-01 00:00:05"),
        ("Jan  1 00:00:05", "2027-01-01 00:00:06", "2027-01-01 00:00:05"),
        # 29 February is in some years only
        ("Feb 29 12:00:00", "2028-02-29 12:00:01", "2028-02-29 12:00:00"),
        ("Feb 29 12:00:00", "2028-12-01 00:00:00", "2028-02-29 12:00:00"),
        ("Feb 29 12:00:00", "2029-01-15 00:00:00", "2028-02-29 12:00:00"),
        # a leap second, which has no place in datetime
        ("Dec 31 23:59:60", "2027-01-01 00:00:01", "2026-12-31 23:59:59"),
    ],
)
def test_a_stamp_without_a_year(stamp: str, now: str, moment: str) -> None:
    assert read(stamp, now) == at(moment)


def test_an_old_line_does_not_pass_for_a_new_one() -> None:
    """The year nearest to now would put May into the future, from where it is clamped to now."""
    assert read("May  1 12:00:00", "2026-11-24 08:45:29") == at("2026-05-01 12:00:00")
    assert read("Nov 26 08:45:29", "2026-11-24 08:45:29") == at("2025-11-26 08:45:29")


def test_a_clock_that_is_some_hours_off_still_gives_now() -> None:
    assert read("Nov 24 14:00:00", "2026-11-24 08:45:29") == NOW


@pytest.mark.parametrize(
    ("stamp", "moment"),
    [
        ("2026-11-24T08:45:28Z", "2026-11-24 08:45:28"),
        ("2026-11-24T08:45:28+00:00", "2026-11-24 08:45:28"),
        ("2026-11-24T08:45:28+0000", "2026-11-24 08:45:28"),
        ("2026-11-24T14:15:28+05:30", "2026-11-24 08:45:28"),
        ("2026-11-24T03:45:28-0500", "2026-11-24 08:45:28"),
        ("2026-11-24T08:45:28.5+00:00", "2026-11-24 08:45:28.5"),
        ("2026-11-24T08:45:28.481932+00:00", "2026-11-24 08:45:28.481932"),
        ("2026-11-24T08:45:28.481932999Z", "2026-11-24 08:45:28.481932"),
        ("2016-12-31T23:59:60Z", "2016-12-31 23:59:59"),
        ("2026-11-24 08:45:28", "2026-11-24 08:45:28"),
        ("2026-11-24T08:45:28", "2026-11-24 08:45:28"),
        # seven months ago, with its year
        ("2026-04-24T08:45:28Z", "2026-04-24 08:45:28"),
    ],
)
def test_a_stamp_with_a_year(stamp: str, moment: str) -> None:
    assert re.fullmatch(STAMP, stamp)
    assert read(stamp) == at(moment)


@pytest.mark.parametrize(
    ("stamp", "moment"),
    [
        ("Nov 24 2026 08:45:28", "2026-11-24 08:45:28"),
        ("Nov  4 2026 08:45:28", "2026-11-04 08:45:28"),
        ("Apr 24 2025 08:45:28", "2025-04-24 08:45:28"),
    ],
)
def test_a_stamp_with_the_year_behind_the_day(stamp: str, moment: str) -> None:
    reader = StampReader(NOW, UTC)
    assert reader.moment(stamp) == at(moment)
    assert reader.read(stamp) == (at(moment), None)
    assert reader.read(f"{stamp} mailhost") == (at(moment), "mailhost")


@pytest.mark.parametrize("digits", range(1, 10))
def test_fractions_of_one_to_nine_digits(digits: int) -> None:
    stamp = f"2026-11-24T08:45:28.{'123456789'[:digits]}Z"
    assert re.fullmatch(STAMP, stamp)
    assert read(stamp).microsecond == int("123456"[:digits].ljust(6, "0"))


@pytest.mark.parametrize("stamp", ["Nov 24 09:45:28", "2026-11-24 09:45:28", "2026-11-24T09:45:28"])
def test_a_stamp_without_an_offset_is_in_the_zone_of_the_settings_or_the_host(stamp: str) -> None:
    with host_zone("Europe/Berlin"):
        assert read(stamp, zone=None) == at("2026-11-24 08:45:28")
        assert read(stamp, zone=ZoneInfo("Asia/Kolkata")) == at("2026-11-24 04:15:28")
    with host_zone("UTC"):
        assert read(stamp, zone=BERLIN) == at("2026-11-24 08:45:28")


def test_the_year_is_that_of_the_zone() -> None:
    auckland = ZoneInfo("Pacific/Auckland")
    assert read("Jan  1 08:00:00", "2026-12-31 19:00:30", auckland) == at("2026-12-31 19:00:00")
    new_york = ZoneInfo("America/New_York")
    assert read("Dec 31 20:00:00", "2027-01-01 01:00:30", new_york) == at("2027-01-01 01:00:00")


@pytest.mark.parametrize("stamp", ["Oct 25 02:30:00", "2026-10-25 02:30:00"])
def test_an_hour_that_comes_twice_is_the_one_nearest_to_now(stamp: str) -> None:
    first, second = at("2026-10-25 00:30:00"), at("2026-10-25 01:30:00")
    assert read(stamp, first + timedelta(seconds=1), BERLIN) == first
    assert read(stamp, second + timedelta(seconds=1), BERLIN) == second


def test_the_second_of_two_equal_hours_is_not_remembered_as_the_first() -> None:
    reader = StampReader(at("2026-10-25 00:30:01"), BERLIN)
    stamp = "Oct 25 02:30:00"
    assert reader.moment(stamp) == at("2026-10-25 00:30:00")
    reader.set_now(at("2026-10-25 01:30:01"))
    assert reader.moment(stamp) == at("2026-10-25 01:30:00")


@pytest.mark.parametrize("stamp", ["Mar 29 02:30:00", "2026-03-29 02:30:00"])
def test_an_hour_that_does_not_exist_gives_a_moment_beside_it(stamp: str) -> None:
    moment = read(stamp, "2026-03-29 01:30:01", BERLIN)
    assert moment in {at("2026-03-29 00:30:00"), at("2026-03-29 01:30:00")}


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "Nov 31 08:45:28",
        "Nov  0 08:45:28",
        "Foo 24 08:45:28",
        "Nov 24 25:45:28",
        "Nov 24 08:60:28",
        "Nov 24 08:45:61",
        "Nov 24 08:45:99",
        "Nov 24",
        "Feb 29 12:00:00",  # no year around 2026 has it
        "2026-13-24T08:45:28Z",
        "2026-02-29T08:45:28Z",
        "2026-11-24T08:45:61Z",
        "2026-11-24T08:45:28+99:99",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+05:30",  # a day before the first that has a name
        "9999-12-31T23:59:59-05:30",
        "no stamp at all",
    ],
)
def test_what_is_no_stamp_gives_none(stamp: str) -> None:
    assert StampReader(NOW, UTC).moment(stamp) is None


@pytest.mark.parametrize("stamp", ["0001-01-01 00:00:00", "9999-12-31 23:59:59"])
@pytest.mark.parametrize("zone", [None, BERLIN, ZoneInfo("Pacific/Auckland")])
def test_the_ends_of_the_calendar_raise_nothing(stamp: str, zone: ZoneInfo | None) -> None:
    moment = StampReader(NOW, zone).moment(stamp)
    assert moment is None or moment <= NOW


@given(st.from_regex(re.compile(STAMP, re.ASCII), fullmatch=True))
def test_whatever_looks_like_a_stamp_gives_a_moment_or_none(stamp: str) -> None:
    moment = StampReader(NOW, BERLIN).moment(stamp)
    assert moment is None or moment <= NOW + FUTURE


def test_a_stamp_of_the_future_is_now() -> None:
    ahead = NOW + FUTURE
    assert read(ahead.isoformat()) == ahead
    assert read((ahead + timedelta(seconds=1)).isoformat()) == NOW
    assert read("2037-01-01T00:00:00Z") == NOW


def test_a_stamp_of_the_future_is_not_remembered() -> None:
    reader = StampReader(NOW, UTC)
    reader.moment("2026-11-24T09:00:00Z")
    later = at("2026-11-24 09:00:01")
    reader.set_now(later)
    assert reader.moment("2026-11-24T09:00:00Z") == at("2026-11-24 09:00:00")


@given(st.lists(st.integers(0, 86399), max_size=30))
def test_one_reader_reads_many_stamps_as_a_new_one_reads_each(seconds: list[int]) -> None:
    """Also on the day on which an hour comes twice, and one on which none is there."""
    for day in ("2026-10-25", "2026-03-29", "2026-11-24"):
        now = at(f"{day} 20:00:00")
        reader = StampReader(now, BERLIN)
        for second in seconds:
            clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
            stamp = f"{now:%b} {now.day:2} {clock}"
            assert reader.moment(stamp) == StampReader(now, BERLIN).moment(stamp)


def test_when_the_clock_steps_back_what_lies_ahead_of_it_is_now() -> None:
    reader = StampReader(NOW, UTC)
    assert reader.moment("Nov 24 08:45:20") == at("2026-11-24 08:45:20")
    back = NOW - timedelta(hours=1)
    reader.set_now(back)
    assert reader.moment("Nov 24 08:45:20") == back


def test_a_year_later_the_same_stamp_is_of_that_year() -> None:
    reader = StampReader(NOW, UTC)
    assert reader.moment("Nov 24 08:45:20") == at("2026-11-24 08:45:20")
    reader.set_now(NOW + timedelta(days=365))
    assert reader.moment("Nov 24 08:45:20") == at("2027-11-24 08:45:20")


def test_memory_is_bounded() -> None:
    reader = StampReader(NOW, UTC)
    for minute in range(10_000):
        moment = NOW - timedelta(minutes=minute)
        reader.moment(f"{moment:%b} {moment.day:2} {moment:%H:%M:%S}")
    assert len(reader._minutes) <= 1440
    assert len(reader._hours) <= 1440


@pytest.mark.parametrize(
    ("stamp", "fraction"),
    [
        ("1795509928", ""),
        ("1795509928.5", ".5"),
        ("1795509928481", ".481"),
        ("1795509928.481932", ".481932"),
        ("1795509928481932", ".481932"),
    ],
)
def test_seconds_since_1970(stamp: str, fraction: str) -> None:
    reader = StampReader(NOW, BERLIN)
    assert reader.moment(stamp) == datetime.fromisoformat(f"2026-11-24T08:45:28{fraction}+00:00")


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-11-24T08:45:28.481932+00:00",
        "2026-11-24T09:45:28+01:00",
        "2026-11-24 09:45:28",
        "Nov 24 09:45:28",
        "1795509928",
    ],
)
@pytest.mark.parametrize("host", ["mailhost", "10.20.30.40", "2001:db8::5", None])
def test_the_host_stands_behind_the_stamp(stamp: str, host: str | None) -> None:
    reader = StampReader(NOW, BERLIN)
    for _ in range(2):  # the second time from memory
        text = stamp if host is None else f"{stamp} {host}"
        assert reader.read(text) == (reader.moment(stamp), host)

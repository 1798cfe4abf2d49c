"""A stamp in the admin's own form gives the moment its line was written."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reading.scanning import reader
from tracker.errors import FormatError
from tracker.reading.strftime import StampForm
from tracker.reading.timestamps import StampReader

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
SECONDS = [
    "%s",
    "%Y-%m-%d %H:%M:%S ",
    "%Y-%m-%dT%H:%M:%S%z ",
    "%b %d %H:%M:%S ",
    "%a %b %e %T %Y ",
    "%d/%m/%y %I:%M:%S %p ",
    "%F %k:%M:%S: ",
    "[%d.%b.%Y %H:%M:%S %Z] ",
    "%j/%Y %r ",
    "%H:%M:%S %% %B %d ",
]


def learnt(form: str, zone: ZoneInfo | None = None, now: datetime = NOW) -> StampReader:
    made = StampReader(now, zone or UTC)
    made.learn(form)
    return made


@pytest.mark.parametrize("form", SECONDS)
@given(st.datetimes(datetime(2025, 11, 26), datetime(2026, 11, 24)), st.booleans())
def test_what_strftime_writes_is_read(form: str, moment: datetime, again: bool) -> None:
    written = moment.replace(tzinfo=UTC, microsecond=0)
    stamp = written.strftime(form).rstrip(" ") if form != "%s" else str(int(written.timestamp()))
    assert re.fullmatch(StampForm(form).regex, stamp)
    one = learnt(form)
    for _ in range(1 + again):
        assert one.read(stamp) == (written, None)


def test_a_stamp_without_an_offset_is_in_the_zone_of_the_settings() -> None:
    one = learnt("%d.%m.%Y %H:%M:%S ", BERLIN)
    assert one.read("24.11.2026 09:45:28")[0] == datetime(2026, 11, 24, 8, 45, 28, tzinfo=UTC)
    one = learnt("%d.%m.%Y %H:%M:%S %z", BERLIN)
    assert one.read("24.11.2026 09:45:28 -0230")[0] == datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_an_hour_that_comes_twice_is_the_one_nearest_to_now() -> None:
    for hour in (0, 1):
        now = datetime(2026, 10, 25, hour, 30, 1, tzinfo=UTC)
        one = learnt("%d.%m.%Y %H:%M:%S ", BERLIN, now)
        assert one.read("25.10.2026 02:30:00")[0] == now.replace(second=0)


def test_a_stamp_without_a_year_is_of_the_last_year_that_fits() -> None:
    one = learnt("%d.%m. %H:%M ")
    assert one.read("24.11. 08:45")[0] == datetime(2026, 11, 24, 8, 45, tzinfo=UTC)
    assert one.read("26.11. 08:45")[0] == datetime(2025, 11, 26, 8, 45, tzinfo=UTC)
    assert one.read("29.02. 08:45")[0] is None


def test_a_stamp_of_the_future_is_now_and_not_remembered() -> None:
    one = learnt("%Y/%m/%d %H:%M:%S ")
    assert one.read("2026/11/24 13:00:00")[0] == NOW
    later = NOW.replace(hour=14)
    one.set_now(later)
    assert one.read("2026/11/24 13:00:00")[0] == NOW.replace(hour=13)


@pytest.mark.parametrize(
    "stamp", ["2026/13/24 08:45:28", "2026/02/30 08:45:28", "2026/01/01 99:00:00"]
)
def test_no_such_moment(stamp: str) -> None:
    assert learnt("%Y/%m/%d %H:%M:%S ").read(stamp)[0] is None


def test_a_leap_second_is_the_second_before_it() -> None:
    one = learnt("%Y/%m/%d %H:%M:%S ")
    assert one.read("2016/12/31 23:59:60")[0] == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_other_stamps_are_read_as_ever() -> None:
    one = learnt("%Y/%m/%d %H:%M:%S ")
    assert one.read("2026-11-24T08:45:28Z mailhost")[1] == "mailhost"
    assert one.read("Nov 24 08:45:28 mailhost")[0] == NOW.replace(hour=8, minute=45, second=28)


@given(st.text("%aAbBdehHIjklmMnpPrRsStTuwyYzZDFGcf /:.-[](|", max_size=20), st.text(max_size=30))
def test_any_form_is_refused_or_finds_its_stamps(form: str, stamp: str) -> None:
    try:
        made = StampForm(form)
    except FormatError:
        return
    re.compile(made.regex)
    moment, _ = learnt(form).read(stamp)
    assert moment is None or moment.tzinfo is UTC


@pytest.mark.parametrize(
    ("form", "stamp"), [("%s ", "1795510000 "), ("%d|%m|%y %R ", "24|11|26 08:46 ")]
)
def test_a_log_with_such_stamps(form: str, stamp: str) -> None:
    line = f"{stamp}imap-login: Info: Login: user=<bob>, method=PLAIN, rip=203.0.113.5, lip=::1\n"
    (found,) = reader(settings={"log_timestamp": form}).read(line.encode())
    assert (found.time.day, found.time.hour, found.user) == (24, 8, "bob")
    assert len(reader().read(line.encode())) == (form == "%s "), "seconds are known without it"


def test_memory_is_bounded() -> None:
    one = learnt("%Y/%m/%d %H:%M:%S ")
    for minute in range(5000):
        one.read(f"2026/11/{1 + minute // 1440:02} {minute // 60 % 24:02}:{minute % 60:02}:00")
    assert len(one._cut) <= 1440

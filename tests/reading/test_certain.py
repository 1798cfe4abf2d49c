"""Who only counts events counts those that would have been made, no more and no fewer."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reading.scanning import NOW, reader
from tests.reading.settings import OF_LOG
from tracker.addresses import canonical
from tracker.reading.certain import ADDRESS, CERTAIN_ADDRESS, CERTAIN_STAMP, STAMPED
from tracker.reading.formats import find, names
from tracker.reading.pcre import Expression
from tracker.reading.scanner import Scanner
from tracker.reading.timestamps import StampReader
from tracker.records import Event, Login

CORPUS = Path(__file__).parent.parent / "corpus"
LOGS = sorted(str(path.relative_to(CORPUS)) for path in CORPUS.rglob("*.log"))
PACKAGED = sorted(names(None))

two = st.integers(0, 99).map("{:02}".format) | st.integers(0, 12).map("{:02}".format)
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Foo"]
months = st.sampled_from(MONTHS)
clocks = st.builds("{}:{}:{}".format, two, two, two)
fractions = st.sampled_from(["", ".1", ".123", ".123456", ".1234567", "."])
zones = st.sampled_from(["", "Z", "+00:00", "-0330", "+14:59", "+15:00", "+1", "ZZ", " 08:00:00"])
dates = st.builds("{}{}-{}-{}".format, st.sampled_from(["20", "19", "2"]), two, two, two)
days = two | st.integers(0, 9).map(" {}".format)
stamps = (
    st.builds("{} {} {}".format, months, days, clocks)
    | st.builds("{}T{}{}{}".format, dates, clocks, fractions, zones)
    | st.builds("{} {}{}".format, dates, clocks, fractions)
    | st.datetimes().map(datetime.isoformat)
    | st.sampled_from(["Feb 29 08:00:00", "2026-02-29T08:00:00Z", "2024-04-31 08:00:00"])
)
octets = st.integers(0, 300).map(str) | st.integers(0, 300).map("{:03}".format)
joined = st.lists(st.sampled_from(["0", "f", "1f0a", ""]), min_size=6, max_size=10).map(":".join)
groups = st.integers(0, 0x1FFFF).map("{:x}".format) | st.sampled_from(["", "0", "g", "FFFF"])
addresses = (
    st.ip_addresses().map(str)
    | st.lists(octets, min_size=3, max_size=5).map(".".join)
    | st.lists(groups, min_size=1, max_size=10).map(":".join)
    | st.builds(
        "{}:{}".format, st.sampled_from(["::ffff", "::FFFF", "::fffe", ""]), st.just("1.2.3.4")
    )
    | st.ip_addresses(v=6).map(lambda address: address.exploded)
)


def taken(piece: str, text: str) -> str:
    return Expression(f"^(?:{piece})").rewrite(text.encode(), b"$0")[1]


@given(stamp=stamps, behind=st.sampled_from(["", " host", " 08:45:29 host", "+", ".1"]))
def test_a_certain_stamp_is_one_and_ends_where_any_stamp_ends(stamp: str, behind: str) -> None:
    certain = taken(CERTAIN_STAMP, stamp + behind)
    if certain:
        assert certain == taken(STAMPED, stamp + behind)
        assert StampReader(NOW).read(f"{certain} host")[0] is not None


@given(address=addresses, behind=st.sampled_from(["", ",", ":1", ".1", "f", "]"]))
def test_a_certain_address_is_one_and_ends_where_any_address_ends(
    address: str, behind: str
) -> None:
    certain = taken(CERTAIN_ADDRESS, address + behind)
    if certain:
        assert certain == taken(ADDRESS, address + behind)
        assert canonical(certain) is not None


@given(moment=st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)))
def test_the_stamps_of_syslog_daemons_are_certain(moment: datetime) -> None:
    for stamp in (moment.isoformat(), f"{moment:%b} {moment.day:2} {moment:%H:%M:%S}"):
        leap = moment.day == 29 and moment.month == 2
        assert taken(CERTAIN_STAMP, stamp) == ("" if leap else stamp)


@given(address=st.ip_addresses().map(str).filter(lambda text: len(text) > 2))
def test_the_usual_addresses_are_certain(address: str) -> None:
    assert taken(CERTAIN_ADDRESS, address) == ("" if address.endswith("::") else address)


def made(block: bytes, *formats: str) -> tuple[Counter[type[Event]], int]:
    return Counter(map(type, reader(*formats).read(block))), block.count(b"\n")


def counted(block: bytes, *formats: str) -> tuple[Counter[type[Event]], int]:
    one = reader(*formats)
    events, lines, parts = one.count(block)
    return events + Counter(map(type, one.join(parts))), lines


@pytest.mark.parametrize("name", LOGS)
def test_the_events_of_recorded_logs_are_counted_as_they_are_made(name: str) -> None:
    block = (CORPUS / name).read_bytes()
    for formats in (PACKAGED, ["dovecot"], *([one] for one in PACKAGED)):
        assert counted(block, *formats) == made(block, *formats)


@pytest.mark.parametrize("name", sorted(OF_LOG))
def test_so_are_those_of_a_dovecot_with_other_settings(name: str) -> None:
    block = (CORPUS / f"{name}.log").read_bytes()
    one, other = (reader(settings=OF_LOG[name]) for _ in range(2))
    events, _, parts = one.count(block)
    assert events + Counter(map(type, one.join(parts))) == Counter(map(type, other.read(block)))


@pytest.mark.parametrize("name", PACKAGED)
def test_so_are_those_of_each_example(name: str) -> None:
    one = find(name, None)
    lines = [example.line for example in one.examples]
    for line in lines + [example.line for example in one.counter_examples]:
        block = line.encode("utf-8", "surrogateescape") + b"\n"
        assert counted(block, name) == made(block, name)
        assert counted(block, *PACKAGED) == made(block, *PACKAGED)


LINES = [
    line
    for name in LOGS
    for line in (CORPUS / name).read_text("utf-8", "surrogateescape").split("\n")
    if "ogin" in line or "isconnected" in line
]


@given(
    line=st.sampled_from(LINES),
    place=st.integers(0, 300),
    length=st.integers(0, 30),
    other=stamps | addresses | st.text(max_size=8) | st.sampled_from(["29;", "1;", "\n", "host;"]),
)
def test_so_are_those_of_lines_that_something_was_put_into(
    line: str, place: int, length: int, other: str
) -> None:
    changed = line[:place] + other + line[place + length :]
    block = f"{line}\n{changed}\n".encode("utf-8", "surrogateescape")
    for formats in (PACKAGED, ["dovecot"]):
        assert counted(block, *formats) == made(block, *formats)


def test_forms_of_stamps_that_were_learnt_come_first() -> None:
    settings = {"log_timestamp": "%d %b %H:%M:%S "}
    block = b"24 Nov 08:45:29 pop3-login: Info: Login: user=<a>, rip=203.0.113.5, lip=::1\n"
    events, _, _ = reader(settings=settings).count(block)
    assert sum(events.values()) == len(reader(settings=settings).read(block)) == 1


def test_a_block_that_takes_too_long_to_count_is_read() -> None:
    scanner = Scanner([find("dovecot", None)], StampReader(NOW))
    scanner._counting = Expression(r"(?m)^(?:a|aa)*c(*:0;)", 1000)
    login = b"Nov 24 08:45:29 mx dovecot: pop3-login: Login: user=<a>, rip=203.0.113.5, lip=::1\n"
    assert scanner.count(b"a" * 100 + b"b c\n" + login) == (Counter({Login: 1}), 2, [])


def test_formats_too_large_to_be_counted_at_once_are_read() -> None:
    for name in LOGS:
        block = (CORPUS / name).read_bytes()
        one = reader()
        one._scanner._counting = None
        events, lines, parts = one.count(block)
        assert (events + Counter(map(type, one.join(parts))), lines) == made(block, "dovecot")

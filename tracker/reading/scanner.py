r"""Log bytes to events, fast; pure.

A block is whole lines, each ended by \n and by nothing else: U+0085 or U+2028 in a user name do not
end a line. It is read as Latin-1, so that a position in the text is a position in the bytes and no
byte can fail; names are decoded as UTF-8 only where they are not ASCII.

One regular expression walks the block for lines that start with stamp, host and a known tag (or
with a stamp alone in a server's own log file); only there are the format's patterns tried, in their
order, each anchored right behind. So nothing that a client sends can stand where a server's own
words must.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from socket import AF_INET, inet_pton
from typing import NamedTuple

from msgspec import structs

from tracker.addresses import canonical
from tracker.reading.patterns import FIELDS, CounterExample, Example, Format
from tracker.reading.timestamps import ISO, STAMP, YEARLESS, StampReader
from tracker.records import Event, Failed, Login, Logout

LONGEST_LINE = 64 * 1024
"""Bytes of a line beyond which sources skip it unread."""

_HOST = r"[^ ()<>\n]++"
"""A host's name. In a server's own log `imap(USER)<PID>..` stands in its place, and a USER may say
` dovecot: ` to pass for a line of syslog."""

_EVENTS: dict[str, type[Event]] = {"login": Login, "logout": Logout, "failed": Failed}


class Scanned(NamedTuple):
    """The events of a block, and for each the place in the block where its line begins."""

    events: list[Event]
    starts: list[int]


class _Style(NamedTuple):
    """One style of log: a regular expression for a whole line, from its \\n to its event.

    `looks`: how any line of that style begins, whoever wrote it. `ends`: which event a match is, by
    the number of its last group, and the numbers of the groups that hold stamp and FIELDS.
    """

    looks: re.Pattern[str]
    regex: re.Pattern[str]
    ends: dict[int, tuple[type[Event], tuple[int, ...]]]


class Scanner:
    """Reads blocks of lines; it remembers nothing from one to the next."""

    def __init__(self, formats: Sequence[Format], stamps: StampReader) -> None:
        """`stamps` gives the events their time; its clock is set by the caller."""
        self._stamps = stamps
        self._styles = [style for one in formats for style in _styles(one)]

    def scan(self, block: bytes) -> Scanned:
        """The events in `block`, in the order of its lines. A last line needs its \\n too."""
        text = "\n" + block.decode("latin-1")
        passes = [self._pass(style, text) for style in self._styles_in(text)]
        if len(passes) == 1:
            return passes[0]
        merged = sorted(
            (pair for found in passes for pair in zip(found.starts, found.events, strict=True)),
            key=lambda pair: pair[0],
        )
        return Scanned([event for _, event in merged], [start for start, _ in merged])

    def _styles_in(self, text: str) -> list[_Style]:
        """The styles of the first and the last line: a log does not change its style twice a block.

        All of them where one of the two tells nothing.
        """
        last = text.rfind("\n", 0, len(text) - 1)
        ends = [
            [style for style in self._styles if style.looks.match(text, at)] for at in {0, last}
        ]
        if not all(ends):
            return self._styles
        return [style for style in self._styles if any(style in found for found in ends)]

    def _pass(self, style: _Style, text: str) -> Scanned:
        # One loop, nothing called that need not be: this is where a large log spends its time.
        events: list[Event] = []
        starts: list[int] = []
        read, ends = self._stamps.read, style.ends
        last, time = "", None
        for match in style.regex.finditer(text):
            make, groups = ends[match.lastindex or 0]
            stamp, service, user, address, session = match.group(*groups)
            if stamp != last:
                last, time = stamp, read(stamp)
            if time is None:
                continue
            if address is not None:
                try:
                    inet_pton(AF_INET, address)  # most are IPv4, and this is what makes one so
                except OSError:
                    address = canonical(address)
                    if address is None:
                        continue
            if not user:
                user = None
            elif not user.isascii():
                user = user.encode("latin-1").decode("utf-8", "backslashreplace")
            events.append(make(time, service, user, address, session))
            starts.append(match.start())
        return Scanned(events, starts)


def _styles(one: Format) -> Iterator[_Style]:
    tags = "|".join(re.escape(tag) for tag in one.tags)
    if tags:
        # The reader of stamps says what is one; to find the line, its length is enough.
        for stamp, found in ((YEARLESS, r"[A-Z][^\n]{14}"), (ISO, ISO)):
            line = rf"{_HOST} (?:{tags})(?:\[[0-9]{{1,10}}+\]|): "
            yield _style(one, rf"\n({stamp}) {_HOST} ", rf"\n({found}) {line}")
        rfc5424 = rf"\n<[0-9]{{1,3}}+>1 ({STAMP}) {_HOST} "
        message = r"[^ \n]++ [^ \n]++ (?:-|(?:\[(?:[^\]\\\n]|\\.)*+\])++) {1,2}(?:\xef\xbb\xbf)?"
        yield _style(one, rfc5424, rf"{rfc5424}(?:{tags}) {message}")
    if one.own_log:
        own = rf"\n({STAMP}) (?=[a-z][a-z0-9-]*+[:(])"
        yield _style(one, own, own)


def _style(one: Format, looks: str, head: str) -> _Style:
    """One expression for the style: its head, then the patterns, each closed by an empty group."""
    ends: dict[int, tuple[type[Event], tuple[int, ...]]] = {}
    bodies: list[str] = []
    count = re.compile(head).groups
    for number, pattern in enumerate(one.patterns):
        text = pattern.regex
        for field in FIELDS:
            text = text.replace(f"(?P<{field}>", f"(?P<{field}_{number}>")
        order = re.compile(text).groupindex
        places = (1, *(count + order[f"{field}_{number}"] for field in FIELDS))
        count += len(FIELDS) + 1
        ends[count] = (_EVENTS[pattern.event], places)
        bodies.append(f"(?:{text})()")
    whole = re.compile(f"{head}(?:{'|'.join(bodies)})", re.ASCII)
    return _Style(re.compile(looks, re.ASCII), whole, ends)


def prove(one: Format) -> Iterator[str]:
    """The faults that a format's own examples show, one line each; none for a sound format."""
    scanner = Scanner([one], StampReader(datetime(2026, 11, 24, 12, tzinfo=UTC), UTC))
    for example in one.examples:
        found = _first(scanner, example)
        meant = (example.event, example.service, example.user, example.address, example.session)
        if found != meant:
            yield f"this example gives {found}, not {meant}: {example.line}"
    for counter in one.counter_examples:
        found = _first(scanner, counter)
        if found is not None and found[0] == "login":
            yield f"this counter-example ({counter.why}) gives a login: {counter.line}"


def _first(
    scanner: Scanner, example: Example | CounterExample
) -> tuple[str, str | None, str | None, str | None, str | None] | None:
    events = scanner.scan(example.line.encode("utf-8", "surrogateescape") + b"\n").events
    if not events:
        return None
    event = events[0]
    kind = next(name for name, make in _EVENTS.items() if isinstance(event, make))
    return (kind, *structs.astuple(event)[1:])

r"""Log bytes to events, fast; pure.

A block is whole lines, each ended by \n and by nothing else: U+0085 or U+2028 in a user name do not
end a line. Blocks are bytes to the end: no byte can fail, and names are decoded as UTF-8 only where
they are not ASCII. `expression.py` has the one expression that finds the lines, for all formats at
once; `pcre.py` gives the groups of all matches in a block as one text, a group a line. No group can
have a line feed in it, which is counted here for every block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from socket import AF_INET, inet_pton
from typing import NamedTuple, cast

from tracker.addresses import canonical
from tracker.reading.correlating import Part
from tracker.reading.expression import COLUMNS, Route, build, counting
from tracker.reading.patterns import Format
from tracker.reading.pcre import Expression, PatternError, TooManyStepsError
from tracker.reading.timestamps import StampReader
from tracker.records import Event, Failed, Login, Logout, Restart

LONGEST_LINE = 64 * 1024
"""Bytes of a line beyond which sources skip it unread."""

_WIDTH = len(COLUMNS) + 1
_RECORD = "".join(["${*MARK}\n", *(f"${n}\n" for n in range(2, _WIDTH)), "$0\n"]).encode()
"""The mark, the groups from the second on, the whole line."""

_STAMP, _ADDRESS = COLUMNS.index("stamp") + 1, COLUMNS.index("address") + 1
_DOUBTS = f"${{*MARK}}${_STAMP}${_ADDRESS}".encode()
"""For who counts: the mark; behind it what makes it none that is known, where that must be looked
at."""

_EVENTS: dict[str | None, type[Event]] = {
    "login": Login,
    "logout": Logout,
    "failed": Failed,
    "restart": Restart,
}


class Scanned(NamedTuple):
    """What the lines of a block tell, and where in the block each of these lines begins, where that
    was asked for. Items that are no events yet are for the `Correlator`."""

    items: list[Event | Part]
    starts: list[int]


class Counted(NamedTuple):
    """How many events of each kind there are in some lines, but for those that only the
    `Correlator` can tell; how many lines; and what is for the `Correlator`."""

    events: Counter[type[Event]]
    lines: int
    parts: list[Part]


class Scanner:
    """Reads blocks of lines; it remembers nothing from one to the next."""

    def __init__(self, formats: Sequence[Format], stamps: StampReader) -> None:
        """`stamps` gives the events their time; its clock is set by the caller."""
        pattern, routes = build(formats)
        self._formats, self._stamps = formats, stamps
        for one in formats:
            if one.timestamp:
                stamps.learn(one.timestamp)
        self._expression = Expression(pattern)
        marked = {str(mark): route for mark, route in enumerate(routes)}
        self._make = {
            mark: (_EVENTS.get(route.event, Event), route.format.name)
            for mark, route in marked.items()
        }
        self._unaligned = {mark: one for mark, one in marked.items() if not _aligned(one)}
        self._parts = {
            mark: (route, route.format.names_sessions())
            for mark, route in marked.items()
            if not _plain(route)
        }
        self._counted = {
            f"{mark};": self._make[mark][0]
            for mark, route in marked.items()
            if mark not in self._parts and _looked_at(route)
        }
        self.correlates = bool(self._parts)
        self.given_up = 0

    def scan(self, block: bytes, *, placed: bool = False) -> Scanned:
        """What the lines of `block` tell, in their order. A last line needs its \\n too.

        `placed`: also tell where each line begins.
        """
        items, lines = self._tell(self._matched(block, placed=placed))
        return Scanned(items, _places(block, lines) if placed else [])

    def count(self, block: bytes) -> Counted:
        """What `scan` would find in `block`, its events only counted."""
        marks = self._marks(block)
        if marks is not None:
            return marks
        items = self.scan(block).items
        parts = [item for item in items if isinstance(item, Part)] if self._parts else []
        kinds = Counter(map(type, items))
        del kinds[Part]
        return Counted(cast("Counter[type[Event]]", kinds), block.count(b"\n"), parts)

    @cached_property
    def _counting(self) -> Expression | None:
        try:
            return Expression(counting(self._formats))
        except PatternError:  # a little larger than the other expression, and so too large
            return None

    def _marks(self, block: bytes) -> Counted | None:
        """None where something must be looked at to know whether it counts."""
        if self._counting is None or self._stamps.learnt():
            return None
        try:
            lines, text = self._counting.rewrite(block, _DOUBTS)
        except TooManyStepsError:
            return None
        found = Counter(text.split("\n"))
        del found[""]
        if not found.keys() <= self._counted.keys():
            return None
        events: Counter[type[Event]] = Counter()
        for mark, number in found.items():
            events[self._counted[mark]] += number
        return Counted(events, lines, [])

    def _matched(self, block: bytes, *, placed: bool) -> list[str]:
        """The records of all matches, the whole block's as one text where it can be had."""
        record = _RECORD if placed else _RECORD.removesuffix(b"$0\n") + b"\n"
        whole = self._records(block, record)
        if whole is not None:
            return [whole]
        one_by_one = [self._records(line + b"\n", record) for line in block.split(b"\n")]
        self.given_up += one_by_one.count(None)
        return [text for text in one_by_one if text]

    def _records(self, block: bytes, record: bytes) -> str | None:
        """None when it cannot be told what is in the block."""
        try:
            found, text = self._expression.rewrite(block, record)
        except TooManyStepsError:
            return None
        # A group that has a line feed in it would put all values behind it in wrong places.
        return text if text.count("\n") == found * _WIDTH else None

    def _tell(self, matched: list[str]) -> tuple[list[Event | Part], list[str]]:
        items: list[Event | Part] = []
        lines: list[str] = []
        for text in matched:
            values = text.split("\n")
            self._align(values)
            self._collect(values, items, lines, ascii_only=text.isascii())
        return items, lines

    def _align(self, values: list[str]) -> None:
        """Put each field in its column, where a route has them otherwise."""
        unaligned = self._unaligned
        if unaligned.keys().isdisjoint(values[::_WIDTH]):
            return
        for at in range(0, len(values) - 1, _WIDTH):
            route = unaligned.get(values[at])
            if route is not None:
                groups, old = route.groups, values[at : at + _WIDTH]
                service = old[groups["service"] - 1] if "service" in groups else route.service or ""
                values[at + 1 : at + _WIDTH - 1] = [
                    old[groups["stamp"] - 1],
                    route.format.services.get(service, service),
                    *(old[groups[name] - 1] if name in groups else "" for name in COLUMNS[3:]),
                ]

    def _collect(
        self, values: list[str], items: list[Event | Part], lines: list[str], *, ascii_only: bool
    ) -> None:
        # One loop, nothing called that need not be: this is where a large log spends its time.
        makes, parts, read = self._make, self._parts, self._stamps.read
        last, time, host = "", None, None
        for mark, stamp, service, user, address, session, pid, line in zip(
            *[iter(values)] * _WIDTH, strict=False
        ):
            if stamp != last:
                last, (time, host) = stamp, read(stamp)
            if time is None:
                continue
            at: str | None = None
            if address:
                try:
                    inet_pton(AF_INET, address)  # most are IPv4, and this is what makes one so
                    at = address
                except OSError:
                    at = canonical(address)
                    if at is None:
                        continue
            make, name = makes[mark]
            event = make(
                time,
                service or None,
                (user if ascii_only else _decoded(user)) or None,
                at,
                session or None,
                host,
                name,
            )
            items.append(event if mark not in parts else _part(*parts[mark], event, pid))
            if line:
                lines.append(line)


def _decoded(name: str) -> str:
    return name.encode("latin-1").decode("utf-8", "backslashreplace")


def _aligned(route: Route) -> bool:
    return route.aligned() and not route.format.services and route.service is None


def _looked_at(route: Route) -> bool:
    """Whether its stamp and address stand where who counts looks for doubts."""
    groups = route.groups
    return groups["stamp"] == _STAMP and groups.get("address", _ADDRESS) == _ADDRESS


def _plain(route: Route) -> bool:
    """Whether its events need no other line."""
    guarded = route.event == "login" and route.format.guard is not None
    return route.event in {"login", "logout", "failed"} and not (guarded or route.format.by_pid)


def _part(route: Route, named: bool, event: Event, pid: str) -> Part:
    one = route.format
    server = f"{event.host or ''}/{one.name}"
    guard = one.guard if route.event is None else None
    return Part(
        server=server,
        time=event.time,
        process=f"{server}[{pid}]" if one.by_pid and pid else None,
        address=event.address,
        event=event if route.event in _EVENTS else None,
        doubt=timedelta(seconds=guard.seconds) if guard else None,
        named=named,
    )


def _places(block: bytes, lines: list[str]) -> list[int]:
    """Where in the block each of the lines begins."""
    text, at, places = b"\n" + block, 0, []
    for line in lines:
        at = text.index(b"\n" + line.encode("latin-1") + b"\n", at)
        places.append(at)
        at += 1
    return places

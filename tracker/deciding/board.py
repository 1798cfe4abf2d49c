"""What `popgate top` shows and how its keys change that; pure, `now` is an argument.

A board sees all grants again and again. What differs from the last time are its events. The
selection is a grant, not a line: it stays on it wherever the grant moves to. A word of an admin
(`Order`) comes of two keys, one that asks and `y`; it names the grant that was asked about.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct

from tracker.addresses import order
from tracker.records import Grant

Key = tuple[str, str]
"""Address and user of a grant."""

EXTENSION = timedelta(minutes=30)
"""By how much `+` makes a grant end later."""

_EVENTS_KEPT = 200
_RATES_KEPT = timedelta(minutes=5)
_LONGEST_FILTER = 60

SORTS: Mapping[str, Callable[[Grant], Any]] = {
    "left": lambda one: one.expires,
    "login": lambda one: -one.last_login.timestamp(),
    "address": lambda one: order(one.address),
    "user": lambda one: one.user,
}
"""How the grants can be sorted, in the order in which `s` goes through them."""


class Happened(Struct, frozen=True):
    """A grant that came, was renewed, or went, as far as two looks tell."""

    time: datetime
    kind: Literal["added", "renewed", "removed"]
    grant: Grant


class Order(Struct, frozen=True):
    """What an admin wants done to a grant; of an address, to all of its grants (`user` is None).

    `length`: from now on, of an extension. `others`: users whose grants keep the address open.
    """

    what: Literal["revoke", "extend"]
    address: str
    user: str | None
    length: timedelta = timedelta(0)
    others: int = 0


class Board:
    """The grants as they were last seen, and what is shown of them."""

    def __init__(self) -> None:
        self._grants: dict[Key, Grant] | None = None
        self._rows: list[Grant] | None = None
        self._sorts = list(SORTS)
        self._sort = 0
        self._selected: Key | None = None
        self._seconds: Counter[int] = Counter()
        self._began: datetime | None = None
        self.addresses = 0
        """How many addresses have a grant."""
        self.backwards = False
        self.filter = ""
        self.typing = False
        """Whether keys go into the filter."""
        self.asked: Order | None = None
        """What a question is open about."""
        self.helping = False
        self.said = ""
        """A line for the reader: what became of the last order."""
        self.events: deque[Happened] = deque(maxlen=_EVENTS_KEPT)

    # What it sees

    def see(self, grants: Iterable[Grant], now: datetime) -> None:
        """All grants as they are now."""
        new = {(one.address, one.user): one for one in grants if one.expires > now}
        old, self._grants = self._grants, new
        if new == old:
            return
        self._rows = None
        self.addresses = len({address for address, _ in new})
        if old is None:
            self._began = now
            return
        for key, grant in new.items():
            before = old.get(key)
            if before is None:
                self._note("added", grant, now)
            elif before.last_login < grant.last_login or before.expires < grant.expires:
                self._note("renewed", grant, now)
        for key, grant in old.items():
            if key not in new:
                self._note("removed", grant, now)

    def _note(
        self, kind: Literal["added", "renewed", "removed"], grant: Grant, now: datetime
    ) -> None:
        self.events.append(Happened(now, kind, grant))
        if kind != "removed":
            self._seconds[int(now.timestamp())] += 1

    def rate(self, now: datetime) -> float | None:
        """Logins a minute that earned or renewed a grant, of the last minutes; None before the
        first look is some seconds ago."""
        if self._began is None or now - self._began < timedelta(seconds=5):
            return None
        last = now - _RATES_KEPT
        for second in [one for one in self._seconds if one < last.timestamp()]:
            del self._seconds[second]
        return self._seconds.total() / ((now - max(self._began, last)) / timedelta(minutes=1))

    # What it shows

    @property
    def sort(self) -> str:
        """By what the grants are sorted."""
        return self._sorts[self._sort]

    @property
    def all(self) -> Mapping[Key, Grant]:
        """Every grant."""
        return self._grants or {}

    def rows(self) -> list[Grant]:
        """The grants that the filter lets through, in order."""
        if self._rows is None:
            self._rows = self._sorted()
        return self._rows

    def _sorted(self) -> list[Grant]:
        found = [
            one
            for one in self.all.values()
            if not self.filter or self.filter in one.address or self.filter in one.user.lower()
        ]
        found.sort(key=lambda one: (SORTS[self.sort](one), order(one.address), one.user))
        return found[::-1] if self.backwards else found

    def selected(self, rows: Sequence[Grant]) -> int:
        """Which of the rows is selected; the first where the selected grant is not among them."""
        if self._selected is None:
            return 0
        for place, one in enumerate(rows):
            if (one.address, one.user) == self._selected:
                return place
        return 0

    def window(self, rows: Sequence[Grant], height: int) -> tuple[int, int]:
        """The part of the rows to show, as first and end, with the selected one in the middle."""
        first = min(self.selected(rows) - height // 2, len(rows) - height)
        first = max(first, 0)
        return first, min(first + height, len(rows))

    # Keys

    def press(self, key: str, now: datetime, page: int = 10) -> Order | None:
        """A key: a character, or the name of one such as `up`. An order, when it gives one."""
        if self.asked is not None:
            asked, self.asked = self.asked, None
            self.said = "" if key in ("y", "Y") else "nothing changed"
            return asked if key in ("y", "Y") else None
        self.said = ""
        if self.typing:
            self._rows = None
            self._type(key)
        elif self.helping:
            self.helping = False
        elif key in _MOVES:
            self._move(_MOVES[key], page)
        elif key in ("r", "R", "+"):
            self._ask(key, now)
        else:
            self._rows = None
            self._set(key)
        return None

    def _set(self, key: str) -> None:
        if key == "s":
            self._sort = (self._sort + 1) % len(self._sorts)
        elif key == "S":
            self.backwards = not self.backwards
        elif key == "/":
            self.typing = True
        elif key == "escape":
            self.filter = ""
        elif key in ("?", "h"):
            self.helping = True

    def _type(self, key: str) -> None:
        if key == "escape":
            self.filter, self.typing = "", False
        elif key == "enter":
            self.typing = False
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1 and key.isprintable() and len(self.filter) < _LONGEST_FILTER:
            self.filter += key.lower()

    def _move(self, move: _Move, page: int) -> None:
        rows = self.rows()
        if rows:
            place = self.selected(rows) + move.rows + move.pages * page
            one = rows[min(max(place, 0), len(rows) - 1)]
            self._selected = (one.address, one.user)

    def _ask(self, key: str, now: datetime) -> None:
        rows = self.rows()
        if not rows:
            self.said = "no grant is selected"
            return
        one = rows[self.selected(rows)]
        self._selected = (one.address, one.user)
        of_address = sum(address == one.address for address, _ in self.all)
        if key == "+":
            length = max(one.expires - now, timedelta(0)) + EXTENSION
            self.asked = Order("extend", one.address, one.user, length)
        elif key == "r":
            self.asked = Order("revoke", one.address, one.user, others=of_address - 1)
        else:
            self.asked = Order("revoke", one.address, None)


class _Move(Struct, frozen=True):
    rows: int = 0
    pages: int = 0


_FAR = 10**9
_MOVES: Mapping[str, _Move] = {
    "up": _Move(rows=-1),
    "k": _Move(rows=-1),
    "down": _Move(rows=1),
    "j": _Move(rows=1),
    "page up": _Move(pages=-1),
    "page down": _Move(pages=1),
    "home": _Move(rows=-_FAR),
    "g": _Move(rows=-_FAR),
    "end": _Move(rows=_FAR),
    "G": _Move(rows=_FAR),
}

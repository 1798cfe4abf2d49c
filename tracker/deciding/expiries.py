"""When grants end, and when addresses do: those with the end of their last grant; pure.

Where nobody reads the log, nothing is known of sessions: an open one counts so long as if it had
ended when the log was last read.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from tracker.deciding.book import Book, Facts, facts
from tracker.records import Grant

_Time = TypeVar("_Time", datetime, float)


def ends(grant: Grant, unread: datetime | None) -> datetime:
    """When a grant ends. `unread`: nothing is known of sessions, so they count until then."""
    return _end(grant.until, grant.expires, bool(grant.sessions), unread)


def _end(until: _Time, expires: _Time, in_session: bool, unread: _Time | None) -> _Time:
    if unread is None or not in_session:
        return expires
    return min(expires, max(until, unread))


class Expiries(Mapping[str, datetime]):
    """The addresses of a book: a view, not a copy. Go through `items` in one pass."""

    def __init__(
        self, book: Book, unread: datetime | None = None, now: datetime | None = None
    ) -> None:
        """`unread`: nothing is known of sessions, so they count until then. With `now`, addresses
        that are over by it are left out, and of the others the whole expiry is told."""
        self._book = book
        self._unread = None if unread is None else unread.timestamp()
        self._now = None if now is None else now.timestamp()

    def __getitem__(self, address: str) -> datetime:
        last = self._last([facts(one) for one in self._book.of(address).values()])
        if last is None:
            raise KeyError(address)
        return datetime.fromtimestamp(last, UTC)

    def _last(self, grants: Sequence[Facts]) -> float | None:
        """When the last of an address's grants ends; None when that counts as over."""
        if not grants:
            return None
        last = max(_end(*one, self._unread) for one in grants)
        if self._now is None:
            return last
        return max(one[1] for one in grants) if last > self._now else None

    def seconds(self) -> Iterator[tuple[str, float]]:
        """Each address, and when its last grant ends in seconds since 1970."""
        now = -1.0 if self._now is None else self._now
        for address, grants in self._book.ends():
            _, expires, in_session = grants[0]
            # Most have one grant and no session: a million calls fewer.
            if len(grants) == 1 and not in_session:
                if expires > now:
                    yield address, expires
            elif (last := self._last(grants)) is not None:
                yield address, last

    def items(self) -> _Items:
        return _Items(self)

    def __iter__(self) -> Iterator[str]:
        return (address for address, _ in self.seconds())

    def __len__(self) -> int:
        return sum(1 for _ in self.seconds())


class _Items(ItemsView[str, datetime]):
    def __init__(self, expiries: Expiries) -> None:
        super().__init__(expiries)
        self._expiries = expiries

    def __iter__(self) -> Iterator[tuple[str, datetime]]:
        for address, last in self._expiries.seconds():
            yield address, datetime.fromtimestamp(last, UTC)

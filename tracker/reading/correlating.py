"""Joins what several lines tell of one session; pure.

Some servers write the address in one line and the user in the next, with the same process id.
Others can be made to write a login of the client's own making, by a message that is too long for
their log. The `Correlator` remembers what a later line needs, in bounded memory, and its memory can
be saved with the position in the log, so that a restart between two lines loses nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct, structs

from tracker.records import Event, Login, Logout, Restart

T = TypeVar("T")

_PROCESSES = 16384
_SERVERS = 1024


class Part(NamedTuple):
    """What one line tells that must be joined with others.

    `process`: who wrote it (host, format, pid), where lines are joined by that. `event`: None where
    the line only gives an address to those that follow. `doubt`: no login of the same server is
    believed for so long.
    """

    server: str
    time: datetime
    process: str | None
    address: str | None
    event: Event | None
    doubt: timedelta | None = None


class _Memory(Struct):
    addresses: dict[str, str] = {}
    doubted: dict[str, datetime] = {}


class Correlator:
    """Remembers what later lines need."""

    def __init__(self, memory: bytes = b"") -> None:
        """`memory`: what `saved` gave before; what cannot be read is forgotten."""
        try:
            self._memory = msgspec.json.decode(memory, type=_Memory) if memory else _Memory()
        except msgspec.MsgspecError:
            self._memory = _Memory()
        self.changed = False

    def saved(self) -> bytes:
        """All that is remembered, to go on from later."""
        self.changed = False
        return msgspec.json.encode(self._memory)

    def join(self, item: Event | Part) -> Event | None:
        """The event with what other lines told of its session; None where there is none, or it is
        not to be believed."""
        return self._join(item) if isinstance(item, Part) else item

    def _join(self, part: Part) -> Event | None:
        if part.doubt is not None:
            self._put(self._memory.doubted, part.server, part.time + part.doubt, _SERVERS)
            return None
        event = part.event
        if isinstance(event, Login) and self._is_doubted(part):
            return None
        if isinstance(event, Restart):
            self._forget(part.server)
            return event
        if part.process is None:
            return event
        addresses = self._memory.addresses
        if part.address is not None:
            self._put(addresses, part.process, part.address, _PROCESSES)
        if event is None:
            return None
        event = structs.replace(
            event,
            address=part.address or addresses.get(part.process),
            session=event.session or part.process,
        )
        if isinstance(event, Logout):
            self.changed |= addresses.pop(part.process, None) is not None
        return event

    def _is_doubted(self, part: Part) -> bool:
        until = self._memory.doubted.get(part.server)
        return until is not None and part.time <= until

    def _forget(self, server: str) -> None:
        """The processes of a server that began anew are others, whatever their pids."""
        gone = [one for one in self._memory.addresses if one.startswith(f"{server}[")]
        for process in gone:
            del self._memory.addresses[process]
        self.changed |= bool(gone)

    def _put(self, into: dict[str, T], key: str, value: T, most: int) -> None:
        into.pop(key, None)
        while len(into) >= most:
            del into[next(iter(into))]  # the oldest
        into[key] = value
        self.changed = True

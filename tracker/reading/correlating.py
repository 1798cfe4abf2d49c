"""Joins what several lines tell of one session; pure.

Some servers write the address in one line and the user in the next, with the same process id, and
name the session only where it begins. Others can be made to write a login of the client's own
making, by a message that is too long for their log. The `Correlator` remembers what a later line
needs, in bounded memory, and its memory can be saved with the position in the log, so that a
restart between two lines loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct, structs

from tracker.records import Event, Login, Logout, Restart

T = TypeVar("T")

CONNECTED = timedelta(minutes=30)
"""How long after it a line that gives an address may be followed by the login. Servers close a
connection that does not log in sooner (IMAP: RFC 3501 5.4); a pid is some day another process's,
and the line that says so may be lost."""

_PROCESSES = 4096
_SERVERS = 1024


class Part(NamedTuple):
    """What one line tells that must be joined with others.

    `process`: who wrote it (host, format, pid), where lines are joined by that; `named`: the server
    names its sessions itself, else the process is the session's name. `event`: None where the line
    only gives an address to those that follow. `doubt`: no login of the same server is believed for
    so long.
    """

    server: str
    time: datetime
    process: str | None
    address: str | None
    event: Event | None
    doubt: timedelta | None = None
    named: bool = False


class _Process(Struct, frozen=True):
    """The connection that a process serves: one at a time, but it may serve many in its life."""

    address: str | None
    time: datetime
    login: Login | None = None


class _Memory(Struct):
    processes: dict[str, _Process] = {}
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

    def join(self, item: Event | Part) -> Sequence[Event]:
        """The event with what other lines told of its session; none where there is none, or it is
        not to be believed. The end of a session that only this line shows comes before it."""
        return self._join(item) if isinstance(item, Part) else (item,)

    def _join(self, part: Part) -> Sequence[Event]:
        if part.doubt is not None:
            self._put(self._memory.doubted, part.server, part.time + part.doubt, _SERVERS)
            return ()
        event = part.event
        if isinstance(event, Login) and self._is_doubted(part):
            return ()
        if isinstance(event, Restart):
            self._forget(part.server)
            return (event,)
        if part.process is None:
            return () if event is None else (event,)
        return self._of_process(part, part.process, event)

    def _of_process(self, part: Part, process: str, event: Event | None) -> Sequence[Event]:
        processes = self._memory.processes
        known = processes.get(process)
        if event is None:
            self._put(processes, process, _Process(part.address, part.time), _PROCESSES)
            return _ended(known, part.time)
        if isinstance(event, Logout):
            self.changed |= processes.pop(process, None) is not None
            login = known.login if known else None
            address = part.address or (known.address if known else None)
            session = event.session or (login.session if login else None)
            event = _said_of(login, event)
        else:
            address = part.address or _recent(known, part.time)
            session = event.session
        if session is None and not part.named:
            session = process
        event = structs.replace(event, address=address, session=session)
        if not isinstance(event, Login):
            return (event,)
        self._put(processes, process, _Process(address, part.time, event), _PROCESSES)
        return (*_ended(known, part.time, event), event)

    def _is_doubted(self, part: Part) -> bool:
        until = self._memory.doubted.get(part.server)
        return until is not None and part.time <= until

    def _forget(self, server: str) -> None:
        """The processes of a server that began anew are others, whatever their pids."""
        processes = self._memory.processes
        gone = [one for one in processes if one.startswith(f"{server}[")]
        for process in gone:
            del processes[process]
        self.changed |= bool(gone)

    def _put(self, into: dict[str, T], key: str, value: T, most: int) -> None:
        into.pop(key, None)
        while len(into) >= most:
            del into[next(iter(into))]  # the oldest
        into[key] = value
        self.changed = True


def _said_of(login: Login | None, event: Logout) -> Logout:
    """The end of that login's session, with what its own line leaves out."""
    if login is None:
        return event
    service, user = event.service or login.service, event.user or login.user
    return structs.replace(event, service=service, user=user)


def _recent(known: _Process | None, time: datetime) -> str | None:
    """The address of the connection that has not logged in yet."""
    waits = known is not None and known.login is None and time - known.time <= CONNECTED
    return known.address if known and waits else None


def _ended(known: _Process | None, time: datetime, by: Login | None = None) -> Sequence[Event]:
    """The end of the session that the process served before, whose own line was not written."""
    login = known.login if known else None
    if login is None or login.session is None or (by and by.session == login.session):
        return ()
    return (
        Logout(
            time, login.service, login.user, login.address, login.session, login.host, login.format
        ),
    )

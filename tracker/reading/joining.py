"""Gives a logout the address of its login, for those who read events one by one; pure.

Dovecot's logout line has no address. The ledger joins it on the session by itself; `scan`, which
keeps no ledger, joins it here, as long as the login is among the last tens of thousands.
"""

from __future__ import annotations

from msgspec import structs

from tracker.records import Event, Login, Logout

_JOINED = 32768


class SessionJoin:
    """Remembers the addresses of recent sessions, in bounded memory."""

    def __init__(self) -> None:
        self._recent: dict[str, str] = {}
        self._older: dict[str, str] = {}

    def join(self, event: Event) -> Event:
        """The event, with its address where another line of its session told it."""
        if event.session is None:
            return event
        if isinstance(event, Login) and event.address is not None:
            if len(self._recent) >= _JOINED:
                self._older, self._recent = self._recent, {}
            self._recent[event.session] = event.address
        elif isinstance(event, Logout) and event.address is None:
            address = self._recent.get(event.session) or self._older.get(event.session)
            return structs.replace(event, address=address) if address else event
        return event

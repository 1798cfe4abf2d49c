"""What grants are, by brute force: every window is kept, and counted through each time.

Written from what grants are to be, and not in the ledger's way: that keeps sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tracker.settings import GrantSettings

ORPHAN = timedelta(minutes=1)
"""How long a logout waits for its login."""

Key = tuple[str, str]


@dataclass
class Right:
    """What one address and user have: windows by their ends, open sessions by their beginnings."""

    ends: list[datetime] = field(default_factory=list)
    sessions: dict[str, datetime] = field(default_factory=dict)
    services: set[str] = field(default_factory=set)
    by_hand: bool = False

    def last(self, longest: timedelta) -> datetime:
        return max([*self.ends, *(began + longest for began in self.sessions.values())])

    def without_the_longest(self, longest: timedelta, now: datetime) -> None:
        """Sessions that last too long count no more; their ends may have been lost."""
        self.sessions = {
            name: began for name, began in self.sessions.items() if began + longest > now
        }


class Model:
    """All rights, under the settings of now."""

    def __init__(self, settings: GrantSettings, now: datetime) -> None:
        self.settings = settings
        self.now = now
        self.rights: dict[Key, Right] = {}
        self.ended: dict[str, datetime] = {}

    def refused(self, address: str, service: str) -> bool:
        return (
            not self.settings.window
            or service not in self.settings.services
            or f"{address}/32" in self.settings.exclude_networks
        )

    def login(self, key: Key, service: str, session: str, at: datetime) -> None:
        if self.refused(key[0], service):
            return
        old = self.rights.get(key, Right())
        new = Right([*old.ends], {**old.sessions}, {*old.services, service}, old.by_hand)
        new.ends.append(at + self.settings.window)
        if self.settings.while_connected:
            if session in self.ended:
                new.ends.append(self.ended.pop(session) + self.settings.window)
            else:
                new.sessions[session] = at
        new.without_the_longest(self.settings.max_session, self.now)
        if new.last(self.settings.max_session) > self.now:
            self.rights[key] = new

    def logout(self, session: str, at: datetime) -> None:
        if not self.settings.while_connected:
            return
        for right in self.rights.values():
            if session in right.sessions:
                del right.sessions[session]
                right.ends.append(at + self.settings.window)
                right.without_the_longest(self.settings.max_session, at)
                return
        self.ended[session] = at

    def allow(self, key: Key, length: timedelta) -> None:
        right = self.rights.setdefault(key, Right())
        right.ends.append(self.now + length)
        right.by_hand = True
        right.without_the_longest(self.settings.max_session, self.now)

    def revoke(self, address: str) -> None:
        self.rights = {key: one for key, one in self.rights.items() if key[0] != address}

    def under(self, settings: GrantSettings) -> None:
        """Other settings, a clock that was put back, or a new start."""
        self.settings = settings
        self.ended = {name: min(at, self.now) for name, at in self.ended.items()}
        for key, right in list(self.rights.items()):
            refused = all(self.refused(key[0], service) for service in right.services)
            if refused and not right.by_hand:
                del self.rights[key]
                continue
            if not right.by_hand:
                latest = self.now + settings.window
                right.ends = [min(end, latest) for end in right.ends]
            right.sessions = {
                name: min(began, self.now)
                for name, began in right.sessions.items()
                if settings.while_connected and not refused
            }
            right.without_the_longest(settings.max_session, self.now)

    def pass_by(self) -> None:
        """What is over at this moment ends."""
        longest = self.settings.max_session
        self.rights = {key: one for key, one in self.rights.items() if one.last(longest) > self.now}
        self.ended = {name: at for name, at in self.ended.items() if at + ORPHAN > self.now}

    def grants(self) -> dict[Key, tuple[datetime, frozenset[str]]]:
        """Until when each may send, and its open sessions."""
        return {
            key: (right.last(self.settings.max_session), frozenset(right.sessions))
            for key, right in self.rights.items()
        }

"""Who must hold a grant, worked out from everything that happened, without the program's own rules.

It keeps every login and every logout and counts anew each time it is asked; the ledger keeps sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=30)
LONGEST = timedelta(hours=24)
"""The defaults of grants.window and grants.max_session."""


@dataclass(slots=True)
class Visit:
    """A session: from when to when, as it was logged; `until` None: it is open."""

    session: str
    since: datetime
    until: datetime | None = None

    def ends(self) -> datetime:
        """When the right ends that comes of it."""
        if self.until is None:
            return self.since + LONGEST
        return max(self.since, self.until) + WINDOW


@dataclass
class Oracle:
    """Everything that was logged, by address and user."""

    visits: dict[tuple[str, str], list[Visit]] = field(default_factory=dict)
    of_session: dict[str, Visit] = field(default_factory=dict)

    def login(self, address: str, user: str, session: str, at: datetime) -> None:
        visit = self.of_session[session] = Visit(session, at)
        self.visits.setdefault((address, user), []).append(visit)

    def logout(self, session: str, at: datetime) -> None:
        self.of_session[session].until = at

    def revoke(self, address: str) -> None:
        for key in [key for key in self.visits if key[0] == address]:
            del self.visits[key]

    def expiries(self, now: datetime) -> dict[str, datetime]:
        """For each address that may send now, until when."""
        ends: dict[str, datetime] = {}
        for (address, _), visits in self.visits.items():
            last = max(visit.ends() for visit in visits)
            if last > now:
                ends[address] = max(last, ends.get(address, last))
        return ends

    def sessions(self, now: datetime) -> dict[str, int]:
        """For each of these, how many sessions are open."""
        return {
            address: sum(
                visit.until is None and visit.since + LONGEST > now
                for (other, _), visits in self.visits.items()
                if other == address
                for visit in visits
            )
            for address in self.expiries(now)
        }

    def user(self, session: str) -> str:
        """Whose session it is."""
        return next(
            user
            for (_, user), visits in self.visits.items()
            for visit in visits
            if visit.session == session
        )

"""What the engine does, told to the history: what the tables held, and each change of what is not a
grant, in an admin's words.

Lists and settings are compared with what the history has of them, not with what this process had
before: so a change that was made while nobody was at work is told by the next start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta

from tracker import config
from tracker.deciding import differences
from tracker.deciding.access import SenderPolicy
from tracker.deciding.trusted import TrustedList
from tracker.history import snapshots
from tracker.history.changes import ChangeWriter
from tracker.history.records import ChangeOf, Commit, PastChange
from tracker.settings import Settings
from tracker.store import Store
from tracker.writing.publish import Publisher

log = logging.getLogger("popgate")

_SAID = 20
_PRUNED_EVERY = timedelta(minutes=1)
_NAMED = 3


class Recording:
    """The history of one configuration, written."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._audit = settings.audit
        self._clock = clock
        self._pruned: datetime | None = None
        self.words: list[PastChange] = []
        """Changes of lists that no commit has told yet."""

    def started(self, settings: Settings, read_until: datetime | None) -> None:
        """The follower begins its work with these settings."""
        until = "never" if read_until is None else read_until.isoformat(timespec="seconds")
        self._happened("service", "started", [f"the log was last read to its end: {until}"])
        body = snapshots.of_settings(config.as_json(settings))
        with self._store.history() as history:
            history.begin(self._clock())
            before = history.latest("settings")
            if body == before:
                return
            lines = differences.of_settings(
                snapshots.flat_settings(before), snapshots.flat_settings(body)
            )
            history.snapshots({"settings": body}, self._clock())
            if before is not None:
                self._tell(history, "settings", _counted(lines), lines)

    def ended(self) -> None:
        """The follower ends as it was told to."""
        self._happened("service", "stopped")

    def trusted(self, trusted: TrustedList) -> None:
        """The trusted list is published."""
        bodies = snapshots.of_trusted(trusted)
        with self._store.history() as history:
            listed, names = history.latest("trusted"), history.latest("names")
            if bodies == {"trusted": listed, "names": names}:
                return
            before = snapshots.trusted_list(listed, names)
            lines = differences.of_trusted(before.entries, trusted.entries)
            history.snapshots(bodies, self._clock())
            of: ChangeOf = "name" if bodies["trusted"] == listed else "trusted"
            if lines:
                self.words.append(self._tell(history, of, _subject("trusted list", lines), lines))

    def senders(self, senders: SenderPolicy) -> None:
        """The tables of local senders and of the lists are published."""
        tables = snapshots.of_tables(senders.tables)
        networks = snapshots.of_networks(senders.host.mynetworks)
        with self._store.history() as history:
            before, nets = history.latest("senders"), history.latest("postfix")
            if tables != before:
                history.snapshots({"senders": tables}, self._clock())
                changed = differences.of_tables(snapshots.access_tables(before), senders.tables)
                for name, lines in changed.items():
                    self.words.append(self._tell(history, "senders", _subject(name, lines), lines))
            if networks != nets:
                history.snapshots({"postfix": networks}, self._clock())
                shown = " ".join(
                    f"{'' if yes else '!'}{net}" for net, yes in senders.host.mynetworks
                )
                self._tell(history, "senders", "Postfix's mynetworks", [shown or "empty"])

    def seen(self, kind: str, held: Collection[str], *, told: bool = False) -> None:
        """What the grant table was found to hold, before it is brought in line. `told`: what was
        edited in it has been said."""
        with self._store.history() as history:
            lines = history.found_held(kind, held, self._clock())
        if lines and not told:
            self.edited([f"{kind}: {line}" for line in lines])

    def published(self, publisher: Publisher) -> None:
        """Addresses reached the live table, or left it."""
        come, gone = publisher.moves()
        if gone:
            with self._store.history() as history:
                history.published(publisher.kind, come, gone, self._clock())

    def table(self, name: str, kind: str) -> None:
        """A text or a table of a list was put in its place."""
        self._happened("table", name, [kind])

    def reloaded(self) -> None:
        """Postfix was told to read its tables anew."""
        self._happened("reload", "postfix reload")

    def edited(self, lines: list[str]) -> None:
        """Tables or texts were found to be other than popgate left them, and are put right."""
        for line in lines[:_SAID]:
            log.warning("event=edited what=%r action=%r", line, "put right")
        self._happened("edit", f"{len(lines)} differences put right", lines)

    def committed(self, commit: Commit) -> None:
        """The texts were committed."""
        self.words.clear()
        with self._store.history() as history:
            history.committed(commit)

    def tidy(self, now: datetime) -> None:
        """Once a minute: let go of some of what is too old."""
        if self._pruned is None or now - self._pruned >= _PRUNED_EVERY:
            self._pruned = now
            keep = timedelta(days=self._audit.keep_days)
            self._store.prune(now, keep, self._audit.keep_grants)

    def _happened(self, of: ChangeOf, what: str, detail: Iterable[str] = ()) -> None:
        with self._store.history() as history:
            self._tell(history, of, what, detail)

    def _tell(
        self, history: ChangeWriter, of: ChangeOf, what: str, detail: Iterable[str]
    ) -> PastChange:
        change = PastChange(self._clock(), of, what, tuple(detail))
        history.happened([change])
        return change


def _subject(name: str, lines: list[str]) -> str:
    """A line for a commit: the changes themselves where they are few."""
    if len(lines) <= _NAMED:
        return f"{name}: {'; '.join(line.partition('  # ')[0] for line in lines)}"
    return f"{name}: {_counted(lines)}"


def _counted(lines: list[str]) -> str:
    """Such as `5 added, 2 removed`."""
    words = [line.partition(" ")[0] for line in lines]
    counts = [
        f"{number} {word}"
        for word in ("added", "removed", "moved")
        if (number := words.count(word))
    ]
    rest = len(lines) - sum(words.count(word) for word in ("added", "removed", "moved"))
    return ", ".join([*counts, *([f"{rest} changed"] if rest else [])])

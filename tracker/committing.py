"""What changed since the last commit, and the commit that tells it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime

from tracker.exporting import Exporting
from tracker.history.records import Commit
from tracker.pseudonyms import Names
from tracker.recording import Recording
from tracker.records import Change
from tracker.settings import Settings
from tracker.writing.audit import History
from tracker.writing.messages import Net, message


class Committing:
    """The commits of one engine."""

    def __init__(
        self,
        settings: Settings,
        recording: Recording,
        exporting: Exporting,
        names: Names,
        clock: Callable[[], datetime],
        *,
        follow: bool,
    ) -> None:
        """`follow`: this process reads the log, and pushes."""
        self._commits = settings.audit.commit
        self._history = History(settings.tables.directory, settings.audit.push if follow else "")
        self._recording = recording
        self._exporting = exporting
        self._names = names
        self._clock = clock
        self._grants = Net()
        self._texts: list[str] = []

    def changed(self, change: Change) -> None:
        """A grant came, went or was renewed."""
        self._grants.add(change)

    def put(self, text: str) -> None:
        """A text or table of the lists was written."""
        self._texts.append(text)

    def due(self) -> bool:
        """Whether anything changed that no commit has told."""
        return bool(self._grants or self._texts or self._exporting.exports.changed())

    def lists_due(self) -> bool:
        """Whether anything changed in the lists: that is committed at once."""
        return bool(self._texts or self._recording.words)

    def take_over(self, other: Committing) -> None:
        """Tell the changes of grants in another one's place."""
        self._grants, other._grants = other._grants, Net()

    def commit(self) -> bool:
        """Commit all there is; False when it is too soon after a commit that failed. Raises
        AuditError."""
        if not self._made(self._grants):
            return False
        self._grants = Net()
        return True

    def commit_lists(self) -> None:
        """Commit what changed in the lists; grants wait. Raises AuditError."""
        self._made(())

    def _made(self, changes: Iterable[Change]) -> bool:
        if self._commits:
            if not self._history.due(time.monotonic()):
                return False
            exported = self._exporting.exports.changed()
            words = [(one.what, one.detail) for one in self._recording.words]
            shown = Net(self._names.changes(changes))
            text = message(shown, [*self._texts, *exported], words)
            if made := self._history.commit(text):
                self._recording.committed(Commit(self._clock(), made, text.partition("\n")[0]))
            self._exporting.exports.commit(message(shown, exported))
        self._recording.words.clear()
        self._exporting.exports.settled()
        self._texts.clear()
        return True

    def tend(self, patience: float | None = None) -> list[str]:
        """Push and pack what was committed, beside all else; what went wrong, a line each.
        `patience`: wait for it, so many seconds at most."""
        if patience is None:
            return list(self._history.tend())
        return list(self._history.finish(patience))

"""The trusted list in force: its file and what DNS says of its names, looked at together.

A file that cannot be understood is an error once; the last good list stays, and the names in it
are followed on. A file that was written to a moment ago may be half of what it will be, or be gone
until an editor has written it anew: it is taken up when it has been left alone for a moment. One
that is never left alone is taken up all the same now and then, where it ends with a whole line:
what was taken out of it must not stay trusted for as long as somebody goes on editing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tracker import regular
from tracker.answers import remembered
from tracker.deciding import trusted
from tracker.deciding.names import UNKNOWN, Known, NamePolicy, known
from tracker.deciding.trusted import TrustedList
from tracker.errors import TrustedError
from tracker.listfile import stamp
from tracker.records import NEVER, NameAnswers
from tracker.settings import Settings

if TYPE_CHECKING:  # so that commands that look nothing up need not load dnspython
    from tracker.resolver import Resolver

log = logging.getLogger("popgate")

_SETTLED = 0.25
"""Seconds that the file must have been left alone."""
_RESTLESS = timedelta(seconds=5)
"""How long a file that is never left alone is waited for. The first part of a list that is being
written trusts nobody whom the whole would not: the first entry that matches wins."""


class Trusting:
    """One list file, and who looks its names up; without a resolver, what was kept of answers."""

    def __init__(
        self,
        settings: Settings,
        resolver: Resolver | None = None,
        changed: Callable[[str, Known], None] = lambda _name, _known: None,
    ) -> None:
        """`changed` is told of each name that comes to stand for something else."""
        self._file = settings.trusted.file
        self._state = settings.state.directory
        self._policy = NamePolicy(settings.trusted.stale, settings.trusted.private_names)
        self._resolver = resolver
        self._changed = changed
        self.unsettled = False
        """Whether there is a list that cannot be taken up yet: look again soon."""
        self._seen: tuple[int, ...] | None = None
        self._restless: datetime | None = None
        self._listed = TrustedList()
        self._next: TrustedList | None = None
        self._patience = NEVER
        self._timeout = settings.trusted.timeout + timedelta(seconds=1)
        self._known: Mapping[str, Known] = {}
        self._answers: Mapping[str, NameAnswers] = {}
        self._ends: datetime | None = None

    def reread(self, now: datetime) -> TrustedList | None:
        """The list as it is now; None when it is as it was. Raises TrustedError."""
        first = self._seen is None
        if (listed := self._read(now)) is not None:
            self._next = listed
            self._patience = now if first else now + self._timeout
            self._follow(self._listed.names | listed.names)
        if taken := self._next is not None and self._asked(self._next, now):
            self._listed, self._next = self._next or self._listed, None
            self._follow(self._listed.names)
        self.unsettled |= self._next is not None
        changed = self._look_at_names(now, anew=taken)
        return self._listed.bound(self._known) if taken or changed else None

    def _asked(self, listed: TrustedList, now: datetime) -> bool:
        """Whether DNS has been asked for all names of a new list, or should have been by now.

        Taken up before, a `!name` would take everything out for a moment, and each name would cost
        a reload more.
        """
        if self._resolver is None or listed.names <= self._resolver.answers().keys():
            return True
        # More than was to be waited for is left: the clock was put back.
        return not timedelta(0) < self._patience - now <= self._timeout

    def _follow(self, names: frozenset[str]) -> None:
        if self._resolver is not None:
            self._resolver.follow(names)

    def _read(self, now: datetime) -> TrustedList | None:
        """The list in the file, when it is another one and nobody is writing it."""
        before, seen = self._seen, stamp(self._file)
        self.unsettled = False
        if seen == before:
            self._restless = None
            return None
        wait = _SETTLED - _age(self._file, now)
        written = 0 < wait <= _SETTLED
        if written and before is None:
            time.sleep(wait)
            seen = stamp(self._file)
        elif written and not self._waited(now):
            self.unsettled = True
            return None
        self._seen = seen
        text = read_text(self._file)
        whole = not written or text.endswith("\n")
        if before is not None and (stamp(self._file) != seen or not whole):
            self._seen, self.unsettled = before, True
            return None
        self._restless = None
        return trusted.parse(text, str(self._file))

    def _waited(self, now: datetime) -> bool:
        """Whether the file has not been left alone for long."""
        self._restless = self._restless or now
        # Less than nothing: the clock was put back.
        return not timedelta(0) <= now - self._restless < _RESTLESS

    def known(self) -> Mapping[str, Known]:
        """What each name of the list stands for, as of the last `reread`."""
        return self._known

    def _look_at_names(self, now: datetime, *, anew: bool) -> bool:
        """Whether a name stands for something else than before, which is then told."""
        if not self._listed.names:
            self._known = {}
            return False
        answers = self._resolver.answers() if self._resolver else remembered(self._state)
        # A resolver gives other answers as another object, and time alone ends some.
        if not anew and answers is self._answers and (self._ends is None or now < self._ends):
            return False
        before, self._answers = self._known, answers
        self._known = {
            name: known(answers[name], self._policy, now) if name in answers else UNKNOWN
            for name in sorted(self._listed.names)
        }
        self._ends = min((one.ends for one in self._known.values() if one.ends), default=None)
        changed = False
        for name, one in self._known.items():
            old = before.get(name, UNKNOWN)
            differs = old.stands_for() != one.stands_for()
            changed |= differs
            # That nobody has asked for it yet is no news.
            if differs or (old is UNKNOWN and one is not UNKNOWN):
                self._changed(name, one)
        return changed


def read_trusted(file: Path) -> TrustedList:
    """The trusted list in a file; a missing file is an empty list. Raises TrustedError."""
    return trusted.parse(read_text(file), str(file))


def read_text(file: Path) -> str:
    """The file's text, nothing where it is missing. Raises TrustedError."""
    try:
        # No newline is translated: what an edit does not touch stays as it is, to the byte.
        return regular.read_text(file, newline="")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise TrustedError(f"{file}: cannot be read: {error}") from error


def _age(file: Path, now: datetime) -> float:
    """Seconds since the file was written to, or since it went; below 0 by a clock put back."""
    for path in (file, file.parent):
        with suppress(OSError):
            return now.timestamp() - path.stat().st_mtime
    return _SETTLED


def say(name: str, now: Known) -> None:
    """One line of the log for a name that changes."""
    log.log(
        logging.INFO if now.state == "resolved" and not now.refused else logging.WARNING,
        "event=name_%s name=%s addresses=%r refused=%r trouble=%r",
        now.state,
        name,
        " ".join(map(str, now.trusted)),
        "; ".join(now.refused),
        now.trouble or "",
    )

"""What no login changes: the trusted list, local senders, the lists, and the snippets; read, and
put in its place.

Each is taken up as a whole or not at all: what is bad is said, and the last good one stays, in
memory and in the tables.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from tracker.committing import Committing
from tracker.deciding.access import SenderPolicy
from tracker.deciding.trusted import TrustedList
from tracker.errors import ListError, PostfixError, TrustedError
from tracker.exporting import Exporting
from tracker.recording import Recording
from tracker.records import Table
from tracker.settings import Settings
from tracker.standing import Standing, watched
from tracker.trusting import Trusting, say
from tracker.writing import render
from tracker.writing.postfix import Postfix
from tracker.writing.publish import Publisher

if TYPE_CHECKING:
    from tracker.resolver import Resolver

log = logging.getLogger("popgate")

_SAID = 20
"""Lines of a bad trusted list that are logged; `popgate trust check` names all."""


class Lists:
    """The lists of one engine: `trusted` and `senders` are those in force."""

    def __init__(
        self,
        settings: Settings,
        postfix: Postfix,
        resolver: Resolver | None,
        clock: Callable[[], datetime],
        *,
        follow: bool,
    ) -> None:
        """`follow`: this process reads the log, and insists on lists that are good. Raises a
        PopgateError then."""
        self._settings = settings
        self._resolver = resolver
        self._clock = clock
        self._trusting = Trusting(settings, resolver, say)
        self._standing = Standing(settings, postfix)
        self.trusted = self._first_trusted(follow=follow)
        # Only who follows the log writes what is made of these.
        self.senders = self._standing.read(time.monotonic()) if follow else SenderPolicy()
        self.trusted_behind = False
        """Whether the trusted list in force is not in its table yet."""
        self._senders_behind = False
        self._fault = ""

    def _first_trusted(self, *, follow: bool) -> TrustedList:
        """The trusted list. One that is bad must keep nobody from ending grants, so only the
        follower, who writes it to Postfix, insists on it."""
        try:
            return self._trusting.reread(self._clock()) or TrustedList()
        except TrustedError as error:
            if follow:
                raise
            log.warning("event=bad_trusted_list error=%r action=%r", str(error), "left as it is")
            return TrustedList()

    def reread_trusted(self) -> bool:
        """Take up a changed trusted list, or a name that now stands for other addresses; whether
        there is one to be put."""
        try:
            changed = self._trusting.reread(self._clock())
        except TrustedError as error:
            for line in str(error).splitlines()[:_SAID]:
                log.error("event=bad_trusted_list error=%r action=%r", line, "the old list stays")
            return False
        if changed is not None:
            self.trusted = changed
            self.trusted_behind = True
        return self.trusted_behind

    def unsettled(self) -> bool:
        """Whether a trusted list waits to be taken up."""
        return self._trusting.unsettled

    def look_names_up(self) -> bool:
        """Ask for the names whose answers are over, and wait for DNS; whether there were any."""
        if self._resolver is None or not self.trusted.names:
            return False
        self._resolver.look_up()
        self._resolver.keep()
        return True

    def reread_senders(self) -> bool:
        """Take up changed domains and lists; whether there is something to be put."""
        now = time.monotonic()
        if not self._standing.due(now) and not self._senders_behind:
            return False
        try:
            read = self._standing.read(now)
        except (ListError, PostfixError) as error:
            for line in str(error).splitlines() if str(error) != self._fault else ():
                log.error("event=bad_list error=%r action=%r", line, "the old lists stay")
            self._fault = str(error)
            return False
        self._fault = ""
        self._senders_behind = self._senders_behind or read is not self.senders
        self.senders = read
        return self._senders_behind

    def watched(self) -> list[str]:
        """The files in which something may change."""
        return [str(self._settings.trusted.file), *map(str, watched(self._settings))]

    def texts(self, publisher: Publisher) -> list[Table]:
        """The trusted list and the snippets, as they should stand."""
        return [
            render.trusted_table(self.trusted, self._settings.trusted.file),
            render.main_cf_snippet(self._settings, publisher.kind),
            render.master_cf_snippet(),
        ]

    def put_trusted(
        self, publisher: Publisher, recording: Recording, exporting: Exporting, commits: Committing
    ) -> None:
        """Put the trusted list and the snippets in their places."""
        exporting.policy_changed()
        for text in self.texts(publisher):
            if publisher.put_text(text):
                commits.put(text.name)
                recording.table(text.name, text.kind)
        recording.trusted(self.trusted)
        self.trusted_behind = False

    def put_senders(
        self, publisher: Publisher, recording: Recording, exporting: Exporting, commits: Committing
    ) -> None:
        """Put the tables of local senders and of the lists in their places."""
        exporting.policy_changed()
        for table in self.senders.tables.values():
            if publisher.put_access(table):
                commits.put(table.name)
                kind = publisher.kind if table.asks == "sender" else "cidr"
                recording.table(table.name, kind)
        recording.senders(self.senders)
        self._senders_behind = False

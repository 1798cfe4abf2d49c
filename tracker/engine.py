"""One step of popgate: read what is new, decide, save, publish. Synchronous; `service` times it.

The order within a step is what makes a kill harmless: grants, sessions and reading positions are
saved in one transaction, then the tables follow. Whatever a kill left behind is put right by the
next start, which compares the tables with the ledger.

Each step holds the state lock, so that `popgate allow`, `revoke` and `expire` can do their work
beside a running service; when one of them did, the ledger is read anew.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tracker import __version__, telling
from tracker.committing import Committing
from tracker.deciding.access import SenderPolicy
from tracker.deciding.index import GrantIndex
from tracker.deciding.ledger import Ledger
from tracker.deciding.limits import Watch
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.rules import RuleSet
from tracker.deciding.trusted import TrustedList
from tracker.errors import DamagedError, StoreError
from tracker.exporting import Exporting
from tracker.history.lives import Told
from tracker.host import host_name, own_addresses, utc_now
from tracker.lists import Lists
from tracker.metrics import Metrics, RunMetrics
from tracker.pseudonyms import names
from tracker.publishing import Publishing
from tracker.reading.follow import LogReader
from tracker.reading.selecting import doubts, forgeable, select
from tracker.recording import Recording
from tracker.records import NEVER, Change, Ended
from tracker.settings import Settings
from tracker.status import Status
from tracker.store import Store
from tracker.writing.edits import Edits
from tracker.writing.postfix import Postfix
from tracker.writing.publish import Publisher, table_type

if TYPE_CHECKING:
    from tracker.resolver import Resolver

log = logging.getLogger("popgate")

_ENDS = 10_000
"""Grants that end in one step at most: logins are not kept waiting while a million ends at once."""

_OUTCOMES: Mapping[str, str] = {"login": "accepted", "failed": "refused"}
_HEARTBEAT = timedelta(seconds=60)
_JITTER = timedelta(seconds=1)


class Engine:
    """Everything that one configuration needs, joined."""

    def __init__(
        self,
        settings: Settings,
        *,
        follow: bool,
        clock: Callable[[], datetime] = utc_now,
        resolver: Resolver | None = None,
        figures: RunMetrics | None = None,
    ) -> None:
        """`follow`: this process reads the log. One that does not knows nothing of sessions since
        the log was last read. `resolver`: looks up the names of the trusted list; closed with the
        engine. `figures`: where it counts. Raises a PopgateError when the settings name what is not
        there."""
        self.settings = settings
        self._figures = figures or RunMetrics(Metrics())
        self._follow = follow
        self._current = False
        self._clock = clock
        self._formats = select(settings.log, clock()) if follow else []
        for line in doubts(self._formats, settings.log):
            log.warning("event=forgeable what=%r", line)
        doubtful = forgeable(self._formats, settings.log)
        self._policy = GrantPolicy(settings.grants, own_addresses(), doubtful)
        postfix = Postfix(settings.postfix)
        self.publisher = publisher_of(settings, postfix, follow=follow)
        self._edits = Edits(settings.tables.directory, postfix, self.publisher.kind)
        self._resolver = resolver
        self._lists = Lists(settings, postfix, resolver, clock, follow=follow)
        self._exporting = Exporting(settings, self.publisher, postfix)
        self.store = Store(settings.state.directory)
        self._names = names(settings, make=True)
        self._recording = Recording(self.store, settings, clock)
        self._watch = Watch()
        self._ledger = Ledger(self._policy)
        self._reader: LogReader | None = None
        self._commits = Committing(
            settings, self._recording, self._exporting, self._names, clock, follow=follow
        )
        self._tables = Publishing(
            self.publisher, self._recording, self._exporting, self._names, follow=follow
        )
        self._check_at = float("inf")
        self._repaired = False
        self._heard = self._seen_until = self._latest = NEVER
        self._listed: tuple[datetime, frozenset[tuple[str, str]]] = (NEVER, frozenset())
        self._in_session = False
        self._index = GrantIndex()
        self.answering = RuleSet(TrustedList(), {}, scope=settings.grants.scope)

    @property
    def trusted(self) -> TrustedList:
        """The trusted list in force."""
        return self._lists.trusted

    @property
    def senders(self) -> SenderPolicy:
        """The rules of senders in force."""
        return self._lists.senders

    def start(self) -> None:
        """Load the state, open the logs, bring all tables in line. Raises a PopgateError."""
        with self.store.exclusive():
            self.publisher.prepare()
            self._sound_state()
            self._begin()
            if self._follow:
                self._recording.started(self.settings, self.store.read_until())
                self._checked()
            differed = self._tables.match(self.rules())
            # Whoever was killed before may have left texts or a commit undone.
            self._repaired = differed or self._follow
            self._tables.behind = False
            self._answer(())
            if self._follow:
                self._put_senders()
            # Names that DNS has not answered for too long end even when nobody follows the log.
            if self._follow or (self._lists.trusted.names and self.store.running() is None):
                self._put_trusted()

    def recover(self) -> None:
        """After an error: forget what was read but not saved, and go on from the store."""
        with self.store.exclusive():
            self._sound_state()
            self._current = False
            self._begin()
            self._answer(())
            self._tables.behind = True

    def _sound_state(self) -> None:
        """Where the state is damaged, begin a new one: what was logged in the last window is read
        again. Nothing is known of sessions from before, nor of what was allowed or revoked. Who
        does not read the log cannot: DamagedError."""
        try:
            self.store.check()
        except DamagedError as error:
            if not self._follow:
                raise
            kept = self.store.set_aside()
            log.error(
                "event=state_damaged error=%r kept=%s action=%r",
                str(error),
                kept,
                "grants begin anew from the logs: say again what you revoked or allowed by hand",
            )

    def end_over(self) -> None:
        """End in the table what is over, though a step failed: nothing is read or saved for it.

        Nobody reads the log meanwhile, so an open session counts as ended when it was last read.
        Where the state cannot be read either, the table's own word counts.
        """
        with self.store.exclusive():
            now = self._clock()
            self.answering = self._rules({}, self._seen_until)
            try:
                ends = self._ledger.expiries_unread(self._seen_until)
                kept = {address for address, end in ends.items() if end > now}
            except StoreError:
                self.publisher.end_over(now.timestamp())
                raise
            self.publisher.end_others(kept)

    def close(self) -> None:
        """Let go of files and locks."""
        if self._reader is not None:
            self._reader.close()
        if self._resolver is not None:
            self._resolver.close()
        self.store.close()

    def take_over(self, other: Engine) -> None:
        """Follow the log in another engine's place; what it had not committed yet goes along."""
        self.store.take_over(other.store)
        self._commits.take_over(other._commits)
        self._exporting.exports.take_over(other._exporting.exports)

    def _begin(self) -> None:
        now = self._clock()
        self._load(now)
        if self._reader is not None:
            self._reader.close()
        if self._follow:
            since = now - self.settings.grants.window
            self._reader = LogReader(self.settings.log, self._formats, self.store, now, since)

    def _load(self, now: datetime) -> None:
        """The ledger as the store has it, under the settings of now."""
        self.store.changed_elsewhere()
        agreed = self.store.agreed(self._policy.terms, now, follow=self._follow)
        self._seen_until = self.store.read_until() or NEVER
        if self._seen_until > now:  # the clock was put back
            self._seen_until = now
            self.store.save([], now, read_until=now)
        self._ledger = Ledger(
            self._policy, ended=self.store.ended(), watch=self._watch, kept=self.store.kept()
        )
        # A million grants that were made under these settings need not be looked at.
        changes = [] if agreed else self._ledger.reconfigure(self._policy, now)
        self._keep([*changes, *self._ledger.expire(now)], now)
        if self._follow and not agreed:
            self.store.agree(self._policy.terms, now)
        self._index_all()

    def _index_all(self) -> None:
        """Only the policy service asks it: for any other it would be a second ledger."""
        if self.settings.grants.scope == "address":
            self._index.replace(self._ledger.grants())

    def step(self) -> bool:
        """Read, decide, save, publish; True when there is more to read at once."""
        with self.store.exclusive():
            now = self._clock()
            self._refresh(now)
            changes: list[Change | Ended] = []
            told, moved = Told(), False
            if self._reader is not None:
                events, moved = self._reader.read(now)
                told = Told(self._reader.origin)
                self._ledger.expect(events)
                for number, event in enumerate(events):
                    made = self._ledger.apply(event, now)
                    changes += made
                    told.add(number, event, len(made))
                self._see_whether_current()
                for one in self._watch.crossings():
                    self._figures.crossings.add(one.limit)
                    telling.crossing(one, self._names)
            changes += self._ledger.expire(now, _ENDS)
            self._answer(changes)
            if moved or now - self._heard >= _HEARTBEAT:
                self._keep(changes, now, self._reader, told)
            else:
                self._keep(changes, now)
            for (_, kind), number in told.counts.items():
                if kind in _OUTCOMES:
                    self._figures.logins.add(_OUTCOMES[kind], number)
            self._in_session = self._ledger.has_sessions()
            over = self._ledger.is_over(now)
            more = over or (self._reader is not None and self._reader.more())
            self._publish(changes, late=more, over=over)
            return more

    def _see_whether_current(self) -> None:
        """Whether all that is logged has been read, and the tables may rest on it."""
        assert self._reader is not None
        current = not self._reader.troubles() and (self._current or not self._reader.more())
        if not current or not self._current:
            self._tables.behind = True
        self._current = current

    def _refresh(self, now: datetime) -> None:
        if self.store.changed_elsewhere():
            if self.store.replaced():
                self._begin()
            else:
                self._load(now)
            self._tables.behind = True
            self._check_at = min(self._check_at, 0.0)
            self._exporting.grants_unknown()
        back, self._latest = self._latest - now, now
        if back > _JITTER:
            log.warning("event=clock_put_back seconds=%d", back.total_seconds())
            self._heard, self._seen_until = min(self._heard, now), min(self._seen_until, now)
            # Else windows would last longer by as much.
            shrunk = self._ledger.reconfigure(self._policy, now, "the clock was put back")
            self._keep([*shrunk], now)
            self._index_all()
            self._tables.behind = True
            self._exporting.grants_unknown()

    def _keep(
        self,
        changes: list[Change | Ended],
        now: datetime,
        reader: LogReader | None = None,
        told: Told | None = None,
    ) -> None:
        """Save changes, with the positions of `reader` where they come from its lines; and say what
        changed."""
        if reader is not None:
            at_end = not reader.more() and not reader.troubles()
            read_until = now if at_end else None
            self.store.save(
                changes,
                now,
                positions=reader.positions(),
                read_until=read_until,
                cursors=reader.cursors(),
                memory=reader.memory(),
                told=told,
            )
            self._ledger.saved()
            reader.saved()
            self._heard = now
            self._seen_until = read_until or self._seen_until
            self._recording.tidy(now)
        elif changes:
            self.store.save(changes, now)
            self._ledger.saved()
        for change in changes:
            if isinstance(change, Change):
                self._commits.changed(change)
                self._figures.changes.add(change.kind)
                telling.change(change, self._names)

    # The tables

    def rules(self) -> RuleSet:
        """The rules in force: what the tables are rendered from and `decide` walks."""
        read_until = self._read_until()
        if read_until is None:
            return self._rules(self._ledger.expiries(), None)
        unread = self._ledger.expiries_unread(read_until, self._clock())
        return self._rules(unread, read_until)

    def _rules(self, expiries: Mapping[str, datetime], read_until: datetime | None) -> RuleSet:
        return RuleSet(
            self._lists.trusted,
            expiries,
            self.settings.grants.ipv6_prefix,
            self._lists.senders,
            self._index,
            scope=self.settings.grants.scope,
            owners=self._lists.senders.owners,
            unread=None if read_until is None else self._ledger.unread(read_until),
        )

    def _read_until(self) -> datetime | None:
        """None when somebody has caught up with the log. Else the end of a session may have been
        logged and not been read: it counts as ended then, when the log was last read to its end."""
        if self._current or (not self._follow and self.store.running() is not None):
            return None
        return self.store.read_until() or NEVER

    def _answer(self, changes: Iterable[Change | Ended]) -> None:
        """Have the policy service answer by what is known now, before it is saved or published."""
        if self.settings.grants.scope == "address":
            for address in {one.grant.address for one in changes if isinstance(one, Change)}:
                self._index.put(address, self._ledger.of(address))
            self.answering = self._rules({}, self._read_until())

    def _publish(
        self, changes: Iterable[Change | Ended], *, late: bool = False, over: bool = False
    ) -> None:
        """Have the grant table follow: `Publishing.follow` has the words."""
        caught_up = self._read_until() is None
        self._tables.follow(changes, self.rules, caught_up=caught_up, late=late, over=over)

    def _put_trusted(self) -> None:
        self._lists.put_trusted(self.publisher, self._recording, self._exporting, self._commits)

    def _put_senders(self) -> None:
        self._lists.put_senders(self.publisher, self._recording, self._exporting, self._commits)

    def check(self) -> None:
        """When it is time: compare all tables with what they should hold, and put right what
        somebody edited."""
        late = self._tables.behind or self._lists.trusted_behind or self._tables.waits()
        if time.monotonic() < self._check_at or late:
            return
        with self.store.exclusive():
            self._refresh(self._clock())
            self._checked()
            found = self._edits.find(
                [*self._lists.texts(self.publisher), *self._tables.written()],
                self._lists.senders.tables.values(),
                self.rules().granted(),
            )
            if found:
                self._recording.edited(found)
                self._repaired = True
                self._put_trusted()
                self._put_senders()
                self._tables.match(self.rules(), told=True)
            self._repaired = self._repaired or not self._tables.has_text()  # it is written anew
            self.store.checked()

    def _checked(self) -> None:
        interval = self.settings.audit.check_interval.total_seconds()
        self._check_at = time.monotonic() + (interval or float("inf"))

    def export(self) -> list[str]:
        """Bring what other programs read in line with the tables; what failed, a line each.

        Where another popgate follows the log, that one does it. Who does not follow it leaves what
        no login changes.
        """
        if not self._follow and self.store.running() is not None:
            return []
        now, at = self._clock().timestamp(), time.monotonic()
        if not self._exporting.due(now, at):
            return []
        with self.store.exclusive():
            return self._exporting.export(self.rules(), now, at, policy=self._follow)

    def exports_wanted(self) -> bool:
        """Whether other programs read of the rights, or once did."""
        return self._exporting.exports.wanted()

    def last_export(self) -> list[str]:
        """`export` before the end: commands that wait for their time are run now."""
        return [*self.export(), *self._exporting.exports.finish()]

    def unsettled(self) -> bool:
        """Whether `settle` has something to do."""
        return self._commits.due() or self._repaired

    def settle(self) -> None:
        """The slow path: renewed expiries, the texts beside the table, the commit.

        Raises AuditError when only the commit failed: the tables are right then.
        """
        with self.store.exclusive():
            self._refresh(self._clock())
            self._tables.settle(self.rules(), self._ledger)
            if self._commits.commit():
                self._repaired = False

    def commit_lists(self) -> None:
        """Commit at once what changed in the lists. Raises AuditError as `settle` does."""
        if self._commits.lists_due():
            with self.store.exclusive():
                self._commits.commit_lists()

    def tend_history(self, patience: float | None = None) -> list[str]:
        """Push and pack what was committed, beside all else; what went wrong, a line each.
        `patience`: wait for it, so many seconds at most."""
        return self._commits.tend(patience)

    def stopped(self) -> None:
        """The follower ends as it was told to."""
        with self.store.exclusive():
            self._recording.ended()

    def reload(self) -> None:
        """Reload Postfix when a table needs it and it is time."""
        if self.publisher.reload(time.monotonic()):
            self._figures.reloads.add("done")
            self._recording.reloaded()

    def reread_trusted(self) -> None:
        """Take up a changed trusted list, or a name that now stands for other addresses; a bad list
        is reported and the old one stays."""
        if self._lists.reread_trusted():
            self._tables.behind = True
            with self.store.exclusive():
                self._put_trusted()
                self._publish(())

    def list_unsettled(self) -> bool:
        """Whether a trusted list waits to be taken up: `reread_trusted` is due again soon."""
        return self._lists.unsettled()

    def look_names_up(self) -> None:
        """Ask for the names whose answers are over, wait for DNS, and take up what it says."""
        if self._lists.look_names_up():
            self.reread_trusted()

    def reread_senders(self) -> None:
        """Take up changed domains and lists; bad ones are reported and the old ones stay."""
        if self._lists.reread_senders():
            with self.store.exclusive():
                self._answer(())
                self._put_senders()

    def troubles(self) -> list[str]:
        """What keeps logs from being read, a line each."""
        return self._reader.troubles() if self._reader else []

    def watched(self) -> list[str]:
        """The paths in whose folders something may change."""
        return [*(self._reader.watched() if self._reader else []), *self._lists.watched()]

    def waits(self) -> list[int]:
        """Open files that become readable when there is more to read."""
        return self._reader.waits() if self._reader else []

    def input_ended(self) -> bool:
        """Whether standard input is read, and was read to its end."""
        return self._reader is not None and self._reader.ended()

    def progress(self) -> dict[str, int | None]:
        """For each source that is behind, how much of it has been read, in percent."""
        return self._reader.progress() if self._reader else {}

    def status(self, began: datetime) -> Status:
        """What `popgate status` shall know, between two steps. `began`: when the process did."""
        return Status(
            pid=os.getpid(),
            version=__version__,
            started=began,
            told=self._clock(),
            scope=self.settings.grants.scope,
            read_until=self.store.read_until(),
            grants=len(self._ledger),
            behind=self.progress(),
            waits=tuple(self.troubles()),
        )

    def has_sessions(self) -> bool:
        """Whether any session counted as open after the last step. To be asked by any thread."""
        return self._in_session

    def compare_sessions(self, listed: frozenset[tuple[str, str]], at: datetime) -> None:
        """End the sessions that the mail server listed before and does not list any more.

        `listed`: user and address of each that was open `at` that moment. One that it never listed
        may be a proxy's, of which it knows nothing.
        """
        with self.store.exclusive():
            now = self._clock()
            self._refresh(now)
            before_at, before = self._listed
            self._listed = (at, listed)
            changes = self._ledger.gone(before - listed, host_name(), before_at, now)
            self._answer(changes)
            self._keep([*changes], now)
            self._publish(changes)

    # Changes that come from no log

    def next_expiry(self) -> datetime | None:
        """When a step is due even if nothing is logged."""
        return self._ledger.next_expiry()

    def allow(self, address: str, user: str, length: timedelta) -> Change:
        """Grant by an admin's word."""
        with self.store.exclusive():
            now = self._clock()
            self._refresh(now)
            change = self._ledger.allow(address, user, now, length)
            self._keep([change], now)
            self._publish([change])
            return change

    def revoke(self, address: str | None, user: str | None) -> list[Change]:
        """End grants by an admin's word."""
        with self.store.exclusive():
            now = self._clock()
            self._refresh(now)
            changes = self._ledger.revoke(address, user)
            self._keep([*changes], now)
            self._publish(changes)
            return changes


def publisher_of(settings: Settings, postfix: Postfix, *, follow: bool) -> Publisher:
    """What keeps the tables of these settings."""
    return Publisher(
        settings.tables.directory,
        postfix,
        table_type(settings.postfix, postfix),
        settings.postfix.min_reload_interval.total_seconds(),
        # Who does not know the log cannot know that a session is still open.
        opens=follow,
    )

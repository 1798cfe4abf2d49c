"""One step of popgate: read what is new, decide, save, publish. Synchronous; `service` times it.

The order within a step is what makes a kill harmless: grants, sessions and reading positions are
saved in one transaction, then the tables follow. Whatever a kill left behind is put right by the
next start, which compares the tables with the ledger.

Each step holds the state lock, so that `popgate allow`, `revoke` and `expire` can do their work
beside a running service; when one of them did, the ledger is read anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tracker.deciding import trusted
from tracker.deciding.access import SenderPolicy
from tracker.deciding.ledger import Ledger
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.rights import Rights, rights
from tracker.deciding.rules import RuleSet
from tracker.errors import ListError, PostfixError, TrustedError
from tracker.host import own_addresses, utc_now
from tracker.reading.follow import LogReader
from tracker.records import Change, Ended, Grant, Table
from tracker.settings import Settings
from tracker.standing import Standing, stamp
from tracker.store import Store
from tracker.texts import printable
from tracker.writing import audit, render
from tracker.writing.exports import Exports, wanted_exports
from tracker.writing.postfix import Postfix
from tracker.writing.publish import Publisher, table_type

log = logging.getLogger("popgate")

_HEARTBEAT = timedelta(seconds=60)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class Engine:
    """Everything that one configuration needs, joined."""

    def __init__(
        self, settings: Settings, *, follow: bool, clock: Callable[[], datetime] = utc_now
    ) -> None:
        """`follow`: this process reads the log. One that does not knows nothing of sessions since
        the log was last read. Raises a PopgateError when the settings name what is not there."""
        self.settings = settings
        self._follow = follow
        self._current = False
        self._clock = clock
        self._policy = GrantPolicy(settings.grants, own_addresses())
        postfix = Postfix(settings.postfix)
        self.publisher = Publisher(
            settings.tables.directory,
            postfix,
            table_type(settings.postfix, postfix),
            settings.postfix.min_reload_interval.total_seconds(),
            # Who does not know the log cannot know that a session is still open.
            opens=follow,
        )
        self._history = audit.History(settings.tables.directory)
        prefix = settings.grants.ipv6_prefix
        self._exports = Exports(settings.exports, self.publisher, postfix, prefix)
        self._skips = settings.local_senders.skip_lists_for_local_untrusted
        self._exports_behind = True
        self._exports_renewed = False
        self._rights: Rights | None = None
        self._standing = Standing(settings, postfix)
        # Only who follows the log writes what is made of these.
        self.senders = self._standing.read(time.monotonic()) if follow else SenderPolicy()
        self.trusted, self._trusted_seen = self._first_trusted()
        self.store = Store(settings.state.directory)
        self._ledger = Ledger(self._policy)
        self._reader: LogReader | None = None
        self._unsettled: list[Change] = []
        self._texts_changed: list[str] = []
        self._repaired = False
        self._policy_behind = False
        self._senders_behind = False
        self._senders_fault = ""
        self._heard = _NEVER
        self._behind = True

    def start(self) -> None:
        """Load the state, open the logs, bring all tables in line. Raises a PopgateError."""
        with self.store.exclusive():
            self.publisher.prepare()
            self._begin()
            self._repaired = self.publisher.match(self.rules().granted())
            self._behind = False
            if self._follow:
                self._put_senders()
                self._put_policy()

    def _first_trusted(self) -> tuple[trusted.TrustedList, tuple[int, ...]]:
        """The trusted list. One that is bad must keep nobody from ending grants, so only the
        follower, who writes it to Postfix, insists on it."""
        try:
            return read_trusted(self.settings.trusted.file)
        except TrustedError as error:
            if self._follow:
                raise
            log.warning("event=bad_trusted_list error=%r action=%r", str(error), "left as it is")
            return trusted.TrustedList(), ()

    def recover(self) -> None:
        """After an error: forget what was read but not saved, and go on from the store."""
        with self.store.exclusive():
            self._begin()
            self._behind = True
            self._current = False

    def close(self) -> None:
        """Let go of files and locks."""
        if self._reader is not None:
            self._reader.close()
        self.store.close()

    def take_over(self, other: Engine) -> None:
        """Follow the log in another engine's place; what it had not committed yet goes along."""
        self.store.take_over(other.store)
        self._unsettled, other._unsettled = other._unsettled, []
        self._exports.take_over(other._exports)

    def _begin(self) -> None:
        now = self._clock()
        self._load(now)
        if self._reader is not None:
            self._reader.close()
        if self._follow:
            since = now - self.settings.grants.window
            self._reader = LogReader(self.settings.log, self.store.positions, now, since)

    def _load(self, now: datetime) -> None:
        """The ledger as the store has it, under the settings of now."""
        self.store.changed_elsewhere()
        self._ledger = Ledger(self._policy, self.store.grants(), self.store.ended())
        self._keep([*self._ledger.reconfigure(self._policy, now), *self._ledger.expire(now)], now)

    def step(self) -> bool:
        """Read, decide, save, publish; True when there is more to read at once."""
        with self.store.exclusive():
            now = self._clock()
            self._refresh(now)
            changes: list[Change | Ended] = []
            moved = False
            if self._reader is not None:
                events, moved = self._reader.read(now)
                for event in events:
                    changes += self._ledger.apply(event, now)
                self._see_whether_current()
            changes += self._ledger.expire(now)
            if moved or now - self._heard >= _HEARTBEAT:
                self._keep(changes, now, self._reader)
            else:
                self._keep(changes, now)
            self._publish(changes)
            return self._reader is not None and self._reader.more()

    def _see_whether_current(self) -> None:
        """Whether all that is logged has been read, and the tables may rest on it."""
        assert self._reader is not None
        current = not self._reader.troubles() and (self._current or not self._reader.more())
        if not current or not self._current:
            self._behind = True
        self._current = current

    def _refresh(self, now: datetime) -> None:
        if self.store.changed_elsewhere():
            self._load(now)
            self._behind = self._exports_behind = True

    def _keep(
        self, changes: list[Change | Ended], now: datetime, reader: LogReader | None = None
    ) -> None:
        """Save changes, with the positions of `reader` where they come from its lines; and say what
        changed."""
        if reader is not None:
            at_end = not reader.more() and not reader.troubles()
            self.store.save(changes, now, reader.positions(), now if at_end else None)
            self._heard = now
        elif changes:
            self.store.save(changes, now)
        for change in changes:
            if isinstance(change, Change):
                self._unsettled.append(change)
                _say(change)

    # The tables

    def rules(self) -> RuleSet:
        """The rules in force: what the tables are rendered from and `decide` walks."""
        expiries = self._ledger.expiries()
        if not self._current and (self._follow or self.store.running() is None):
            # The end of a session may have been logged and not been read: it counts as ended when
            # the log was last read to its end, until somebody has caught up.
            now, read_until = self._clock(), self.store.read_until() or _NEVER
            unread = self._ledger.expiries_unread(read_until)
            expiries = {address: expiries[address] for address, end in unread.items() if end > now}
        return RuleSet(self.trusted, expiries, self.settings.grants.ipv6_prefix, self.senders)

    def _publish(self, changes: Iterable[Change | Ended]) -> None:
        """The fast path: what comes and goes reaches the grant table now."""
        known = [change for change in changes if isinstance(change, Change)]
        touched = {change.grant.address for change in known}
        behind, self._behind = self._behind, True  # until the tables have followed
        moved = any(change.kind != "renewed" for change in known)
        self._exports_behind = self._exports_behind or behind or moved
        self._exports_renewed = self._exports_renewed or bool(touched)
        if behind:
            # Read anew, since another process may have written to it meanwhile.
            self.publisher.match(self.rules().granted())
        if touched:
            entries = self.rules().granted(touched)
            self.publisher.update({address: entries.get(address) for address in touched})
        self._behind = False

    def export(self) -> list[str]:
        """Bring what other programs read in line with the tables; what failed, a line each.

        Where another popgate follows the log, that one does it. Who does not follow it leaves what
        no login changes.
        """
        if not self._follow and self.store.running() is not None:
            return []
        now, at = self._clock().timestamp(), time.monotonic()
        behind = self._exports_behind
        if not behind and not self._exports_renewed and not self._exports.due(now, at):
            return []
        faults: list[str] = []
        if self._exports.wanted():
            with self.store.exclusive():
                faults = self._export(now, at, whole=behind)
        self._exports_behind, self._exports_renewed = behind and bool(faults), bool(faults)
        return faults

    def last_export(self) -> list[str]:
        """`export` before the end: commands that wait for their time are run now."""
        return [*self.export(), *self._exports.finish()]

    def _export(self, now: float, at: float, *, whole: bool) -> list[str]:
        ends = self.rules().granted()
        granted = {
            address: end
            for address, end in ends.items()
            if end > now and self.publisher.holds(address)
        }
        if whole:
            return self._exports.put(self._known(), granted, now, at, skips=self._skips)
        return self._exports.renew(granted, now, at)

    def _known(self) -> Rights | None:
        """The rights that no login changes; None where this process does not know them."""
        if self._follow and self._rights is None:
            self._rights = rights(self.trusted, self.senders)
        return self._rights

    def _put_policy(self) -> None:
        """The trusted list and the snippets, which no login changes."""
        self._rights, self._exports_behind = None, True
        for text in (
            render.trusted_table(self.trusted, self.settings.trusted.file),
            render.main_cf_snippet(self.settings.tables.directory, self.publisher.kind),
            render.master_cf_snippet(),
        ):
            if self.publisher.put_text(text):
                self._texts_changed.append(text.name)

    def _put_senders(self) -> None:
        """The tables of local senders and of the lists."""
        self._rights, self._exports_behind = None, True
        for table in self.senders.tables.values():
            if self.publisher.put_access(table):
                self._texts_changed.append(table.name)

    def unsettled(self) -> bool:
        """Whether `settle` has something to do."""
        changed = self._texts_changed or self._exports.changed()
        return bool(self._unsettled or changed or self._repaired)

    def settle(self) -> None:
        """The slow path: renewed expiries, the texts beside the table, the commit.

        Raises AuditError when only the commit failed: the tables are right then.
        """
        with self.store.exclusive():
            self._refresh(self._clock())
            rules = self.rules()
            self.publisher.renew(rules.granted())
            self._behind = False
            for table in render.grant_texts(rules, self._ledger.grants(), self.publisher.kind):
                self.publisher.put_text(table)
            if self.settings.audit.commit:
                exported = self._exports.changed()
                texts = [*self._texts_changed, *exported]
                self._history.commit(audit.message(self._unsettled, texts))
                self._exports.commit(audit.message(self._unsettled, exported))
            self._exports.settled()
            self._unsettled.clear()
            self._texts_changed.clear()
            self._repaired = False

    def reload(self) -> None:
        """Reload Postfix when a table needs it and it is time."""
        self.publisher.reload(time.monotonic())

    def reread_trusted(self) -> None:
        """Take up a changed trusted list; a bad one is reported and the old one stays."""
        seen = stamp(self.settings.trusted.file)
        if seen == self._trusted_seen and not self._policy_behind:
            return
        self._trusted_seen = seen
        try:
            self.trusted, self._trusted_seen = read_trusted(self.settings.trusted.file)
        except TrustedError as error:
            for line in str(error).splitlines():
                log.error("event=bad_trusted_list error=%r action=%r", line, "the old list stays")
            return
        with self.store.exclusive():
            self._behind = self._policy_behind = True
            self._put_policy()
            self._policy_behind = False
            self._publish(())

    def reread_senders(self) -> None:
        """Take up changed domains and lists; bad ones are reported and the old ones stay."""
        now = time.monotonic()
        if not self._standing.due(now) and not self._senders_behind:
            return
        try:
            self.senders = self._standing.read(now)
        except (ListError, PostfixError) as error:
            for line in str(error).splitlines() if str(error) != self._senders_fault else ():
                log.error("event=bad_list error=%r action=%r", line, "the old lists stay")
            self._senders_fault = str(error)
            return
        self._senders_fault = ""
        with self.store.exclusive():
            self._senders_behind = True
            self._put_senders()
            self._senders_behind = False

    def troubles(self) -> list[str]:
        """What keeps logs from being read, a line each."""
        return self._reader.troubles() if self._reader else []

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


def rules_now(settings: Settings, *, published: bool = False) -> tuple[RuleSet, list[Grant]]:
    """The rules that the settings, the lists and the state make, and the grants; nothing is
    written. `published`: as the table stands when nobody follows the log, which ends an open
    session when the log was last read."""
    trusted_list, _ = read_trusted(settings.trusted.file)
    senders = Standing(settings, Postfix(settings.postfix)).read()
    policy = GrantPolicy(settings.grants, own_addresses())
    ledger = Ledger(policy)
    read_until: datetime | None = None
    if (settings.state.directory / "popgate.db").exists():
        store = Store(settings.state.directory)
        try:
            ledger = Ledger(policy, store.grants(), store.ended())
            if published and store.running() is None:
                read_until = store.read_until() or _NEVER
        finally:
            store.close()
    ledger.reconfigure(policy, utc_now())
    ledger.expire(utc_now())
    grants = list(ledger.grants())
    expiries = ledger.expiries() if read_until is None else ledger.expiries_unread(read_until)
    prefix = settings.grants.ipv6_prefix
    return RuleSet(trusted_list, expiries, prefix, senders, grants), grants


def wanted_tables(settings: Settings) -> list[Table]:
    """Every text that the settings, the lists and the state make; nothing is written."""
    kind = table_type(settings.postfix, Postfix(settings.postfix))
    rules, grants = rules_now(settings)
    return [
        render.trusted_table(rules.trusted, settings.trusted.file),
        *render.grant_texts(rules, grants, kind),
        *(render.access_text(table, kind) for table in rules.senders.tables.values()),
        render.main_cf_snippet(settings.tables.directory, kind),
        render.master_cf_snippet(),
        *wanted_exports(
            settings.exports,
            rights(rules.trusted, rules.senders),
            rules.granted(),
            prefix=settings.grants.ipv6_prefix,
            skips=settings.local_senders.skip_lists_for_local_untrusted,
        ),
    ]


def _say(change: Change) -> None:
    """One line for each grant that comes or goes."""
    grant = change.grant
    log.log(
        logging.DEBUG if change.kind == "renewed" else logging.INFO,
        "event=grant_%s address=%s user=%s expires=%s why=%r",
        change.kind,
        grant.address,
        printable(grant.user),
        grant.expires.isoformat(timespec="seconds"),
        change.why,
    )


def read_trusted(file: Path) -> tuple[trusted.TrustedList, tuple[int, ...]]:
    """The trusted list in a file, and what tells later that the file changed.

    A missing file is an empty list. Raises TrustedError.
    """
    seen = stamp(file)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return trusted.TrustedList(), seen
    except (OSError, UnicodeDecodeError) as error:
        raise TrustedError(f"{file}: cannot be read: {error}") from error
    return trusted.parse(text, str(file)), seen

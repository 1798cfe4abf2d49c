"""The grants as the state of another popgate has them, for `popgate policy`.

Each answer reads the database anew, by the address alone: what `popgate run` saved counts from that
moment, and so does what `allow` and `revoke` did, with nothing to be told and nothing that could be
stale. Readers of a WAL database wait for no writer.

Whether anybody follows the log is looked at once a second. When nobody does, open sessions count no
longer than a window after it was last read, as `popgate expire` has it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime

from tracker.deciding.access import SenderPolicy
from tracker.deciding.rules import RuleSet
from tracker.deciding.trusted import TrustedList
from tracker.records import NEVER, Grant
from tracker.settings import Settings
from tracker.store import Store

_LOOK = 1.0


class SharedGrants(Mapping[str, list[Grant]]):
    """For each address its grants, read when asked for. Raises StoreError then."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, address: str) -> list[Grant]:
        return self._store.grants_of(address)

    def __iter__(self) -> Iterator[str]:
        return iter({grant.address for grant in self._store.grants()})

    def __len__(self) -> int:
        return sum(1 for _ in self)


class SharedRules:
    """The rules in force, made from the shared state."""

    def __init__(self, settings: Settings, store: Store, senders: SenderPolicy) -> None:
        self._store = store
        self._grants = SharedGrants(store)
        self._look_at = float("-inf")
        self._rules = RuleSet(TrustedList(), {})
        self.configure(settings, senders)

    def configure(self, settings: Settings, senders: SenderPolicy) -> None:
        """From now on by these settings, and by what Postfix and the lists say."""
        self._settings, self._senders = settings, senders
        self._look_at = float("-inf")

    def now(self) -> RuleSet:
        """The rules in force at this moment. Raises StoreError."""
        at = time.monotonic()
        if at >= self._look_at:
            self._rules = self._made()
            self._look_at = at + _LOOK
        return self._rules

    def follower(self) -> int | None:
        """The pid of the popgate that follows the log."""
        return self._store.running()

    def _made(self) -> RuleSet:
        unread: datetime | None = None
        if self._store.running() is None:
            unread = (self._store.read_until() or NEVER) + self._settings.grants.window
        return RuleSet(
            TrustedList(),
            {},
            self._settings.grants.ipv6_prefix,
            self._senders,
            self._grants,
            scope=self._settings.grants.scope,
            owners=self._senders.owners,
            unread=unread,
        )

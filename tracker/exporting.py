"""When the exports have to follow the tables, and what they are made from."""

from __future__ import annotations

from collections.abc import Iterable

from tracker.deciding.rights import Rights, rights
from tracker.deciding.rules import RuleSet
from tracker.records import Change
from tracker.settings import Settings
from tracker.writing.exports import Exports
from tracker.writing.postfix import Postfix
from tracker.writing.publish import Publisher


class Exporting:
    """The exports of one configuration, beside its grant table."""

    def __init__(self, settings: Settings, publisher: Publisher, postfix: Postfix) -> None:
        prefix = settings.grants.ipv6_prefix
        self.exports = Exports(settings.exports, publisher, postfix, prefix)
        self._publisher = publisher
        self._skips = settings.local_senders.skip_lists_for_local_untrusted
        self._behind = True
        self._renewed = False
        self._rights: Rights | None = None

    def policy_changed(self) -> None:
        """The trusted list or the lists of senders are others now."""
        self._rights, self._behind = None, True

    def grants_changed(self, changes: Iterable[Change]) -> None:
        """Grants came, went or were renewed."""
        for change in changes:
            self._renewed = True
            self._behind = self._behind or change.kind != "renewed"

    def grants_unknown(self) -> None:
        """Another process may have changed grants."""
        self._behind = True

    def due(self, now: float, at: float) -> bool:
        """Whether `export` has something to do. `now`: seconds since 1970; `at`: monotonic."""
        return self._behind or self._renewed or self.exports.due(now, at)

    def export(self, rules: RuleSet, now: float, at: float, *, policy: bool) -> list[str]:
        """Bring all in line with the rules and the grant table; what failed, a line each.

        `policy`: this process knows what no login changes; else that stays as it is.
        """
        faults: list[str] = []
        if self.exports.wanted():
            faults = self._export(rules, now, at, policy=policy)
        self._behind, self._renewed = self._behind and bool(faults), bool(faults)
        return faults

    def _export(self, rules: RuleSet, now: float, at: float, *, policy: bool) -> list[str]:
        granted = {
            address: end
            for address, end in (rules.granted().items() if self.exports.shows_grants() else ())
            if end > now and self._publisher.holds(address)
        }
        if not self._behind:
            return self.exports.renew(granted, now, at)
        if policy and self._rights is None:
            self._rights = rights(rules.trusted, rules.senders)
        return self.exports.put(self._rights, granted, now, at, skips=self._skips)

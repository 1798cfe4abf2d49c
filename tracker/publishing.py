"""The grant table and the text beside it, as they follow the ledger.

What comes and goes reaches the table at once (`follow`); renewed expiries and the text wait for
`settle`. Whatever another process may have done is found by reading the table anew (`match`).
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from tracker.deciding.ledger import Ledger
from tracker.deciding.rules import RuleSet
from tracker.exporting import Exporting
from tracker.pseudonyms import Names
from tracker.recording import Recording
from tracker.records import Change, Ended, Table
from tracker.writing import render
from tracker.writing.amending import amended
from tracker.writing.publish import Publisher

_FEW = 1 / 3
"""The share of all rows up to which it is quicker to amend a text than to make it anew."""

_LATEST = 5.0
"""Seconds that the grant table waits at most while there is more to read."""


class Publishing:
    """The grant table of one engine, and what is told of it."""

    def __init__(
        self,
        publisher: Publisher,
        recording: Recording,
        exporting: Exporting,
        names: Names,
        *,
        follow: bool,
    ) -> None:
        """`follow`: this process reads the log."""
        self.behind = True
        """Whether the table may be other than this process knows, or left it."""
        self._publisher = publisher
        self._recording = recording
        self._exporting = exporting
        self._names = names
        self._follow = follow
        self._waiting: set[str] = set()
        self._due = float("-inf")
        self._text: tuple[str, bytes] | None = None
        # The addresses whose rows in that text may be others now; None: any may.
        self._touched: set[str] | None = None

    def waits(self) -> bool:
        """Whether addresses that came or went are not in the table yet."""
        return bool(self._waiting)

    def match(self, rules: RuleSet, *, told: bool = False) -> bool:
        """Bring the grant table in line with the rules, whoever wrote to it; True if it was not.
        `told`: what was edited in it has been said."""
        seen = partial(self._recording.seen, self._publisher.kind, told=told)
        self._touched = None
        differed = self._publisher.match(rules.granted(), seen)
        self._recording.published(self._publisher)
        return differed

    def follow(
        self,
        changes: Iterable[Change | Ended],
        rules: Callable[[], RuleSet],
        *,
        caught_up: bool,
        late: bool = False,
        over: bool = False,
    ) -> None:
        """The fast path: what comes and goes reaches the grant table now.

        `caught_up`: nothing stands against open sessions. `late`: there is more to do. Then it
        waits for as long as it took the last time, so that a large table does not keep the log from
        being read. `over`: more grants are over than the changes tell; the table is ahead of them.
        """
        known = [change for change in changes if isinstance(change, Change)]
        if self._touched is not None:
            self._touched |= {change.grant.address for change in known}
        self._waiting |= self._moved(known, caught_up=caught_up)
        self._exporting.grants_changed(known)
        if self.behind:
            self._exporting.grants_unknown()
        began = time.monotonic()
        if late and began < self._due:
            return
        behind, self.behind = self.behind, True  # until the tables have followed
        if over or self._waiting:  # of earlier steps too, which were not exported
            self._exporting.grants_unknown()
        if behind:
            # Read anew, since another process may have written to it meanwhile.
            self.match(rules())
        if over:
            self._publisher.renew(rules().granted())
        elif self._waiting:
            entries = rules().granted(self._waiting)
            self._publisher.update({address: entries.get(address) for address in self._waiting})
        self._recording.published(self._publisher)
        self._waiting.clear()
        self.behind = False
        ended = time.monotonic()
        self._due = ended + min(ended - began, _LATEST)

    def _moved(self, changes: Iterable[Change], *, caught_up: bool) -> set[str]:
        """The addresses that may have come or gone. Those of renewed grants have not, where
        nothing stands against the sessions that keep those."""
        holds = self._publisher.holds
        return {
            change.grant.address
            for change in changes
            if not (caught_up and change.kind == "renewed" and holds(change.grant.address))
        }

    def settle(self, rules: RuleSet, ledger: Ledger) -> None:
        """The slow path: renewed expiries, and the text."""
        rows = len(self._publisher.held())
        if self.behind or len(self._touched or ()) > rows * _FEW + 100:
            self._touched = None
        texts = self._renewed(rules, ledger)
        self._recording.published(self._publisher)
        if self._waiting:
            self._exporting.grants_unknown()
        self._waiting.clear()
        self.behind = False
        for table in texts:
            self._publisher.put_text(table)
            if table.kind == "text":
                # Held against what stands there, from time to time: of a million, 20 MB so.
                self._text = (table.name, zlib.compress(table.text.encode(), 1))
        self._touched = set()

    def _renewed(self, rules: RuleSet, ledger: Ledger) -> list[Table]:
        """Renew expiries in the table; the texts anew, or those there are, amended. Where it is
        known what differs, only that is looked at."""
        kind, touched = self._publisher.kind, self._touched
        if touched is None:
            self._publisher.renew(rules.granted())
            # Who follows the log has put there all that is granted.
            opened = self._publisher.held() if self._follow else dict(rules.granted().items())
            return render.grant_texts(opened, self._shown(ledger.holders()), kind)
        entries = rules.granted(touched)
        self._publisher.update({address: entries.get(address) for address in touched}, renew=True)
        those = ((one.address, one.user) for address in touched for one in ledger.of(address))
        part = render.grant_text(entries, self._shown(those), kind)
        return [amended(text, part, touched) for text in self.written()]

    def _shown(self, holders: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        return ((address, self._names(user)) for address, user in holders)

    def has_text(self) -> bool:
        """Whether the text beside the grant table was ever written."""
        return self._text is not None

    def written(self) -> list[Table]:
        """The text beside the grant table, as it was last written; none where it never was."""
        if self._text is None:
            return []
        name, packed = self._text
        return [Table(name, "text", zlib.decompress(packed).decode())]

"""How a change of an lmdb table is made: entry by entry, or with the table written as a whole.

postmap waits for the disk with each entry that it changes: 0.2 ms where the disk is fast, 10 ms
where it is slow or busy. A table that it writes as a whole it syncs once, and what that costs goes
by the entries. So what is cheaper is learnt from what changes took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_FEW = 5
"""Changes that are always made entry by entry."""

_START = 0.006
_MORE = 0.002
"""Seconds that a command takes whatever it does, and that a whole table takes more."""

_SLOWEST = 0.02
"""Seconds that a change is believed to take at most: what took longer waited for something else."""


class Pace:
    """What postmap takes on this host, for one table."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._change = 0.0004
        self._entry = 0.000002

    def whole_is_quicker(self, changes: int, entries: int) -> bool:
        """Whether it takes less time to write so many entries than to make so many changes."""
        whole = _MORE + 2 * self._change + entries * self._entry
        return changes > _FEW and changes * self._change > whole

    @contextmanager
    def changing(self, changes: int) -> Iterator[None]:
        """Learn from what is done within: so many changes, entry by entry."""
        began = self._clock()
        yield
        if changes:
            took = max(self._clock() - began - _START, 0) / changes
            # What one change takes is mostly the start of the command; what many take, is theirs.
            self._change += (min(took, _SLOWEST) - self._change) * changes / (changes + 20)

    @contextmanager
    def writing(self, entries: int) -> Iterator[None]:
        """Learn from what is done within: so many entries, as a whole."""
        began = self._clock()
        yield
        if entries:
            took = max(self._clock() - began - _START - 2 * self._change, 0) / entries
            self._entry += (took - self._entry) * entries / (entries + 100_000)

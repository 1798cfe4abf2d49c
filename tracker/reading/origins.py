"""Which line of which log an event comes from.

Events carry no line: almost nobody asks for it, and to take it along would cost each event as much
as finding it. So the blocks of a step are kept until the next one, and who wants to know the line
of an event has its block scanned once more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from tracker.records import Origin
from tracker.texts import visible

Where = Callable[[int], str]
"""What tells the place, in its log, of the line that begins at some byte of a block."""

Starts = Callable[[bytes], list[int]]
"""What tells where in a block the lines begin that tell something."""

_LONGEST = 500
"""Characters of a line that are kept; the longest user names are shorter."""


class _Block:
    """A block that told something."""

    def __init__(self, text: bytes, owners: Sequence[int], source: str, where: Where) -> None:
        self.text = text
        self.owners = owners
        self.source = source
        self.where = where
        self.starts: list[int] | None = None

    def origin(self, number: int, starts: Starts) -> Origin | None:
        """Of its event of that number."""
        if self.starts is None:
            self.starts = starts(self.text)
        line = self.owners[number] if self.owners else number
        if line >= len(self.starts):
            return None
        begin = self.starts[line]
        end = self.text.find(b"\n", begin)
        text = self.text[begin:end].decode("utf-8", "backslashreplace")
        return Origin(visible(text, _LONGEST), self.source, self.where(begin))


class Origins:
    """The blocks of one step, by the numbers of their events."""

    def __init__(self, starts: Starts) -> None:
        self._starts = starts
        self._first: list[int] = []
        self._blocks: list[_Block] = []

    def add(
        self, first: int, block: bytes, owners: Sequence[int], source: str, where: Where
    ) -> None:
        """A block whose events are numbered from `first` on. `owners`: for each event the number
        of its line among those that tell something; empty where each has its own."""
        self._first.append(first)
        self._blocks.append(_Block(block, owners, source, where))

    def of(self, number: int) -> Origin | None:
        """The origin of an event."""
        place = bisect_right(self._first, number) - 1
        if place < 0:
            return None
        return self._blocks[place].origin(number - self._first[place], self._starts)

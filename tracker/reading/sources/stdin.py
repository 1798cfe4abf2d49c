"""Log lines from standard input: from rsyslog's omprog, or from any program that writes to a pipe.

A pipe cannot be read again. So the lines of a step are kept until that step was saved, and are
given out anew when it was not. Beyond that the pipe is the buffer: who writes to it waits when it
is full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from tracker.reading.scanner import LONGEST_LINE
from tracker.reading.sources.lines import Lines, pieces

NAME = "-"
"""How `log.files` names standard input."""


class Stdin:
    """Standard input, or another pipe that is read to its end once."""

    name = NAME

    def __init__(self, file: int = 0) -> None:
        self._file = file
        self._lines = Lines(LONGEST_LINE)
        self._unsaved: list[bytes] = []
        self.ended = False

    def blocks(self) -> Iterator[bytes]:
        """The whole lines that are at hand. A last line without its line feed does not count."""
        if self.ended:
            return
        for piece in pieces(self._file):
            self.ended = not piece
            if block := self._lines.whole(piece):
                self._unsaved.append(block)
                yield block

    def where(self) -> Callable[[int], str]:
        """A pipe has no places: nobody can go back to one."""
        return lambda _: ""

    def unsaved(self) -> list[bytes]:
        """What was given out since `saved()`: it was lost with the state of a step that failed."""
        return list(self._unsaved)

    def saved(self) -> None:
        """What was given out up to now need not be kept."""
        self._unsaved.clear()

    def trouble(self) -> str | None:
        """Nothing keeps it from being read."""
        return None

    def progress(self) -> None:
        """How much is to come cannot be known."""
        return

    def waits(self) -> list[int]:
        """The file that becomes readable when there is more."""
        return [] if self.ended else [self._file]

    def close(self) -> None:
        """Standard input stays open: another reader may follow in this process."""


@cache
def standard_input() -> Stdin:
    """The one standard input of this process; what was read of it must survive its readers."""
    return Stdin()

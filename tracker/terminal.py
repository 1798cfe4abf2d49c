"""A terminal that shows one screen and gives keys as they are pressed; left as it was found.

It is put back at the end of the context, also after an error, SIGTERM, SIGHUP or Ctrl-C; Ctrl-Z is
off meanwhile. Nothing but what is drawn reaches it: text comes through rich, which draws no control
character.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console, ConsoleDimensions
from rich.text import Text

from tracker.errors import TerminalError

_ENTER = "\x1b[?1049h\x1b[?25l"
_LEAVE = "\x1b[?25h\x1b[?1049l"
_KEY = re.compile(
    rb"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Za-z])|[\x00-\x7f]|[\xc2-\xf4][\x80-\xbf]{1,3}", re.DOTALL
)
_NAMES = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "home",
    b"\x1bOH": "home",
    b"\x1b[1~": "home",
    b"\x1b[F": "end",
    b"\x1bOF": "end",
    b"\x1b[4~": "end",
    b"\x1b": "escape",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\x08": "backspace",
}
_ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Terminal:
    """The terminal of this process; a context manager."""

    def __init__(self) -> None:
        """Raises TerminalError where standard input or output is none."""
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise TerminalError(
                "popgate top needs a terminal: `popgate list` prints the grants, `popgate report` "
                "writes a page"
            )
        if os.environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
            raise TerminalError("popgate top needs a terminal that can move its cursor: set TERM")
        self.console = Console(highlight=False, emoji=False, markup=False)
        self.ended: signal.Signals | None = None
        """The signal that asked for the end."""

    def __enter__(self) -> Self:
        self._file = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._file)
        self._wakes, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._handlers: dict[signal.Signals, Any] = {
            number: signal.signal(number, self._end) for number in _ENDS
        }
        self._handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: None)
        self._old_wake = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        tty.setcbreak(self._file)
        quiet = termios.tcgetattr(self._file)
        quiet[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(self._file, termios.TCSAFLUSH, quiet)
        self._write(_ENTER)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # it may have been closed: SIGHUP
            self._write(_LEAVE)
        with suppress(termios.error):
            termios.tcsetattr(self._file, termios.TCSAFLUSH, self._before)
        signal.set_wakeup_fd(self._old_wake)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._wakes)
        os.close(self._wake)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self.ended = signal.Signals(number)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def keys(self, seconds: float) -> list[str]:
        """The keys that are pressed within that time, all that come at once; none when it is over,
        or when the size of the terminal changed."""
        ready, _, _ = select.select([self._file, self._wakes], [], [], max(seconds, 0))
        if self._wakes in ready:
            os.read(self._wakes, 4096)
        if self._file not in ready or self.ended:
            return []
        try:
            data = os.read(self._file, 4096)
        except OSError:
            data = b""
        if not data:
            self.ended = signal.SIGHUP  # nobody is there any more
        return list(decoded(data))

    def size(self) -> tuple[int, int]:
        """Columns and lines; some, where the terminal does not know them."""
        width, height = os.get_terminal_size(sys.stdout.fileno())
        return width or 80, height or 24

    def draw(self, screen: Text) -> None:
        """Show lines that fit it in place of what is there, without flicker."""
        width, height = self.size()
        self.console.size = ConsoleDimensions(width, height)
        with self.console.capture() as capture:
            self.console.print(screen, end="", no_wrap=True, overflow="crop", crop=True)
        lines = capture.get().split("\n")[:height]
        self._write("\x1b[H" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J")


def decoded(data: bytes) -> Iterator[str]:
    """The keys that a terminal wrote these bytes for; others are left out."""
    for match in _KEY.finditer(data):
        key = match[0]
        if key in _NAMES:
            yield _NAMES[key]
        elif not key.startswith(b"\x1b"):
            text = key.decode("utf-8", "ignore")
            if text.isprintable() and text:
                yield text

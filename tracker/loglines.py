"""popgate's own log: one line a record on stderr, with its level where the journal reads it.

systemd tells by JOURNAL_STREAM, device and inode, that stderr is the journal (systemd.exec(5)). A
line there begins with `<N>`, N being the level as syslog numbers it (sd-daemon(3)); the journal
takes that away and keeps it as PRIORITY, which `journalctl -p warning` asks for. On a terminal a
line has time and level in words; anywhere else it is the bare message.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TextIO

_SYSLOG = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
_DEBUG = 7


class Lines(logging.Formatter):
    """Records made lines. What cannot be printed in a message becomes `?`, a line feed too; the
    lines of a traceback are lines of their own."""

    def __init__(self, *, levels: bool = False, times: bool = False) -> None:
        """`levels`: with `<N>` before each line; `times`: for a terminal."""
        super().__init__("%(asctime)s %(levelname)s %(message)s" if times else "%(message)s")
        self._levels = levels

    def format(self, record: logging.LogRecord) -> str:
        """All lines of a record."""
        said = record.getMessage()
        if not said.isprintable():
            said = "".join(char if char.isprintable() else "?" for char in said)
        record.message = said
        if self.usesTime():
            record.asctime = self.formatTime(record)
        lines = [self.formatMessage(record)]
        if record.exc_info:
            lines += self.formatException(record.exc_info).split("\n")
        mark = f"<{syslog_level(record.levelno)}>" if self._levels else ""
        return "\n".join(f"{mark}{line}" for line in lines)


def syslog_level(level: int) -> int:
    """The number that syslog(3) has for one of logging's levels."""
    return next((number for least, number in _SYSLOG if level >= least), _DEBUG)


def to_journal(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether what is written there goes to the journal."""
    try:
        seen = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{seen.st_dev}:{seen.st_ino}"


def begin(stream: TextIO, level: int) -> None:
    """Have all records of that level or above written there."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines(levels=to_journal(stream), times=stream.isatty()))
    logging.basicConfig(level=level, handlers=[handler])

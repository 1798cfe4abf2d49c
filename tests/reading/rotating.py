"""A log that is written to without pause while it is rotated, as a process of its own.

`python -m tests.reading.rotating KIND LOG ROTATIONS PAUSE READER` writes 5,000 numbered lines a
second and prints how many there were. One thread writes, another rotates each PAUSE seconds.
READER is the process that reads: a file that comes and goes between two of its looks could be known
to nobody, so where a rotation leaves no name behind, the next one waits until READER has it open.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

RATE = 5000
_BURST = 10
_KEPT = 60
"""Rotated files that stay, as `rotate 60` of logrotate."""


class Writer(threading.Thread):
    """Appends lines to the file that it has open, until it is told to open it anew."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self.log = log
        self.lines = 0
        self.lock = threading.Lock()
        self.done = threading.Event()
        self._file = self._opened()

    def run(self) -> None:
        began = time.monotonic()
        while not self.done.is_set():
            numbers = range(self.lines, self.lines + _BURST)
            text = "".join(f"line {number} {'x' * (number % 97)}\n" for number in numbers)
            with self.lock:
                os.write(self._file, text.encode())
            self.lines += _BURST
            time.sleep(max(began + self.lines / RATE - time.monotonic(), 0))

    def reopen(self) -> None:
        with self.lock:
            os.close(self._file)
            self._file = self._opened()

    def _opened(self) -> int:
        return os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Rotator:
    """One way to rotate a log under its writer."""

    def __init__(self, writer: Writer, reader: int) -> None:
        self.writer = writer
        self.log = writer.log
        self._reader = reader
        self._count = 0

    def rename(self) -> None:
        """logrotate's `create`; the writer goes on in the renamed file until it is told."""
        self._shift()
        self.log.rename(self._named(1))
        self.log.touch()
        self._tell()

    def late_creation(self) -> None:
        """Renamed, and there is no log until the writer makes one."""
        self._shift()
        self.log.rename(self._named(1))
        self._tell()

    def dated(self) -> None:
        """logrotate's `dateext`."""
        self._count += 1
        self.log.rename(f"{self.log}-20261124-{self._count:06}")
        self.log.touch()
        self._tell()
        with suppress(FileNotFoundError):
            os.unlink(f"{self.log}-20261124-{self._count - _KEPT:06}")

    def packed(self) -> None:
        """`compress` with `delaycompress`."""
        self._shift()
        self.log.rename(self._named(1))
        self.log.touch()
        self._tell()
        with suppress(FileNotFoundError):
            plain = self._named(2)
            with plain.open("rb") as source, gzip.open(f"{plain}.gz", "wb", 1) as packed:
                shutil.copyfileobj(source, packed)
            shutil.copystat(plain, f"{plain}.gz")
            plain.unlink()

    def copytruncate(self) -> None:
        """Without lines that come between copy and truncation: no reader could save them."""
        self._shift()
        with self.writer.lock:
            shutil.copyfile(self.log, self._named(1))
            os.truncate(self.log, 0)

    def delete(self) -> None:
        """Removed and made anew."""
        self._wait_until_read()
        self.log.unlink()
        self.log.touch()
        self._tell()

    def link(self) -> None:
        """The log is a link that is pointed at a new file each time."""
        self._wait_until_read()
        self._count += 1
        target = self.log.with_name(f"target-{self._count}")
        target.touch()
        new = self.log.with_name("new")
        new.symlink_to(target)
        new.rename(self.log)
        self._tell()
        with suppress(FileNotFoundError):
            os.unlink(self.log.with_name(f"target-{self._count - 5}"))

    def _tell(self) -> None:
        time.sleep(0.002)
        self.writer.reopen()

    def _named(self, number: int) -> Path:
        return self.log.with_name(f"{self.log.name}.{number}")

    def _shift(self) -> None:
        for number in range(_KEPT, 0, -1):
            for end in ("", ".gz"):
                with suppress(FileNotFoundError):
                    os.rename(f"{self._named(number)}{end}", f"{self._named(number + 1)}{end}")
        for end in ("", ".gz"):
            with suppress(FileNotFoundError):
                os.unlink(f"{self._named(_KEPT + 1)}{end}")

    def _wait_until_read(self) -> None:
        live = self.log.stat()
        while True:
            for link in os.listdir(f"/proc/{self._reader}/fd"):
                with suppress(FileNotFoundError):
                    found = os.stat(f"/proc/{self._reader}/fd/{link}")
                    if (found.st_dev, found.st_ino) == (live.st_dev, live.st_ino):
                        return
            time.sleep(0.001)


KINDS: dict[str, Callable[[Rotator], None]] = {
    "rename": Rotator.rename,
    "late creation": Rotator.late_creation,
    "dated": Rotator.dated,
    "packed": Rotator.packed,
    "copytruncate": Rotator.copytruncate,
    "delete": Rotator.delete,
    "link": Rotator.link,
}


NAMELESS = ("delete", "link")
"""Where the old file is left without a name that a reader could find it by."""


def main(kind: str, log: str, rotations: str, pause: str, reader: str) -> None:
    """See the module's text."""
    if kind == "link":
        os.symlink("target-0", log)
    writer = Writer(Path(log))
    rotator = Rotator(writer, int(reader))
    writer.start()
    try:
        for _ in range(int(rotations)):
            time.sleep(float(pause))
            KINDS[kind](rotator)
        time.sleep(float(pause))
    finally:
        writer.done.set()
        writer.join()
    print(writer.lines)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""From a login line to mail that is accepted: steady logins, and clients that want to send.

Each login has an address of its own, which XCLIENT makes smtpd believe. A client comes when its
line is written and asks RCPT until it is accepted, each time in a new connection, as mail clients
do; it asks again after a tenth of the time that it has waited, so as not to keep the processors
from what is measured. What takes half a second is so shown a twentieth too long.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.lines import login
from lab.network import Wire
from lab.xclient import ForeignSession

PATIENCE = 10.0
"""Seconds after which a login has had no effect."""

_CLIENTS = 6
_A_SECOND = 25
"""Logins a second that a client waits for at most."""


class _Writer(threading.Thread):
    """Writes a login line in each 1/rate of a second and notes when: at no fixed moment in it, or
    it would keep step with a tailer that looks once a second."""

    def __init__(self, log: Path, rate: int, seconds: int, first: int) -> None:
        super().__init__(daemon=True)
        self._log, self._rate, self.first = log, rate, first
        self._last = first + rate * seconds
        self._began = time.monotonic() + 0.2
        self.written: dict[int, float] = {}

    def due(self, number: int) -> float:
        """When a line is to be written."""
        within = random.Random(number).random()
        return self._began + (number - self.first + within) / self._rate

    def run(self) -> None:
        with self._log.open("ab", buffering=0) as file:
            for number in range(self.first, self._last):
                time.sleep(max(self.due(number) - time.monotonic(), 0))
                line = login(address(number), datetime.now(UTC), number).encode()
                self.written[number] = time.monotonic()
                file.write(line)


def address(number: int) -> str:
    """Another address for each login."""
    return f"203.{number >> 16}.{number >> 8 & 255}.{number & 255}"


class Clients:
    """Those who want to send through one Postfix when their login is logged."""

    def __init__(self, log: Path, wire: Wire, port: int) -> None:
        self._log, self._wire, self._port = log, wire, port
        self._next = 0
        self._lock = threading.Lock()

    def reactions(self, rate: int, seconds: int) -> list[float]:
        """Seconds from the line to the mail, of each login that a client waited for; PATIENCE for
        those that had no effect. `rate`: logins a second."""
        writer = _Writer(self._log, rate, seconds, self._next)
        self._next += rate * seconds
        numbers = iter(range(writer.first, self._next, max(rate // _A_SECOND, 1)))
        times: list[float] = []
        threads = [
            threading.Thread(target=self._wait, args=(writer, numbers, times))
            for _ in range(_CLIENTS)
        ]
        for thread in (writer, *threads):
            thread.start()
        for thread in (writer, *threads):
            thread.join()
        return times

    def _wait(self, writer: _Writer, numbers: Iterator[int], times: list[float]) -> None:
        """One client after the other, for logins that are still to come."""
        while True:
            with self._lock:
                now = time.monotonic()
                number = next((one for one in numbers if writer.due(one) > now), None)
            if number is None:
                return
            time.sleep(max(writer.due(number) - time.monotonic(), 0))
            while number not in writer.written:
                time.sleep(0.0005)
            times.append(self._waited(writer.written[number], number))

    def _waited(self, since: float, number: int) -> float:
        while (waited := time.monotonic() - since) < PATIENCE:
            with ForeignSession(self._wire, self._port, 25) as session:
                session.become(address(number), "client.example.org")
                answer, _ = session.rcpt(f"user{number}@example.com", "someone@far.example.org")
            if answer == 250:
                return time.monotonic() - since
            time.sleep(waited / 10)
        return PATIENCE

"""Reaction: login line written -> RCPT accepted by a real smtpd, at a steady rate of logins.

The lines are written to a log file as Dovecot writes them; each login has an address of its own,
which XCLIENT makes smtpd believe. A prober has its SMTP session open before the line is written and
asks RCPT without pause until the answer is 250. A tailer that polled once a second would add half a
second to the median.
"""

from __future__ import annotations

import smtplib
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import percentile
from bench.lines import login
from lab.network import Loopback
from lab.popgate import Popgate
from lab.postfix import Postfix

RATE = 50
SECONDS = 30


class _Probe:
    """An SMTP session that smtpd takes for one from some address."""

    def __init__(self, port: int, address: str) -> None:
        self._smtp = smtplib.SMTP("127.0.0.1", port, "client.example.org", timeout=10)
        self._smtp.ehlo()
        self._smtp.docmd("XCLIENT", f"ADDR={address} NAME=[UNAVAILABLE]")
        self._smtp.ehlo()

    def accepted(self) -> bool:
        self._smtp.rset()
        self._smtp.mail("user@example.com")
        return self._smtp.rcpt("someone@far.example.org")[0] == 250

    def close(self) -> None:
        self._smtp.quit()


class _Writer(threading.Thread):
    """Writes one login line each 1/RATE of a second and notes when."""

    def __init__(self, log: Path) -> None:
        super().__init__(daemon=True)
        self._log = log
        self.written: dict[int, float] = {}
        self.next = 0

    def run(self) -> None:
        began = time.monotonic()
        with self._log.open("ab", buffering=0) as file:
            for number in range(RATE * SECONDS):
                time.sleep(max(began + number / RATE - time.monotonic(), 0))
                line = login(address(number), datetime.now(UTC), number).encode()
                self.next = number + 1
                self.written[number] = time.monotonic()
                file.write(line)


def address(number: int) -> str:
    """Another address for each login."""
    return f"203.0.{113 + number // 250}.{number % 250 + 1}"


def measure(_: Path) -> Iterator[tuple[str, str]]:
    """Rows of the table: what, and how much."""
    wire = Loopback()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-bench-")))
        folder.chmod(0o755)
        log = folder / "mail.log"
        log.touch()
        popgate = Popgate(folder / "popgate", log, folder / "postfix/config")
        popgate.command("once")
        extra = {"smtpd_authorized_xclient_hosts": "127.0.0.1"}
        postfix = stack.enter_context(Postfix(folder / "postfix", wire, popgate.snippet(), extra))
        stack.enter_context(popgate)
        times = _probe(_Writer(log), postfix.port)
    shown = ", ".join(
        f"{name} {percentile(times, share) * 1000:.0f} ms"
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    )
    yield f"login line -> RCPT accepted, lmdb, {RATE} logins/s ({len(times)} probes)", shown


def _probe(writer: _Writer, port: int) -> list[float]:
    times: list[float] = []
    writer.start()
    while writer.is_alive():
        number = writer.next + 1  # a session is open before its line is written
        if number >= RATE * SECONDS:
            break
        probe = _Probe(port, address(number))
        while number not in writer.written:
            time.sleep(0.0002)
        while not probe.accepted():
            if time.monotonic() - writer.written[number] > 10:
                raise RuntimeError(f"login {number} had no effect within 10 s")
        times.append(time.monotonic() - writer.written[number])
        probe.close()
    writer.join()
    return times

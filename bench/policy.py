"""The policy service with 100,000 grants: what a request costs, and how fast it is answered.

The service runs in a process of its own, on one core, with real state behind it: `popgate run` with
a ledger of 100,000 addresses. Questions come as Postfix asks them: on a connection each (the
snippet's request_limit=1), and for comparison many on one connection. Half of them are about a
grant. The rate is what came about; the processor's time for a request is the service's own, so that
other work on the machine does not count.
"""

from __future__ import annotations

import os
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from bench.figures import percentile
from bench.sites import address, fill, user
from lab.popgate import Popgate
from lab.processes import wait_for

GRANTS = 100_000
RATE = 5000
SECONDS = 10
_TICKS = os.sysconf("SC_CLK_TCK")
_SETTINGS = """
[grants]
scope = "address"
[local_senders]
domains = ["example.com"]
[policy]
listen = "unix:{socket}"
"""


def measure(_: Path) -> Iterator[tuple[str, str]]:
    """Rows of the table: what, and how much."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-bench-")))
        folder.chmod(0o755)
        path = folder / "service/policy"
        path.parent.mkdir(mode=0o755)
        log = folder / "mail.log"
        log.touch()
        settings = _SETTINGS.format(socket=path)
        popgate = Popgate(folder / "popgate", log, folder / "postfix", settings)
        fill(popgate.maps.parent, GRANTS, timedelta(days=1))
        stack.enter_context(popgate)
        wait_for("the service", path.exists)
        ways: tuple[type[_Each] | type[_One], ...] = (_Each, _One)
        for way in ways:
            connection = way(path)
            stack.callback(connection.close)
            yield from _rows(connection, popgate.pid)


def _question(number: int) -> bytes:
    """As Postfix asks; every other one is about a stranger."""
    client = address(number) if number % 2 else f"198.51.{number % 200}.{number % 250}"
    return (
        "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n"
        f"helo_name=client.example.org\nqueue_id=\nsender={user(number)}\n"
        f"recipient=someone@far.example.org\nrecipient_count=0\nclient_address={client}\n"
        f"client_name=unknown\nreverse_client_name=unknown\ninstance={number:x}.1\n"
        "sasl_method=\nsasl_username=\nsasl_sender=\nsize=0\nccert_subject=\nccert_issuer=\n"
        "ccert_fingerprint=\nccert_pubkey_fingerprint=\nencryption_protocol=\n"
        "encryption_cipher=\nencryption_keysize=0\netrn_domain=\nstress=\nclient_port=40122\n"
        "policy_context=\nserver_address=192.0.2.1\nserver_port=25\n\n"
    ).encode()


class _Way(Protocol):
    """How questions are put."""

    name: str

    def ask(self, question: bytes) -> bytes:
        """The answer."""

    def close(self) -> None:
        """No more questions."""


class _Each(_Way):
    """A connection for each question, as the snippet has Postfix do."""

    name = "a connection each"

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def ask(self, question: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(self._path)
            channel.send(question)
            return channel.recv(64)

    def close(self) -> None:
        """Nothing is open."""


class _One(_Way):
    """All questions on one connection."""

    name = "on one connection"

    def __init__(self, path: Path) -> None:
        self._channel = socket.socket(socket.AF_UNIX)
        self._channel.connect(str(path))

    def ask(self, question: bytes) -> bytes:
        self._channel.send(question)
        return self._channel.recv(64)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


def _rows(connection: _Way, pid: int) -> Iterator[tuple[str, str]]:
    """Questions at a steady rate, then without pause."""
    rng = random.Random(1)
    questions = [_question(rng.randrange(GRANTS)) for _ in range(RATE)]
    for question in questions[:500]:
        connection.ask(question)
    times, used, wall = _asked(connection, questions * SECONDS, pid, 1 / RATE)
    rate, cpu = len(times) / wall, used / len(times)
    spread = ", ".join(
        f"{label} {percentile(times, share) * 1000:.2f} ms"
        for label, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    )
    what = f"policy, {GRANTS} grants, {connection.name}"
    yield f"{what}, {RATE}/s wanted", f"{rate:.0f}/s, {spread}"
    times, used, wall = _asked(connection, questions * 4, pid, 0.0)
    yield f"{what}, one after another", f"{len(times) / wall:.0f}/s"
    yield f"{what}, processor", f"{cpu * 1e6:.0f} us a request: {1 / cpu:.0f}/s on one core"


def _asked(
    connection: _Way, questions: list[bytes], pid: int, pause: float
) -> tuple[list[float], float, float]:
    """How long each answer took, from the moment the question was due; the processor's time that
    the service took; the time in all."""
    times: list[float] = []
    before, began = _processor(pid), time.perf_counter()
    for number, question in enumerate(questions):
        due = began + number * pause if pause else time.perf_counter()
        while (left := due - time.perf_counter()) > 0:
            time.sleep(left)
        if connection.ask(question) not in (b"action=OK\n\n", b"action=DUNNO\n\n"):
            raise RuntimeError("the service gave no answer")
        times.append(time.perf_counter() - due)
    return times, _processor(pid) - before, time.perf_counter() - began


def _processor(pid: int) -> float:
    """Seconds of processor that a process has taken: proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS

"""The trusted list with 100,000 entries: read, checked and rendered; and one of them changed.

Half are single addresses, the rest networks, ranges, exclusions and IPv6, scattered by a seeded
generator, each with a note: few of them can be put together.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench.lines import login
from lab.popgate import Popgate
from lab.processes import wait_for
from tracker.deciding.findings import findings
from tracker.deciding.trusted import parse
from tracker.writing.render import trusted_table

ENTRIES = 100_000
ROUNDS = 5


def text(seed: int = 1) -> str:
    """The list's file, the same on every machine."""
    chance = random.Random(seed)
    return "".join(f"{_entry(chance, n)}  # customer {n}\n" for n in range(ENTRIES))


def _entry(chance: random.Random, number: int) -> str:
    one, two, three, four = (chance.randrange(1, 224), *(chance.randrange(256) for _ in range(3)))
    kind = number % 10
    if kind < 5:
        return f"{one}.{two}.{three}.{four}"
    if kind < 7:
        return f"{one}.{two}.{three}.0/24"
    if kind == 7:
        return f"{one}.{two}.{three}.1-50"
    if kind == 8:
        return f"!{one}.{two}.{three}.{four}"
    return f"2001:db8:{chance.randrange(65536):x}:{chance.randrange(65536):x}::/64"


def measure(folder: Path) -> Iterator[tuple[str, str]]:
    """Rows of the table: what, and how much."""
    written = text()
    began = time.perf_counter()
    listed = parse(written, "trusted.txt")
    read = time.perf_counter()
    doubts = findings(listed, {})
    checked = time.perf_counter()
    table = trusted_table(listed, folder / "trusted.txt")
    rendered = time.perf_counter()
    what = f"trusted list of {ENTRIES} entries"
    yield what, f"{rendered - began:.2f} s read, checked, rendered"
    yield "  read", f"{read - began:.2f} s"
    yield "  checked", f"{checked - read:.2f} s ({len(doubts)} findings)"
    yield "  rendered", f"{rendered - checked:.2f} s ({table.text.count(chr(10))} lines)"
    changes = _changes(written)
    shown = f"median {statistics.median(changes):.2f} s, max {max(changes):.2f} s"
    yield f"{what}: one changes -> published ({ROUNDS} times)", shown


def _changes(written: str) -> list[float]:
    """Seconds from the renaming of a changed list to its place until the table has the change."""
    times: list[float] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-bench-")))
        log = folder / "mail.log"
        # A grant has popgate look addresses up in the list as well.
        log.write_text(login("203.0.113.5", datetime.now(UTC), 1))
        popgate = Popgate(folder / "popgate", log, folder / "postfix")
        popgate.trusted.write_text(written)
        stack.enter_context(popgate)
        table = popgate.maps / "trusted.cidr"
        for number in range(ROUNDS):
            before = table.stat().st_ino
            new = popgate.trusted.with_suffix(".new")
            place = written.index("\n", len(written) // 2) + 1
            entry = f"203.0.113.{number}\n"
            new.write_text(written[:place] + entry + written[place:])
            os.replace(new, popgate.trusted)
            began = time.monotonic()
            wait_for("the table", partial(_replaced, table, before), 30)
            times.append(time.monotonic() - began)
            if f"203.0.113.{number}/32 OK" not in table.read_text():
                raise RuntimeError("the table was published without the change")
    return times


def _replaced(table: Path, before: int) -> bool:
    return table.stat().st_ino != before

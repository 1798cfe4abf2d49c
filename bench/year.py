"""A year of commits: 2,000 changes a day, and what the git repository makes of them.

Changes come in the ten busy hours of a day, a batch a minute. A year of real commits would take
hours, so most are made by `git fast-import`, as loose objects like those of a real one; popgate's
own `History` packs them, and every 400th commit is its own and is timed. Then one day more with
10,000 addresses in the table, all renewed now and then: each commit a text of 700 KB.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import percentile
from tracker.writing.audit import History

DAYS = 365
CHANGES_A_DAY = 2000
BATCHES_A_DAY = 600
OWN_EVERY = 400
_BEGIN = 1_735_689_600
_FILE = "pop_before_smtp.txt"
_HEAD = (
    "# Who may send after a POP or IMAP login, and until when. Written by popgate from its ledger\n"
    "# for people and for git; Postfix reads pop_before_smtp.lmdb.\n"
)
_OTHERS = [f"table{number}.txt" for number in range(10)]


class Table:
    """The addresses in force, and how their text changes."""

    def __init__(self, size: int, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self._size = size
        self._rows: dict[str, int] = {}
        self._now = _BEGIN
        while len(self._rows) < size:
            self._come()

    def change(self, number: int, seconds: int) -> str:
        """The message of a batch of so many changes."""
        self._now += seconds
        lines = []
        for _ in range(number):
            if len(self._rows) > self._size:
                gone = min(self._rows, key=self._rows.__getitem__)
                del self._rows[gone]
                lines.append(f"- {gone} user{hash(gone) % 400}@example.com (window over)")
            else:
                lines.append(f"+ {self._come()} (login)")
        return f"grants: {number} changed\n\n" + "\n".join(lines) + "\n"

    def text(self) -> str:
        """As `pop_before_smtp.txt` is written."""
        rows = [
            f"{address} {end}  # user{hash(address) % 400}@example.com, "
            f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M:%SZ}\n"
            for address, end in sorted(self._rows.items())
        ]
        return _HEAD + "".join(rows)

    def _come(self) -> str:
        parts = [str(self._chance.randrange(1, 255)) for _ in range(2)]
        address = f"203.{self._chance.randrange(16)}.{'.'.join(parts)}"
        self._rows[address] = self._now + 1800
        return address


def measure(folder: Path, days: int = DAYS) -> Iterator[tuple[str, str]]:
    """Rows of the table: what, and how much."""
    maps = folder / "maps"
    maps.mkdir(parents=True)
    for name in _OTHERS:
        (maps / name).write_text(f"# {name}\n" * 40)
    history = History(maps)
    table = Table(60)
    (maps / _FILE).write_text(table.text())
    history.commit("first")
    largest, packing, times = _size(maps), 0.0, []
    for _ in range(days * BATCHES_A_DAY // OWN_EVERY):
        _import(maps, table, OWN_EVERY - 1)
        table.change(CHANGES_A_DAY // BATCHES_A_DAY, 60)
        times.append(_commit(history, maps, table))
        largest = max(largest, _size(maps))
        history._unlooked += OWN_EVERY  # it has not seen those that were imported
        packing += _pack(history)
    seconds = (
        f"p50 {percentile(times, 0.5) * 1000:.0f} ms, p99 {percentile(times, 0.99) * 1000:.0f} ms"
    )
    yield f"git, {days} days of {CHANGES_A_DAY} changes: size", f"{_size(maps):.0f} MB"
    yield "git, the largest it was between two packings", f"{largest:.0f} MB"
    yield "git, a commit", f"{seconds}, max {max(times) * 1000:.0f} ms"
    yield "git, packing in all, at the lowest priority", f"{packing:.0f} s"
    yield from _large(maps, history)


def _large(maps: Path, history: History) -> Iterator[tuple[str, str]]:
    before = largest = _size(maps)
    table = Table(10_000)
    times: list[float] = []
    for _ in range(BATCHES_A_DAY):
        table.change(20, 60)
        times.append(_commit(history, maps, table))
        largest = max(largest, _size(maps))
        _pack(history)
    yield "git, a day with 10,000 addresses: growth", f"{_size(maps) - before:.0f} MB"
    yield "git, the largest growth between two packings", f"{largest - before:.0f} MB"
    yield "git, a commit of 10,000 addresses", f"p50 {percentile(times, 0.5) * 1000:.0f} ms"


def _commit(history: History, maps: Path, table: Table) -> float:
    (maps / _FILE).write_text(table.text())
    began = time.perf_counter()
    history.commit("grants: 3 changed\n")
    return time.perf_counter() - began


def _pack(history: History) -> float:
    began = time.perf_counter()
    for fault in history.finish(600):
        raise RuntimeError(fault)
    return time.perf_counter() - began


def _import(maps: Path, table: Table, commits: int) -> None:
    """So many commits at once, each as loose objects, like those of `git commit`."""
    parts: list[bytes] = []
    head = subprocess.run(
        ["git", "-C", maps, "symbolic-ref", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    for number in range(commits):
        message = table.change(CHANGES_A_DAY // BATCHES_A_DAY, 60).encode()
        text = table.text().encode()
        parts.append(
            b"commit %b\ncommitter popgate <popgate@mail> %d +0000\ndata %d\n%b%b"
            b"M 100644 inline %b\ndata %d\n%b\n"
            % (
                head.encode(),
                table._now,
                len(message),
                message,
                f"from {head}^0\n".encode() if not number else b"",
                _FILE.encode(),
                len(text),
                text,
            )
        )
    quickly = ["-c", "fastimport.unpackLimit=1000000", "-c", "core.fsync=none"]
    subprocess.run(
        ["git", "-C", maps, *quickly, "fast-import", "--quiet"], input=b"".join(parts), check=True
    )
    subprocess.run(["git", "-C", maps, "reset", "--quiet"], check=True)


def _size(maps: Path) -> float:
    """Megabytes on the disk."""
    done = subprocess.run(["du", "-sk", maps / ".git"], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0]) / 1000


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(prefix="popgate-bench-") as made:
        for what, much in measure(Path(made), int(sys.argv[1]) if sys.argv[1:] else DAYS):
            print(f"{what:<60} {much}", flush=True)

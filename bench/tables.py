"""What one address more or less costs in tables of three sizes, and what a look-up costs.

lmdb and cidr tables are changed by popgate's own publisher, with all that belongs to it: rendering,
the check by postmap, the sync. hash tables are changed by `postmap -i` and `-d`; cdb tables have
neither, and are made anew by postmap. Look-ups are those of `postmap -q -`, many keys in one
process: the code that smtpd runs, without the network. Half of the keys stand in the table.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import by_size
from bench.probing import address
from lab.network import Loopback
from lab.postfix import Postfix as Server
from tracker.settings import PostfixSettings
from tracker.settings.duration import Duration
from tracker.writing.parameters import GrantTableType
from tracker.writing.postfix import Postfix
from tracker.writing.publish import Publisher

SIZES = (1000, 100_000, 1_000_000)
SIZES_CIDR = (1000, 10_000, 100_000)
"""A cidr table of a million is a matter of minutes."""

_ROUNDS = 9
_LOOK_UPS = 200_000
_LOOK_UPS_CIDR = 400
_END = 1_900_000_000
_STRANGER = "198.51.100.7"

_Change = Callable[[bool], object]
"""Put the stranger into the table, or take it out."""


def measure(_: Path) -> Iterator[tuple[str, str]]:
    """Rows of the table: what, and how much."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="popgate-bench-")))
        folder.chmod(0o755)
        server = stack.enter_context(Server(folder / "postfix", Loopback()))
        types = subprocess.run(["postconf", "-m"], capture_output=True, text=True, check=True)
        start = statistics.median(_asked(server, "static:OK", [_STRANGER]) for _ in range(9))
        yield "a postmap that does nothing", f"{start * 1000:.1f} ms"
        yield from _lmdb(folder, server)
        yield from _cidr(folder, server)
        for kind in ("hash", "cdb"):
            if kind in types.stdout.split():
                yield from _by_postmap(kind, folder, server)


def _lmdb(folder: Path, server: Server) -> Iterator[tuple[str, str]]:
    publishers = [_publisher(folder / f"lmdb{size}", server, "lmdb", size) for size in SIZES]
    changes = _medians([_published(publisher) for publisher in publishers])
    tables = [f"lmdb:{publisher.table.with_suffix('')}" for publisher in publishers]
    yield from _rows("lmdb, popgate", SIZES, changes, _look_ups(server, tables, SIZES))


def _cidr(folder: Path, server: Server) -> Iterator[tuple[str, str]]:
    publishers = [_publisher(folder / f"cidr{size}", server, "cidr", size) for size in SIZES_CIDR]
    changes = _medians([_published(one, server.reload) for one in publishers])
    tables = [f"cidr:{publisher.table}" for publisher in publishers]
    look_ups = _look_ups(server, tables, SIZES_CIDR, _LOOK_UPS_CIDR)
    yield from _rows("cidr, popgate, with its reload", SIZES_CIDR, changes, look_ups)


def _published(publisher: Publisher, told: Callable[[], object] = lambda: None) -> _Change:
    def change(there: bool) -> None:
        publisher.update({_STRANGER: _END if there else None})
        told()

    return change


def _by_postmap(kind: str, folder: Path, server: Server) -> Iterator[tuple[str, str]]:
    changing = _anew if kind == "cdb" else _in_place
    tables = [f"{kind}:{folder / kind}{size}" for size in SIZES]
    changes = _medians(
        [changing(server, table, size) for table, size in zip(tables, SIZES, strict=True)]
    )
    how = "made anew by postmap" if kind == "cdb" else "postmap -i, -d"
    yield from _rows(f"{kind}, {how}", SIZES, changes, _look_ups(server, tables, SIZES))


def _in_place(server: Server, table: str, size: int) -> _Change:
    _anew(server, table, size)(False)

    def change(there: bool) -> None:
        if there:
            _postmap(server, "-i", table, text=f"{_STRANGER} OK\n")
        else:
            _postmap(server, "-d", _STRANGER, table)

    return change


def _anew(server: Server, table: str, size: int) -> _Change:
    lines = "".join(f"{address(number)} OK\n" for number in range(size))

    def change(there: bool) -> None:
        Path(table.partition(":")[2]).write_text(lines + f"{_STRANGER} OK\n" * there)
        _postmap(server, table)

    return change


def _rows(
    what: str, sizes: Sequence[int], changes: Sequence[float], look_ups: Sequence[float]
) -> Iterator[tuple[str, str]]:
    yield f"one change, {what}", by_size(sizes, changes, 1000, "ms")
    yield f"a look-up, {what.partition(',')[0]}", by_size(sizes, look_ups, 1e6, "us")


def _medians(changes: Sequence[_Change]) -> list[float]:
    """For each of them the seconds that the address takes to come, or to go, on an average of both.
    They take turns."""
    times: list[list[float]] = [[] for _ in changes]
    for _ in range(_ROUNDS):
        for change, took in zip(changes, times, strict=True):
            began = time.perf_counter()
            change(True)
            change(False)
            took.append((time.perf_counter() - began) / 2)
    return [statistics.median(took) for took in times]


def _look_ups(
    server: Server, tables: Sequence[str], sizes: Sequence[int], number: int = _LOOK_UPS
) -> list[float]:
    """Seconds that a look-up takes in a process that has the table open; so many are made."""
    found = []
    for table, size in zip(tables, sizes, strict=True):
        rng = random.Random(1)
        keys = [address(rng.randrange(2 * size)) for _ in range(number)]
        times = [_asked(server, table, keys) - _asked(server, table, keys[:1]) for _ in range(5)]
        found.append(statistics.median(times) / (number - 1))
    return found


def _asked(server: Server, table: str, keys: Sequence[str]) -> float:
    began = time.perf_counter()
    _postmap(server, "-q", "-", table, text="".join(f"{key}\n" for key in keys), found=1)
    return time.perf_counter() - began


def _postmap(server: Server, *arguments: str, text: str = "", found: int = 0) -> None:
    """`found`: an exit code that tells of a key that is not there."""
    command = ["postmap", "-c", str(server.config), *arguments]
    done = subprocess.run(command, input=text, text=True, check=False, stdout=subprocess.DEVNULL)
    if done.returncode not in (0, found):
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}")


def _publisher(folder: Path, server: Server, kind: GrantTableType, size: int) -> Publisher:
    """With a table of that size."""
    settings = PostfixSettings(config_directory=str(server.config), timeout=Duration(minutes=2))
    made = Publisher(folder, Postfix(settings), kind, reload_interval=0)
    made.prepare()
    made.match({address(number): _END for number in range(size)})
    return made

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

_ROUNDS = 7
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
        yield from _lmdb(folder, server)
        yield from _cidr(folder, server)
        for kind in ("hash", "cdb"):
            if kind in types.stdout.split():
                yield from _by_postmap(kind, folder, server)


def _lmdb(folder: Path, server: Server) -> Iterator[tuple[str, str]]:
    changes, look_ups = [], []
    for size in SIZES:
        publisher = _publisher(folder / f"lmdb{size}", server, "lmdb")
        publisher.match(_entries(size))

        def change(there: bool, publisher: Publisher = publisher) -> None:
            publisher.update({_STRANGER: _END if there else None})

        changes.append(_median(change))
        table = f"lmdb:{publisher.table.with_suffix('')}"
        look_ups.append(_look_up(server, table, size, _LOOK_UPS))
    yield from _rows("lmdb, popgate", SIZES, changes, look_ups)


def _cidr(folder: Path, server: Server) -> Iterator[tuple[str, str]]:
    changes, look_ups = [], []
    for size in SIZES_CIDR:
        publisher = _publisher(folder / f"cidr{size}", server, "cidr")
        publisher.match(_entries(size))

        def change(there: bool, publisher: Publisher = publisher) -> None:
            publisher.update({_STRANGER: _END if there else None})
            server.reload()

        changes.append(_median(change, 3))
        look_ups.append(_look_up(server, f"cidr:{publisher.table}", size, _LOOK_UPS_CIDR))
    yield from _rows("cidr, popgate, with its reload", SIZES_CIDR, changes, look_ups)


def _by_postmap(kind: str, folder: Path, server: Server) -> Iterator[tuple[str, str]]:
    changes, look_ups = [], []
    for size in SIZES:
        path = folder / f"{kind}{size}"
        table, lines = f"{kind}:{path}", _lines(size)
        path.write_text(lines)
        _postmap(server, table)

        def in_place(there: bool, table: str = table) -> None:
            if there:
                _postmap(server, "-i", table, text=f"{_STRANGER} OK\n")
            else:
                _postmap(server, "-d", _STRANGER, table)

        def anew(there: bool, table: str = table, path: Path = path, lines: str = lines) -> None:
            path.write_text(lines + f"{_STRANGER} OK\n" * there)
            _postmap(server, table)

        changes.append(_median(anew if kind == "cdb" else in_place))
        look_ups.append(_look_up(server, table, size, _LOOK_UPS))
    how = "made anew by postmap" if kind == "cdb" else "postmap -i, -d"
    yield from _rows(f"{kind}, {how}", SIZES, changes, look_ups)


def _rows(
    what: str, sizes: Sequence[int], changes: Sequence[float], look_ups: Sequence[float]
) -> Iterator[tuple[str, str]]:
    yield f"one change, {what}", by_size(sizes, changes, 1000, "ms")
    yield f"a look-up, {what.partition(',')[0]}", by_size(sizes, look_ups, 1e6, "us")


def _median(change: _Change, rounds: int = _ROUNDS) -> float:
    """Seconds that the address takes to come, or to go, on an average of both."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        change(True)
        change(False)
        times.append((time.perf_counter() - began) / 2)
    return statistics.median(times)


def _look_up(server: Server, table: str, size: int, number: int) -> float:
    """Seconds that a look-up takes in a process that has the table open."""
    rng = random.Random(1)
    keys = [address(rng.randrange(2 * size)) for _ in range(number)]

    def asked(some: Sequence[str]) -> float:
        began = time.perf_counter()
        _postmap(server, "-q", "-", table, text="".join(f"{key}\n" for key in some), found=1)
        return time.perf_counter() - began

    return statistics.median((asked(keys) - asked(keys[:1])) / (number - 1) for _ in range(5))


def _postmap(server: Server, *arguments: str, text: str = "", found: int = 0) -> None:
    """`found`: an exit code that tells of a key that is not there."""
    command = ["postmap", "-c", str(server.config), *arguments]
    done = subprocess.run(command, input=text, text=True, check=False, stdout=subprocess.DEVNULL)
    if done.returncode not in (0, found):
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}")


def _publisher(folder: Path, server: Server, kind: GrantTableType) -> Publisher:
    settings = PostfixSettings(config_directory=str(server.config), timeout=Duration(minutes=2))
    made = Publisher(folder, Postfix(settings), kind, reload_interval=0)
    made.prepare()
    return made


def _entries(size: int) -> dict[str, int]:
    return {address(number): _END for number in range(size)}


def _lines(size: int) -> str:
    return "".join(f"{address(number)} OK\n" for number in range(size))

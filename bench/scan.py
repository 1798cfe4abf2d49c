"""Scanning: mixed lines, beside grep, ripgrep, fail2ban-regex, sshguard's parser and a plain loop.

All read the same file in the same run, in turns, held on one core. What is slow reads the first
lines of it alone, which its row says. `python -m bench.scan rfc3339 100000 1000000` measures these
stamps and sizes alone.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import lines
from bench.figures import Run, exponent, one_core, side_by_side
from tracker.reading.formats import names

SIZES = (100_000, 1_000_000, 10_000_000)
"""Lines, for the growth. The largest and the one before it are compared with all others."""

STAMPS: tuple[lines.Stamps, ...] = ("rfc3164", "rfc3339")

_OF_LOOP = 1_000_000
_OF_FAIL2BAN = 50_000
_PARSER = "/usr/libexec/sshguard/sshg-parser"
_SCAN = "popgate scan --summary"
_GREP = "grep -c"


class Reader(NamedTuple):
    """A command that reads a log, and how many of its lines."""

    argv: Sequence[str]
    lines: int


def measure(folder: Path) -> Iterator[tuple[str, str]]:
    """Rows of the table: what, and how much."""
    yield from measured(folder, SIZES, STAMPS)


def measured(
    folder: Path, sizes: Sequence[int], forms: Sequence[lines.Stamps]
) -> Iterator[tuple[str, str]]:
    """The rows for these sizes and forms of stamps."""
    yield "beside", ", ".join(_versions())
    for stamps in forms:
        points: dict[str, list[tuple[int, float]]] = {}
        for number, size in enumerate(sorted(sizes)):
            log = folder / f"{stamps}.{size}.log"
            lines.write(log, size, stamps)
            few = number < len(sizes) - 2
            readers = _few(log, size) if few else _all(log, size)
            with one_core():
                found = side_by_side({name: one.argv for name, one in readers.items()})
            _check(readers, log)
            for name in (_SCAN, _GREP, "lines to events"):
                cpu = _reading(log) if name == "lines to events" else found[name].cpu
                points.setdefault(name, []).append((size, cpu))
            if not few:
                yield f"scan, {size} lines, {stamps} ({log.stat().st_size >> 20} MiB), one core", ""
                yield from _rows(readers, found)
                yield from _on_all_cores(readers)
            log.unlink()
        yield from _growth(stamps, points)


def _few(log: Path, size: int) -> dict[str, Reader]:
    grep = [shutil.which("grep") or "grep", "-c", "Login: ", str(log)]
    return {_GREP: Reader(grep, size), _SCAN: Reader(_scan(log, ["dovecot"]), size)}


def _scan(log: Path, formats: Iterable[str]) -> list[str]:
    command = [sys.executable, "-m", "tracker", "scan", "--summary"]
    return [*command, "--format", ",".join(sorted(formats)), str(log)]


def _all(log: Path, size: int) -> dict[str, Reader]:
    readers = _few(log, size)
    every = names(None)
    readers[f"{_SCAN}, all {len(every)} formats"] = Reader(_scan(log, every), size)
    if ripgrep := shutil.which("rg"):
        readers["rg -c"] = Reader([ripgrep, "-c", "Login: ", str(log)], size)
    part, length = _part(log, min(size, _OF_LOOP))
    readers["plain Python loop"] = Reader([sys.executable, "-m", "bench.line_loop", part], length)
    if Path(_PARSER).exists():
        # It reads its standard input alone.
        readers["sshg-parser"] = Reader(["sh", "-c", f'exec {_PARSER} < "$0"', part], length)
    if fail2ban := shutil.which("fail2ban-regex"):
        part, length = _part(log, min(size, _OF_FAIL2BAN))
        readers["fail2ban-regex"] = Reader([fail2ban, part, "dovecot"], length)
    return readers


def _part(log: Path, length: int) -> tuple[str, int]:
    """The first lines of a log, in a file beside it."""
    part = log.with_suffix(f".first{length}")
    with log.open("rb") as whole, part.open("wb") as file:
        file.writelines(itertools.islice(whole, length))
    return str(part), length


def _check(readers: dict[str, Reader], log: Path) -> None:
    """The logins that popgate counts are those that grep counts."""
    scan = [*readers[_SCAN].argv, "--json"]
    told = subprocess.run(scan, capture_output=True, text=True, check=True).stderr
    grep = subprocess.run(readers[_GREP].argv, capture_output=True, text=True, check=True).stdout
    if f'"login": {int(grep)},' not in told:
        raise RuntimeError(f"{log}: grep counts {grep.strip()} logins, popgate {told.strip()}")


def _rows(readers: dict[str, Reader], found: dict[str, Run]) -> Iterator[tuple[str, str]]:
    def seconds(name: str) -> float:
        """Of processor, for a million lines."""
        return found[name].cpu / readers[name].lines * 1e6

    for name, run in found.items():
        read = readers[name].lines
        yield (
            f"  {name}" + (f" (first {read} lines)" if read < readers[_SCAN].lines else ""),
            f"{run.cpu:.3f} s cpu, {run.wall:.3f} s wall, {1 / seconds(name):.3g} M lines/s; "
            f"for a line {seconds(name) / seconds(_GREP):.2f} times grep -c, "
            f"{seconds(name) / seconds(_SCAN):.2f} times scan",
        )
    yield "  peak of scan", f"{found[_SCAN].peak / 1024:.0f} MB"


def _on_all_cores(readers: dict[str, Reader]) -> Iterator[tuple[str, str]]:
    found = side_by_side({name: readers[name].argv for name in (_SCAN, _GREP)})
    own, grep = found[_SCAN], found[_GREP]
    rate = readers[_SCAN].lines / own.wall / 1e6
    yield (
        "  scan on all cores",
        f"{own.wall:.3f} s wall, {rate:.3g} M lines/s; grep -c: {own.wall / grep.wall:.2f} times",
    )


def _reading(log: Path) -> float:
    """Seconds of one processor that the events of a log take, without a process's start."""
    argv = [sys.executable, "-m", "bench.reading", str(log)]
    with one_core():
        return float(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def _growth(stamps: str, points: dict[str, list[tuple[int, float]]]) -> Iterator[tuple[str, str]]:
    for name, those in points.items():
        seconds = ", ".join(f"{size} lines {cpu:.3f} s" for size, cpu in those)
        rate = those[-1][0] / those[-1][1] / 1e6
        power = f"n^{exponent(those):.2f}: " if len(those) > 1 else ""
        yield f"growth, {stamps}, {name}", f"{power}{seconds}; {rate:.2f} M lines/s"


def _versions() -> Iterator[str]:
    for argv in (["grep", "--version"], ["rg", "--version"], ["fail2ban-regex", "--version"]):
        if shutil.which(argv[0]):
            told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
            yield told.splitlines()[0]
        else:
            yield f"no {argv[0]}"
    # sshguard's parser does not tell its version.
    yield "sshg-parser" if Path(_PARSER).exists() else "no sshg-parser"


def main() -> None:
    """Measure what is on the command line, or all that `make bench` does."""
    forms = [stamps for stamps in STAMPS if stamps in sys.argv]
    sizes = [int(one) for one in sys.argv[1:] if one.isdecimal()]
    with tempfile.TemporaryDirectory(prefix="popgate-bench-") as folder:
        for what, much in measured(Path(folder), sizes or SIZES, forms or STAMPS):
            print(f"{what:<60} {much}", flush=True)


if __name__ == "__main__":
    main()

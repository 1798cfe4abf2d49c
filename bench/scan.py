"""Scanning: a million mixed lines, beside `grep -c` and a plain Python loop over lines."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import lines
from bench.figures import side_by_side

LINES = 1_000_000


def measure(folder: Path) -> Iterator[tuple[str, str]]:
    """Rows of the table: what, and how much."""
    for stamps in ("rfc3164", "rfc3339"):
        log = folder / f"{stamps}.log"
        lines.write(log, LINES, "rfc3164" if stamps == "rfc3164" else "rfc3339")
        grep = shutil.which("grep") or "grep"
        commands: dict[str, Sequence[str]] = {
            "popgate": [sys.executable, "-m", "tracker", "scan", "--summary", str(log)],
            "grep": [grep, "-c", "Login: ", str(log)],
            "loop": [sys.executable, "-m", "bench.line_loop", str(log)],
        }
        found = side_by_side(commands)
        own, grepped, looped = found["popgate"], found["grep"], found["loop"]
        yield (
            f"scan --summary, 1 M lines, {stamps}",
            f"{own.wall:.2f} s wall, {own.cpu:.2f} s cpu, {LINES / own.cpu / 1e6:.2f} M lines/s on "
            f"one core, {own.peak / 1024:.0f} MB",
        )
        yield (
            "  time, against grep -c",
            f"{own.cpu / grepped.cpu:.1f} times (grep {grepped.cpu:.2f} s)",
        )
        yield (
            "  time, against a plain Python line loop",
            f"{own.cpu / looped.cpu:.2f} times (loop {looped.cpu:.2f} s)",
        )

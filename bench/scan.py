"""Scanning: a million mixed lines, all log formats at once, beside grep, a plain Python loop over
lines, and fail2ban-regex.

fail2ban-regex reads some ten thousand lines a second, so it runs three times on one of the logs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import lines
from bench.figures import side_by_side
from tracker.reading.formats import names

LINES = 1_000_000


def measure(folder: Path) -> Iterator[tuple[str, str]]:
    """Rows of the table: what, and how much."""
    for stamps in ("rfc3164", "rfc3339"):
        log = folder / f"{stamps}.log"
        lines.write(log, LINES, "rfc3164" if stamps == "rfc3164" else "rfc3339")
        yield from _side_by_side(log, stamps)
        yield from _reading(log)
        if stamps == "rfc3164":
            yield from _beside_fail2ban(log)


def _reading(log: Path) -> Iterator[tuple[str, str]]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.reading", str(log)],
        capture_output=True,
        text=True,
        check=True,
    )
    yield "  lines to events, one processor", f"{LINES / float(done.stdout) / 1e6:.2f} M lines/s"


def _popgate(log: Path, formats: str) -> Sequence[str]:
    command = [sys.executable, "-m", "tracker", "scan", "--summary"]
    return [*command, "--format", formats, str(log)]


def _side_by_side(log: Path, stamps: str) -> Iterator[tuple[str, str]]:
    commands: dict[str, Sequence[str]] = {
        "all": _popgate(log, ",".join(sorted(names(None)))),
        "one": _popgate(log, "dovecot"),
        "grep": [shutil.which("grep") or "grep", "-c", "Login: ", str(log)],
        "loop": [sys.executable, "-m", "bench.line_loop", str(log)],
    }
    found = side_by_side(commands)
    for name, formats in (("all", "all formats"), ("one", "dovecot alone")):
        own = found[name]
        yield (
            f"scan --summary, 1 M lines, {stamps}, {formats}",
            f"{own.wall:.2f} s wall, {own.cpu:.2f} s cpu: {LINES / own.wall / 1e6:.2f} M lines/s, "
            f"{LINES / own.cpu / 1e6:.2f} M for each second of processor, {own.peak / 1024:.0f} MB",
        )
    own, grepped, looped = found["all"], found["grep"], found["loop"]
    yield (
        "  processor, against grep -c",
        f"{own.cpu / grepped.cpu:.1f} times (grep {grepped.cpu:.2f} s)",
    )
    yield (
        "  processor, against a plain Python line loop",
        f"{own.cpu / looped.cpu:.2f} times (loop {looped.cpu:.2f} s)",
    )


def _beside_fail2ban(log: Path) -> Iterator[tuple[str, str]]:
    what = "  lines/s, against fail2ban-regex"
    fail2ban = shutil.which("fail2ban-regex")
    if fail2ban is None:
        yield what, "not measured: fail2ban-regex is not installed"
        return
    commands: dict[str, Sequence[str]] = {
        "popgate": _popgate(log, ",".join(sorted(names(None)))),
        "fail2ban": [fail2ban, str(log), "dovecot"],
    }
    found = side_by_side(commands, rounds=3)
    own, other = found["popgate"], found["fail2ban"]
    yield (
        what,
        f"{other.wall / own.wall:.0f} times; {other.cpu / own.cpu:.0f} times for each second of "
        f"processor (fail2ban {LINES / other.wall:,.0f} lines/s)",
    )

"""Figures: whole processes timed by the operating system's own accounting, and their medians."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

# As an installed program runs: its modules are compiled once, not at every start.
_ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}


class Run(NamedTuple):
    """One finished process: seconds on the wall, seconds of processor, kilobytes at its peak."""

    wall: float
    cpu: float
    peak: int


def timed(argv: Sequence[str]) -> Run:
    """Run a command to its end, its output thrown away. Raises RuntimeError if it fails."""
    # To a file: grep stops at the first match when it sees that its output is /dev/null.
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(argv, stdout=output, stderr=output, env=_ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit code {process.returncode}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def side_by_side(commands: dict[str, Sequence[str]], rounds: int = 5) -> dict[str, Run]:
    """The median of each figure, the commands taking turns after one round that does not count."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, argv in commands.items():
            run = timed(argv)
            if number:
                runs[name].append(run)
    return {
        name: Run(
            statistics.median(run.wall for run in those),
            statistics.median(run.cpu for run in those),
            int(statistics.median(run.peak for run in those)),
        )
        for name, those in runs.items()
    }


@contextmanager
def one_core() -> Iterator[None]:
    """Hold this process, and those that it starts meanwhile, on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The power of the size by which a cost grows, from pairs of both: the slope of their
    logarithms."""
    sizes, costs = zip(*((math.log(size), math.log(cost)) for size, cost in points), strict=True)
    return statistics.linear_regression(sizes, costs).slope


def by_size(sizes: Sequence[int], costs: Sequence[float], scale: float, unit: str) -> str:
    """Costs in seconds at those sizes, shown in a unit of which a second has `scale`."""
    shown = ", ".join(f"{size:,}".replace(",", " ") for size in sizes)
    figures = ", ".join(f"{cost * scale:.1f}" for cost in costs)
    grows = exponent(list(zip(sizes, costs, strict=True)))
    return f"{figures} {unit} at {shown}; exponent {grows:.2f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

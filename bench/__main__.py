"""`make bench`: every figure, a line each. `python -m bench scan` measures one group alone."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

from bench import footprint, logins, policy, reaction, scan, tables, trusted
from lab.demo import why_not

_GROUPS = {
    "scan": scan.measure,
    "reaction": reaction.measure,
    "trusted": trusted.measure,
    "policy": policy.measure,
    "footprint": footprint.measure,
    "tables": tables.measure,
    "logins": logins.measure,
}


def main() -> int:
    """Measure what is named on the command line, or all."""
    names = sys.argv[1:] or list(_GROUPS)
    if unknown := set(names) - _GROUPS.keys():
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(_GROUPS)}", file=sys.stderr)
        return 2
    print(f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory(prefix="popgate-bench-") as folder:
        for name in names:
            why = why_not() if name in ("reaction", "tables") else None
            if why:
                print(f"{name}: not measured, {why}")
                continue
            for what, much in _GROUPS[name](Path(folder)):
                print(f"{what:<60} {much}", flush=True)
    return 0


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())

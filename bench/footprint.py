"""What popgate costs while it has nothing to do, and with 10,000 grants; and how fast it starts."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import side_by_side
from bench.lines import login
from lab.popgate import Popgate
from lab.processes import wait_for

GRANTS = 10_000
IDLE = 60
_SOON = '[audit]\ninterval = "2s"\n'


def measure(_: Path) -> Iterator[tuple[str, str]]:
    """Rows of the table: what, and how much."""
    helped = side_by_side({"help": [sys.executable, "-m", "tracker", "--help"]}, rounds=9)["help"]
    yield "popgate --help", f"{helped.wall * 1000:.0f} ms"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-bench-")))
        log = folder / "mail.log"
        now = datetime.now(UTC)
        log.write_text(
            "".join(
                login(f"203.{n // 62500}.{n // 250 % 250}.{n % 250 + 1}", now, n)
                for n in range(GRANTS)
            )
        )
        popgate = Popgate(folder / "popgate", log, folder / "postfix", _SOON)
        stack.enter_context(popgate)
        text = popgate.maps / "pop_before_smtp.txt"
        wait_for("the texts", lambda: text.exists() and text.read_text().count("\n") > GRANTS, 120)
        time.sleep(2)
        before = _cpu(popgate.pid)
        time.sleep(IDLE)
        used = _cpu(popgate.pid) - before
        yield f"idle with {GRANTS} grants, {IDLE} s", f"{used / IDLE * 100:.3f} % of one core"
        yield f"RSS with {GRANTS} grants", f"{_rss(popgate.pid) / 1024:.0f} MB"
        once = [sys.executable, "-m", "tracker", "once", "--config", str(popgate.file)]
        popgate.stop()
        nothing = side_by_side({"once": once})["once"]
        yield f"popgate once, nothing new, {GRANTS} grants", f"{nothing.wall * 1000:.0f} ms"


def _cpu(pid: int) -> float:
    """Seconds of processor that all threads of a process have used, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _rss(pid: int) -> int:
    """Kilobytes of memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/{pid}/status has no VmRSS")

"""What popgate costs while it has nothing to do: start, memory, idle, `popgate once`; and a full
render. Each at three sizes, with what it is compared to in the same run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.figures import exponent, side_by_side
from bench.sites import Ready, cpu, filled, memory, settled, start, wake_ups
from lab.popgate import Popgate
from lab.processes import stop, wait_for

SIZES = (10_000, 100_000, 1_000_000)
RENDERED = (1_000, 10_000, 100_000)
ROUNDS = 5
IDLE = 60
_SOON = '[grants]\nwindow = "7d"\n[audit]\ninterval = "2s"\n'
_PLAIN = Path(__file__).with_name("plain_load.py")
_POPGATE = [sys.executable, "-m", "tracker"]


def measure(_: Path) -> Iterator[tuple[str, str]]:
    """Rows of the table: what, and how much."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-bench-")))
        sites = {size: filled(folder / str(size), size, _SOON) for size in (0, *SIZES)}
        for site in sites.values():  # the first start writes the tables
            start(site)
            settled(site)
            site.kill()
        yield from _starts(sites)
        yield from _idle(sites[SIZES[0]], folder)
        yield from _once({size: sites[size] for size in (0, *SIZES[:2])})
        yield from _render(folder, {1_000: filled(folder / "1000", 1_000, _SOON), **sites})


def _starts(sites: Mapping[int, Popgate]) -> Iterator[tuple[str, str]]:
    """From the start of a process, after the one before was killed, to READY=1; and what it holds
    when its texts are written."""
    walls: list[tuple[float, float]] = []
    held: list[tuple[float, float]] = []
    for size in SIZES:
        site, starts = sites[size], list[Ready]()
        loads = side_by_side({"load": _load(site)}, rounds=3)["load"]
        for number in range(ROUNDS):
            starts.append(start(site))
            if number == ROUNDS - 1:
                settled(site)
                rss, peak = memory(site.pid), memory(site.pid, "VmHWM")
            site.kill()
        wall = statistics.median(one.wall for one in starts)
        spent = statistics.median(one.cpu for one in starts)
        walls.append((size, wall))
        held.append((size, rss))
        plain = subprocess.run(_load(site), capture_output=True, text=True, check=True).stdout
        what = f"{size} grants"
        yield (
            f"start until READY, {what}",
            f"{wall:.2f} s, {spent:.2f} s of its processor; "
            f"{wall / loads.wall:.1f} times a plain load ({loads.wall:.2f} s)",
        )
        yield (
            f"memory, {what}",
            f"{rss / 1024:.0f} MB RSS, {peak / 1024:.0f} MB at its peak; "
            f"a plain dictionary {int(plain) / 1024:.0f} MB",
        )
    slope = statistics.linear_regression(*zip(*held, strict=True)).slope * 1024
    yield "memory for a grant", f"{slope:.0f} bytes"
    yield "growth of the start", f"{exponent(walls):.2f}"


def _load(site: Popgate) -> list[str]:
    return [sys.executable, "-I", str(_PLAIN), str(site.maps.parent / "popgate.db")]


def _idle(site: Popgate, folder: Path) -> Iterator[tuple[str, str]]:
    """A minute in which nothing is logged, beside fail2ban on the same log."""
    with site, _fail2ban(folder) as other:
        settled(site)
        pids = {"popgate run": site.pid, "fail2ban-server": other}
        before = {name: (cpu(pid), wake_ups(pid)) for name, pid in pids.items()}
        time.sleep(IDLE)
        hours = IDLE / 3600
        for name, pid in pids.items():
            spent, woken = cpu(pid) - before[name][0], wake_ups(pid) - before[name][1]
            yield (
                f"idle, {name}",
                f"{spent / hours:.1f} s of processor and {woken / hours:.0f} wake-ups an hour, "
                f"{memory(pid) / 1024:.0f} MB RSS",
            )


@contextmanager
def _fail2ban(folder: Path) -> Iterator[int]:
    """fail2ban's server with its filter for Dovecot on a log of its own; the pid."""
    home = folder / "fail2ban"
    home.mkdir()
    for name in ("filter.d", "action.d"):
        (home / name).symlink_to(f"/etc/fail2ban/{name}")
    (home / "mail.log").touch()
    (home / "fail2ban.conf").write_text(
        "[Definition]\nloglevel = INFO\nsyslogsocket = auto\nallowipv6 = auto\n"
        f"logtarget = {home}/log\nsocket = {home}/socket\npidfile = {home}/pid\n"
        "dbfile = None\ndbpurgeage = 1d\ndbmaxmatches = 10\n[Thread]\nstacksize = 0\n"
    )
    (home / "jail.conf").write_text(
        f"[dovecot]\nenabled = true\nfilter = dovecot\nlogpath = {home}/mail.log\n"
        "backend = auto\naction =\n"
    )
    server = subprocess.Popen(
        ["fail2ban-server", "-c", str(home), "-f", "start"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        log = home / "log"
        wait_for("fail2ban", lambda: log.exists() and "' started" in log.read_text())
        yield server.pid
    finally:
        stop(server.pid)
        server.wait()


def _once(sites: Mapping[int, Popgate]) -> Iterator[tuple[str, str]]:
    """Nothing new: as cron runs it, and by hand, which looks at everything."""
    commands: dict[str, Sequence[str]] = {"start": [sys.executable, "-c", "pass"]}
    commands["popgate --help"] = [*_POPGATE, "--help"]
    for size, site in sites.items():
        commands[f"popgate once --quiet, {size} grants"] = _command(site, "once", "--quiet")
        commands[f"popgate once, {size} grants"] = _command(site, "once")
    for site in sites.values():
        wait_for("a note", partial(_noted, site), 30)
    runs = side_by_side(commands, rounds=7)
    bare = runs.pop("start")
    for what, run in runs.items():
        ratio = run.wall / bare.wall
        yield (
            f"{what}",
            f"{run.wall * 1000:.0f} ms, {run.cpu * 1000:.0f} ms of processor; "
            f"{ratio:.1f} times python -c pass ({bare.wall * 1000:.0f} ms)",
        )
    for how in ("once --quiet", "once"):
        points = [(size, runs[f"popgate {how}, {size} grants"].wall) for size in sites if size]
        yield f"growth of popgate {how}", f"{exponent(points):.2f}"


def _noted(site: Popgate) -> bool:
    subprocess.run(_command(site, "once", "--quiet"), check=True)
    return (site.maps.parent / "unchanged.json").exists()


def _command(site: Popgate, *arguments: str) -> list[str]:
    return [*_POPGATE, *arguments, "--config", str(site.file)]


def _render(folder: Path, sites: Mapping[int, Popgate]) -> Iterator[tuple[str, str]]:
    """All tables and snippets to an empty folder, beside postmap of the same grant table."""
    points: list[tuple[float, float]] = []
    for size in RENDERED:
        out, table = folder / f"out-{size}", folder / f"table-{size}"
        command = _command(sites[size], "render", "--out", str(out))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines = (out / "pop_before_smtp.txt").read_text().splitlines()
        pairs = (line.split()[:2] for line in lines if not line.startswith("#"))
        table.write_text("".join(f"{key} {end}\n" for key, end in pairs))
        postmap = ["/usr/sbin/postmap", "-c", str(sites[size].postfix), f"lmdb:{table}"]
        runs = side_by_side({"render": command, "postmap": postmap})
        render, whole = runs["render"].wall, runs["postmap"].wall
        points.append((size, render))
        yield (
            f"popgate render, {size} grants",
            f"{render:.2f} s; {render / whole:.1f} times postmap ({whole:.2f} s)",
        )
    yield "growth of popgate render", f"{exponent(points):.2f}"

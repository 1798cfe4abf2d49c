"""`make acceptance`: the package on Debian 12 and 13 as they boot, from installing it to the purge.

The root file systems come from the cache, or are made there first (lab/debian.py); then both
machines are booted side by side and tests/acceptance is told on each. Where that cannot be done the
last line says why; on CI (`CI` is set) that is a failure.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from lab import debian, machine
from lab.network import Namespaces
from lab.processes import stop

_ENOUGH = 4 * 2**30
"""Bytes of memory for two machines at a time; one needs less than half of it."""
_PATIENCE = 900.0


def why_not() -> str | None:
    """What keeps machines from being booted here; None when nothing does."""
    missing = debian.missing()
    if missing:
        return f"not installed: {' '.join(missing)}"
    return machine.unavailable() or Namespaces.unavailable()


def make_roots() -> str | None:
    """See to the root file systems, side by side; what went wrong."""
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        making = [pool.submit(debian.root_file_system, release) for release in debian.RELEASES]
        faults = [str(fault) for one in making if (fault := one.exception()) is not None]
    print(f"Root file systems in {debian.cache()}: {time.monotonic() - began:.0f} s", flush=True)
    return "\n".join(faults) or None


class Story:
    """The tests of one release, in a process of their own."""

    def __init__(self, release: str, folder: Path) -> None:
        self.release = release
        self._said = folder / f"{release}.txt"
        self._report = folder / f"{release}.xml"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to tell it."""
        argv = [sys.executable, "-m", "pytest", "--maxfail=3", "--tb=short", "-m", "acceptance"]
        argv += ["-o", "junit_family=xunit1"]  # which has properties of a test
        argv += ["-k", self.release, f"--junitxml={self._report}", "tests/acceptance"]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(argv, stdout=said, stderr=said)

    def end(self) -> bool:
        """Wait for its end; whether all was as it should be. What was said of what was not is
        printed."""
        assert self._process is not None
        try:
            good = self._process.wait(_PATIENCE) == 0
        except subprocess.TimeoutExpired:
            self.stop()
            good = False
        if not good:
            print(f"\n== Debian {debian.RELEASES[self.release]} ({self.release})")
            print(self._said.read_text(errors="replace"))
        return good

    def stop(self) -> None:
        """End it early; its machine goes with it."""
        if self._process is not None and self._process.poll() is None:
            stop(self._process.pid, patience=30)

    def shown(self) -> Iterator[tuple[str, str, str]]:
        """Each test: what it is about, its outcome, and what it measured."""
        if not self._report.exists():
            return
        for case in ET.parse(self._report).iter("testcase"):
            name = case.attrib["name"].partition("[")[0].removeprefix("test_").replace("_", " ")
            bad = any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
            facts = [f"{one.get('name')}: {one.get('value')}" for one in case.iter("property")]
            outcome = f"{'NOT SHOWN' if bad else 'shown'}, {float(case.attrib['time']):.0f} s"
            yield name, outcome, "\n".join(facts)


def tell(stories: list[Story]) -> bool:
    """All of them, side by side where there is memory for it."""
    together = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >= _ENOUGH
    good = True
    try:
        for group in [stories] if together else [[story] for story in stories]:
            for story in group:
                story.start()
            ends = [story.end() for story in group]
            good = good and all(ends)
    finally:
        for story in stories:
            story.stop()
    return good


def table(stories: list[Story]) -> Table:
    """What was shown, where, and what was measured."""
    made = Table("Debian", "what", "", "measured", show_lines=False, box=None, pad_edge=False)
    for story in stories:
        for name, outcome, facts in story.shown():
            made.add_row(debian.RELEASES[story.release], name, outcome, facts)
    return made


def main() -> int:
    """Show it; 0 only if all of it was shown, or if this machine cannot and is not CI's."""
    signal.signal(signal.SIGTERM, _interrupt)
    began = time.monotonic()
    reason = why_not() or make_roots()
    if reason is not None:
        print(f"Acceptance was not shown: {reason}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    with tempfile.TemporaryDirectory(prefix="popgate-acceptance-") as name:
        stories = [Story(release, Path(name)) for release in debian.RELEASES]
        good = tell(stories)
        Console(width=150).print(table(stories))
    print(f"{'All as it should be' if good else 'Not as it should be'}, {_minutes(began)}")
    return 0 if good else 1


def _minutes(began: float) -> str:
    seconds = round(time.monotonic() - began)
    return f"{seconds // 60} min {seconds % 60} s"


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

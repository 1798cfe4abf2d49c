"""Who does popgate's work on this host: a running popgate, units of systemd, crontabs.

`systemctl show` prints a block a unit, `Key=value` a line, also for units that are not there
(LoadState=not-found); systemctl(1).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from tracker.errors import ReadingError, StoreError
from tracker.facts import Unit, Upkeep
from tracker.status import expired
from tracker.store import Store

UNITS = ("popgate.service", "popgate-reload.path", "popgate-expire.timer")
_PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,Result"
_BOOTED = Path("/run/systemd/system")
"""There where systemd is the init of this host: sd_booted(3)."""

_SECONDS = 5
_CRONTABS = ("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/crontabs/*", "/var/spool/cron/*")
_CALLS = re.compile(r"^[^#\n]*\bpopgate +(?:once|expire)\b[^\n]*$", re.MULTILINE)


def units() -> tuple[Unit, ...] | None:
    """Popgate's units; None where systemd does not run this host. Raises ReadingError."""
    if not _BOOTED.is_dir():
        return None
    argv = ["systemctl", "show", f"--property={_PROPERTIES}", "--", *UNITS]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C", "SYSTEMD_PAGER": ""},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ReadingError(f"systemctl cannot be run: {error}") from error
    if done.returncode != 0:
        raise ReadingError(f"systemctl show: {done.stderr.strip() or done.returncode}")
    return parse_units(done.stdout)


def parse_units(text: str) -> tuple[Unit, ...]:
    """The units in what `systemctl show` printed."""
    found: list[Unit] = []
    for block in text.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in block.split("\n") if "=" in line)
        found.append(
            Unit(
                values.get("Id", ""),
                values.get("LoadState", ""),
                values.get("ActiveState", ""),
                values.get("UnitFileState", ""),
                values.get("Result", ""),
            )
        )
    return tuple(found)


def crontabs(patterns: Iterable[str] = _CRONTABS) -> tuple[tuple[str, ...], str]:
    """The lines of crontabs that have popgate's work done, and why some could not be read."""
    lines: list[str] = []
    unseen = ""
    for pattern in patterns:
        folder = Path(pattern).parent
        if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):
            unseen = f"{folder}: only root may read the crontabs there"
        for file in sorted(folder.glob(Path(pattern).name)):
            try:
                if file.is_file():
                    lines += _CALLS.findall(file.read_text(encoding="utf-8", errors="replace"))
            except OSError as error:
                unseen = f"{file}: {error.strerror}"
    return tuple(lines), unseen


def state(directory: Path) -> Upkeep:
    """How far popgate is, by its state. Raises StoreError; where there is no state, all is None."""
    if not os.access(directory, os.R_OK | os.X_OK) and directory.exists():
        raise StoreError(f"{directory}: may not be entered")
    if not (directory / "popgate.db").exists():
        return Upkeep()
    store = Store.look(directory)
    try:
        read_until = store.read_until()
        moments = [read_until, *(grant.last_login for grant in store.grants())]
        newest: datetime | None = max((one for one in moments if one), default=None)
        return Upkeep(store.running(), read_until, newest, expired(directory))
    finally:
        store.close()


def reload_asked(request: Path) -> datetime | None:
    """Since when a request for a reload waits; None where none does, or it is not for us to see."""
    try:
        return datetime.fromtimestamp(request.lstat().st_mtime, UTC)
    except OSError:
        return None

"""A journal of systemd in a folder, written to as journald would: by systemd-journal-remote."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

_REMOTE = Path("/lib/systemd/systemd-journal-remote")
_BOOT = "0123456789abcdef0123456789abcdef"
_BOOTED = datetime(2026, 11, 1, tzinfo=UTC)


class Journal:
    """One folder with journal files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "system.journal"
        folder.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def missing() -> list[str]:
        """The Debian packages that this needs and this machine lacks."""
        there = {"systemd": shutil.which("journalctl"), "systemd-journal-remote": _REMOTE.exists()}
        return [package for package, found in there.items() if not found]

    def write(self, *entries: bytes) -> None:
        """Append entries in the export format. Raises RuntimeError."""
        done = subprocess.run(
            [_REMOTE, f"--output={self._file}", "-"],
            input=b"".join(entries),
            capture_output=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())

    def rotate(self, name: str) -> Path:
        """Put the file aside under that name; the next entry begins a new one."""
        return self._file.rename(self._file.with_name(f"system@{name}.journal"))


def entry(
    message: bytes | str | None,
    at: datetime,
    *,
    unit: str = "dovecot.service",
    identifier: bytes | str = "dovecot",
    **fields: bytes | str,
) -> bytes:
    """One entry of that unit in the export format (systemd.io/JOURNAL_EXPORT_FORMATS).

    `fields` adds others, or changes them.
    """
    moment = int(at.timestamp() * 1_000_000)
    all_fields: dict[str, bytes | str] = {
        "_BOOT_ID": _BOOT,
        "_HOSTNAME": "mailhost",
        "_PID": "4242",
        "_COMM": "log",
        "_EXE": "/usr/lib/dovecot/log",
        "_SYSTEMD_UNIT": unit,
        "SYSLOG_IDENTIFIER": identifier,
        **({} if message is None else {"MESSAGE": message}),
        **fields,
    }
    since_boot = moment - int(_BOOTED.timestamp() * 1_000_000)
    head = f"__REALTIME_TIMESTAMP={moment}\n__MONOTONIC_TIMESTAMP={max(since_boot, 1)}\n".encode()
    return head + b"".join(_field(name, text) for name, text in all_fields.items()) + b"\n"


def _field(name: str, value: bytes | str) -> bytes:
    text = value.encode() if isinstance(value, str) else value
    if text.isascii() and text.decode().isprintable():
        # systemd 257 refuses a _BOOT_ID in the other form.
        return b"%b=%b\n" % (name.encode(), text)
    return b"%b\n%b%b\n" % (name.encode(), len(text).to_bytes(8, "little"), text)

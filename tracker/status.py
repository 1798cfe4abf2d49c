"""What a running popgate tells of itself to `popgate status`, and `popgate expire` to the doctor: a
small file beside the state.

It is written beside and renamed, a few times a minute or when something changed, and not synced:
after a crash of the host it describes nobody.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tracker.regular import read_bytes, stage

FILES = {"run": "status.json", "policy": "status-policy.json"}
_EXPIRED = "expired"


class Status(Struct, frozen=True):
    """A process at one moment. `read_until`: when the log was last read to its end. `behind`: how
    much of a source was read, in percent, where it is not all. `waits`: what keeps a source from
    being read."""

    pid: int
    version: str
    started: datetime
    told: datetime
    scope: str
    read_until: datetime | None = None
    grants: int | None = None
    behind: dict[str, int | None] = {}
    waits: tuple[str, ...] = ()
    metrics: dict[str, Any] = {}


def tell(directory: Path, command: str, status: Status) -> None:
    """Put it where `popgate status` looks. What cannot be written is not known there."""
    path = directory / FILES[command]
    beside = path.with_suffix(".new")
    with suppress(OSError):
        stage(beside, msgspec.json.format(msgspec.json.encode(status), indent=1), 0o600)
        os.replace(beside, path)


def told(directory: Path, command: str) -> Status | None:
    """What that command last told; None where nothing can be read."""
    try:
        return msgspec.json.decode(read_bytes(directory / FILES[command]), type=Status)
    except (OSError, msgspec.MsgspecError):
        return None


def tell_expired(directory: Path) -> None:
    """Say that `popgate expire` has ended what is over."""
    with suppress(OSError):
        stage(directory / _EXPIRED, b"", 0o600, synced=False)


def expired(directory: Path) -> datetime | None:
    """When `popgate expire` last did its work; None where it never did."""
    try:
        return datetime.fromtimestamp((directory / _EXPIRED).lstat().st_mtime, UTC)
    except OSError:
        return None


def lives(status: Status) -> bool:
    """Whether the process that told it is still there."""
    try:
        os.kill(status.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""A text put in its place: written beside, checked there, synced, renamed; only where it differs.

A failure leaves what stood there. A link, a second name of somebody's file or a pipe in the place
of the text or of the staged file is replaced, and neither followed nor written to.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from tracker.errors import PublishError
from tracker.regular import is_own, stage

log = logging.getLogger("popgate")

_PIECE = 1 << 20


def put(path: Path, text: str, mode: int, check: Callable[[Path], object] | None = None) -> bool:
    """Have `path` hold the text; True when it did not before.

    `check` reads the staged file and raises what is wrong with it. Raises PublishError.
    """
    content = text.encode()
    try:
        if not is_own(path):
            log.warning("event=not_ours file=%s action=replaced", path)
        elif is_own(path, mode) and _holds(path, content):
            return False
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("event=unreadable file=%s error=%s action=replaced", path, error)
    staged = _stage(path, content, mode)
    if check is not None:
        check(staged)
    try:
        os.replace(staged, path)
        sync(path.parent)
    except OSError as error:
        raise PublishError(f"{path}: cannot be replaced: {error.strerror}") from error
    return True


def _holds(path: Path, content: bytes) -> bool:
    """Whether that is all that stands there; read a piece at a time, for it may be large."""
    place = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            if content[place : place + len(piece)] != piece:
                return False
            place += len(piece)
    return place == len(content)


def _stage(path: Path, content: bytes, mode: int) -> Path:
    staged = path.with_name(f".{path.name}.new")
    try:
        stage(staged, content, mode)
    except OSError as error:
        raise PublishError(
            f"{staged}: cannot be written: {error.strerror}; {path.name} stays as it was"
        ) from error
    return staged


def sync(folder: Path) -> None:
    """Have the names in a folder outlive a crash."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

"""A text put in its place: written beside, checked there, synced, renamed; only where it differs.

A failure leaves what stood there. A link in the place of the staged file is not followed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from tracker.errors import PublishError

log = logging.getLogger("popgate")


def put(path: Path, text: str, mode: int, check: Callable[[Path], object] | None = None) -> bool:
    """Have `path` hold the text; True when it did not before.

    `check` reads the staged file and raises what is wrong with it. Raises PublishError.
    """
    try:
        if path.read_text(encoding="utf-8") == text:
            return False
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        log.warning("event=unreadable file=%s error=%s action=replaced", path, error)
    staged = _stage(path, text, mode)
    if check is not None:
        check(staged)
    try:
        os.replace(staged, path)
        sync(path.parent)
    except OSError as error:
        raise PublishError(f"{path}: cannot be replaced: {error.strerror}") from error
    return True


def _stage(path: Path, text: str, mode: int) -> Path:
    staged = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(staged, flags, mode), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
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

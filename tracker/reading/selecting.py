"""The log formats that the settings name; for `auto`, those that the log itself shows."""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from tracker.errors import ReadingError
from tracker.reading.choosing import by_evidence
from tracker.reading.formats import find, names
from tracker.reading.patterns import Format
from tracker.reading.sources.doveconf import fitted
from tracker.reading.sources.rotated import Bytes, neighbours, packed
from tracker.settings import LogSettings

log = logging.getLogger("popgate")

AUTO = "auto"
_SAMPLE = 4 * 1024 * 1024


def select(settings: LogSettings, now: datetime) -> list[Format]:
    """The formats to read the logs with. Raises FormatError."""
    folder = settings.formats_directory
    wanted = [name.strip() for name in settings.format.split(",")]
    every = names(folder) if wanted == [AUTO] else wanted
    known = [fitted(find(name, folder), settings.dovecot) for name in every]
    if wanted != [AUTO]:
        return known
    found = by_evidence(sample(settings.files), known, now)
    if found:
        log.info("event=format chosen=%s", ",".join(one.name for one in found))
        return found
    # Nothing is logged yet. What one server writes is no login in the format of another.
    log.info("event=format chosen=all reason=%r", "the logs show no login yet")
    return known


def forgeable(formats: Iterable[Format], settings: LogSettings) -> Mapping[str, str]:
    """The formats whose logins anyone can make up and the settings do not accept, and why."""
    if settings.accept_forgeable:
        return {}
    return {one.name: one.forgeable for one in formats if one.forgeable}


def doubts(formats: Iterable[Format], settings: LogSettings) -> Iterator[str]:
    """What the admin should know of formats whose logins anyone can make up, a line each."""
    for one in formats:
        if one.forgeable and settings.accept_forgeable:
            yield f"format {one.name}: forged logins earn grants too. {one.forgeable}"
        elif one.forgeable:
            yield (
                f"format {one.name}: its logins earn no grant, since anyone can forge them "
                f"(log.accept_forgeable takes them). {one.forgeable}"
            )


def sample(files: Iterable[Path]) -> bytes:
    """The last lines of each log, and of the rotated file before it; of one that cannot be read,
    none."""
    lines = bytearray()
    for pattern in files:
        for file in sorted(glob.glob(str(pattern))) or [str(pattern)]:
            try:
                plain = [path for path in neighbours(file) if not packed(path)]
            except OSError:  # a folder that is not for us to list
                plain = []
            for path in [*plain[-1:], file]:
                lines += _tail(path)
    return bytes(lines)


def _tail(path: str) -> bytes:
    try:
        file = Bytes(path)
    except (OSError, ReadingError):  # the reader says so, and waits
        return b""
    try:
        size = file.status().st_size
        first = max(0, size - _SAMPLE)
        data = file.read(size - first, first)
    finally:
        file.close()
    begin = data.find(b"\n") + 1 if first else 0
    return data[begin : data.rfind(b"\n") + 1]

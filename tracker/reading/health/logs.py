"""The last lines of the sources of logins, and what the formats make of them.

Read as popgate's own user reads them, so that what keeps that user out is seen; nothing is
followed, no position moves. Of each file the last MiB, of the journal the last entries.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from tracker.errors import FormatError, ReadingError
from tracker.facts import Format, LogSeen, Source
from tracker.reading.choosing import Trial
from tracker.reading.events import EventReader
from tracker.reading.patterns import Format as Reads
from tracker.reading.selecting import select
from tracker.reading.sources import doveconf, journal
from tracker.reading.sources.rotated import Bytes
from tracker.reading.sources.stdin import NAME
from tracker.reading.timestamps import StampReader
from tracker.records import Login
from tracker.settings import LogSettings

SAMPLE = 1 << 20
"""Bytes of a file that are looked at, from its end."""

_ENTRIES = 3000
_FILES = 16
_AHEAD = timedelta(hours=25)
"""Stamps are read as if it were so much later: what lies in the future must not look like now. No
more than a day, else a stamp without a year may be taken for the coming one."""
_ZONED = re.compile(r"[0-9]{4}-[^ ]*(?:Z|[+-][0-9]{2}:?[0-9]{2})$|[0-9]{9}")


def look(settings: LogSettings, now: datetime) -> LogSeen:
    """The sources of the settings, their ends, and the logins in them."""
    samples = [*_files(settings, now), *_journal(settings, now)]
    sources = tuple(source for source, _ in samples)
    try:
        formats = select(settings, now)
    except FormatError as error:
        return LogSeen(sources, fault=str(error))
    blocks = [block for _, block in samples if block]
    return LogSeen(
        sources,
        tuple(_tried(one, blocks, now) for one in formats),
        tuple(_logins(formats, blocks, _stamps(settings, now))),
        dovecot_unread=_unread(formats, settings.dovecot),
    )


def _stamps(settings: LogSettings, now: datetime) -> StampReader:
    return StampReader(now, ZoneInfo(settings.timezone) if settings.timezone else None)


def _unread(formats: Iterable[Reads], wanted: object) -> str:
    """Why doveconf cannot be asked how the lines look; then the defaults are assumed."""
    if not isinstance(wanted, str) or not any(one.custom for one in formats):
        return ""
    try:
        doveconf.read("" if wanted == doveconf.AUTO else wanted)
    except ReadingError as error:
        return str(error)
    return ""


def _tried(one: Reads, blocks: Iterable[bytes], now: datetime) -> Format:
    trial = Trial(one, now)
    for block in blocks:
        trial.read(block)
    return Format(
        one.name,
        trial.counts["login"],
        trial.not_understood,
        tuple(trial.examples),
        one.forgeable or "",
    )


def _logins(formats: list[Reads], blocks: Iterable[bytes], stamps: StampReader) -> Iterable[Login]:
    reader = EventReader(formats, stamps)
    for block in blocks:
        yield from (event for event in reader.read(block) if isinstance(event, Login))
        reader.forget()


def _files(settings: LogSettings, now: datetime) -> Iterable[tuple[Source, bytes]]:
    for pattern in map(str, settings.files):
        if pattern == NAME:
            continue
        matching = [path for path in sorted(glob.glob(pattern)) if os.path.isfile(path)]
        if not matching:
            yield _absent(pattern), b""
        for path in sorted(matching, key=os.path.getmtime)[-_FILES:]:
            yield _file(path, settings, now)


def _absent(pattern: str) -> Source:
    """What keeps a file from being seen: it is not there, or its folder may not be entered."""
    for folder in reversed(Path(pattern).parents):
        if os.path.isdir(folder) and not os.access(folder, os.X_OK):
            return Source(pattern, f"{folder} may not be entered")
    return Source(pattern, "nothing matches" if glob.has_magic(pattern) else "", missing=True)


def _file(path: str, settings: LogSettings, now: datetime) -> tuple[Source, bytes]:
    try:
        file = Bytes(path)
    except OSError as error:
        return Source(path, str(error.strerror)), b""
    except ReadingError as error:
        return Source(path, str(error)), b""
    try:
        status = file.status()
        first = max(0, status.st_size - SAMPLE)
        data = file.read(status.st_size - first, first)
    except OSError as error:
        return Source(path, str(error.strerror)), b""
    finally:
        file.close()
    begin = data.find(b"\n") + 1 if first else 0
    block = data[begin : data.rfind(b"\n") + 1]
    return _end(path, block, settings, now, datetime.fromtimestamp(status.st_mtime, UTC)), block


def _journal(settings: LogSettings, now: datetime) -> Iterable[tuple[Source, bytes]]:
    if not settings.units:
        return
    name = journal.name(settings)
    troubles = list(journal.absent_units(settings))
    try:
        block, _ = journal.tail(settings, _ENTRIES)
    except ReadingError as error:
        yield Source(name, str(error)), b""
        return
    for trouble in troubles:
        what, _, why = trouble.partition(": ")
        yield Source(what, why, missing=what in settings.units), b""
    yield _end(name, block, settings, now, None), block


def _end(
    name: str, block: bytes, settings: LogSettings, now: datetime, written: datetime | None
) -> Source:
    """A source by its last line that has a stamp."""
    stamps = _stamps(settings, now + _AHEAD)
    for line in reversed(block[-65536:].decode("latin-1").split("\n")):
        last, _ = stamps.read(line) if line else (None, None)
        if last is not None:
            zoned = bool(_ZONED.match(line.partition(" ")[0]))
            return Source(name, lines=block.count(b"\n"), last=last, written=written, zoned=zoned)
    return Source(name, lines=block.count(b"\n"), written=written)

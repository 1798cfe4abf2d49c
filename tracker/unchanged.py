"""What `popgate once --quiet` looks at first: whether anything changed since a run that did all
there was to do.

Such a run leaves a note of every file that it rests on, by stat(2), of how often the state was
saved, and of the moment from which on something is due though no file changes: a grant ends, or
`audit.check_interval` is over. While the note holds, the same run again would do nothing. Where
something is read or written that no file tells of, there is no note: a journal, host names of the
trusted list, exports.

A file that changed since the run began, or a second before, gives no note either: it may have been
read before its last change. A note that cannot be read, or is of another version, is none.
"""

from __future__ import annotations

import glob
import hashlib
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from tracker import __version__
from tracker.errors import StoreError
from tracker.reading.sources.rotated import neighbours
from tracker.regular import stage
from tracker.settings import Settings

if TYPE_CHECKING:
    from datetime import datetime

    from tracker.engine import Engine
    from tracker.store import Store

_NAME = "unchanged.json"
_CLOCKS = 1.0
"""Seconds by which the time of a file may lie behind the clock."""

_ADDRESSES = ("/proc/net/fib_trie", "/proc/net/if_inet6")
"""Where Linux tells the host's addresses, and routes with them: ten times as fast as to ask each
interface for its own."""

_Stamp = tuple[int, ...]


class Note(Struct, frozen=True):
    """What a run saw. `host`: its name, and a digest of its addresses. `began`, `until`: seconds
    since 1970. `saved`: Store.saves(). `named`: the files that Postfix names. `stamps`: of all
    files, by path; empty for one that is not there."""

    version: str
    host: tuple[str, ...]
    began: float
    until: float
    saved: int
    named: tuple[str, ...]
    stamps: dict[str, _Stamp]


def holds(config_file: Path, settings: Settings, store: Store, now: datetime) -> bool:
    """Whether a run that begins `now` would do nothing; then the log counts as read to its end."""
    try:
        file = settings.state.directory / _NAME
        note = msgspec.json.decode(file.read_bytes(), type=Note)
    except (OSError, msgspec.MsgspecError):
        return False
    same = (
        note.version == __version__
        and note.began <= now.timestamp() < note.until
        and note.host == _host()
        and note.stamps == _stamps(config_file, settings, note.named)
    )
    if not same:
        return False
    try:
        with store.exclusive():
            return store.saves() == note.saved and store.heard(now)
    except StoreError:
        return False  # a whole run mends it, or says what is wrong


def leave(config_file: Path, engine: Engine, began: datetime) -> None:
    """Note what a run that `began` then found, where it did all there was to do.

    A note that cannot be written is missed by nobody.
    """
    settings = engine.settings
    start = began.timestamp()
    until = _until(engine, start)
    if until is None or until <= start:
        return
    named = tuple(sorted(engine.senders.host.files))
    stamps = _stamps(config_file, settings, named)
    latest = (start - _CLOCKS) * 1e9
    if any(max(stamp[:2]) >= latest for stamp in stamps.values() if stamp):
        return
    if not all(stamps[name] for name in named):
        return
    with engine.store.exclusive():
        if engine.store.changed_elsewhere():
            return
        saved = engine.store.saves()
    note = Note(__version__, _host(), start, until, saved, named, stamps)
    file = settings.state.directory / _NAME
    staged = file.with_name(f".{_NAME}.new")
    with suppress(OSError):
        stage(staged, msgspec.json.encode(note), 0o600)
        os.replace(staged, file)


def _until(engine: Engine, began: float) -> float | None:
    """From when on something is due; None where that cannot be told, or something is due now."""
    settings = engine.settings
    unseen = settings.log.units or engine.trusted.names or engine.exports_wanted()
    if unseen or engine.troubles() or engine.unsettled():
        return None
    if engine.publisher.reload_due() is not None:
        return None
    expiry = engine.next_expiry()
    check = began + settings.audit.check_interval.total_seconds()
    return check if expiry is None else min(check, expiry.timestamp())


def _host() -> tuple[str, ...]:
    kernel = hashlib.blake2b(digest_size=16)
    for path in _ADDRESSES:
        with suppress(OSError):
            kernel.update(Path(path).read_bytes())
    return socket.gethostname(), kernel.hexdigest()


def _stamps(config_file: Path, settings: Settings, named: Iterable[str]) -> dict[str, _Stamp]:
    return {path: _stamp(path) for path in (*_inputs(config_file, settings), *named)}


def _inputs(config_file: Path, settings: Settings) -> Iterator[str]:
    yield str(config_file)
    yield str(settings.trusted.file)
    yield from map(str, settings.local_senders.domain_files)
    yield from map(str, (*settings.whitelist.files, *settings.blacklist.files))
    for pattern in map(str, settings.log.files):
        yield pattern
        for path in glob.glob(pattern) if glob.has_magic(pattern) else [pattern]:
            yield path
            yield from neighbours(path)
    maps = settings.tables.directory
    yield str(maps)
    with suppress(OSError):
        yield from (str(maps / name) for name in os.listdir(maps) if name != ".git")


def _stamp(path: str) -> _Stamp:
    """When it was last written to and changed otherwise, in nanoseconds; size and inode."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino

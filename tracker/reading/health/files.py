"""Owners and modes, room on the disk and git's word on the maps folder: looked at, not touched.

git is asked as the owner of the folder alone: a repository's own settings can name programs, and
root must not run those (git-config(1), core.fsmonitor). It takes no optional locks, so it writes
nothing.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from glob import glob
from pathlib import Path

from tracker.errors import AuditError
from tracker.facts import Files, History, Place, Room
from tracker.records import NEVER
from tracker.settings import Settings
from tracker.standing import watched
from tracker.writing.git import Git

_SECONDS = 5.0
_MOST = 64


def files(settings: Settings, config_file: Path) -> Files:
    """All places, as they are for whoever asks. Raises AuditError where git cannot be asked."""
    state, maps = place(settings.state.directory), place(settings.tables.directory)
    user = state.owner if state.exists and not state.fault else os.geteuid()
    return Files(
        user=user,
        user_name=_name(user),
        state=state,
        maps=maps,
        inside=tuple(map(place, [*_inside(state.path), *_inside(maps.path)])),
        above=tuple(map(place, _above([state.path, maps.path]))),
        config=tuple(map(place, _configuration(settings, config_file))),
        logs=tuple(map(place, _logs(settings))),
        rooms=tuple(room(path) for path in _systems([state.path, maps.path])),
    )


def place(path: Path | str) -> Place:
    """What stat(2) tells, and whether this process may read it."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return Place(str(path), exists=False)
    except OSError as error:
        return Place(str(path), fault=str(error.strerror))
    return Place(
        str(path),
        folder=stat.S_ISDIR(found.st_mode),
        mode=found.st_mode,
        owner=found.st_uid,
        group=found.st_gid,
        readable=os.access(path, os.R_OK),
    )


def room(path: str) -> Room:
    """What is left for whoever is not root."""
    found = os.statvfs(path)
    return Room(
        path,
        free=found.f_bavail * found.f_frsize,
        share=found.f_bavail / (found.f_blocks or 1),
        # Some file systems (btrfs) make inodes as they need them, and count none.
        files_share=found.f_favail / found.f_files if found.f_files else 1.0,
    )


def history(maps: Path) -> History | None:
    """What git says of the folder; None where there is no history. Raises AuditError."""
    if not (maps / ".git").is_dir():
        return None
    if maps.stat().st_uid != os.geteuid():
        raise AuditError("only the owner of the folder may ask git")
    _, said = Git(maps).run("status", "--porcelain", "-z", patience=_SECONDS)
    names = [entry[3:] for entry in said.split("\0") if entry]
    return History(
        {name: _written(maps / name) or _written(maps) or NEVER for name in names[:_MOST]},
        _written(maps / ".git/index.lock"),
    )


def _written(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None


def _inside(folder: str) -> list[str]:
    """The files in a folder, without git's."""
    try:
        return sorted(entry.path for entry in os.scandir(folder) if entry.is_file())
    except OSError:  # the folder itself is among the places, with what is wrong
        return []


def _above(paths: Iterable[str]) -> list[str]:
    """The folders that lead to some places, those without themselves, each once."""
    own = list(paths)
    found = dict.fromkeys(str(folder) for path in own for folder in Path(path).parents)
    return [path for path in found if path not in own]


def _configuration(settings: Settings, config_file: Path) -> list[Path]:
    """What is read and decides who may send: files, and the folders that they are in."""
    formats = settings.log.formats_directory
    named = [config_file, settings.trusted.file, *watched(settings)]
    own = [*named, *sorted(formats.glob("*.toml"))]
    return list(dict.fromkeys([*own, formats, *(file.parent for file in named)]))


def _logs(settings: Settings) -> list[Path]:
    """The log files that the settings name or match, and their folders."""
    named = [path for path in settings.log.files if str(path) != "-"]
    found = [Path(path) for pattern in named for path in sorted(glob(str(pattern)))]
    return list(dict.fromkeys([*found, *(path.parent for path in [*named, *found])]))


def _systems(paths: Iterable[str]) -> list[str]:
    """One folder of each file system that is written to."""
    found: dict[int, str] = {}
    for path in paths:
        try:
            found.setdefault(os.stat(path).st_dev, path)
        except OSError:
            continue
    return list(found.values())


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)

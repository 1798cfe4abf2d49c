"""Owners and modes of what popgate keeps and reads, room on the disk, the git history; pure.

The daemon reads what strangers write, so it is not root, and nobody but root and its own user may
write what it relies on. A folder that others may write to, with the sticky bit, is safe: nobody can
take another's entry there (inode(7)).
"""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta

from tracker.deciding.health.catalogue import Diagnosis, found, in_maps, unseen
from tracker.facts import Files, History, Place, Room

_OTHERS = 0o077
_WRITE = 0o022
_FULL_FILES, _LOW_FILES = 0.005, 0.05
"""Shares of the inodes. Of bytes it is the number that counts: a large disk has room at 1 %."""
_FULL_BYTES, _LOW_BYTES = 1 << 20, 100 << 20
_LOCKED = timedelta(minutes=5)
_SHOWN = 4
_COMMIT = "add --all && git -C {folder} commit --quiet --message 'changed by hand'"


def files(seen: Files, commit_within: timedelta, now: datetime) -> Iterator[Diagnosis]:
    """What is wrong with files and folders. `commit_within`: how long a change may stay out of the
    history."""
    for place in (seen.state, seen.maps, *seen.inside):
        yield from _own(place, seen)
    for place in seen.above:
        yield from _lent(place, seen)
    for place in seen.config:
        yield from _lent(place, seen)
        if place.exists and not place.fault and not place.readable:
            yield found(
                "config-unreadable",
                place.path,
                f"{seen.user_name} may not read it",
                f"chgrp {seen.user_name} {_q(place)} && chmod g+r{'x' * place.folder} {_q(place)}",
            )
    for place in seen.logs:
        # The sticky bit keeps nobody from making a log that is not there yet.
        if place.exists and not place.fault and place.mode & stat.S_IWOTH:
            text = f"a log that anybody may write logins to (mode {_mode(place)})"
            yield found("open-to-others", place.path, text, f"chmod o-w {_q(place)}")
    for room in seen.rooms:
        yield from _room(room)
    if seen.history is not None:
        yield from _history(seen, seen.history, commit_within, now)


def _own(place: Place, seen: Files) -> Iterator[Diagnosis]:
    """What popgate's user alone may touch."""
    if place.fault:
        yield unseen(place.path, place.fault)
    if place.fault or not place.exists:
        return
    if place.owner != seen.user:
        text = f"belongs to user {place.owner}, and not to {seen.user_name}"
        yield found("wrong-owner", place.path, text, f"chown {seen.user_name}: {_q(place)}")
    if place.mode & _OTHERS:
        yield found(
            "open-to-others",
            place.path,
            f"has mode {_mode(place)}",
            f"chmod {'700' if place.folder else '600'} {_q(place)}",
        )


def _lent(place: Place, seen: Files) -> Iterator[Diagnosis]:
    """What others may read, and only root and popgate's user may write."""
    if place.fault:
        yield unseen(place.path, place.fault)
    if place.fault or not place.exists:
        return
    if place.owner not in (0, seen.user):
        text = f"belongs to user {place.owner}, who can write it, and not to root"
        yield found("wrong-owner", place.path, text, f"chown root {_q(place)}")
    group = stat.S_IWGRP if place.group != 0 else 0
    sticky = place.folder and place.mode & stat.S_ISVTX
    if place.mode & (group | stat.S_IWOTH) and not sticky:
        yield found(
            "open-to-others",
            place.path,
            f"others may write to it (mode {_mode(place)})",
            f"chmod go-w {_q(place)}",
        )


def _room(room: Room) -> Iterator[Diagnosis]:
    mend = f"df -h {shlex.quote(room.path)}; df -i {shlex.quote(room.path)}"
    if room.free < _FULL_BYTES or room.files_share < _FULL_FILES:
        yield found("disk-full", room.path, _left(room), mend)
    elif room.free < _LOW_BYTES or room.files_share < _LOW_FILES:
        yield found("disk-low", room.path, _left(room), mend)


def _left(room: Room) -> str:
    mib = room.free >> 20
    return f"{mib} MiB ({room.share:.1%}) and {room.files_share:.1%} of the inodes are free"


def _history(
    seen: Files, history: History, commit_within: timedelta, now: datetime
) -> Iterator[Diagnosis]:
    folder = seen.maps.path
    late = sorted(name for name, at in history.changed.items() if now - at > commit_within)
    if late:
        names = ", ".join(late[:_SHOWN]) + (f" and {len(late) - _SHOWN} more" if late[4:] else "")
        yield found(
            "uncommitted",
            folder,
            f"{names}: changed by hand, and not committed",
            in_maps(seen.user_name, folder, _COMMIT.format(folder=shlex.quote(folder))),
        )
    if history.locked_since is not None and now - history.locked_since > _LOCKED:
        lock = f"{folder}/.git/index.lock"
        since = history.locked_since.isoformat(timespec="seconds")
        text = f"there since {since}: a git that was killed left it"
        yield found("git-locked", lock, text, f"rm {shlex.quote(lock)}")


def _mode(place: Place) -> str:
    return f"{stat.S_IMODE(place.mode):04o}"


def _q(place: Place) -> str:
    return shlex.quote(place.path)

"""The files that `popgate init` leaves: written as a whole or not at all, and never over another.

A text is written beside, synced, and given its name by link(2), which fails where the name is
taken, be it by a link that leads nowhere. popgate's group may read what is written, where there is
one; else everybody may, since nobody knows who popgate will run as.
"""

from __future__ import annotations

import grp
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tracker import config
from tracker.errors import SetupError
from tracker.surveyed import Chosen
from tracker.texts import visible
from tracker.writing.files import sync
from tracker.writing.templates import fill

_GROUP = "popgate"
_LONGEST = 500


def configuration(settings: Iterable[tuple[str, Chosen]]) -> str:
    """The text of popgate.toml with these settings, each with why it was chosen."""
    return config.sample(
        {
            name: (one.value, visible(f"{one.weight.capitalize()}: {one.why}", _LONGEST))
            for name, one in settings
        }
    )


def trusted_list() -> str:
    """The text of a trusted list of examples alone."""
    return fill("trusted.txt.j2")


def create(file: Path, text: str) -> bool:
    """Make the file, and its folder; False when the name is taken. Raises SetupError."""
    if os.path.lexists(file):
        return False
    staged = file.with_name(f".{file.name}.{secrets.token_hex(4)}.new")
    made = False
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            with open(os.open(staged, flags, 0o600), "w", encoding="utf-8") as new:
                new.write(text)
                new.flush()
                _open_to_popgate(new.fileno())
                os.fsync(new.fileno())
            with suppress(FileExistsError):
                os.link(staged, file)
                made = True
        finally:
            staged.unlink(missing_ok=True)
        sync(file.parent)
    except OSError as error:
        raise SetupError(f"{file}: cannot be written: {error.strerror}") from error
    return made


def _open_to_popgate(file: int) -> None:
    try:
        group = grp.getgrnam(_GROUP).gr_gid
    except KeyError:
        os.fchmod(file, 0o644)
        return
    if os.geteuid() == 0 or group in (os.getegid(), *os.getgroups()):
        os.fchown(file, -1, group)
        os.fchmod(file, 0o640)
    else:
        os.fchmod(file, 0o644)

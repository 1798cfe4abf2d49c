"""What stands in a log: whose lines, how many logins, when the last; for files and the journal."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from tracker.errors import FormatError, ReadingError
from tracker.reading.choosing import Trial, choose
from tracker.reading.formats import find, names
from tracker.reading.patterns import Format
from tracker.reading.selecting import sample
from tracker.reading.sources import journal
from tracker.reading.sources.doveconf import fitted
from tracker.reading.sources.rotated import Bytes, neighbours, packed
from tracker.settings import LogSettings
from tracker.surveyed import Log

USER = "popgate"
_GROUPS = ("systemd-journal", "adm")
"""Who may read all of the journal (systemd-journald.service(8)), besides root."""
_EARNING = {"pop3", "imap"}
_ENTRIES = 20_000


def formats(
    dovecot: str | Mapping[str, str], folder: Path | None = None
) -> tuple[list[Format], str]:
    """The formats whose logins can earn a grant, Dovecot's as its settings have it; and why those
    settings cannot be read, where they cannot. `dovecot`, `folder`: as `log.dovecot` and
    `log.formats_directory`."""
    found: list[Format] = []
    unsafe = ""
    for name in sorted(names(folder)):
        try:
            one = find(name, folder)
        except FormatError:  # one of the admin's own; `popgate formats` says what is wrong
            continue
        if not _EARNING & {example.service for example in one.examples}:
            continue
        try:
            one = fitted(one, dovecot)
        except FormatError as error:
            unsafe = str(error)
        found.append(one)
    return found, unsafe


def look_into(path: Path, known: Sequence[Format], now: datetime, named: str = "") -> Log:
    """A log file, with the one that it was rotated to."""
    try:
        plain = [Path(name) for name in neighbours(str(path)) if not packed(name)]
        there = [file for file in (*plain[-1:], path) if file.exists()]
        if not there:
            return Log(str(path), named, trouble="no such file")
        newest = Bytes(str(there[-1]))
        written = datetime.fromtimestamp(newest.status().st_mtime, UTC)
        newest.close()
    except OSError as error:
        return Log(str(path), named, trouble=f"cannot be read: {error.strerror}")
    except ReadingError:
        return Log(str(path), named, trouble="is no regular file")
    seen = Log(str(path), named, written=written, denied=_denied(there[-1]))
    return _judged(seen, sample([path]), known, now)


def look_into_journal(
    units: Sequence[str], known: Sequence[Format], now: datetime, folder: str = ""
) -> Log:
    """The last entries of some units in the journal; `folder`: as `log.journal_directory`."""
    place = ", ".join(units)
    wanted = LogSettings(files=(), units=tuple(units), journal_directory=folder)
    try:
        lines, second = journal.tail(wanted, _ENTRIES)
    except ReadingError as error:
        return Log(place, trouble=str(error))
    written = None if second is None else datetime.fromtimestamp(second, UTC)
    return _judged(Log(place, written=written, denied=_shut_out()), lines, known, now)


def _judged(log: Log, lines: bytes, known: Sequence[Format], now: datetime) -> Log:
    """The log, with what its last lines show."""
    trials = [Trial(one, now) for one in known]
    for trial in trials:
        trial.read(lines)
    writers = tuple(trial.format.name for trial in trials if trial.lines)
    chosen = tuple(one.name for one in choose(trials))
    fitting = [trial for trial in trials if trial.format.name in chosen]
    return structs.replace(
        log,
        writers=writers,
        formats=chosen,
        logins=sum(trial.counts["login"] for trial in fitting),
        last_login=max((one.last_login for one in fitting if one.last_login), default=None),
    )


def _denied(file: Path) -> str:
    """Why popgate's user, where there is one, cannot read a file: the one that is not for it."""
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        return ""
    groups = os.getgrouplist(USER, user.pw_gid)
    for one, bits in ((file, 0o444), *((folder, 0o111) for folder in file.parents)):
        status = one.stat()
        mine = (
            0o700 if status.st_uid == user.pw_uid else 0o070 if status.st_gid in groups else 0o007
        )
        if not status.st_mode & mine & bits:
            mode = stat.S_IMODE(status.st_mode)
            return f"user {USER} may not read {one} ({_owners(status)} {mode:04o})"
    return ""


def _owners(status: os.stat_result) -> str:
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = str(status.st_uid)
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return f"{owner}:{group}"


def _shut_out() -> str:
    """Why popgate's user, where there is one, cannot read the journal."""
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        return ""
    groups = os.getgrouplist(USER, user.pw_gid)
    for name in _GROUPS:
        try:
            if grp.getgrnam(name).gr_gid in groups:
                return ""
        except KeyError:
            continue
    return f"user {USER} is not in the group {_GROUPS[0]}"

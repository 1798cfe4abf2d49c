"""Where on a host things are looked for, and which files its syslog daemon is told to write.

rsyslog.conf(5) and syslog.conf(5): `mail.*  -/var/log/mail.log`, also with several facilities and
selectors; rsyslog's `:programname, isequal, "dovecot" /var/log/dovecot.log`. What scripts of
rsyslog or syslog-ng decide is not read: there the files that exist must tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from tracker.settings import LogSettings

_SELECTED = re.compile(r"\s*(?P<selector>[^\s#$/:]+)\s+-?(?P<file>/[^\s;]+)")
_NAMED = re.compile(r'\s*:programname\s*,[^"]*"(?:dovecot|imapd|pop3d)"\s+-?(?P<file>/[^\s;]+)')
_MAIL = re.compile(r"(?:^|[;,])mail(?:,\w+)*\.(?:\*|=?(?:info|debug|notice))(?:;|$)")
"""A selector with what mail's facility says at level info, as logins are."""


class Places(Struct, frozen=True):
    """The files and folders that are looked at; a test has its own.

    `logs`: where mail's log is usually, the likeliest first. `units`: folders of unit files.
    `journal`: the folder of a journal, empty for this host's. `formats`: the folder of the admin's
    own log formats.
    """

    logs: tuple[Path, ...] = tuple(
        map(
            Path,
            (
                "/var/log/mail.log",
                "/var/log/maillog",
                "/var/log/mail/mail.log",
                "/var/log/mail/info",
                "/var/log/mail.info",
                "/var/log/mail",
                "/var/log/dovecot.log",
                "/var/log/dovecot-info.log",
                "/var/log/dovecot/dovecot.log",
                "/var/log/syslog",
                "/var/log/messages",
            ),
        )
    )
    syslog: tuple[Path, ...] = (Path("/etc/rsyslog.conf"), Path("/etc/syslog.conf"))
    syslog_folder: Path = Path("/etc/rsyslog.d")
    proc: Path = Path("/proc")
    units: tuple[Path, ...] = (
        Path("/etc/systemd/system"),
        Path("/usr/lib/systemd/system"),
        Path("/lib/systemd/system"),
    )
    journal: str = ""
    formats: Path = LogSettings().formats_directory


def named_logs(places: Places) -> dict[Path, str]:
    """The files that the syslog daemon's configuration gives mail's log to, each with FILE:LINE."""
    found: dict[Path, str] = {}
    for file in (*sorted(places.syslog_folder.glob("*.conf")), *places.syslog):
        for number, name in _in_file(file):
            found.setdefault(Path(name), f"{file}:{number}")
    return found


def _in_file(file: Path) -> Iterator[tuple[int, str]]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # it is not there, or not for us: files that exist must tell
        return
    for number, line in enumerate(lines, 1):
        selected = _SELECTED.match(line)
        if named := _NAMED.match(line):
            yield number, named["file"]
        elif selected and _MAIL.search(selected["selector"]):
            yield number, selected["file"]

"""A look at this host for `popgate init`: its mail servers, logs and networks; nothing is changed.

What cannot be looked at is named in the survey and stops nothing.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from tracker.deciding.login_log import units_of
from tracker.reading.survey import logs
from tracker.reading.survey.asking import dovecot, postfix
from tracker.reading.survey.networks import gateways
from tracker.reading.survey.places import Places, named_logs
from tracker.reading.survey.processes import servers, syslog_daemon
from tracker.surveyed import DovecotSeen, Survey
from tracker.writing.postfix import Postfix

_UNIT = "dovecot.service"


def look(now: datetime, commands: Postfix, dovecot_config: str, places: Places) -> Survey:
    """All that there is to see. `dovecot_config`: the dovecot.conf, empty for Dovecot's own."""
    known, unsafe = logs.formats(dovecot_config or "auto", places.formats)
    seen = dovecot(dovecot_config, unsafe)
    running = servers(places.proc)
    units = _unit_files(places)
    asked = units_of(running) or list(units)
    return Survey(
        dovecot=seen,
        postfix=postfix(commands),
        servers=tuple(running),
        syslog=syslog_daemon(places.proc),
        files=tuple(
            logs.look_into(path, known, now, named) for path, named in _files(seen, places).items()
        ),
        journal=(logs.look_into_journal(asked, known, now, places.journal) if asked else None),
        unit_files=units,
        gateways=tuple(gateways(places.proc)),
        forgeable=tuple(one.name for one in known if one.forgeable),
        root=os.geteuid() == 0,
        at=now,
    )


def _files(seen: DovecotSeen | None, places: Places) -> dict[Path, str]:
    """The files that logins may be in, each with where it is named: Dovecot's own alone, where it
    has one; else those of the syslog daemon's configuration, and those that are there."""
    if seen is not None and seen.log.startswith("/dev/"):
        return {}
    if seen is not None and seen.log.startswith("/"):
        return {Path(seen.log): f"doveconf: {seen.named}"}
    named = named_logs(places)
    return {**named, **{path: "" for path in places.logs if path not in named and path.is_file()}}


def _unit_files(places: Places) -> tuple[str, ...]:
    return (_UNIT,) if any((folder / _UNIT).exists() for folder in places.units) else ()

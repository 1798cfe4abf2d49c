"""Which log the logins of a host are read from, by a survey of it; pure.

In this order: the file that Dovecot itself writes; a file of the syslog daemon that has logins in
it, else the journal that has; the same with lines of the server and no login yet; the file that a
running syslog daemon is told to write; the unit that the server runs in; a guess.

A file that stopped growing when the journal went on, or a week ago, is left over from a syslog
daemon that is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from tracker.surveyed import Chosen, Log, Process, Remark, Survey, Weight

_LATE = timedelta(hours=1)
_DEAD = timedelta(days=7)
_FILE = "/var/log/mail.log"
_ABSENT = "no such file"
_STREAMS = ("/dev/stderr", "/dev/stdout", "/dev/fd/1", "/dev/fd/2", "/proc/self/fd/2")


class LoginLog(Struct, frozen=True):
    """The choice: `log.files` or `log.units`, what that log showed, and what to say."""

    setting: str
    chosen: Chosen
    log: Log | None
    remarks: tuple[Remark, ...]


def login_log(survey: Survey) -> LoginLog:
    """Where logins are read from."""
    remarks = [*_server(survey), *_unreadable(survey), *_left_over(survey)]
    own = survey.dovecot is not None and survey.dovecot.log.startswith("/")
    if survey.dovecot is not None and own:
        setting, chosen, log = _dovecots_own(survey, survey.dovecot.log, survey.dovecot.named)
    else:
        setting, chosen, log = next(_syslogs(survey))
    shown = ", ".join(chosen.value)
    remarks.append(Remark(chosen.weight, f"logins are read from {shown}", chosen.why))
    if log is not None and log.denied:
        remarks.append(Remark("missing", f"{log.denied}: docs/sources.md says what to do"))
    units = units_of(survey.servers) if survey.journal and not survey.journal.trouble else []
    if setting == "log.files" and units and not own:
        remarks.append(
            Remark(
                "note",
                f"the journal of {', '.join(units)} would do too (log.units): no user of this host "
                "can forge a line in it",
            )
        )
    return LoginLog(setting, chosen, log, tuple(remarks))


def _server(survey: Survey) -> Iterator[Remark]:
    """The POP and IMAP servers that there are."""
    dovecot = survey.dovecot
    if dovecot is not None and dovecot.trouble:
        yield Remark("missing", f"{dovecot.trouble}: what it logs to is guessed")
    elif dovecot is not None:
        yield Remark(
            "found",
            f"Dovecot {dovecot.version} logs to {dovecot.log}".replace("  ", " "),
            f"doveconf: {dovecot.named}",
        )
    if dovecot is not None and dovecot.unsafe:
        yield Remark("missing", f"Dovecot's log cannot be read as it is set: {dovecot.unsafe}")
    for one in survey.servers:
        if one.contained:
            yield Remark(
                "note" if dovecot is not None else "missing",
                f"{one.server} runs in a container: what it logs is not in this host's log: "
                "docs/sources.md, Containers",
                f"process {one.pid}",
            )
        elif one.server != "dovecot":
            yield Remark("found", f"{one.server} runs", f"process {one.pid}")
    if dovecot is None and not survey.servers:
        yield Remark(
            "missing",
            "no POP or IMAP server: neither doveconf nor a process of one that popgate knows "
            "(popgate formats)",
        )


def _unreadable(survey: Survey) -> Iterator[Remark]:
    for log in (*survey.files, *([survey.journal] if survey.journal else [])):
        if log.trouble and log.trouble != _ABSENT:
            said = log.trouble if log is survey.journal else f"{log.place}: {log.trouble}"
            yield Remark("missing", said if survey.root else f"{said}: run popgate init as root")


def _left_over(survey: Survey) -> Iterator[Remark]:
    for log in survey.files:
        if log.named.startswith("doveconf"):
            continue
        if log.logins and not _grows(log, survey) and log.written:
            yield Remark(
                "note",
                f"{log.place} has logins, but was last written to {_time(log.written)}: it is left "
                "over, and not read",
            )


def _dovecots_own(survey: Survey, path: str, named: str) -> tuple[str, Chosen, Log | None]:
    why = f"doveconf: {named} = {path}"
    units = units_of(survey.servers) or survey.unit_files
    if path in _STREAMS:
        if units:
            return "log.units", Chosen(tuple(units), f"{why}, which systemd keeps"), survey.journal
        return "log.files", Chosen((_FILE,), f"{why}, which popgate cannot read", "missing"), None
    if path == "/dev/null":
        text = f"{why}: Dovecot logs nothing: set log_path"
        return "log.files", Chosen((_FILE,), text, "missing"), None
    log = survey.files[0] if survey.files else None
    if log is not None and log.trouble:
        return "log.files", Chosen((path,), f"{why}; {log.trouble}"), log
    shown = f"; {_logins(log)}" if log else ""
    return "log.files", Chosen((path,), why + shown), log


def _syslogs(survey: Survey) -> Iterator[tuple[str, Chosen, Log | None]]:
    """What may be it, the likeliest first."""
    journal = survey.journal if survey.journal and not survey.journal.trouble else None
    files = [log for log in survey.files if not log.trouble and _grows(log, survey)]
    for wanted in (_has_logins, _has_lines):
        for log in files:
            if wanted(log, survey):
                yield _file(log, _logins(log), "found")
        if journal and wanted(journal, survey):
            yield "log.units", Chosen(_split(journal), _logins(journal)), journal
    if survey.syslog is not None:
        daemon = f"{survey.syslog.server} runs (process {survey.syslog.pid})"
        for log in survey.files:
            if log.named and (log in files or log.trouble == _ABSENT):
                yield _file(log, f"{log.named}; {daemon}; no mail server's line yet", "guessed")
    yield from _by_unit(survey)
    for log in files:
        yield _file(log, "it is there, without a line of a mail server", "guessed")
    yield "log.files", Chosen((_FILE,), "the usual place; nothing was found", "guessed"), None


def _by_unit(survey: Survey) -> Iterator[tuple[str, Chosen, Log | None]]:
    for one in _here(survey.servers):
        if one.unit:
            why = f"process {one.pid} of {one.server} runs in it; no login is logged yet"
            yield "log.units", Chosen(tuple(units_of(survey.servers)), why), survey.journal
    if survey.unit_files and survey.dovecot is not None:
        why = "the unit is installed; no process of it was seen"
        yield "log.units", Chosen(survey.unit_files, why, "guessed"), survey.journal


def _file(log: Log, why: str, weight: Weight) -> tuple[str, Chosen, Log]:
    return "log.files", Chosen((log.place,), why, weight), log


def _has_logins(log: Log, survey: Survey) -> bool:
    return log.logins > 0 and (survey.dovecot is None or "dovecot" in log.formats)


def _has_lines(log: Log, survey: Survey) -> bool:
    wanted = {"dovecot"} if survey.dovecot else {one.server for one in _here(survey.servers)}
    return bool(wanted & {*log.writers})


def _grows(log: Log, survey: Survey) -> bool:
    """Whether the file did not stop, as far as can be told."""
    if log.written is None:
        return True
    journal = survey.journal.written if survey.journal is not None else None
    went_on = journal is not None and log.written < journal - _LATE
    return not went_on and (survey.at is None or log.written >= survey.at - _DEAD)


def _logins(log: Log) -> str:
    if log.last_login is None:
        return f"lines of {', '.join(log.writers)}, no login yet" if log.writers else "no line yet"
    count = f"{log.logins} login{'' if log.logins == 1 else 's'}"
    return f"{count} in its last lines, the last at {_time(log.last_login)}"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _here(servers: Iterable[Process]) -> list[Process]:
    return [one for one in servers if not one.contained]


def units_of(servers: Iterable[Process]) -> list[str]:
    """The units that the servers of this host run in: Dovecot's alone, where there is one."""
    here = _here(servers)
    dovecots = [one for one in here if one.server == "dovecot"]
    return sorted({one.unit for one in dovecots or here if one.unit})


def _split(journal: Log) -> tuple[str, ...]:
    return tuple(journal.place.split(", "))

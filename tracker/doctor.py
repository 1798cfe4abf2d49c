"""`popgate doctor`: facts gathered, judged, and put in order. Nothing is changed.

As root, what only root sees is looked at first (Postfix's master, crontabs); then the process
becomes popgate's user for good, since what follows reads strangers' text, and what that user cannot
read is a finding. What cannot be looked at is said, and keeps nothing else from being looked at.

With a broken configuration all is looked at with what is sound in it, and the defaults elsewhere.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec import Struct, structs

from tracker import config
from tracker.deciding.health import files as judge_files
from tracker.deciding.health import limits as judge_limits
from tracker.deciding.health import lists as judge_lists
from tracker.deciding.health import log as judge_log
from tracker.deciding.health import mailsystem as judge_mailsystem
from tracker.deciding.health import ports as judge_ports
from tracker.deciding.health import tables as judge_tables
from tracker.deciding.health import upkeep as judge_upkeep
from tracker.deciding.health.catalogue import CATALOGUE, SEVERITIES, Diagnosis, found, unseen
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.trusted import TrustedList
from tracker.errors import ListError, PopgateError, PostfixError, StoreError, TrustedError
from tracker.facts import Files, LogSeen, MailSystem, Tables, Upkeep
from tracker.host import own_addresses, utc_now
from tracker.privileges import become_owner
from tracker.reading.health import files, logs, mailsystem, tables, upkeep
from tracker.settings import Duration, Settings
from tracker.standing import listed
from tracker.trusting import Trusting
from tracker.writing.postfix import Postfix

_T = TypeVar("_T")
_OWN = re.compile(
    r"\bpopgate (?:config|doctor|expire|explain|install|list|once|revoke|status|trust)\b"
    r"[^;&|'>]*?(\s*)(?=(?:--[a-z]+ )?[;&|'>]|$)"
)

_PATIENCE = Duration(seconds=3)
"""What a command of Postfix may take, at most."""
_LOOK_AGAIN = 1.0
_SLACK = timedelta(seconds=30)


class Examination(Struct, frozen=True):
    """All findings, the gravest first. `bad_configuration`: the file itself is one of them."""

    findings: tuple[Diagnosis, ...]
    bad_configuration: bool = False

    def counting(self) -> int:
        """How many there are that are more than notes."""
        return sum(one.severity != "note" for one in self.findings)


def examine(config_file: Path) -> Examination:
    """Look at everything. When run as root, the process is popgate's user from then on."""
    settings, problems = config.as_far_as_sound(config_file)
    findings = list(judge_lists.bad("config-bad", problems, "popgate config check"))
    findings += _Visit(settings, config_file).findings()
    order = {code: number for number, code in enumerate(CATALOGUE)}
    findings.sort(key=lambda one: (SEVERITIES.index(one.severity), order[one.code]))
    if config_file != config.DEFAULT_FILE:
        option = f" --config {shlex.quote(str(config_file))}"
        findings = [structs.replace(one, mend=_with(option, one.mend)) for one in findings]
    return Examination(tuple(dict.fromkeys(findings)), bool(problems))


def _with(option: str, mend: str) -> str:
    """The command with the option behind each popgate that takes it, before what is quoted."""
    return _OWN.sub(lambda match: match[0].rstrip() + option + match[1], mend)


class _Visit:
    """One host, looked at part by part."""

    def __init__(self, settings: Settings, config_file: Path) -> None:
        self._settings = settings
        self._file = config_file
        patience = min(settings.postfix.timeout, _PATIENCE)
        self._postfix = Postfix(structs.replace(settings.postfix, timeout=patience))
        self._found: list[Diagnosis] = []
        self._upkeep = Upkeep()

    def findings(self) -> list[Diagnosis]:
        """What is wrong, and what could not be looked at."""
        mail = self._mail()
        self._units()
        try:
            become_owner(self._settings.state.directory)
        except PopgateError as error:
            directory = str(self._settings.state.directory)
            self._add([found("wrong-owner", directory, str(error), f"chown popgate: {directory}")])
            return self._found
        seen = self._files()
        self._state(seen)
        log = self._try("log", partial(logs.look, self._settings.log, utc_now()))
        kept = self._tables(mail, seen.user_name)
        self._clients(seen, log, kept)
        self._lists(mail)
        return self._found

    def _add(self, findings: Iterable[Diagnosis]) -> None:
        self._found += findings

    def _try(self, where: str, look: Callable[[], _T]) -> _T | None:
        """What `look` gives; None where it cannot, which is said."""
        try:
            return look()
        except PopgateError as error:
            why = str(error).replace("\n", "; ")
        except OSError as error:
            why = f"{error.filename or where}: {error.strerror}"
        self._add([unseen(where, why)])
        return None

    def _mail(self) -> MailSystem | None:
        try:
            seen = mailsystem.look(self._settings, self._postfix)
        except PostfixError as error:
            self._add([judge_mailsystem.unasked(str(error))])
            return None
        self._add(judge_mailsystem.mailsystem(seen))
        self._add(judge_ports.ports(seen, self._settings.submission))
        return seen

    def _units(self) -> None:
        units = self._try("systemd", upkeep.units)
        lines, unread = upkeep.crontabs()
        asked = upkeep.reload_asked(self._settings.postfix.reload_request)
        self._upkeep = Upkeep(units=units, crontab=lines, crontab_unseen=unread, reload_asked=asked)

    def _files(self) -> Files:
        seen = files.files(self._settings, self._file)
        if self._settings.audit.commit:
            history = self._try("history", partial(files.history, self._settings.tables.directory))
            seen = structs.replace(seen, history=history)
        self._add(judge_files.files(seen, self._commit_within(), utc_now()))
        return seen

    def _commit_within(self) -> timedelta:
        """How long texts and commit may lag behind: two batches."""
        return 2 * self._settings.audit.interval + _SLACK

    def _state(self, seen: Files) -> None:
        try:
            state = upkeep.state(self._settings.state.directory)
        except (StoreError, OSError) as error:
            if os.geteuid() != seen.user:
                self._add([unseen("state", str(error))])
                return
            state = Upkeep(state=str(error))
        self._upkeep = structs.replace(
            self._upkeep,
            pid=state.pid,
            read_until=state.read_until,
            newest=state.newest,
            expired=state.expired,
            state=state.state,
        )
        self._add(judge_upkeep.upkeep(self._upkeep, utc_now()))

    def _tables(self, mail: MailSystem | None, user: str) -> Tables | None:
        if self._upkeep.state:  # that is said already
            return None
        pid = self._upkeep.pid
        look = partial(tables.look, self._settings, self._postfix, running=pid is not None)
        seen = self._try("tables", lambda: look(now=utc_now()))
        if seen is not None and judge_tables.doubtful(seen):
            time.sleep(_LOOK_AGAIN)
            again = self._try("tables", lambda: look(now=utc_now()))
            seen = None if again is None else judge_tables.lasting(seen, again)
        if seen is not None:
            folder = str(self._settings.tables.directory)
            keeper = judge_tables.Keeper(folder, user, pid, self._commit_within())
            told = mail.tables if mail is not None and mail.names_us else ()
            unread = frozenset(one.source.removeprefix("proxy:") for one in told if one.fault)
            self._add(judge_tables.tables(seen, keeper, utc_now(), unread))
        return seen

    def _clients(self, seen: Files, log: LogSeen | None, kept: Tables | None) -> None:
        """The log, and the addresses that users come from."""
        policy = GrantPolicy(self._settings.grants, own_addresses())
        if log is not None:
            self._add(judge_log.log(log, self._settings.log, policy, seen.user_name, utc_now()))
        users = kept.users if kept is not None else {}
        logins = log.logins if log is not None else ()
        excluded = self._settings.grants.exclude_networks
        self._add(judge_log.gateways(users, logins, policy, excluded))
        self._add(judge_limits.limits(users, logins, policy, utc_now()))

    def _lists(self, mail: MailSystem | None) -> None:
        file = self._settings.trusted.file
        trusting = Trusting(self._settings)
        try:
            in_force = trusting.reread(utc_now()) or TrustedList()
        except TrustedError as error:
            problems = str(error).splitlines()
            self._add(judge_lists.bad("trusted-bad", problems, "popgate trust edit"))
        else:
            host = mail.host if mail is not None else None
            self._add(judge_lists.trusted(in_force, trusting.known(), host, str(file)))
        try:
            listed(self._settings)
        except ListError as error:
            problems = str(error).splitlines()
            self._add(judge_lists.bad("list-bad", problems, "popgate config check"))

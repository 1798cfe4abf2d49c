"""Whether logins can be seen where popgate looks for them, and who of them earns a grant; pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from tracker.deciding.health.catalogue import Diagnosis, found
from tracker.deciding.kinds import KINDS
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.spans import number
from tracker.facts import Format, LogSeen, Source
from tracker.records import Login
from tracker.settings import LogSettings
from tracker.texts import printable, visible

AUTO = "auto"

STALE = timedelta(days=3)
"""A log that nobody wrote to for so long is no longer the log."""

AHEAD = timedelta(minutes=1)
"""Stamps further ahead are taken for now by the reader (reading/timestamps.py)."""

_QUARTER = 15 * 60.0
_NEAR = 10.0
_LARGEST = 14.5 * 3600
_SHOWN = 3


def log(
    seen: LogSeen, settings: LogSettings, policy: GrantPolicy, user: str, now: datetime
) -> Iterator[Diagnosis]:
    """What is wrong with the log. `policy`: who earns a grant; `user`: whom popgate runs as."""
    for source in seen.sources:
        yield from _source(source, user, now)
    yield from _stale(seen, now)
    if seen.fault:
        yield found(
            "log-format-bad", f"log.format = {settings.format}", seen.fault, "popgate formats"
        )
    for one in _meant(seen.formats, settings):
        yield from _format(one, settings)
    if seen.dovecot_unread:
        text = f"{user} cannot ask doveconf: {visible(seen.dovecot_unread)}"
        yield found("dovecot-unread", "doveconf", text, f"runuser -u {user} -- doveconf -n")
    yield from _logins(seen, policy)


def _source(source: Source, user: str, now: datetime) -> Iterator[Diagnosis]:
    where = source.name
    if source.missing:
        text = source.trouble or "does not exist"
        yield found("log-missing", where, text, "doveadm log find; popgate config check")
    elif source.trouble:
        journal = where.startswith("journal")
        group = "systemd-journal" if journal else "adm"
        text = f"{user} cannot read it: {source.trouble}"
        yield found("log-unreadable", where, text, f"adduser {user} {group}; ls -ld {_q(where)}")
    if source.last is None:
        return
    if source.last > now + AHEAD and not _shifted(source):
        ahead = _length(source.last - now)
        text = f"its last line is of {_stamp(source.last)}: {ahead} from now"
        yield found("clock-ahead", where, text, "timedatectl; date --utc")
    elif hours := _shifted(source):
        written = _stamp(source.written) if source.written else "?"
        text = (
            f"its last line, written at {written}, says {_stamp(source.last)}: {hours:+g} h. "
            "Its stamps name no zone, and are not of the one that popgate takes them for"
        )
        yield found("log-timezone", where, text, "popgate config set log.timezone ZONE")


def _shifted(source: Source) -> float:
    """Hours by which the stamps are off, where another time zone explains it; else 0."""
    if source.zoned or source.last is None or source.written is None:
        return 0.0
    off = (source.last - source.written).total_seconds()
    steps = round(off / _QUARTER)
    near = abs(off - steps * _QUARTER) <= _NEAR
    return steps * _QUARTER / 3600 if near and abs(off) <= _LARGEST else 0.0


def _stale(seen: LogSeen, now: datetime) -> Iterator[Diagnosis]:
    """All sources together: one of several may well be silent."""
    read = [source for source in seen.sources if not source.trouble and not source.missing]
    last = max((moment for one in read if (moment := one.last)), default=None)
    if read and last is not None and now - last > STALE:
        names = ", ".join(source.name for source in read)
        text = f"the last line is of {_stamp(last)}"
        yield found("log-stale", names, text, "doveadm log find; popgate config show | grep units")


def _meant(formats: tuple[Format, ...], settings: LogSettings) -> Iterable[Format]:
    """The formats that the log may be in. While it shows no login, `auto` stands for all that there
    are: then it is the one whose words are met most, if any are."""
    if settings.format != AUTO or any(one.logins for one in formats):
        return formats
    met = [one for one in formats if one.not_understood]
    return sorted(met, key=lambda one: -one.not_understood)[:1]


def _format(one: Format, settings: LogSettings) -> Iterator[Diagnosis]:
    where = f"format {one.name}"
    if one.not_understood:
        text = f"{one.not_understood} lines look like logins and are not understood, such as: "
        text += visible(one.examples[0]) if one.examples else "?"
        yield found("log-not-understood", where, text, f"popgate formats test {_logs(settings)}")
    if one.doubt and settings.accept_forgeable:
        text = f"its logins earn grants (log.accept_forgeable). {one.doubt}"
        yield found("log-forgeable", where, text, "popgate config set log.accept_forgeable false")
    elif one.doubt:
        text = f"its logins earn no grant. {one.doubt}"
        yield found("log-forgeable", where, text, "popgate formats")


def _logins(seen: LogSeen, policy: GrantPolicy) -> Iterator[Diagnosis]:
    read = [source for source in seen.sources if not source.trouble and not source.missing]
    where = ", ".join(source.name for source in read)
    if read and not seen.fault and not seen.logins:
        if any(one.not_understood for one in seen.formats):
            return
        lines = sum(source.lines for source in read)
        text = f"no login in the last {lines} lines" if lines else "is empty"
        yield found(
            "log-without-logins", where, text, "doveadm log find; popgate formats test FILE"
        )
    refused: dict[str, list[Login]] = {}
    earned = 0
    for login in seen.logins:
        why = policy.refused_address(login.address) if login.address else None
        if why is None:
            earned += 1
        elif "exclude_networks" not in why:
            refused.setdefault(why, []).append(login)
    for why, logins in sorted(refused.items()):
        yield _refused(where, why, logins, earned, len(seen.logins))


def _refused(where: str, why: str, logins: list[Login], earned: int, total: int) -> Diagnosis:
    addresses = list(dict.fromkeys(login.address or "" for login in logins))
    shown = ", ".join(addresses[:_SHOWN]) + (", .." if len(addresses) > _SHOWN else "")
    user = printable(logins[-1].user or "?")
    text = (
        f"{len(logins)} of the last {total} logins earn no grant: {why} ({shown}; "
        f"the last is {user}'s). A gateway, proxy or webmail host that stands between hides "
        "the clients"
    )
    kind = why.removesuffix(" address")
    mend = "doveconf haproxy_trusted_networks login_trusted_networks"
    if kind in KINDS and kind == "private":
        mend = 'popgate config set grants.refuse \'["loopback", "link-local", "own"]\''
    return found("logins-some-refused" if earned else "logins-refused", where, text, mend)


def gateways(
    users: Mapping[str, tuple[str, ...]],
    logins: tuple[Login, ...],
    policy: GrantPolicy,
    excluded: tuple[str, ...],
) -> Iterator[Diagnosis]:
    """Addresses that too many users log in from. `users`: by the ledger, for each address."""
    at: dict[str, set[str]] = {address: set(names) for address, names in users.items()}
    for login in logins:
        if login.address and policy.refused_address(login.address) is None:
            at.setdefault(policy.subject(login.address), set()).add(login.user or "?")
    most = policy.max_users_per_address
    for address, names in sorted(at.items()):
        if not most or len(names) <= most:
            continue
        shown = ", ".join(printable(name) for name in sorted(names)[:_SHOWN])
        networks = json.dumps([*excluded, _network(address)])
        yield found(
            "gateway",
            address,
            f"{len(names)} users log in from it ({shown}, ..)",
            f"popgate config set grants.exclude_networks {shlex.quote(networks)} "
            f"&& popgate revoke {address}",
        )


def _network(address: str) -> str:
    if "/" in address:
        return address
    return f"{address}/{32 if number(address).version == 4 else 128}"


def _logs(settings: LogSettings) -> str:
    return " ".join(_q(str(file)) for file in settings.files) or "FILE"


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _length(length: timedelta) -> str:
    minutes = length.total_seconds() / 60
    return f"{minutes / 60:.1f} h" if minutes >= 120 else f"{minutes:.0f} min"


def _q(text: str) -> str:
    return shlex.quote(text)

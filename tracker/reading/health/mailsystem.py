"""What Postfix is set to, by postconf, and what its ports say; nothing is changed.

A service of master.cf is known by its name or port; one that calls itself `postfix/submission` in
the log (`syslog_name`) is the port of users, wherever it listens. What listens on loopback alone
takes back mail from a filter and is nobody's port. With postscreen, what strangers meet is the
service `smtpd/pass` behind it (POSTSCREEN_README).
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec.structs import replace

from tracker.addresses import canonical, listen_place
from tracker.deciding.installing import lists_of
from tracker.deciding.restrictions import LISTS
from tracker.deciding.services import met
from tracker.errors import PostfixError
from tracker.facts import MailSystem, Role, Service, TableSeen
from tracker.host import own_addresses
from tracker.reading import mailhost
from tracker.reading.health import ports
from tracker.reading.health.tables import old_readers
from tracker.records import PostfixSetup
from tracker.settings import Settings
from tracker.writing.parameters import GrantTableType
from tracker.writing.postfix import Postfix
from tracker.writing.publish import table_type
from tracker.writing.render import main_cf_snippet

_NAMES: Mapping[str, tuple[int, Role]] = {
    "smtp": (25, "smtp"),
    "submission": (587, "submission"),
    "submissions": (465, "submissions"),
    "smtps": (465, "submissions"),
}
_TABLE = re.compile(r"(?:proxy:)?\b([a-z]+:/[^\s,{}]+)")
_LOOPBACK = re.compile(r"127\.|localhost$|\[?::1\]?$")


def look(settings: Settings, postfix: Postfix) -> MailSystem:
    """Postfix as it is set, and what it says. Raises PostfixError where it cannot be asked."""
    setup = postfix.setup()
    expanded = [*postfix.postconf("-xn")[0], *postfix.postconf("-xP")[0]]
    warnings = [*postfix.postconf("-n")[1], *postfix.postconf("-M")[1]]
    snippet = main_cf_snippet(settings, _kind(settings, postfix)).text
    folder, root = str(settings.tables.directory), os.geteuid() == 0
    return MailSystem(
        names_us=any(folder in line for line in expanded),
        parameters=setup.main,
        host=mailhost.ask(postfix, own_addresses()),
        services=tuple(_asked(list(_services(setup)), setup, postfix)),
        tables=tuple(_read(postfix, source) for source in _tables(expanded, folder)),
        wanted=tuple(_tables([snippet.replace("${popgate_dir}", folder)], folder)),
        classes=tuple(_classes(snippet)),
        warnings=tuple(dict.fromkeys(warnings)),
        running=postfix.running() if root else None,
        lmdb="lmdb" in postfix.table_types(),
        policy=_policy(settings, postfix),
        old_readers=old_readers(settings.tables.directory, postfix.master_pid()) if root else {},
    )


def _policy(settings: Settings, postfix: Postfix) -> str | None:
    """What keeps the policy service from answering, where Postfix needs it."""
    if settings.grants.scope == "ip":
        return None
    place = listen_place(settings.policy.listen)
    if isinstance(place, Path) and not place.is_absolute():
        place = Path(postfix.value("queue_directory")) / place
    return ports.ask_policy(place)


def _kind(settings: Settings, postfix: Postfix) -> GrantTableType:
    try:
        return table_type(settings.postfix, postfix)
    except PostfixError:  # it is to be lmdb, and cannot be
        return "lmdb"


def _tables(lines: Iterable[str], folder: str) -> list[str]:
    """The tables in a folder that some lines name, each once."""
    named = (source for line in lines for source in _TABLE.findall(line))
    return list(
        dict.fromkeys(one for one in named if one.partition(":")[2].startswith(f"{folder}/"))
    )


def _classes(snippet: str) -> list[str]:
    (line,) = re.findall(r"^smtpd_restriction_classes = (.*)$", snippet, re.MULTILINE)
    return [*mailhost.split(line)]


def _read(postfix: Postfix, source: str) -> TableSeen:
    try:
        postfix.query(source, "192.0.2.1")
    except PostfixError as error:
        return TableSeen(source, str(error))
    return TableSeen(source)


def _services(setup: PostfixSetup) -> Iterator[Service]:
    """The services that take mail from elsewhere, with their lists in force."""
    for one in setup.services:
        host, _, port = one.name.rpartition(":")
        smtpd = met(one, setup.services)
        if smtpd is None or _LOOPBACK.match(host):
            continue
        number, role = _role(port, smtpd.options)
        yield Service(
            smtpd.id,
            role,
            number,
            lists_of(setup, smtpd),
            frozenset(smtpd.options) & frozenset(LISTS),
            host.strip("[]"),
        )


def _role(port: str, given: Mapping[str, str]) -> tuple[int | None, Role]:
    number: int | None
    role: Role
    number, role = _NAMES.get(port, (None, "smtp"))
    by_number = dict(_NAMES.values())
    if port.isdigit():
        number, role = int(port), by_number.get(int(port), "smtp")
    elif number is None:
        try:
            number = socket.getservbyname(port, "tcp")
        except OSError:
            number = None
    says = given.get("syslog_name", "").rpartition("/")[2]
    if role == "smtp" and says in _NAMES:
        role = _NAMES[says][1]
    return number, "submissions" if given.get("smtpd_tls_wrappermode") == "yes" else role


def _asked(services: list[Service], setup: PostfixSetup, postfix: Postfix) -> Iterator[Service]:
    """The services with what their ports say."""
    interfaces, protocols = setup.values["inet_interfaces"], postfix.value("inet_protocols")
    wanted = [
        (number, (_address(service, interfaces, protocols), service.port, service.role))
        for number, service in enumerate(services)
        if service.port is not None
    ]
    said = dict(
        zip([number for number, _ in wanted], ports.ask([one for _, one in wanted]), strict=True)
    )
    for number, service in enumerate(services):
        yield replace(service, answers=said.get(number))


def _address(service: Service, interfaces: str, protocols: str) -> str:
    """Where it listens, seen from this host: loopback where it listens everywhere."""
    words = [service.host] if service.host else interfaces.replace(",", " ").split()
    loopback = "::1" if protocols.strip() == "ipv6" else "127.0.0.1"
    if {"all", "loopback-only", "localhost", loopback} & {*words} or not words:
        return loopback
    # An address where there is one: a name would be asked of DNS.
    return next(filter(None, map(canonical, words)), words[0])

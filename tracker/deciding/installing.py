"""What main.cf and master.cf become when popgate is installed; pure.

Of everything the wanted value is made, and an edit only where it differs: so a second install does
nothing. Lists on port 25 get our words where `restrictions` puts them. The submission ports are
left to SMTP AUTH alone: a service there that takes its lists from main.cf gets an empty
`popgate_clients`. With `submission.enabled` those services get options of ours, and the smtpd of
port 25, and no other service, stops to offer AUTH: services of the admin's that rely on main.cf go
on as they were.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from tracker.deciding import restrictions
from tracker.deciding.placement import gate
from tracker.deciding.restrictions import (
    CLIENTS,
    DATA_LIST,
    LISTS,
    PERMITS,
    RELAY_LIST,
    SENDER_LIST,
    SENDER_RULES,
)
from tracker.deciding.services import SUBMISSION_NAMES, port_25, submission
from tracker.records import Edit, MailService, PostfixSetup

AUTH_PARAMETER = "smtpd_sasl_auth_enable"
CLASS_PARAMETER = "smtpd_restriction_classes"

_ADMINS_OWN = (
    "syslog_name",
    "smtpd_helo_restrictions",
    SENDER_LIST,
    "smtpd_recipient_restrictions",
)
"""Options that an admin's submission service keeps: whoever comes to these lists is authenticated
already, since the client list refuses all others."""
OWN_NAME = re.compile(r"popgate_[a-z_]+")
"""Parameters of main.cf, and options of services, that are ours by their name."""
_OPTION = re.compile(r"-o (\w+)=(\S*)")


class Wanted(Struct, frozen=True):
    """What is to be put in. `parameters`: our own, by name. `services`: by name of today, the
    options of the submission services; empty without submission. `names`: what a new one of them
    is called in master.cf, where the host does not know that name (services(5))."""

    parameters: Mapping[str, str]
    classes: Sequence[str]
    services: Mapping[str, Mapping[str, str]]
    names: Mapping[str, str] = MappingProxyType({})


def lists_of(setup: PostfixSetup, service: MailService | None = None) -> dict[str, str]:
    """The restriction lists that hold for a service, as written; the relay list that main.cf does
    not set as it is in force."""
    options = service.options if service else {}
    found = {name: setup.main.get(name, "") for name in LISTS}
    if RELAY_LIST not in setup.main:
        found[RELAY_LIST] = setup.values.get(RELAY_LIST, "")
    return found | {name: options[name] for name in LISTS if name in options}


def plan(setup: PostfixSetup, wanted: Wanted, made: Sequence[Edit] = ()) -> list[Edit]:
    """The edits that are still to be made. `made`: those of earlier installs; what is not wanted of
    them any more goes back."""
    lists = _lists(setup, lists_of(setup), ", ")
    target: dict[tuple[str, str], str | None] = {
        ("", name): value for name, value in (*wanted.parameters.items(), *lists.items())
    }
    classes = restrictions.items(setup.main.get(CLASS_PARAMETER, ""))
    missing = [name for name in wanted.classes if name not in {one.name for one in classes}]
    if missing:
        before = setup.main.get(CLASS_PARAMETER, "")
        target["", CLASS_PARAMETER] = ", ".join([before, *missing] if before else missing)
    for service in port_25(setup.services):
        for name, value in _lists(setup, lists_of(setup, service), ",").items():
            if name in service.options:
                target[service.id, name] = value
        if wanted.services and _may_offer_auth(setup, service):
            target[service.id, AUTH_PARAMETER] = "no"
    target |= _submission(setup, wanted, lists, made)
    if any(PERMITS in restrictions.ours(value) for value in target.values() if value):
        target["", PERMITS] = f"permit_mynetworks, permit_sasl_authenticated, ${CLIENTS}"
    edits = [_edit(setup, *key, value) for key, value in target.items()]
    edits += back(setup, [one for one in made if _unwanted(one, target, wanted)])
    return [one for one in edits if one.value != one.before]


def _unwanted(one: Edit, target: Mapping[tuple[str, str], str | None], wanted: Wanted) -> bool:
    """Whether an earlier install made what this one does not want."""
    if one.name:
        return (one.service, one.name) not in target
    written = {wanted.names.get(name, name) for name in wanted.services}
    return one.service.partition("/")[0] not in written


def _lists(setup: PostfixSetup, lists: Mapping[str, str], separator: str) -> dict[str, str]:
    """The lists with our words, those that have one or need one."""
    found: dict[str, str] = {}
    for name, value in lists.items():
        written = value if separator == ", " else compact(value)
        gates = name == gate(lists)
        added = restrictions.add_clients(written, setup.main, gate=gates, separator=separator)
        text = written if added is None else added
        if name == SENDER_LIST:
            text = restrictions.add_last(text, setup.main, SENDER_RULES, separator)
        elif name == DATA_LIST:
            text = restrictions.add_mark(text, setup.main, separator)
        if restrictions.ours(text):
            found[name] = value if text == written else text
    return found


def compact(value: str) -> str:
    """Without white space, which `postconf -P` refuses: commas part words as well."""
    return re.sub(r"[,\s]+", ",", value) if re.search(r"\s", value) else value


def _may_offer_auth(setup: PostfixSetup, service: MailService) -> bool:
    if AUTH_PARAMETER in service.options:
        return True
    return setup.values.get(AUTH_PARAMETER, "no").strip() != "no"


def _submission(
    setup: PostfixSetup, wanted: Wanted, lists: Mapping[str, str], made: Sequence[Edit]
) -> dict[tuple[str, str], str | None]:
    """What the submission ports get: options of ours, or no rights from popgate."""
    target: dict[tuple[str, str], str | None] = {}
    added = {one.service for one in made if not one.name}
    for name in SUBMISSION_NAMES:
        service, options = submission(setup.services, name), wanted.services.get(name)
        if service is None and options is not None:
            written = wanted.names.get(name, name)
            target[f"{written}/inet", ""] = _line(setup, written, options)
        elif service is not None and options is not None:
            ours = {one.name for one in made if one.service == service.id}
            kept = {key for key in _ADMINS_OWN if key in service.options}
            for key, value in options.items():
                if key not in kept - ours:
                    target[service.id, key] = value
        elif service is not None and service.id not in added and _inherits(service, lists):
            target[service.id, CLIENTS] = ""
    return target


def _inherits(service: MailService, lists: Mapping[str, str]) -> bool:
    """Whether some list with `$popgate_clients` holds for the service too."""
    named = {CLIENTS, PERMITS}
    return any(
        restrictions.ours(value) & named
        for key, value in lists.items()
        if key not in service.options
    )


def _line(setup: PostfixSetup, name: str, options: Mapping[str, str]) -> str:
    """A new service as `postconf -M` takes it; chrooted as the smtpd of port 25 is, since the
    socket for AUTH is named as seen from there."""
    chroot = next((one.chroot for one in port_25(setup.services)), "y")
    return f"{name} inet n - {chroot} - - smtpd {_words(options)}"


def _edit(setup: PostfixSetup, service: str, name: str, value: str | None) -> Edit:
    return Edit(service, name, value, present(setup, service, name))


def present(setup: PostfixSetup, service: str, name: str) -> str | None:
    """What stands there now; of a whole service, its options."""
    if not service:
        return setup.main.get(name)
    found = next((one for one in setup.services if one.id == service), None)
    if found is None:
        return None
    return found.options.get(name) if name else _words(found.options)


def _words(options: Mapping[str, str]) -> str:
    return " ".join(f"-o {key}={value}" for key, value in options.items())


def back(setup: PostfixSetup, made: Sequence[Edit]) -> list[Edit]:
    """What is still as we set it, made what it was; lists and classes have a way of their own."""
    return [
        Edit(one.service, one.name, one.before, one.value)
        for one in made
        if not edited_word_by_word(one) and as_made(setup, one)
    ]


def edited_word_by_word(one: Edit) -> bool:
    lists = one.name in LISTS and one.value is not None and restrictions.ours(one.value)
    return bool(lists) or one.name == CLASS_PARAMETER


def as_made(setup: PostfixSetup, one: Edit) -> bool:
    if one.name or one.value is None:
        return one.value is not None and present(setup, one.service, one.name) == one.value
    found = next((service for service in setup.services if service.id == one.service), None)
    return found is not None and dict(_OPTION.findall(one.value)) == found.options


def joined(made: Sequence[Edit], edits: Sequence[Edit]) -> list[Edit]:
    """What all installs made together: the first word of what stood there before counts."""
    found = {(one.service, one.name): one for one in made}
    for one in edits:
        first = found.get((one.service, one.name))
        before = first.before if first else one.before
        found[one.service, one.name] = Edit(one.service, one.name, one.value, before)
    return list(found.values())


def applied(setup: PostfixSetup, edits: Sequence[Edit]) -> PostfixSetup:
    """The setup as these edits leave it."""
    main = dict(setup.main)
    services = {one.id: one for one in setup.services}
    for one in edits:
        if not one.service:
            main.pop(one.name, None)
            main |= {} if one.value is None else {one.name: one.value}
        elif not one.name:
            services.pop(one.service, None)
            if one.value is not None:
                name, kind, _, _, chroot, _, _, command = one.value.split()[:8]
                options = dict(_OPTION.findall(one.value))
                services[one.service] = MailService(name, kind, chroot, command, options)
        else:
            was = services[one.service]
            options = {key: value for key, value in was.options.items() if key != one.name}
            options |= {} if one.value is None else {one.name: one.value}
            services[one.service] = MailService(
                was.name, was.type, was.chroot, was.command, options
            )
    return PostfixSetup(main, tuple(services.values()), setup.values, setup.sasl_types)

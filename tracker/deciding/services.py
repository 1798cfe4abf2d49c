"""Which services of master.cf clients come to; pure.

Behind a postscreen stands the smtpd that `smtpd_service_name` names, `smtpd` of type `pass` unless
an admin sets it otherwise (postconf(5)): its options are those that a client meets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tracker.records import MailService

SUBMISSION_NAMES: Mapping[str, tuple[str, ...]] = {
    "submission": ("submission", "587"),
    "submissions": ("submissions", "smtps", "465"),
}
"""The names and numbers of a port in master.cf, by the service's name of today (services(5))."""


def met(service: MailService, services: Sequence[MailService]) -> MailService | None:
    """The smtpd that clients of a service on the network meet; None: there they meet none."""
    if service.type != "inet":
        return None
    if service.command == "postscreen":
        behind = (one for one in services if one.type == "pass" and one.name == "smtpd")
        service = next(behind, service)
    return service if service.command == "smtpd" else None


def listening_25(services: Sequence[MailService]) -> tuple[MailService, ...]:
    """The services that listen on port 25, postscreen or smtpd, on whatever address."""
    return tuple(one for one in services if _listens(one, ("smtp", "25")))


def port_25(services: Sequence[MailService]) -> tuple[MailService, ...]:
    """The smtpd services that strangers come to, each once."""
    there = (met(one, services) for one in listening_25(services))
    return tuple({one.id: one for one in there if one is not None}.values())


def submission(services: Sequence[MailService], name: str) -> MailService | None:
    """The smtpd on a submission port, by its name of today."""
    found = (one for one in services if _listens(one, SUBMISSION_NAMES[name]))
    return next((one for one in found if one.command == "smtpd"), None)


def _listens(service: MailService, names: Iterable[str]) -> bool:
    return service.type == "inet" and service.name.rpartition(":")[2] in names

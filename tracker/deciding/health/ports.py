"""Whether the ports do what each is for: 25 for strangers, 587 and 465 for users who log in; pure.

RFC 6409 (submission), RFC 8314 (TLS for it), RFC 4954 (AUTH).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from tracker.deciding.health.catalogue import Diagnosis, found
from tracker.deciding.restrictions import DATA_LIST, Item, flat
from tracker.facts import Answers, MailSystem, Service
from tracker.settings import SubmissionSettings

_INSTALL = "popgate install"
_ENABLE = "popgate config set submission.enabled true && popgate install"
_PORTS = {"submission": 587, "submissions": 465}
_END = "smtpd_end_of_data_restrictions"
_AT_RCPT = tuple(
    f"smtpd_{stage}_restrictions" for stage in ("client", "helo", "sender", "relay", "recipient")
)
"""The lists that are all asked before a recipient is taken (smtpd_delay_reject)."""


def ports(seen: MailSystem, wanted: SubmissionSettings) -> Iterator[Diagnosis]:
    """What is wrong with the ports. `wanted`: the ports for users that the settings ask for."""
    roles = {service.role for service in seen.services}
    for service in seen.services:
        # A Postfix that is stopped is said once, and not for each port.
        asked = replace(service, answers=None) if seen.running is False else service
        if service.role == "smtp":
            yield from _public(asked, users="submission" in roles)
        else:
            yield from _submission(asked, seen)
    needed = ("submission", "submissions") if wanted.implicit_tls else ("submission",)
    for role in needed if wanted.enabled else ():
        if role not in roles:
            text = f"has no service on port {_PORTS[role]} ({role})"
            yield found("submission-missing", "master.cf", text, _INSTALL)
    if not wanted.enabled and "submission" not in roles:
        text = "has no service on port 587 (submission)"
        yield found("submission-none", "master.cf", text, _ENABLE)


def _silent(service: Service, answers: Answers) -> Diagnosis:
    text = f"port {service.port}: {answers.fault}"
    mend = "postfix start" if answers.refused else "postfix status; journalctl -u 'postfix*' -n 50"
    return found("port-silent", f"master.cf: {service.name}", text, mend)


def _public(service: Service, *, users: bool) -> Iterator[Diagnosis]:
    """`users`: they have a port of their own, so that this one need not let them log in."""
    answers = service.answers
    if answers is None:
        return
    if answers.fault:
        yield _silent(service, answers)
    elif answers.auth or answers.auth_within:
        how = "in clear text" if answers.auth else "behind STARTTLS"
        off = f"postconf -P {service.name}/smtpd_sasl_auth_enable=no && postfix reload"
        yield found(
            "auth-on-25",
            f"master.cf: {service.name}",
            f"port {service.port} offers AUTH {how}",
            off if users else _ENABLE,
        )


def _submission(service: Service, seen: MailSystem) -> Iterator[Diagnosis]:
    where = f"master.cf: {service.name}"
    answers = service.answers
    if answers is not None and answers.fault:
        yield _silent(service, answers)
    elif answers is not None:
        yield from _login(service, answers, where)
    if not any(_guards(service, name, seen) for name in _AT_RCPT):
        text = "none of its lists lets authenticated clients alone through"
        yield found("submission-open", where, text, _INSTALL)
    elif not any(_guards(service, name, seen) for name in (DATA_LIST, _END)):
        text = f"{DATA_LIST} does not refuse who has not logged in"
        guard = f"{DATA_LIST}=permit_sasl_authenticated,reject"
        mend = f"postconf -P {service.name}/{guard} && postfix reload"
        yield found("submission-postmaster", where, text, mend)


def _login(service: Service, answers: Answers, where: str) -> Iterator[Diagnosis]:
    wrapped = service.role == "submissions"
    mend = "postconf smtpd_tls_cert_file smtpd_tls_key_file; popgate install"
    if answers.tls_fault:
        text = f"port {service.port}: TLS cannot be begun: {answers.tls_fault}"
        yield found("submission-no-tls", where, text, mend)
    elif not wrapped and not answers.starttls:
        text = f"port {service.port} does not offer STARTTLS"
        yield found("submission-no-tls", where, text, mend)
    if answers.auth and not wrapped:
        text = f"port {service.port} offers AUTH before TLS"
        set_ = f"postconf -P {service.name}/smtpd_tls_auth_only=yes && postfix reload"
        yield found("submission-clear-auth", where, text, set_)
    elif not answers.auth_within and not answers.tls_fault and (wrapped or answers.starttls):
        text = f"port {service.port} offers no AUTH within TLS"
        set_ = "postconf smtpd_sasl_type smtpd_sasl_path; popgate install"
        yield found("submission-no-auth", where, text, set_)


def _guards(service: Service, parameter: str, seen: MailSystem) -> bool:
    """Whether a list lets nobody through but who has logged in: nothing may permit before its bare
    reject, and nothing that may permit."""
    listed = flat(service.values.get(parameter, ""), seen.parameters)
    place = next((n for n, item in enumerate(listed) if item.name == "reject"), None)
    return place is not None and not _opens(listed[:place])


def _opens(before: Sequence[Item]) -> bool:
    """A certificate of the client's is a login too: permit_tls_clientcerts."""
    opening = ("permit", "check", "ours", "parameter")
    return any(item.kind in opening and not item.name.startswith("permit_tls_") for item in before)

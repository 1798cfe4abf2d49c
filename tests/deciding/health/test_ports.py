"""What the doctor makes of what the ports are set to, and of what they say."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tracker.deciding.health.ports import ports
from tracker.facts import Answers, MailSystem, Service
from tracker.records import MailHost
from tracker.settings import SubmissionSettings
from tracker.writing.parameters import submission_options

PLAIN = Answers(starttls=True, auth_within=False)
USERS = Answers(starttls=True, auth_within=True)
SMTP = Service("smtp/inet", "smtp", 25, {}, answers=PLAIN)
SUBMISSION = Service(
    "submission/inet", "submission", 587, submission_options("submission"), answers=USERS
)
SUBMISSIONS = Service(
    "submissions/inet",
    "submissions",
    465,
    submission_options("submissions"),
    answers=Answers(auth_within=True),
)
WANTED = SubmissionSettings(enabled=True)


def codes(*services: Service, wanted: SubmissionSettings = WANTED, **parameters: str) -> list[str]:
    seen = MailSystem(True, parameters, MailHost(), services, running=True)
    return [one.code for one in ports(seen, wanted)]


def said(service: Service, answers: Answers) -> Service:
    return replace(service, answers=answers)


def with_lists(service: Service, **changed: str) -> Service:
    names = {f"smtpd_{name}_restrictions": value for name, value in changed.items()}
    return replace(service, values={**service.values, **names})


def test_ports_as_popgate_sets_them_are_fine() -> None:
    assert codes(SMTP, SUBMISSION, SUBMISSIONS) == []


def test_ports_for_users_are_missed_where_they_are_wanted() -> None:
    assert codes(SMTP) == ["submission-missing", "submission-missing"]
    assert codes(SMTP, SUBMISSION) == ["submission-missing"]
    assert codes(SMTP, SUBMISSION, wanted=SubmissionSettings(True, False)) == []
    assert codes(SMTP, wanted=SubmissionSettings()) == ["submission-none"]


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (said(SMTP, Answers("nobody listens", refused=True)), ["port-silent"]),
        (said(SMTP, Answers(auth=True)), ["auth-on-25"]),
        (said(SMTP, replace(PLAIN, auth_within=True)), ["auth-on-25"]),
        (said(SMTP, Answers(starttls=True, tls_fault="no shared cipher")), []),
        (said(SUBMISSION, Answers("no answer in 4 s")), ["port-silent"]),
        (said(SUBMISSION, Answers()), ["submission-no-tls"]),
        (said(SUBMISSION, Answers(auth=True)), ["submission-no-tls", "submission-clear-auth"]),
        (said(SUBMISSION, replace(USERS, auth=True)), ["submission-clear-auth"]),
        (said(SUBMISSION, replace(USERS, auth_within=False)), ["submission-no-auth"]),
        (said(SUBMISSION, Answers(starttls=True, tls_fault="expired")), ["submission-no-tls"]),
        (said(SUBMISSIONS, Answers(tls_fault="wrong version number")), ["submission-no-tls"]),
        (said(SUBMISSIONS, Answers(auth_within=False)), ["submission-no-auth"]),
        (with_lists(SUBMISSION, data=""), ["submission-postmaster"]),
        (with_lists(SUBMISSION, data="", end_of_data="permit_sasl_authenticated reject"), []),
        (with_lists(SUBMISSION, client=""), []),  # the relay list refuses as well
        (with_lists(SUBMISSION, client="", relay="permit_tls_clientcerts, reject"), []),
    ],
)
def test_each_fault_of_a_port_is_named(service: Service, expected: list[str]) -> None:
    others = [one for one in (SMTP, SUBMISSION, SUBMISSIONS) if one.role != service.role]
    assert codes(service, *others) == expected


@pytest.mark.parametrize(
    "relay",
    [
        "permit_mynetworks, permit_sasl_authenticated, reject",
        "permit_sasl_authenticated, $popgate_clients, reject",
        "permit_sasl_authenticated, check_client_access cidr:/x, reject",
        "permit_sasl_authenticated, reject_unauth_destination",
        "$mine, reject",
        "$unknown, reject",
        "",
    ],
)
def test_a_port_for_users_that_addresses_open(relay: str) -> None:
    open_ = with_lists(SUBMISSION, client="", relay=relay)
    assert codes(SMTP, open_, SUBMISSIONS, mine="permit_mynetworks") == ["submission-open"]


def test_a_parameter_that_stands_for_the_list_is_followed() -> None:
    service = with_lists(SUBMISSION, client="", relay="$mua_relay")
    assert codes(SMTP, service, SUBMISSIONS, mua_relay="permit_sasl_authenticated,reject") == []


def test_auth_is_taken_from_25_only_where_users_have_another_port() -> None:
    seen = MailSystem(True, {}, MailHost(), (said(SMTP, Answers(auth=True)),), running=True)
    (found, _) = ports(seen, SubmissionSettings())
    assert found.mend == "popgate config set submission.enabled true && popgate install"


def test_a_stopped_postfix_is_no_fault_of_each_port() -> None:
    silent = said(SMTP, Answers("nobody listens", refused=True))
    seen = MailSystem(True, {}, MailHost(), (silent, SUBMISSION, SUBMISSIONS), running=False)
    assert list(ports(seen, WANTED)) == []

"""Why an install is refused, and what is only said."""

from __future__ import annotations

import ipaddress

import pytest

from tests.deciding.setups import service, setup, wanted
from tracker.deciding.installing import plan
from tracker.deciding.objections import Circumstances, objections
from tracker.records import PostfixSetup

KNOWN = "permit_mynetworks, permit_sasl_authenticated"
FINE = Circumstances(indexed=True, submission=False, refuses_local=False)
SUBMISSION = Circumstances(indexed=True, submission=True, refuses_local=False)
READY = {
    "smtpd_tls_cert_file": "/etc/ssl/mail.pem",
    "smtpd_sasl_type": "dovecot",
    "smtpd_sasl_auth_enable": "yes",
}
DOVECOT = frozenset({"dovecot"})


def said(
    before: PostfixSetup, known: Circumstances = FINE, *services: str
) -> tuple[list[str], list[str]]:
    """What refuses, and what only warns."""
    found = objections(before, plan(before, wanted(*services)), known)
    refuses = [one.text for one in found if one.refuses]
    return refuses, [one.text for one in found if not one.refuses]


def test_a_postfix_as_debian_sets_it_up_is_fine() -> None:
    assert said(setup({})) == ([], [])


def test_lists_that_refuse_before_they_ask_who_is_known_are_said() -> None:
    main = {"smtpd_client_restrictions": f"reject_rbl_client zen.example.org, {KNOWN}"}
    refuses, (warning,) = said(setup(main))
    assert not refuses
    assert "reject_rbl_client zen.example.org can refuse a trusted or granted" in warning


def test_a_place_that_cannot_be_found_is_named() -> None:
    main = {
        "mine": f"reject_rbl_client a, {KNOWN}, reject_rbl_client b",
        "smtpd_client_restrictions": "$mine",
    }
    refuses, _ = said(setup(main))
    assert "put $popgate_clients right after permit_sasl_authenticated" in refuses[0]


@pytest.mark.parametrize(
    ("main", "words"),
    [
        ({"smtpd_relay_restrictions": f"permit, {KNOWN}, reject"}, "everybody may relay already"),
        ({"smtpd_recipient_restrictions": "reject_unauth_destination"}, "never asks who is known"),
        ({"smtpd_sender_restrictions": "check_sender_access a:b, reject"}, "ends in reject"),
    ],
)
def test_what_breaks_mail_or_opens_it_is_refused(main: dict[str, str], words: str) -> None:
    refuses, _ = said(setup(main))
    assert any(words in text for text in refuses), refuses


def test_who_put_our_words_before_a_final_reject_knows_what_they_do() -> None:
    senders = f"{KNOWN}, $popgate_clients, $popgate_sender_rules, reject"
    assert said(setup({"smtpd_sender_restrictions": senders}))[0] == []


def test_networks_that_are_far_too_wide() -> None:
    def known(*networks: str) -> Circumstances:
        nets = tuple((ipaddress.ip_network(one), True) for one in networks)
        return Circumstances(True, False, False, nets)

    assert "mynetworks holds 0.0.0.0/0" in said(setup({}), known("0.0.0.0/0"))[0][0]
    assert "mynetworks holds ::/0" in said(setup({}), known("::/0"))[0][0]
    assert "mynetworks holds 203.0.0.0/8" in said(setup({}), known("203.0.0.0/8"))[1][0]
    private = known("127.0.0.0/8", "10.0.0.0/8", "192.0.2.0/24", "fd00::/8", "::1/128")
    assert said(setup({}), private)[1] == []


def test_without_lmdb_each_login_costs_a_reload() -> None:
    _, (warning,) = said(setup({}), Circumstances(False, False, False))
    assert "cidr tables are used" in warning


def test_without_a_port_25() -> None:
    _, (warning,) = said(setup({}, service("2525")))
    assert "no smtpd on port 25" in warning


class TestSubmission:
    def test_needs_a_certificate_and_an_auth_server(self) -> None:
        refuses, _ = said(setup({}), SUBMISSION, "submission")
        assert len(refuses) == 2
        assert "no TLS certificate" in refuses[0]
        assert "no AUTH server" in refuses[1]

    def test_needs_an_auth_server_that_this_postfix_can_speak_with(self) -> None:
        before = setup(READY, sasl=frozenset({"cyrus"}))
        (refusal,) = said(before, SUBMISSION, "submission")[0]
        assert "smtpd_sasl_type = dovecot, but this Postfix has cyrus" in refusal

    def test_needs_the_files_and_the_ports(self) -> None:
        known = Circumstances(True, True, False, (), ("/etc/ssl/mail.pem",), (587,))
        refuses, _ = said(setup(READY, sasl=DOVECOT), known, "submission")
        assert "another program listens on port 587" in refuses[0]
        assert "/etc/ssl/mail.pem: is not there" in refuses[1]

    def test_without_auth_on_25_a_check_of_the_login_stops_no_forger(self) -> None:
        main = READY | {"smtpd_sender_restrictions": f"reject_sender_login_mismatch, {KNOWN}"}
        before = setup(main, sasl=DOVECOT)
        (refusal,) = said(before, SUBMISSION, "submission")[0]
        assert "popgate config set local_senders.reject true" in refusal
        known = Circumstances(indexed=True, submission=True, refuses_local=True)
        refuses, (warning,) = said(before, known, "submission")
        assert not refuses
        assert "local_senders.reject does it instead" in warning

    def test_that_is_ready_is_fine(self) -> None:
        assert said(setup(READY, sasl=DOVECOT), SUBMISSION, "submission") == ([], [])

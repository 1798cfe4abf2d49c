"""What is said of lists in which our words are missing, late, early, or come to nothing."""

from __future__ import annotations

import pytest

from tracker.deciding.placement import judge

KNOWN = "permit_mynetworks, permit_sasl_authenticated, $popgate_clients"
SOUND = {
    "smtpd_client_restrictions": f"{KNOWN}, reject_rbl_client zen.example.org",
    "smtpd_sender_restrictions": f"reject_non_fqdn_sender, {KNOWN}, $popgate_sender_rules",
    "smtpd_relay_restrictions": f"{KNOWN}, reject_unauth_destination",
    "smtpd_data_restrictions": f"{KNOWN}, $popgate_mark, reject_unauth_pipelining",
}


def problems(name: str, value: str, **parameters: str) -> list[tuple[str, str, str]]:
    """Problem, severity and what it is about, of one list that is not as it should be."""
    lists = {**SOUND, f"smtpd_{name}_restrictions": value}
    return [(one.problem, one.severity, one.on) for one in judge(lists, parameters)]


def test_lists_that_are_as_they_should_be_give_no_finding() -> None:
    assert judge(SOUND, {}) == []


@pytest.mark.parametrize("name", ["client", "helo", "recipient", "etrn", "end_of_data"])
def test_a_list_with_the_authenticated_but_not_ours(name: str) -> None:
    assert problems(name, "permit_sasl_authenticated, reject") == [("missing", "error", "")]


def test_a_relay_list_without_either() -> None:
    value = "permit_mynetworks, reject_unauth_destination"
    assert problems("relay", value) == [("missing", "error", "")]


def test_where_the_relay_list_is_empty_the_recipient_list_decides() -> None:
    lists = SOUND | {"smtpd_relay_restrictions": "", "smtpd_recipient_restrictions": "reject"}
    (found,) = judge(lists, {})
    assert (found.parameter, found.problem) == ("smtpd_recipient_restrictions", "missing")


def test_ours_behind_a_refusal_that_the_authenticated_never_come_to() -> None:
    value = "permit_sasl_authenticated, reject_rbl_client zen.example.org, $popgate_clients"
    assert problems("client", value) == [("late", "error", "reject_rbl_client zen.example.org")]


def test_ours_before_a_refusal_that_the_authenticated_come_to() -> None:
    value = "$popgate_clients, check_client_access cidr:/x, permit_sasl_authenticated"
    assert problems("client", value) == [("early", "warning", "check_client_access cidr:/x")]


@pytest.mark.parametrize(
    "refusal",
    [
        "reject_rbl_client zen.example.org",
        "check_client_access cidr:/etc/postfix/x",
        "check_policy_service unix:private/greylist",
        "reject_unknown_helo_hostname",
        "$unknown",
    ],
)
def test_a_list_that_refuses_before_it_asks_who_is_known(refusal: str) -> None:
    assert problems("client", f"{refusal}, {KNOWN}") == [("refused-before", "warning", refusal)]
    assert problems("client", f"permit_mynetworks, {refusal}") == [("unknown", "warning", refusal)]


@pytest.mark.parametrize("refusal", ["reject", "reject_unauth_destination"])
def test_a_list_that_refuses_all_who_are_known(refusal: str) -> None:
    assert problems("recipient", refusal) == [("unknown", "error", refusal)]


def test_refusals_of_bad_messages_are_none_of_ours() -> None:
    value = f"reject_unlisted_recipient, warn_if_reject reject_rbl_client x, {KNOWN}"
    assert problems("recipient", value) == []


def test_a_check_of_the_login_before_ours() -> None:
    value = f"reject_sender_login_mismatch, {KNOWN}, $popgate_sender_rules"
    wanted = ("login-mismatch", "error", "reject_sender_login_mismatch")
    assert problems("sender", value) == [wanted]


def test_parameters_are_followed() -> None:
    value = "$known, reject_rbl_client x"
    assert problems("client", value, known=KNOWN) == []
    wanted = [("missing", "error", "")]
    assert problems("client", value, known="permit_sasl_authenticated") == wanted


def test_the_white_list_never_opens_the_relay() -> None:
    value = f"{KNOWN}, $popgate_sender_rules, reject_unauth_destination"
    assert problems("relay", value) == [("open-relay", "error", "$popgate_sender_rules")]


def test_what_stands_behind_the_sender_rules_is_skipped_by_the_white_list() -> None:
    value = f"{KNOWN}, $popgate_sender_rules, reject_unknown_sender_domain, check_x_access a:b"
    wanted = [("rules-early", "warning", "reject_unknown_sender_domain")]
    assert problems("sender", value) == wanted
    assert problems("sender", f"{KNOWN}, $popgate_sender_rules, permit") == []


def test_rules_and_mark_that_are_missing_or_hold_for_everybody() -> None:
    assert problems("sender", KNOWN) == [("rules-missing", "warning", "")]
    assert problems("data", "") == [("rules-missing", "warning", "")]
    assert problems("data", "permit_mynetworks, $popgate_mark") == [
        ("rules-for-all", "warning", "")
    ]
    assert problems("data", "$popgate_permits, $popgate_mark") == []

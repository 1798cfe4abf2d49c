"""Restriction lists read as Postfix reads them, and edited so that everything else stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.deciding.placement import judge
from tracker.deciding.restrictions import (
    MARK,
    RELAY_LIST,
    SENDER_RULES,
    add_clients,
    add_last,
    add_mark,
    items,
    ours,
    remove,
)

DEBIAN = "permit_mynetworks permit_sasl_authenticated defer_unauth_destination"
HARDENED = (
    "reject_non_fqdn_recipient, permit_mynetworks,    permit_sasl_authenticated,  "
    "check_policy_service { inet:127.0.0.1:10023, timeout=10s },reject_rbl_client zen.example.org"
)
WORDS = (
    *("permit_mynetworks", "permit_sasl_authenticated", "reject_unauth_destination", "permit"),
    *(
        "check_client_access cidr:/etc/postfix/a.cidr",
        "reject_rbl_client zen.example.org=127.0.0.2",
    ),
    *("check_policy_service { unix:private/x, default_action=DUNNO }", "{ a, b }", "a}", "reject"),
    *("reject_sender_login_mismatch", "warn_if_reject reject_unknown_client_hostname", "$mine"),
    *("PERMIT_SASL_AUTHENTICATED", "greylist", "check_sender_access { inline:{ a=b, c=d } }"),
)
values = st.builds(
    lambda head, pairs: (head + "".join(word + gap for word, gap in pairs)).strip(" \t"),
    st.sampled_from(["", " ", ","]),
    st.lists(
        st.tuples(st.sampled_from(WORDS), st.sampled_from([", ", " ", ",", "   ", "\t", " , "]))
    ),
)
PARAMETERS = {"mine": "permit_mynetworks, permit_sasl_authenticated, reject_unauth_pipelining"}


def test_words_are_parted_by_commas_and_blanks_but_not_between_braces() -> None:
    found = [(item.name, item.kind, item.argument) for item in items(HARDENED)]
    assert found == [
        ("reject_non_fqdn_recipient", "reject", ""),
        ("permit_mynetworks", "permit", ""),
        ("permit_sasl_authenticated", "auth", ""),
        ("check_policy_service", "check", "{ inet:127.0.0.1:10023, timeout=10s }"),
        ("reject_rbl_client", "reject", "zen.example.org"),
    ]


def test_a_brace_that_nothing_opened_is_a_letter() -> None:
    assert [item.name for item in items("a} b {c, d} e")] == ["a}", "b", "{c, d}", "e"]


def test_what_only_warns_refuses_nobody() -> None:
    (item,) = items("warn_if_reject reject_rbl_client zen.example.org")
    assert (item.name, item.kind, item.argument) == ("reject_rbl_client", "none", "zen.example.org")


@pytest.mark.parametrize("word", ["$popgate_clients", "${popgate_clients}", "$(popgate_clients)"])
def test_our_words_are_known_in_every_form(word: str) -> None:
    assert ours(f"permit_mynetworks {word}") == {"popgate_clients"}


def test_clients_go_right_after_the_authenticated() -> None:
    assert add_clients(DEBIAN, {}) == (
        "permit_mynetworks permit_sasl_authenticated, $popgate_clients defer_unauth_destination"
    )
    assert add_clients(HARDENED, {}) == HARDENED.replace(
        "permit_sasl_authenticated", "permit_sasl_authenticated, $popgate_clients"
    )


def test_a_list_that_knows_no_authenticated_stays_unless_it_decides_on_relaying() -> None:
    value = "permit_mynetworks, reject_unauth_destination"
    assert add_clients(value, {}) == value
    assert add_clients(value, {}, gate=True) == (
        "permit_mynetworks, $popgate_clients, reject_unauth_destination"
    )


def test_clients_go_before_a_check_of_the_login_that_they_do_not_have() -> None:
    value = "permit_mynetworks, reject_sender_login_mismatch, permit_sasl_authenticated"
    assert add_clients(value, {}) == value.replace(
        "permit_mynetworks", "permit_mynetworks, $popgate_clients"
    )


class TestAPlaceWithinAParameter:
    def test_is_before_it_where_only_permits_come_first(self) -> None:
        parameters = {"mine": "permit_mynetworks permit_sasl_authenticated reject_rbl_client x"}
        assert add_clients("$mine, reject", parameters) == "$popgate_clients, $mine, reject"

    def test_is_behind_it_where_nothing_follows_that_refuses(self) -> None:
        parameters = {"mine": "reject_rbl_client x, permit_sasl_authenticated"}
        assert add_clients("$mine, reject", parameters) == "$mine, $popgate_clients, reject"

    def test_is_nowhere_between_two_refusals(self) -> None:
        parameters = {"mine": "reject_rbl_client x, permit_sasl_authenticated, reject"}
        assert add_clients("$mine", parameters) is None

    def test_a_circle_of_parameters_ends(self) -> None:
        assert add_clients("$a", {"a": "$b", "b": "$a"}) == "$a"


def test_the_sender_rules_come_last_but_for_a_bare_end() -> None:
    known = "permit_mynetworks, permit_sasl_authenticated, $popgate_clients, reject_non_fqdn_sender"
    assert add_last(known, {}, SENDER_RULES) == f"{known}, $popgate_sender_rules"
    assert (
        add_last(f"{known}, permit", {}, SENDER_RULES) == f"{known}, $popgate_sender_rules, permit"
    )


def test_nobody_known_comes_to_the_sender_rules() -> None:
    for value in ("", "permit_mynetworks, reject_unknown_sender_domain"):
        assert add_last(value, {}, SENDER_RULES).endswith("$popgate_permits, $popgate_sender_rules")


def test_the_mark_follows_our_clients_where_all_known_ones_are_through() -> None:
    known = "permit_mynetworks, permit_sasl_authenticated, $popgate_clients"
    assert add_mark(f"{known}, reject_unauth_pipelining", {}) == (
        f"{known}, $popgate_mark, reject_unauth_pipelining"
    )
    assert add_mark("reject_unauth_pipelining, permit", {}) == (
        "reject_unauth_pipelining, $popgate_permits, $popgate_mark, permit"
    )


@given(values, st.booleans(), st.sampled_from([", ", ","]))
def test_what_was_put_in_is_taken_out_again(value: str, gate: bool, separator: str) -> None:
    added = add_clients(value, PARAMETERS, gate=gate, separator=separator)
    if added is None:
        return
    assert remove(added) == value
    assert add_clients(added, PARAMETERS, gate=gate, separator=separator) == added
    for more in (
        add_last(added, PARAMETERS, SENDER_RULES, separator),
        add_mark(added, PARAMETERS, separator),
    ):
        assert remove(more) == value
    last = add_last(added, PARAMETERS, SENDER_RULES, separator)
    assert add_last(last, PARAMETERS, SENDER_RULES, separator) == last
    marked = add_mark(added, PARAMETERS, separator)
    assert add_mark(marked, PARAMETERS, separator) == marked


@given(values)
def test_what_is_put_in_disturbs_no_other_restriction(value: str) -> None:
    added = add_clients(value, PARAMETERS, gate=True)
    assert added is not None
    before = [value[item.start : item.end] for item in items(value)]
    after = [added[item.start : item.end] for item in items(added) if item.kind != "ours"]
    assert after == before


@given(values)
def test_what_was_put_in_is_well_placed(value: str) -> None:
    added = add_clients(value, PARAMETERS, gate=True)
    problems = {one.problem for one in judge({RELAY_LIST: added or ""}, PARAMETERS)}
    assert not problems & {"missing", "late", "login-mismatch", "open-relay"}


def test_words_that_a_person_wrote_over_several_lines_go_too() -> None:
    value = "permit_sasl_authenticated,    $popgate_clients,    reject, $popgate_mark"
    assert remove(value) == "permit_sasl_authenticated,    reject"
    assert remove(value, [MARK]) == "permit_sasl_authenticated,    $popgate_clients,    reject"

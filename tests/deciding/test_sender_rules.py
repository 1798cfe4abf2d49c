"""The rules H, W and B: local senders and the lists, with their exceptions and switches."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.moments import NOW, after
from tracker.deciding.access import LOCAL_TEXT, SenderPolicy
from tracker.deciding.lists import parse
from tracker.deciding.rules import RuleSet, decide
from tracker.deciding.trusted import TrustedList
from tracker.deciding.trusted import parse as parse_trusted
from tracker.records import Decision, Grant, MailHost, SmtpSession
from tracker.settings import LocalSenderSettings

STRANGER = "203.0.113.9"
HOST = MailHost(
    domains={
        "mydestination": frozenset({"example.net"}),
        "relay_domains": frozenset({"relay.test"}),
    },
    mynetworks=(
        (ipaddress.ip_network("192.0.2.9/32"), False),
        (ipaddress.ip_network("192.0.2.0/28"), True),
    ),
    delimiters="+",
)


def policy(host: MailHost = HOST, **settings: object) -> SenderPolicy:
    return SenderPolicy(
        host,
        LocalSenderSettings(**settings),  # type: ignore[arg-type]
        domains=parse("example.com\n", "domains"),
        exceptions=parse("bounce@example.com\nnews.example.com\n192.0.2.200\n", "exceptions"),
        whitelist=parse("white.test\nfriend@black.test\n198.51.100.0/24\n", "white"),
        blacklist=parse("black.test\nx@example.com\n198.51.100.7\n203.0.113.128/25\n", "black"),
    )


def decided(
    sender: str,
    client: str = STRANGER,
    to: str = "user@example.net",
    host: MailHost = HOST,
    **settings: object,
) -> Decision:
    rules = RuleSet(TrustedList(), {}, senders=policy(host, **settings))
    return decide(rules, SmtpSession(client, sender, to), NOW)


class TestALocalSender:
    def test_is_refused_where_that_is_on(self) -> None:
        decision = decided("alice@example.com", reject=True)
        assert (decision.decision, decision.code, decision.refused) == ("reject", "H", True)
        assert decision.reply == (
            f"554 5.7.1 <alice@example.com>: Sender address rejected: {LOCAL_TEXT}"
        )
        assert decision.trace[-1].on == "example.com (domains:1)"

    def test_goes_on_with_the_mark_where_it_is_off_or_only_warned_of(self) -> None:
        for settings in ({"reject": False}, {"reject": True, "action": "warn"}):
            decision = decided("alice@example.com", **settings)
            assert (decision.decision, decision.code, decision.marked) == ("pass", "H", True)

    def test_is_one_of_a_subdomain_too_and_in_any_form(self) -> None:
        for sender in ("a@www.example.com", "A@EXAMPLE.COM", "a%example.com", "example.com!a"):
            assert decided(sender, reject=True).code == "H", sender

    def test_is_not_one_of_a_subdomain_where_postfix_matches_no_parents(self) -> None:
        host = MailHost(parents=False)
        assert decided("a@www.example.com", host=host, reject=True).code == "-"

    def test_is_never_the_null_sender(self) -> None:
        assert decided("", reject=True).code == "-"

    @pytest.mark.parametrize(
        ("sender", "client"),
        [
            ("bounce@example.com", STRANGER),
            ("bounce+1@example.com", STRANGER),
            ("x@news.example.com", STRANGER),
            ("alice@example.com", "192.0.2.200"),
        ],
    )
    def test_may_be_an_exception(self, sender: str, client: str) -> None:
        decision = decided(sender, client, reject=True)
        assert (decision.code, decision.marked) == ("-", False)
        step = next(step for step in decision.trace if step.code == "H")
        assert "exceptions:" in (step.on or "")

    def test_is_no_matter_for_who_may_send(self) -> None:
        trusted = parse_trusted("203.0.113.0/24\n", "t")
        rules = RuleSet(trusted, {"198.51.100.1": after(60)}, senders=policy(reject=True))
        for client in (STRANGER, "198.51.100.1", "192.0.2.3"):
            decision = decide(rules, SmtpSession(client, "alice@example.com"), NOW)
            assert decision.decision == "relay"
            assert not decision.marked

    def test_to_a_bare_postmaster_is_taken_by_postfix_whatever_the_rules_say(self) -> None:
        decision = decided("alice@example.com", to="PostMaster", reject=True)
        assert (decision.decision, decision.code, decision.marked) == ("pass", "H", True)
        assert not decision.refused


class TestTheLists:
    def test_are_not_asked_for_a_local_sender(self) -> None:
        for sender, client in (("x@example.com", STRANGER), ("a@example.com", "198.51.100.7")):
            decision = decided(sender, client)
            assert (decision.decision, decision.code) == ("pass", "H")
            assert [step.code for step in decision.trace][-1] == "H"

    def test_are_asked_for_it_where_the_skipping_is_off(self) -> None:
        decision = decided("x@example.com", skip_lists_for_local_untrusted=False)
        assert (decision.decision, decision.code) == ("reject", "B")
        decision = decided("a@example.com", skip_lists_for_local_untrusted=False)
        assert (decision.decision, decision.code, decision.marked) == ("pass", "H", True)

    def test_black_refuses_a_sender_or_a_client(self) -> None:
        text = "on this host's black list"
        by_sender = decided("x@mx.black.test")
        assert by_sender.reply == f"554 5.7.1 <x@mx.black.test>: Sender address rejected: {text}"
        by_client = decided("x@far.test", "203.0.113.200")
        assert by_client.reply == (
            f"554 5.7.1 <unknown[203.0.113.200]>: Client host rejected: {text}"
        )
        assert by_sender.code == by_client.code == "B"

    def test_white_is_asked_before_black(self) -> None:
        assert decided("friend@black.test").code == "W"
        assert decided("x@black.test", "198.51.100.7").code == "W"

    def test_white_opens_no_relay(self) -> None:
        decision = decided("x@white.test", to="user@far.test")
        assert (decision.decision, decision.code, decision.refused) == ("pass", "W", True)
        assert decision.reply == "554 5.7.1 <user@far.test>: Relay access denied"


class TestWhoMaySend:
    def test_mynetworks_are_in_order_and_taken_out_of(self) -> None:
        rules = RuleSet(TrustedList(), {}, senders=policy())
        assert decide(rules, SmtpSession("192.0.2.3"), NOW).code == "N"
        assert decide(rules, SmtpSession("192.0.2.9"), NOW).code == "-"
        assert decide(rules, SmtpSession("192.0.2.3", port=587), NOW).code == "A"

    def test_a_login_counts_on_25_only_where_auth_is_offered_there(self) -> None:
        session = SmtpSession(STRANGER, "a@far.test", login="alice")
        rules = RuleSet(TrustedList(), {}, senders=policy(MailHost(auth=False)))
        assert decide(rules, session, NOW).code == "-"
        assert decide(RuleSet(TrustedList(), {}, senders=policy()), session, NOW).code == "A"

    def test_a_grant_names_the_login_that_earned_it(self) -> None:
        grant = Grant(STRANGER, "alice", ("imap",), NOW, NOW, after(60), after(60))
        other = Grant(STRANGER, "bob", ("pop3",), NOW, NOW, after(30), after(30))
        rules = RuleSet(TrustedList(), {STRANGER: after(60)}, grants={STRANGER: [other, grant]})
        step = decide(rules, SmtpSession(STRANGER), NOW).trace[-1]
        assert step.on == (
            "grant until 2026-11-24T08:46:29+00:00, "
            "earned by alice (imap) at 2026-11-24T08:45:29+00:00"
        )

    def test_without_login_a_submission_port_refuses_at_rcpt_or_at_data(self) -> None:
        rules = RuleSet(TrustedList(), {}, senders=policy())
        at_rcpt = decide(rules, SmtpSession(STRANGER, "", "user@example.net", 587), NOW)
        assert at_rcpt.reply == (
            "554 5.7.1 <unknown[203.0.113.9]>: Client host rejected: Access denied"
        )
        at_data = decide(rules, SmtpSession(STRANGER, "", "postmaster", 465), NOW)
        assert at_data.reply == (
            "250 2.1.5 Ok; then to DATA: 554 5.7.1 <DATA>: Data command rejected: Access denied"
        )
        assert at_rcpt.refused
        assert at_data.refused


class TestWhatIsLeftToPostfix:
    @pytest.mark.parametrize(
        ("to", "refused"),
        [
            ("user@example.net", False),
            ("user@mx.relay.test", False),
            ("user", False),
            ("user@far.test", True),
            ("user@far.test@example.net", True),
            ("user%far.test@relay.test", True),
        ],
    )
    def test_is_refused_where_it_is_for_no_domain_of_the_host(self, to: str, refused: bool) -> None:
        host = MailHost(domains=HOST.domains, myorigin="example.net")
        assert decided("x@far.test", to=to, host=host).refused == refused

    def test_is_said_to_hang_on_what_could_not_be_listed(self) -> None:
        host = MailHost(unlisted=("relay_domains: mysql:/etc/x: cannot be listed",))
        decision = decided("x@far.test", to="user@far.test", host=host)
        assert not decision.refused
        assert decision.reply.startswith("250 2.1.5 Ok if far.test is a domain of this host, else")


SENDERS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["a", "x", "friend", "bounce+1", "A"]),
    st.sampled_from(["@", "%", "@far.test@", "%far.test@"]),
    st.sampled_from(["example.com", "www.example.com", "white.test", "black.test", "far.test"]),
) | st.just("")


@given(
    st.booleans(),
    st.sampled_from(["reject", "warn"]),
    st.booleans(),
    SENDERS,
    st.sampled_from([STRANGER, "198.51.100.7", "198.51.100.8", "192.0.2.200", "203.0.113.200"]),
)
def test_no_list_lets_anybody_relay_and_nothing_is_refused_that_need_not_be(
    reject: bool, action: str, skip: bool, sender: str, client: str
) -> None:
    decision = decided(
        sender,
        client,
        "user@far.test",
        reject=reject,
        action=action,
        skip_lists_for_local_untrusted=skip,
    )
    codes = {step.code for step in decision.trace if step.matched}
    assert decision.decision != "relay"
    assert decision.refused, "mail for elsewhere"
    assert (decision.decision == "reject") == (
        decision.code == "B" or (decision.code == "H" and reject and action == "reject")
    )
    if sender == "":
        assert "H" not in codes
    if "W" in codes:
        assert "B" not in codes
    if "H" in codes and skip:
        assert not codes & {"W", "B"}

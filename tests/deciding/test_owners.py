"""Which sender belongs to which login, and rule P of the scope "address" on it.

tests/e2e/test_agreement.py holds the same against a real Postfix.
"""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.moments import NOW, after
from tracker.deciding.access import SenderPolicy
from tracker.deciding.mailaddress import internal
from tracker.deciding.owners import Owners, login_keys
from tracker.deciding.rules import RuleSet, decide, granted
from tracker.deciding.trusted import TrustedList, parse
from tracker.records import Grant, MailHost, Session, SmtpSession
from tracker.settings import PolicySettings

HOST = MailHost(
    myhostname="mail.example.net",
    mydomain="example.net",
    myorigin="example.com",
    domains={"mydestination": frozenset({"example.net"})},
    delimiters="+",
)
CLIENT = "203.0.113.5"


DEFAULTS = PolicySettings()


def owners(host: MailHost = HOST, settings: PolicySettings = DEFAULTS) -> Owners:
    return Owners(settings, host, ["example.com", "bücher.test"])


def logins(sent: str, host: MailHost = HOST, settings: PolicySettings = DEFAULTS) -> set[str]:
    return set(owners(host, settings).logins(internal(sent)))


@pytest.mark.parametrize(
    ("sent", "belongs_to"),
    [
        ("alice@example.com", {"alice@example.com", "alice"}),
        ("ALICE@Example.COM", {"alice@example.com", "alice"}),
        ('"alice"@example.com', {"alice@example.com", "alice"}),
        ("alice@example.com.", {"alice@example.com", "alice"}),
        ("alice", {"alice@example.com", "alice"}),  # myorigin
        ("alice%example.com", {"alice@example.com", "alice"}),
        ("example.com!alice", {"alice@example.com", "alice"}),
        ("alice%example.com@example.net", {"alice@example.com", "alice"}),
        (
            "alice+lists@example.com",
            {"alice+lists@example.com", "alice+lists", "alice@example.com", "alice"},
        ),
        ("alice@bücher.test", {"alice@bücher.test", "alice"}),
        ("alice@xn--bcher-kva.test", {"alice@xn--bcher-kva.test", "alice"}),
        ("alice@far.example.org", {"alice@far.example.org"}),
        ("alice@sub.example.com", {"alice@sub.example.com"}),
    ],
)
def test_a_sender_belongs_to_the_login_that_is_the_same_address(
    sent: str, belongs_to: set[str]
) -> None:
    assert logins(sent) == belongs_to


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "alice@far.example.org@example.com",
        "alice%far.example.org@example.com",
        "example.com!alice@far.example.org",
        "@",
        "?",
        "-",
    ],
)
def test_what_is_doubtful_belongs_to_nobody_who_can_log_in(sent: str) -> None:
    assert not logins(sent) & {"alice", "alice@example.com", "", "?", "-"}


@pytest.mark.parametrize(
    "sent",
    [
        "alice@far.example.org@example.com",
        "alice%far.example.org@example.com",
        "far.example.org!alice@example.com",
    ],
)
def test_a_route_belongs_to_nobody_whoever_has_the_whole_domain(sent: str) -> None:
    """Nor to a login that is spelled like it."""
    assert logins(sent, settings=PolicySettings(senders={"alice": ("@example.com",)})) == set()


def test_without_a_delimiter_there_is_no_extension() -> None:
    assert logins("alice+x@example.com", MailHost(myorigin="example.com")) == {
        "alice+x@example.com",
        "alice+x",
    }


def test_the_domains_of_a_login_without_one_can_be_named() -> None:
    named = PolicySettings(login_domains=("example.org",))
    assert logins("alice@example.com", settings=named) == {"alice@example.com"}
    assert logins("alice@example.org", settings=named) == {"alice@example.org", "alice"}


def test_the_settings_give_a_login_more_senders_and_whole_domains() -> None:
    made = PolicySettings(
        senders={"Alice": ("Info@example.com", "@shop.example.org"), "bob": ("info@example.com",)}
    )
    assert {"alice", "bob"} <= logins("info@EXAMPLE.com", settings=made)
    assert {"alice", "bob"} <= logins("info+x@example.com", settings=made)
    assert logins("any@shop.example.org", settings=made) == {"any@shop.example.org", "alice"}
    assert logins("any@sub.shop.example.org", settings=made) == {"any@sub.shop.example.org"}


def test_login_maps_are_asked_as_postfix_asks_them() -> None:
    assert login_keys("al+x@example.com", HOST) == (
        "al+x@example.com",
        "al@example.com",
        "al+x",
        "al",
        "@example.com",
    )
    assert login_keys("al@far.example.org", HOST) == ("al@far.example.org", "@far.example.org")
    assert login_keys("a b@far.example.org", HOST)[0] == '"a b"@far.example.org'
    assert login_keys("", HOST) == ()
    found = owners().logins("x@far.example.org", ("Carol", "dave"))
    assert found == {
        "x@far.example.org": "the login is that address",
        "carol": "smtpd_sender_login_maps",
        "dave": "smtpd_sender_login_maps",
    }


def grant(user: str, until: datetime, sessions: tuple[Session, ...] = ()) -> Grant:
    ends = after(9999) if sessions else until
    return Grant(CLIENT, user, ("imap",), NOW, NOW, until, ends, sessions)


def rules(*grants: Grant, unread: datetime | None = None) -> RuleSet:
    made = owners()
    return RuleSet(
        parse("198.51.100.7\n", "t"),
        {CLIENT: after(9999)},
        senders=SenderPolicy(HOST, owners=made),
        grants={CLIENT: grants},
        scope="address",
        owners=made,
        unread=unread,
    )


def relays(made: RuleSet, sender: str, *, client: str = CLIENT, at: float = 0) -> bool:
    session = SmtpSession(client, sender)
    step = granted(made, session, after(at))
    assert step.matched == (decide(made, session, after(at)).code == "P"), "explain says the same"
    return step.matched


class TestTheScopeAddress:
    def test_lets_each_user_send_as_itself_until_its_own_grant_ends(self) -> None:
        made = rules(grant("alice@example.com", after(60)), grant("bob", after(30)))
        assert relays(made, "alice@example.com", at=59)
        assert not relays(made, "alice@example.com", at=60)
        assert relays(made, "bob@example.com", at=29)
        assert not relays(made, "bob@example.com", at=30)
        assert not relays(made, "carol@example.com")
        assert not relays(made, "")
        assert not relays(made, "alice@example.com", client="203.0.113.6")
        assert relays(made, "alice@example.com", client=f"::ffff:{CLIENT}")
        assert not relays(made, "alice@example.com", client="unknown")

    def test_names_no_address_that_may_relay_as_such(self) -> None:
        assert rules(grant("alice@example.com", after(60))).granted() == {}
        assert rules(grant("alice@example.com", after(60))).granted([CLIENT]) == {}

    def test_says_whose_grants_there_are(self) -> None:
        made = rules(*(grant(f"{name}@example.com", after(60)) for name in "abcde"))
        step = granted(made, SmtpSession(CLIENT, "x@example.com"), NOW)
        assert step.on == (
            "granted to e@example.com, d@example.com, c@example.com and 2 more, "
            "to whom the sender does not belong"
        )
        step = granted(made, SmtpSession(CLIENT, "b@example.com"), NOW)
        assert step.on == (
            "grant of b@example.com until 2026-11-24T08:46:29+00:00; the login is that address"
        )

    def test_counts_open_sessions_no_longer_than_the_log_is_read(self) -> None:
        held = grant("alice", after(60), (Session("s", NOW),))
        assert relays(rules(held), "alice@example.com", at=3600)
        unread = rules(held, unread=after(90))
        assert relays(unread, "alice@example.com", at=89)
        assert not relays(unread, "alice@example.com", at=90)

    def test_counts_on_port_25_alone(self) -> None:
        made = rules(grant("alice", after(60)))
        for port in (587, 465):
            session = SmtpSession(CLIENT, "alice@example.com", port=port)
            assert not granted(made, session, NOW).matched
            assert decide(made, session, NOW).code == "A"

    def test_grants_nothing_to_users_without_a_name(self) -> None:
        made = rules(*(grant(user, after(60)) for user in ("?", "-", "")))
        for sender in ("?", "-", "?@example.com", "-@example.com", "@example.com", ""):
            assert not relays(made, sender)

    def test_answers_nothing_where_owners_are_not_known(self) -> None:
        made = RuleSet(
            TrustedList(), {}, grants={CLIENT: [grant("alice", after(60))]}, scope="address"
        )
        assert not granted(made, SmtpSession(CLIENT, "alice@example.com"), NOW).matched

    @given(st.text(st.sampled_from('alice@b.%!:"\\[]()<>, +\t\0é1'), max_size=24))
    def test_lets_no_form_of_a_sender_through_that_is_not_the_user_s(self, sender: str) -> None:
        """Whatever is let through is, by Postfix's own resolution, that one address."""
        if relays(rules(grant("alice@example.com", after(60))), sender):
            assert "alice@example.com" in owners().logins(sender)
            assert "alice" in sender.lower()

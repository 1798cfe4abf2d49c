"""Grants as logins, logouts and the clock make them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.moments import NOW, after, login, logout
from tracker.deciding.ledger import Ledger
from tracker.deciding.policy import GrantPolicy
from tracker.records import Change, Ended, Event, Grant, Login, Logout, Restart
from tracker.settings import Duration, GrantSettings

WINDOW = 1800.0


def policy(**settings: Any) -> GrantPolicy:
    return GrantPolicy(GrantSettings(**{"window": Duration(seconds=WINDOW), **settings}))


def ledger(*events: Event, now: datetime = NOW, **settings: Any) -> Ledger:
    made = Ledger(policy(**settings))
    for event in events:
        made.apply(event, now)
    return made


def only(made: Ledger) -> Grant:
    (grant,) = made.grants()
    return grant


def kinds(changes: list[Change | Ended]) -> list[str]:
    return [change.kind if isinstance(change, Change) else "ended" for change in changes]


class TestAWindow:
    def test_starts_at_the_login_when_no_session_is_known(self) -> None:
        assert only(ledger(login(session=None))).expires == after(WINDOW)

    def test_starts_again_with_the_next_login(self) -> None:
        grant = only(ledger(login(session=None), login(session=None, at=600), now=after(600)))
        assert grant.expires == after(600 + WINDOW)
        assert (grant.first_login, grant.last_login) == (NOW, after(600))

    def test_starts_at_the_time_of_the_line_not_of_the_reading(self) -> None:
        assert only(ledger(login(session=None), now=after(900))).expires == after(WINDOW)

    def test_is_over_for_a_login_that_is_read_too_late(self) -> None:
        assert len(ledger(login(session=None), now=after(WINDOW))) == 0

    def test_of_a_login_dated_in_the_future_starts_now(self) -> None:
        assert only(ledger(login(session=None, at=50))).expires == after(WINDOW)

    def test_of_zero_turns_grants_off(self) -> None:
        assert len(ledger(login(), window=Duration(0))) == 0


class TestAnOpenSession:
    def test_keeps_the_grant(self) -> None:
        made = ledger(login())
        assert made.expire(after(WINDOW * 3)) == []
        assert only(made).sessions[0].id == "dVCJuwFh/a9/AAAC"

    def test_opens_the_window_again_when_it_ends(self) -> None:
        made = ledger(login())
        (change,) = made.apply(logout(at=7200), after(7200))
        assert isinstance(change, Change)
        assert (change.kind, change.grant.sessions) == ("renewed", ())
        assert only(made).expires == after(7200 + WINDOW)

    def test_ends_at_max_session_when_its_logout_was_lost(self) -> None:
        made = ledger(login())
        assert made.expire(after(86399)) == []
        assert kinds([*made.expire(after(86400))]) == ["removed"]

    def test_does_not_keep_the_grant_when_the_settings_say_so(self) -> None:
        assert only(ledger(login(), while_connected=False)).expires == after(WINDOW)

    def test_of_two_keeps_the_grant_until_both_have_ended(self) -> None:
        made = ledger(login(session="one"), login(session="two"), logout("one", at=5), now=after(5))
        assert made.expire(after(5 + WINDOW)) == []
        made.apply(logout("two", at=4000), after(4000))
        assert only(made).expires == after(4000 + WINDOW)

    def test_that_was_logged_out_before_its_login_is_over(self) -> None:
        made = ledger()
        assert kinds(made.apply(logout(at=1), after(1))) == ["ended"]
        made.apply(login(), after(1))
        assert only(made).sessions == ()
        assert only(made).expires == after(1 + WINDOW)

    def test_whose_id_comes_again_elsewhere_ends_where_it_was(self) -> None:
        made = ledger(login("203.0.113.5"))
        changes = made.apply(login("203.0.113.6", "bob", at=60), after(60))
        assert kinds(changes) == ["renewed", "added"]
        assert made.expiry("203.0.113.5") == after(WINDOW), "when it ended is not known"

    def test_counts_as_ended_when_the_log_was_last_read(self) -> None:
        made = ledger(login())
        unread = made.expiries_unread(read_until=after(600))
        assert unread == {"203.0.113.5": after(600 + WINDOW)}


class TestARestartOfTheServer:
    def test_ends_its_sessions_and_opens_their_windows(self) -> None:
        made = ledger(login(), login("203.0.113.6", "bob", session="b"))
        changes = made.apply(Restart(after(7200), None, None, None, None), after(7200))
        assert kinds([*changes]) == ["renewed", "renewed"]
        assert {grant.expires for grant in made.grants()} == {after(7200 + WINDOW)}

    def test_says_nothing_of_sessions_that_began_later(self) -> None:
        made = ledger(login(at=60), now=after(60))
        assert made.apply(Restart(after(30), None, None, None, None), after(90)) == []

    @pytest.mark.parametrize("other", [{"host": "mail2"}, {"format": "courier"}])
    def test_says_nothing_of_other_servers(self, other: dict[str, str]) -> None:
        opened = structs.replace(login(), host="mail1", format="dovecot")
        made = ledger(opened)
        server = {"host": "mail1", "format": "dovecot", **other}
        assert made.apply(Restart(after(60), None, None, None, None, **server), after(60)) == []
        assert only(made).sessions


class TestALogoutThatNamesNoSession:
    """As Dovecot wrote it before 2.3: `imap(alice): Disconnected: Logged out`."""

    unnamed = Logout(after(600), "imap", "alice@example.com", None, None)

    def test_ends_all_sessions_of_that_user(self) -> None:
        made = ledger(login(session="a"), login("203.0.113.6", session="b"))
        made.apply(self.unnamed, after(600))
        assert {grant.expires for grant in made.grants()} == {after(600 + WINDOW)}

    def test_ends_no_session_of_another_user_or_server(self) -> None:
        elsewhere = structs.replace(login("203.0.113.6", session="b"), host="mail2")
        made = ledger(login(user="bob", session="a"), elsewhere)
        assert made.apply(self.unnamed, after(600)) == []

    def test_twice_ends_nothing_more(self) -> None:
        made = ledger(login(), self.unnamed, now=after(600))
        assert made.apply(self.unnamed, after(600)) == []


class TestSessionsThatTheServerListsNoMore:
    key = ("alice@example.com", "203.0.113.5")

    def test_ended_when_it_last_listed_them(self) -> None:
        made = ledger(login())
        changes = made.gone([self.key], "mailhost", after(3600), after(3900))
        assert kinds([*changes]) == ["renewed"]
        assert only(made).expires == after(3600 + WINDOW)

    def test_are_not_those_that_began_since(self) -> None:
        made = ledger(login(at=60), now=after(60))
        assert made.gone([self.key], "mailhost", after(30), after(90)) == []

    def test_are_not_those_of_another_host_nor_of_another_user_or_address(self) -> None:
        made = ledger(structs.replace(login(), host="mail2"))
        keys = [self.key, ("bob", "203.0.113.5"), ("alice@example.com", "203.0.113.6")]
        assert made.gone(keys, "mailhost", after(3600), after(3900)) == []
        assert kinds([*made.gone(keys, "mail2", after(3600), after(3900))]) == ["renewed"]


class TestEvents:
    def test_applied_again_change_nothing(self) -> None:
        events = [login(), login("203.0.113.6", "bob", session="b"), logout("b", at=5)]
        made = ledger(*events, now=after(5))
        before = sorted(made.grants(), key=lambda grant: grant.address)
        assert made.apply(events[0], after(5)) == []
        assert sorted(made.grants(), key=lambda grant: grant.address) == before

    def test_of_several_users_at_one_address_make_a_grant_each(self) -> None:
        made = ledger(login(session=None), login(user="bob", session=None, at=60), now=after(60))
        assert {grant.user for grant in made.of("203.0.113.5")} == {"alice@example.com", "bob"}
        assert made.expiry("203.0.113.5") == after(60 + WINDOW)

    def test_gather_the_services_of_a_grant(self) -> None:
        made = ledger(login(service="imap", session="i"), login(session="p"))
        assert only(made).services == ("imap", "pop3")


class TestExpiry:
    def test_is_to_the_moment(self) -> None:
        made = ledger(login(session=None))
        assert made.expire(after(WINDOW) - timedelta(microseconds=1)) == []
        (change,) = made.expire(after(WINDOW))
        assert (change.kind, change.why) == ("removed", "window over")
        assert made.expiry("203.0.113.5") is None

    def test_tells_when_it_is_next_due(self) -> None:
        made = ledger(login(session=None), login("203.0.113.9", session=None, at=60), now=after(60))
        assert made.next_expiry() == after(WINDOW)

    def test_does_not_grow_with_renewals(self) -> None:
        made = ledger()
        for second in range(5000):
            made.apply(login(session=None, at=second), after(second))
        assert len(made._book._due) <= 2 + 1024


class TestAnAdmin:
    def test_may_allow_what_no_login_could_earn(self) -> None:
        made = ledger()
        change = made.allow("192.168.1.5", "-", NOW, timedelta(hours=1))
        assert change.grant.expires == after(3600)
        assert made.reconfigure(policy(), after(1)) == []

    @pytest.mark.parametrize(
        "other",
        [
            {"window": Duration(0)},
            {"while_connected": False},
            {"exclude_networks": ("203.0.113.5/32",)},
            {"services": ("imap",)},
        ],
    )
    def test_keeps_no_session_open_that_other_settings_do_not(self, other: Any) -> None:
        made = ledger(login())
        made.allow("203.0.113.5", "alice@example.com", NOW, timedelta(hours=1))
        assert only(made).expires == after(86400)
        made.reconfigure(policy(**other), after(1))
        assert only(made).expires == after(3600)

    def test_may_revoke_an_address_with_its_open_sessions(self) -> None:
        made = ledger(login(), login(user="bob", session="b"))
        assert len(made.revoke("203.0.113.5")) == 2
        assert kinds(made.apply(logout(at=1), after(1))) == ["ended"]
        assert len(made) == 0

    def test_may_revoke_a_user_everywhere(self) -> None:
        made = ledger(
            login(session="a"), login("203.0.113.6", session="b"), login(user="bob", session="c")
        )
        made.revoke(user="alice@example.com")
        assert only(made).user == "bob"


def test_a_logout_that_waits_for_its_login_makes_no_window_longer_by_a_clock_put_back() -> None:
    made = ledger()
    made.apply(logout(), NOW)
    made.reconfigure(policy(), after(-3600))
    made.apply(login(at=-3600), after(-3600))
    assert only(made).expires == after(-3600 + WINDOW)


class TestVeryManyThatEndAtOnce:
    def made(self) -> Ledger:
        return ledger(*(login(f"203.0.113.{one}", session=None) for one in range(10)))

    def test_are_over_at_once_and_go_by_and_by(self) -> None:
        made = self.made()
        assert len(made.expire(after(WINDOW), 4)) == 4
        assert made.is_over(after(WINDOW))
        assert len(made) == 6
        assert list(made.expiries()) == []
        assert len(made.expire(after(WINDOW), 10)) == 6
        assert not made.is_over(after(WINDOW))

    def test_may_log_in_again_meanwhile(self) -> None:
        made = self.made()
        made.expire(after(WINDOW), 4)
        made.apply(login("203.0.113.9", session=None, at=WINDOW), after(WINDOW))
        assert made.expiry("203.0.113.9") == after(2 * WINDOW)
        made.expire(after(WINDOW), 10)
        assert only(made).address == "203.0.113.9"

    def test_go_on_where_the_clock_is_put_back_before_they_are_gone(self) -> None:
        made = self.made()
        made.expire(after(WINDOW), 4)
        made.reconfigure(policy(), after(60))
        assert len(made.expiries()) == 6


class TestOtherSettings:
    def test_end_what_they_would_not_grant(self) -> None:
        made = ledger(login())
        (change,) = made.reconfigure(policy(exclude_networks=("203.0.113.0/24",)), NOW)
        assert isinstance(change, Change)
        assert (change.kind, change.why) == (
            "removed",
            "in 203.0.113.0/24 of grants.exclude_networks",
        )

    def test_shrink_a_window(self) -> None:
        made = ledger(login(session=None))
        made.reconfigure(policy(window=Duration(seconds=60)), after(10))
        assert only(made).expires == after(70)

    def test_never_lengthen_one(self) -> None:
        made = ledger(login(session=None))
        assert made.reconfigure(policy(window=Duration(days=1)), after(10)) == []


def test_an_ipv6_grant_can_be_for_the_network_of_a_home() -> None:
    made = ledger(login("2001:db8:1:2::5", session=None), ipv6_prefix=64)
    assert only(made).address == "2001:db8:1:2::/64"


def test_a_ledger_made_from_its_own_grants_goes_on_as_before() -> None:
    made = ledger(login(), login("203.0.113.6", "bob", session="b"))
    again = Ledger(policy(), made.grants())
    again.apply(logout(at=60), after(60))
    assert again.expiry("203.0.113.5") == after(60 + WINDOW)
    assert again.expiry("203.0.113.6") == after(86400)


_ADDRESSES = st.sampled_from(["203.0.113.5", "203.0.113.6", "2001:db8::5"])
_USERS = st.sampled_from(["alice", "bob"])
_SESSIONS = st.one_of(st.none(), st.sampled_from(["s1", "s2", "s3"]))
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["login", "logout", "clock", "expire"]),
        _ADDRESSES,
        _USERS,
        _SESSIONS,
        st.integers(-4000, 4000),
    ),
    max_size=40,
)


@given(_STEPS)
def test_no_grant_outlives_its_window_or_its_longest_session(steps: list[Any]) -> None:
    """Whatever is logged, in whatever order and however it is dated."""
    made = Ledger(policy(max_session=Duration(seconds=5000)))
    now = NOW
    logins: set[tuple[str, str]] = set()
    last_word: dict[str, datetime] = {}
    last_logout = NOW - timedelta(days=1)
    for kind, address, user, session, seconds in steps:
        moment = now + timedelta(seconds=seconds)
        if kind == "clock":
            now += timedelta(seconds=abs(seconds))
        elif kind == "login":
            made.apply(Login(moment, "pop3", user, address, session), now)
            logins.add((address, user))
            last_word[address] = max(last_word.get(address, moment), min(moment, now))
        elif kind == "logout" and session:
            made.apply(Logout(moment, "pop3", user, None, session), now)
            last_logout = max(last_logout, min(moment, now))
        made.expire(now)
        for grant in made.grants():
            assert grant.expires > now, "a grant that is over is still there"
            assert (grant.address, grant.user) in logins, "a grant without a login"
            bound = max(last_word[grant.address], last_logout) + timedelta(seconds=WINDOW)
            for one in grant.sessions:
                bound = max(bound, one.started + timedelta(seconds=5000))
            assert grant.expires <= bound


@given(_STEPS)
def test_changes_tell_all_that_happened(steps: list[Any]) -> None:
    """What a store keeps by the changes alone is what the ledger holds."""
    made = Ledger(policy())
    now = NOW
    kept: dict[tuple[str, str], Grant] = {}
    for kind, address, user, session, seconds in steps:
        moment = now + timedelta(seconds=seconds)
        changes: list[Change | Ended] = []
        if kind == "clock":
            now += timedelta(seconds=abs(seconds))
        elif kind == "login":
            changes = made.apply(Login(moment, "pop3", user, address, session), now)
        elif kind == "logout" and session:
            changes = made.apply(Logout(moment, "pop3", user, None, session), now)
        for change in [*changes, *made.expire(now)]:
            if isinstance(change, Change):
                key = (change.grant.address, change.grant.user)
                if change.kind == "removed":
                    del kept[key]
                else:
                    assert (key in kept) == (change.kind == "renewed")
                    kept[key] = change.grant
        assert kept == {(grant.address, grant.user): grant for grant in made.grants()}


@pytest.mark.parametrize("session", [None, ""])
def test_a_logout_without_a_session_changes_nothing(session: str | None) -> None:
    made = ledger(login())
    assert made.apply(Logout(NOW, "pop3", "alice", None, session), NOW) == []

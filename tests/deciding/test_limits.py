"""How many grants there may be, whoever logs in, in whatever order."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from tests.moments import NOW, after, login, logout
from tracker.deciding.ledger import Ledger
from tracker.deciding.limits import Crossing, Watch
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.recent import Recent
from tracker.records import MANUAL_SERVICE, Change, Grant, Login
from tracker.settings import Duration, GrantSettings, LimitName

WINDOW = 1800.0
BOTH = ("max_users_per_address", "max_grants_per_user")


def policy(**limits: Any) -> GrantPolicy:
    return GrantPolicy(GrantSettings(**{"window": Duration(seconds=WINDOW), **limits}))


class Books:
    """A ledger and what it told."""

    def __init__(self, **limits: Any) -> None:
        self.watch = Watch()
        self.ledger = Ledger(policy(**limits), watch=self.watch)
        self.told: list[Crossing] = []

    def login(self, number: int, user: str = "alice", *, at: float = 0) -> list[str]:
        changes = self.ledger.apply(at_address(number, user, at), after(at))
        self.told += self.watch.crossings()
        return [one.kind for one in changes if isinstance(one, Change)]


def at_address(number: int, user: str, at: float = 0) -> Login:
    return login(f"203.0.113.{number}", user, at=at, session=None)


def keys(ledger: Ledger) -> set[tuple[str, str]]:
    return {(one.address, one.user) for one in ledger.grants()}


class TestAllGrants:
    def test_beyond_the_limit_no_grant_is_made_and_those_there_are_renewed(self) -> None:
        books = Books(max_grants=2)
        assert [books.login(number) for number in (1, 2, 3)] == [["added"], ["added"], []]
        assert books.login(1, at=60) == ["renewed"]
        assert books.told == [Crossing("max_grants", "", 2, refused=True)]

    def test_what_is_over_makes_room_though_nobody_has_ended_it_yet(self) -> None:
        books = Books(max_grants=1)
        books.login(1)
        assert books.login(2, at=WINDOW) == ["removed", "added"]
        assert books.told == []

    def test_a_login_that_would_earn_nothing_anyway_crosses_nothing(self) -> None:
        """Read when its window is over, as when a long log is caught up with."""
        books = Books(max_grants=1)
        books.login(1, at=WINDOW)
        assert books.ledger.apply(at_address(2, "bob", at=-1), after(WINDOW)) == []
        assert books.watch.crossings() == []

    def test_an_admins_word_is_no_part_of_it(self) -> None:
        books = Books(max_grants=1)
        books.ledger.allow("203.0.113.9", "root", NOW, timedelta(hours=1))
        assert books.login(1) == ["added"]
        books.ledger.allow("203.0.113.8", "root", NOW, timedelta(hours=1))
        again = Ledger(policy(max_grants=1), books.ledger.grants())
        assert again.reconfigure(policy(max_grants=1), NOW) == []


class TestUsersAtOneAddress:
    def test_more_than_a_household_are_told_of_and_let_in(self) -> None:
        books = Books(max_users_per_address=2)
        assert [books.login(1, user) for user in "abc"] == [["added"]] * 3
        assert books.told == [Crossing("max_users_per_address", "203.0.113.1", 2, refused=False)]

    def test_are_refused_where_that_is_asked_for(self) -> None:
        books = Books(max_users_per_address=2, refuse_beyond=BOTH)
        assert [books.login(1, user) for user in "abc"] == [["added"], ["added"], []]
        assert books.login(1, "a", at=60) == ["renewed"]
        assert books.login(2, "c") == ["added"]

    def test_that_are_over_make_room_though_too_many_others_are_to_end_at_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tracker.deciding.ledger._ROOM", 1)
        books = Books(max_users_per_address=2, refuse_beyond=BOTH)
        books.login(9, "other")
        for user in "ab":
            books.login(1, user, at=1)
        assert books.login(1, "c", at=WINDOW + 1) == ["removed"] * 3 + ["added"]
        assert books.told == []

    def test_are_not_watched_with_a_limit_of_0(self) -> None:
        books = Books(max_users_per_address=0, max_grants_per_user=0, refuse_beyond=BOTH)
        assert [books.login(1, str(user)) for user in range(50)] == [["added"]] * 50
        assert books.told == []


class TestAddressesOfOneUser:
    def test_count_for_an_hour_after_the_last_login_though_the_window_is_over(self) -> None:
        books = Books(max_grants_per_user=2, refuse_beyond=BOTH)
        books.login(1)
        books.login(2, at=WINDOW)
        assert books.login(3, at=WINDOW + 1) == ["removed"]
        books.ledger.expire(after(WINDOW * 1.5))
        assert books.login(3, at=3599) == []
        books.ledger.expire(after(3600))
        assert books.login(3, at=3600) == ["added"]

    def test_still_count_for_a_ledger_that_begins_anew(self) -> None:
        limits = policy(max_grants_per_user=2, refuse_beyond=BOTH)
        past = [Recent("alice", f"203.0.113.{number}", NOW) for number in (1, 2)]
        ledger = Ledger(limits, recent=past)
        assert ledger.apply(at_address(3, "alice", 60), after(60)) == []
        assert [*ledger.apply(at_address(1, "alice", 60), after(60))], "it is one of the two"

    def test_of_whom_an_admin_revoked_count_no_more(self) -> None:
        books = Books(max_grants_per_user=1, refuse_beyond=BOTH)
        books.login(1)
        books.ledger.revoke(user="alice")
        assert books.login(2) == ["added"]

    def test_are_not_counted_where_the_log_names_no_user(self) -> None:
        books = Books(max_grants_per_user=1, refuse_beyond=BOTH)
        for number in (1, 2, 3):
            nameless = structs.replace(at_address(number, "x"), user=None)
            assert len(books.ledger.apply(nameless, NOW)) == 1
        books.ledger.expire(after(WINDOW))
        again = structs.replace(at_address(4, "x", WINDOW), user=None)
        assert len(books.ledger.apply(again, after(WINDOW))) == 1

    def test_do_not_count_where_an_admin_has_allowed_them(self) -> None:
        books = Books(max_grants_per_user=1, refuse_beyond=BOTH)
        books.login(1)
        books.ledger.allow("203.0.113.1", "alice", NOW, timedelta(hours=1))
        assert books.login(2) == ["added"]


def test_a_crossing_is_told_once_until_an_hour_has_passed_without_it() -> None:
    books = Books(max_grants_per_user=1)
    for number in range(1, 50):
        books.login(number, at=number * 60)
        books.ledger.expire(after(number * 60))
    assert len(books.told) == 1
    later = 50 * 60 + 3600
    books.ledger.expire(after(later))
    for number in (1, 2):
        books.login(number, at=later)
    assert len(books.told) == 2


def test_a_watch_outlives_the_ledger_that_is_read_anew() -> None:
    watch = Watch()
    for _ in range(2):
        ledger = Ledger(policy(max_grants=1), watch=watch)
        for number in (1, 2):
            ledger.apply(at_address(number, "alice"), NOW)
    assert len(watch.crossings()) == 1


def test_the_defaults_shut_no_ordinary_host_out() -> None:
    """A hall of 500 users behind one gateway, and one who is everywhere."""
    books = Books()
    assert all(books.login(1, f"user{number}") == ["added"] for number in range(500))
    assert all(books.login(number, "boss") == ["added"] for number in range(2, 250))
    assert {one.limit for one in books.told} == set(BOTH)
    assert not any(one.refused for one in books.told)


@pytest.mark.parametrize(
    ("limit", "most", "left"),
    [
        ("max_grants", 3, {(1, "a"), (1, "b"), (1, "c")}),
        ("max_users_per_address", 1, {(1, "a"), (2, "a"), (3, "a")}),
        ("max_grants_per_user", 1, {(1, "a"), (1, "b"), (1, "c")}),
    ],
)
def test_a_limit_that_was_lowered_ends_the_youngest_in_whatever_order_they_are_read(
    limit: LimitName, most: int, left: set[tuple[int, str]]
) -> None:
    books = Books()
    for at, (number, user) in enumerate((n, u) for n in (1, 2, 3) for u in "abc"):
        books.login(number, user, at=at)
    grants = list(books.ledger.grants())
    for seed in range(5):
        random.Random(seed).shuffle(grants)
        under = policy(**{limit: most}, refuse_beyond=BOTH)
        again = Ledger(under, grants)
        ended = again.reconfigure(under, after(60))
        assert {one.why for one in ended if isinstance(one, Change)} == {
            f"more than grants.{limit}"
        }
        assert keys(again) == {(f"203.0.113.{number}", user) for number, user in left}


def test_a_grant_that_is_over_takes_no_place_of_one_in_force() -> None:
    books = Books(max_grants=2)
    books.login(1)
    books.login(2, at=1000)
    under = policy(max_grants=1)
    again = Ledger(under, books.ledger.grants())
    now = after(WINDOW + 1)
    again.reconfigure(under, now)
    again.expire(now)
    assert keys(again) == {("203.0.113.2", "alice")}


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["login", "open", "logout", "allow", "clock", "restart"]),
        st.integers(1, 4),
        st.sampled_from("abc"),
        st.sampled_from([0, 1, 600, 1801, 3601]),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(ACTIONS, st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.randoms())
def test_no_limit_is_ever_exceeded_and_no_renewal_refused(
    actions: list[tuple[str, int, str, float]], most: int, at: int, of: int, chance: random.Random
) -> None:
    under = policy(
        max_grants=most, max_users_per_address=at, max_grants_per_user=of, refuse_beyond=BOTH
    )
    ledger, now = Ledger(under), NOW
    for what, address, user, seconds in actions:
        now += timedelta(seconds=seconds)
        before = {(one.address, one.user): one for one in ledger.grants() if one.expires > now}
        if what in ("login", "open"):
            session = f"{user}{address}" if what == "open" else None
            event = Login(now, "pop3", user, f"203.0.113.{address}", session)
            ledger.apply(event, now)
            if (event.address, user) in before:
                (grant,) = [one for one in ledger.of(event.address or "") if one.user == user]
                assert grant.last_login == now
        elif what == "logout":
            ledger.apply(structs.replace(logout(f"{user}{address}"), time=now), now)
        elif what == "allow":
            ledger.allow(f"203.0.113.{address}", user, now, timedelta(minutes=5))
        elif what == "restart":
            grants = list(ledger.grants())
            chance.shuffle(grants)
            again = Ledger(under, grants)
            assert "removed" not in {
                one.kind for one in again.reconfigure(under, now) if isinstance(one, Change)
            }
            ledger = again
        ledger.expire(now)
        assert_within(ledger, most, at, of)


def assert_within(ledger: Ledger, most: int, at: int, of: int) -> None:
    earned: list[Grant] = [one for one in ledger.grants() if MANUAL_SERVICE not in one.services]
    assert len(earned) <= most
    for field, bound in (("address", at), ("user", of)):
        names = [getattr(one, field) for one in earned]
        assert all(names.count(name) <= bound for name in names)

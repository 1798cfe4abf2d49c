"""A logout line has no address: it gets the one of the login with the same session."""

from __future__ import annotations

from tests.moments import login, logout
from tracker.reading import joining
from tracker.reading.joining import SessionJoin
from tracker.records import Failed


def test_a_logout_gets_the_address_of_its_login() -> None:
    join = SessionJoin()
    join.join(login("203.0.113.5", session="one"))
    join.join(login("203.0.113.6", session="two"))
    assert join.join(logout("one")).address == "203.0.113.5"
    assert join.join(logout("two")).address == "203.0.113.6"


def test_a_logout_of_an_unknown_session_stays_as_it_is() -> None:
    join = SessionJoin()
    join.join(login(session="one"))
    assert join.join(logout("two")) == logout("two")


def test_events_without_a_session_or_with_an_address_stay_as_they_are() -> None:
    join = SessionJoin()
    without = login(session=None)
    failed = Failed(without.time, "pop3", "bob", "203.0.113.7", "one")
    assert join.join(without) is without
    assert join.join(failed) is failed


def test_a_failed_login_tells_no_address_to_a_logout() -> None:
    join = SessionJoin()
    join.join(Failed(login().time, "pop3", "bob", "203.0.113.7", "one"))
    assert join.join(logout("one")).address is None


def test_a_session_that_is_used_again_has_its_last_address() -> None:
    join = SessionJoin()
    join.join(login("203.0.113.5", session="one"))
    join.join(login("203.0.113.6", session="one"))
    assert join.join(logout("one")).address == "203.0.113.6"


def test_memory_is_bounded_and_the_recent_sessions_are_in_it() -> None:
    join = SessionJoin()
    many = 3 * joining._JOINED
    for number in range(many):
        join.join(login("203.0.113.5", session=str(number)))
    assert join.join(logout("0")).address is None
    recent = range(many - joining._JOINED, many)
    assert all(join.join(logout(str(number))).address for number in recent)

"""What the doctor says of too many grants."""

from __future__ import annotations

from typing import Any

from tests.moments import NOW, login
from tracker.deciding.health.limits import limits
from tracker.deciding.policy import GrantPolicy
from tracker.settings import GrantSettings


def policy(**changed: Any) -> GrantPolicy:
    return GrantPolicy(GrantSettings(**changed))


def test_as_many_grants_as_there_may_be_are_an_error() -> None:
    users = {"203.0.113.1": ("a", "b"), "203.0.113.2": ("c",)}
    (found,) = limits(users, (), policy(max_grants=3), NOW)
    assert (found.severity, found.code) == ("error", "grants-full")
    assert not list(limits(users, (), policy(max_grants=4), NOW))


def test_a_user_at_many_addresses_is_named_by_grants_and_by_logins_of_the_last_hour() -> None:
    users = {f"203.0.113.{number}": ("it's me",) for number in (1, 2)}
    logins = [login("203.0.113.2", "it's me"), login("203.0.113.3", "it's me")]
    (found,) = limits(users, logins, policy(max_grants_per_user=2), NOW)
    assert (found.code, found.what) == (
        "user-everywhere",
        "logged in from 3 addresses within an hour",
    )
    assert found.where == "it's?me"


def test_old_logins_those_that_earn_nothing_and_nameless_users_are_no_botnet() -> None:
    for logins in (
        [login(f"203.0.113.{number}", at=-3600) for number in range(9)],
        [login(f"10.0.0.{number}") for number in range(9)],
        [login(f"203.0.113.{number}", "?") for number in range(9)],
    ):
        assert not list(limits({}, logins, policy(max_grants_per_user=2), NOW))


def test_a_limit_of_0_is_not_looked_at() -> None:
    users = {f"203.0.113.{number}": ("a",) for number in range(200)}
    assert not list(limits(users, (), policy(max_grants_per_user=0), NOW))

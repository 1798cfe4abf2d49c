"""Who earns a grant, and the reason when not."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from tests.moments import login
from tracker.deciding.policy import GrantPolicy
from tracker.settings import GrantSettings


def refusal(
    own: tuple[str, ...] = (), /, address: str = "203.0.113.5", **settings: Any
) -> str | None:
    return GrantPolicy(GrantSettings(**settings), own).refusal(login(address))


@pytest.mark.parametrize("address", ["203.0.113.5", "198.51.100.7", "192.0.2.1", "2001:db8::5"])
def test_a_public_address_earns_a_grant(address: str) -> None:
    assert refusal(address=address) is None


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback address"),
        ("127.8.9.1", "loopback address"),
        ("::1", "loopback address"),
        ("169.254.3.4", "link-local address"),
        ("fe80::1", "link-local address"),
        ("10.0.0.1", "private address"),
        ("172.17.0.1", "private address"),
        ("192.168.0.1", "private address"),
        ("100.64.0.1", "private address"),
        ("fd00::1", "private address"),
        ("0.0.0.0", "no client has such an address"),
        ("255.255.255.255", "no client has such an address"),
        ("224.0.0.1", "no client has such an address"),
        ("ff02::1", "no client has such an address"),
        ("::", "no client has such an address"),
    ],
)
def test_addresses_that_may_stand_for_anybody_earn_none(address: str, why: str) -> None:
    assert refusal(address=address) == why


def test_a_kind_that_is_taken_out_of_refuse_earns_a_grant() -> None:
    assert refusal(address="127.0.0.1", refuse=("private",)) is None


def test_the_hosts_own_address_earns_none() -> None:
    assert refusal(("203.0.113.5",)) == "own address"


def test_networks_of_the_admin_earn_none() -> None:
    why = refusal(exclude_networks=("203.0.113.0/24",))
    assert why == "in 203.0.113.0/24 of grants.exclude_networks"


@pytest.mark.parametrize(
    "excluded", ["2001:db8:1:2::5/128", "2001:db8:1:2:8000::/80", "2001:db8::/32"]
)
def test_a_login_earns_nothing_for_the_neighbours_that_must_have_none(excluded: str) -> None:
    """With a prefix of 64 the grant would be for the excluded address too."""
    neighbour = "2001:db8:1:2::6"
    why = refusal(address=neighbour, ipv6_prefix=64, exclude_networks=(excluded,))
    assert why is not None
    assert why.endswith("of grants.exclude_networks")
    assert refusal(address="2001:db9:1:2::6", ipv6_prefix=64, exclude_networks=(excluded,)) is None


def test_a_neighbour_of_an_excluded_address_earns_a_grant_of_its_own() -> None:
    assert refusal(address="2001:db8::6", exclude_networks=("2001:db8::5/128",)) is None


def test_services_that_are_not_named_earn_none() -> None:
    assert refusal(services=("imap",)) == "service pop3 is not in grants.services"


@pytest.mark.parametrize("glob", ["alice@*", "ALICE@example.com", "?lice*"])
def test_users_are_named_by_globs_in_any_case(glob: str) -> None:
    assert refusal(users=(glob,)) is None
    assert refusal(exclude_users=(glob,)) == "user alice@example.com is in grants.exclude_users"


def test_a_user_who_is_not_named_earns_none() -> None:
    assert refusal(users=("bob",)) == "user alice@example.com is not in grants.users"


def test_logins_that_anyone_can_make_up_earn_nothing() -> None:
    made = GrantPolicy(GrantSettings(), forgeable={"courier": "a long name forges a login"})
    refused = made.refusal(structs.replace(login(), format="courier"))
    assert refused is not None
    assert refused.startswith("courier: a long name forges a login; log.accept_forgeable ")
    assert made.refusal(structs.replace(login(), format="dovecot")) is None

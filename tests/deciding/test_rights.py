"""The rights without order or exceptions: the same addresses and senders, written otherwise."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.deciding import lists
from tracker.deciding.access import SenderPolicy
from tracker.deciding.rights import rights, trusted_networks
from tracker.deciding.senders import lookups
from tracker.deciding.trusted import TrustedList, parse
from tracker.records import MailHost

# A corner of both families that is small enough to be asked address by address.
_V4 = [f"203.0.113.{number}" for number in range(64)]
_V6 = [f"2001:db8::{number:x}" for number in range(32)]


def _entries() -> st.SearchStrategy[str]:
    four, six = st.integers(0, 63), st.integers(0, 31)

    def network(base: str, bits: int, number: int, length: int) -> str:
        first = ipaddress.ip_network(f"{base}{number:x}/{length}", strict=False)
        assert bits >= length
        return str(first)

    return st.tuples(
        st.sampled_from(["", "!"]),
        st.one_of(
            st.builds(lambda n: f"203.0.113.{n}", four),
            st.builds(
                lambda n, length: str(
                    ipaddress.ip_network(f"203.0.113.{n}/{length}", strict=False)
                ),
                four,
                st.integers(24, 32),
            ),
            st.builds(lambda a, b: f"203.0.113.{min(a, b)}-{max(a, b)}", four, four),
            st.just("203.0.113.*"),
            st.builds(
                lambda n, length: network("2001:db8::", 128, n, length), six, st.integers(120, 128)
            ),
            st.builds(lambda a, b: f"2001:db8::{min(a, b):x}-2001:db8::{max(a, b):x}", six, six),
        ),
    ).map("".join)


def _holds(networks: tuple[str, ...], address: str) -> bool:
    one = ipaddress.ip_address(address)
    return any(one in net for net in map(ipaddress.ip_network, networks))


@given(st.lists(_entries(), max_size=12))
def test_the_networks_hold_exactly_the_addresses_that_the_list_trusts(entries: list[str]) -> None:
    trusted = parse("\n".join(entries), "trusted.txt")
    networks = trusted_networks(trusted)
    for address in [*_V4, *_V6, "203.0.112.255", "203.0.114.0", "2001:db8:0:0:1::"]:
        assert _holds(networks, address) == trusted.trusts(address), address


@given(st.lists(_entries(), max_size=12))
def test_the_networks_are_the_fewest_and_in_order(entries: list[str]) -> None:
    found = [
        ipaddress.ip_network(net)
        for net in trusted_networks(parse("\n".join(entries), "trusted.txt"))
    ]
    for version in (4, 6):
        of_one = [net for net in found if net.version == version]
        assert list(ipaddress.collapse_addresses(of_one)) == of_one  # type: ignore[type-var]


def test_the_whole_internet_but_one_address_has_no_exception_in_it() -> None:
    networks = trusted_networks(parse("!198.51.100.7\n0.0.0.0/0\n::/0\n", "trusted.txt"))
    assert not _holds(networks, "198.51.100.7")
    assert _holds(networks, "198.51.100.6")
    assert len(networks) == 33
    assert networks[-1] == "::/0"


def test_an_address_is_written_without_its_length() -> None:
    assert trusted_networks(parse("203.0.113.5/32\n2001:db8::1\n", "t")) == (
        "203.0.113.5",
        "2001:db8::1",
    )


def test_an_empty_list_gives_nothing() -> None:
    assert trusted_networks(TrustedList()) == ()


@pytest.mark.parametrize("parents", [True, False])
@pytest.mark.parametrize("delimiters", ["", "+-"])
@pytest.mark.parametrize(
    "sender",
    [
        "friend@far.test",
        "Friend@FAR.test",
        "friend+x@far.test",
        "friend-x@far.test",
        "friendly@far.test",
        "friend@far.test.example",
        "x@white.test",
        "x@sub.white.test",
        "x@a.b.white.test",
        "x@notwhite.test",
        "x@dotted.test",
        "x@sub.dotted.test",
        "x@bücher.test",
        "x@xn--bcher-kva.test",
        "a.b@odd.test",
        "axb@odd.test",
    ],
)
def test_an_expression_matches_the_senders_that_postfix_finds_in_the_table(
    sender: str, delimiters: str, parents: bool
) -> None:
    host = MailHost(delimiters=delimiters, parents=parents)
    written = "friend@far.test\nwhite.test\n.dotted.test\nbücher.test\na.b@odd.test\n192.0.2.0/24\n"
    policy = SenderPolicy(host, whitelist=lists.parse(written, "w.txt"))
    found = rights(TrustedList(), policy).whitelist
    matches = any(re.search(one, sender, re.IGNORECASE) for one in found.senders)
    assert matches == (policy.by_sender("whitelist", lookups(sender, host)) is not None)
    assert found.clients == ("192.0.2.0/24",)

"""Who could relay at a moment of the past: the rules of now, made of what was in force then."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from tests.moments import NOW
from tracker.addresses import network
from tracker.deciding.past import Then, could_relay
from tracker.deciding.trusted import parse

MYNETWORKS = ((network("192.0.2.9/32"), False), (network("192.0.2.0/24"), True))


def then(trusted: str = "", *held: str) -> Then:
    return Then(parse(trusted, "trusted.txt"), MYNETWORKS, held)


def told(standing: Then, asked: str | None) -> list[tuple[str, str, bool]]:
    net = ipaddress.ip_network(asked) if asked else None
    return [(one.code, one.client, one.decides) for one in could_relay(standing, net, NOW)]


def test_a_grant_in_the_table_is_why() -> None:
    (one,) = could_relay(then("", "203.0.113.5"), network("203.0.113.5/32"), NOW)
    assert (one.code, one.on) == ("P", "the grant table held 203.0.113.5")
    assert told(then("", "203.0.113.5"), "203.0.113.6/32") == []


def test_the_first_rule_decides_and_the_others_are_told() -> None:
    standing = then("192.0.2.0/24\n203.0.113.0/24", "192.0.2.7", "203.0.113.5")
    assert told(standing, "192.0.2.7/32") == [
        ("N", "192.0.2.7", True),
        ("T", "192.0.2.7", False),
        ("P", "192.0.2.7", False),
    ]
    assert told(standing, "203.0.113.5/32") == [
        ("T", "203.0.113.5", True),
        ("P", "203.0.113.5", False),
    ]


def test_what_a_list_takes_out_could_not() -> None:
    standing = then("!203.0.113.128/25\n203.0.113.0/24")
    assert told(standing, "203.0.113.200/32") == []
    assert told(standing, "192.0.2.9/32") == []
    assert told(standing, "203.0.113.0/24") == [("T", "203.0.113.0/25", True)]


def test_the_entry_of_the_trusted_list_is_named_with_its_line() -> None:
    (one,) = could_relay(then("# office\n203.0.113.0/24 # all"), network("203.0.113.8/32"), NOW)
    assert one.on == "line 2: 203.0.113.0/24"


def test_a_network_has_all_its_parts() -> None:
    standing = then("203.0.113.64/26", "203.0.113.5", "203.0.114.1", "2001:db8::/64")
    assert told(standing, "203.0.113.0/24") == [
        ("T", "203.0.113.64/26", True),
        ("P", "203.0.113.5", True),
    ]
    assert told(standing, "2001:db8::7/128") == [("P", "2001:db8::7", True)]
    assert len(told(standing, None)) == 6


@given(st.integers(0, 255), st.sets(st.integers(0, 255), max_size=5), st.integers(24, 32))
def test_a_network_s_answer_holds_each_address_s(last: int, held: set[int], length: int) -> None:
    standing = then("!192.0.2.16/28\n192.0.2.8-40", *(f"192.0.2.{one}" for one in held))
    asked = ipaddress.ip_network(f"192.0.2.{last}/{length}", strict=False)
    alone = {code for code, _, _ in told(standing, f"192.0.2.{last}/32")}
    parts = could_relay(standing, asked, NOW)
    covering = set()
    for one in parts:
        first, _, end = one.client.partition("-")
        low = ipaddress.IPv4Network(first)
        high = ipaddress.IPv4Network(end) if end else low
        if low[0] <= ipaddress.IPv4Address(f"192.0.2.{last}") <= high[-1]:
            covering.add(one.code)
    assert covering == alone

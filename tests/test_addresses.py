"""One way to write each address, and no guessing at what another program would make of a text."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.addresses import canonical, endpoint, network, order, require, subject
from tracker.errors import AddressError


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("2001:DB8:0:0:0:0:0:5", "2001:db8::5"),
        ("2001:db8::0:5", "2001:db8::5"),
        ("::1", "::1"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("::FFFF:cb00:7105", "203.0.113.5"),
        ("0:0:0:0:0:ffff:203.0.113.5", "203.0.113.5"),
    ],
)
def test_an_address_has_one_form(text: str, meant: str) -> None:
    assert canonical(text) == meant
    assert require(f" {text}\n") == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.1",  # short: 10.0.0.1 to some
        "167772161",  # a number: the same
        "0x0a.0.0.1",
        "010.0.0.1",  # octal to some: 8.0.0.1
        "203.0.113.05",
        "::ffff:010.0.0.1",
        "203.0.113.256",
        "203.0.113.5.6",
        "203.0.113.5 ",
        "203.0.113.5\n",
        "203.0.113.5:25",
        "203.0.113.0/24",
        "[2001:db8::5]",
        "fe80::1%eth0",
        "::ffff:203.0.113.5%eth0",
        "2001:db8::5::6",
        "12345::",
        "٢٠٣.0.113.5",
        "localhost",
    ],
)
def test_what_could_be_read_in_two_ways_is_no_address(text: str) -> None:
    assert canonical(text) is None


def test_an_address_that_an_admin_mistyped_is_named() -> None:
    with pytest.raises(AddressError, match=r"'10\.1' is no IP address: write 203\.0\.113\.5"):
        require("10.1")


@given(st.ip_addresses())
def test_the_canonical_form_names_the_same_address(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    once = canonical(str(address))
    assert once is not None
    assert canonical(once) == once
    mapped = getattr(address, "ipv4_mapped", None)
    assert ipaddress.ip_address(once) == (mapped or address)


_FEW = st.sampled_from(["0", "0", "", "1", "00a", "FFFF", "1.2.3.4", "01.2.3.4", "12345", "g"])


@given(
    st.lists(_FEW, min_size=2, max_size=10).map(":".join)
    | st.text(alphabet="0123456789abcdefF:.%", max_size=40).map(":{}".format)
    | st.ip_addresses(v=6).map(lambda address: address.exploded)
    | st.integers(0, 2**64 - 1).map(lambda low: str(ipaddress.IPv6Address(low)))
)
def test_ipv6_is_read_and_written_as_python_does(text: str) -> None:
    try:
        address = ipaddress.IPv6Address("%" if "%" in text else text)
    except ValueError:
        assert canonical(text) is None
    else:
        assert canonical(text) == str(address.ipv4_mapped or address)


@given(st.text(max_size=50) | st.text(alphabet="0123456789abcdef:.%x/ ", max_size=40))
def test_any_text_is_an_address_or_none(text: str) -> None:
    found = canonical(text)
    assert found is None or canonical(found) == found


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("203.0.113.0/24", "203.0.113.0/24"),
        (" 203.0.113.0/24 ", "203.0.113.0/24"),
        ("203.0.113.5", "203.0.113.5/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:db8::5", "2001:db8::5/128"),
        ("::/0", "::/0"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
    ],
)
def test_a_network(text: str, meant: str) -> None:
    assert str(network(text)) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("203.0.113.5/24", "has host bits set); did you mean 203.0.113.0/24?"),
        ("2001:db8::5/32", "has host bits set); did you mean 2001:db8::/32?"),
        ("::ffff:10.0.0.0/104", "it is IPv4 in IPv6); did you mean 10.0.0.0/8?"),
        ("::ffff:10.1.2.3", "it is IPv4 in IPv6); did you mean 10.1.2.3/32?"),
        ("fe80::/64%eth0", "is no network"),
        ("fe80::1%eth0", "is no network (it has a zone id)"),
        ("fe80::%eth0/64", "is no network (it has a zone id)"),
        ("010.0.0.0/8", "write 203.0.113.0/24 or 2001:db8::/32"),
        ("10.0/8", "write 203.0.113.0/24 or 2001:db8::/32"),
        ("203.0.113.0/33", "write 203.0.113.0/24 or 2001:db8::/32"),
        ("", "write 203.0.113.0/24 or 2001:db8::/32"),
        ("mail.example.com", "write 203.0.113.0/24 or 2001:db8::/32"),
    ],
)
def test_an_error_names_the_text_and_the_network_that_was_meant(text: str, said: str) -> None:
    with pytest.raises(AddressError, match=re.escape(said)) as raised:
        network(text)
    assert str(raised.value).startswith(repr(text))
    assert "\n" not in str(raised.value)


def test_the_order_is_by_version_then_by_number_then_the_wider_first() -> None:
    sorted_ = [
        "9.0.0.0",
        "10.0.0.0/8",
        "10.0.0.0/24",
        "10.0.0.2",
        "10.0.0.10",
        "203.0.113.5",
        "::1",
        "2001:db8::/32",
        "2001:db8::/64",
        "2001:db8::5",
    ]
    assert sorted(sorted(sorted_), key=order) == sorted_


@pytest.mark.parametrize(
    ("address", "prefix", "meant"),
    [
        ("203.0.113.5", 64, "203.0.113.5"),
        ("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6"),
        ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3:4:5:6", 56, "2001:db8:1::/56"),
    ],
)
def test_the_subject_of_a_grant(address: str, prefix: int, meant: str) -> None:
    assert subject(address, prefix) == meant


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        (" 127.0.0.1:5353 ", ("127.0.0.1", 5353)),
        ("2001:DB8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("[::1]:5353", ("::1", 5353)),
    ],
)
def test_a_server_is_an_address_and_perhaps_a_port(text: str, server: tuple[str, int]) -> None:
    assert endpoint(text, 53) == server


@pytest.mark.parametrize(
    "text",
    ["", "dns.example.com", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "[::1", "::1]:53",
     "fe80::1%eth0", "192.0.2:53", "192.0.2.53:53:53"],
)  # fmt: skip
def test_what_is_no_server_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match="is no server: write 192"):
        endpoint(text, 53)

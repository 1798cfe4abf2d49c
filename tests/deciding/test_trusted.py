"""The trusted list: forms, order, exclusions, and the errors of a line."""

from __future__ import annotations

import ipaddress
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tracker.deciding.trusted import TrustedList, parse
from tracker.errors import TrustedError


def networks(entry: str) -> list[str]:
    (one,) = parse(entry, "trusted.txt").entries
    return [str(net) for net in one.networks]


@pytest.mark.parametrize(
    ("entry", "blocks"),
    [
        ("203.0.113.5", ["203.0.113.5/32"]),
        ("2001:DB8::5", ["2001:db8::5/128"]),
        ("::ffff:203.0.113.5", ["203.0.113.5/32"]),
        ("172.16.10.0/24", ["172.16.10.0/24"]),
        ("172.16.10.0/255.255.255.0", ["172.16.10.0/24"]),
        ("2001:db8::/32", ["2001:db8::/32"]),
        ("192.168.1.*", ["192.168.1.0/24"]),
        ("192.168.*.*", ["192.168.0.0/16"]),
        ("10.*.*.*", ["10.0.0.0/8"]),
        ("*.*.*.*", ["0.0.0.0/0"]),
        ("192.168.0.0-3", ["192.168.0.0/30"]),
        ("172.16-31.*.*", ["172.16.0.0/12"]),
        ("10.0.0-1.5", ["10.0.0.5/32", "10.0.1.5/32"]),
        ("10.0.0.5-10.0.0.8", ["10.0.0.5/32", "10.0.0.6/31", "10.0.0.8/32"]),
        ("2001:db8::-2001:db8::3", ["2001:db8::/126"]),
    ],
)
def test_an_entry_becomes_minimal_blocks(entry: str, blocks: list[str]) -> None:
    assert networks(entry) == blocks


def test_a_range_is_exact() -> None:
    blocks = [ipaddress.IPv4Network(text) for text in networks("192.168.0.1-50")]
    assert sorted(int(address) for block in blocks for address in block) == list(
        range(
            int(ipaddress.IPv4Address("192.168.0.1")),
            int(ipaddress.IPv4Address("192.168.0.50")) + 1,
        )
    )


_SPAN = st.one_of(
    st.just((0, 255)),
    st.tuples(st.integers(0, 255), st.integers(0, 255)).map(lambda pair: (min(pair), max(pair))),
    st.integers(0, 255).map(lambda one: (one, one)),
)


@given(st.tuples(st.integers(0, 255).map(lambda one: (one, one)), _SPAN, _SPAN, _SPAN), st.data())
def test_octets_hold_exactly_the_addresses_they_say(
    spans: tuple[tuple[int, int], ...], data: st.DataObject
) -> None:
    def written(span: tuple[int, int]) -> str:
        low, high = span
        return "*" if span == (0, 255) else str(low) if low == high else f"{low}-{high}"

    entry = ".".join(written(span) for span in spans)
    assume(math.prod(high - low + 1 for low, high in spans[:3]) <= 4096)
    trusted = parse(entry, "trusted.txt")
    octets = [
        data.draw(st.sampled_from([low, high, max(low - 1, 0), min(high + 1, 255)]))
        for low, high in spans
    ]
    inside = all(low <= octet <= high for octet, (low, high) in zip(octets, spans, strict=True))
    assert trusted.trusts(".".join(map(str, octets))) is inside


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("010.0.0.1", "no octet"),
        ("10.1", "four octets"),
        ("10.0.0.256", "no range between 0 and 255"),
        ("10.0.0.9-5", "no range between 0 and 255"),
        ("10.0.0.9-10.0.0.5", "runs backwards"),
        ("203.0.113.5/24", "did you mean 203.0.113.0/24?"),
        ("203.0.113.0/33", "no mask"),
        ("203.0.113.0/255.0.255.0", "no mask"),
        ("mail.example.com", "expected an address"),
        ("fe80::1%eth0", "expected an address"),
        ("*-*.*.*.*", "no octet"),
        ("!", "expected an address"),
        ("1-250.0-250.1-250.1", "more than 4096 separate blocks"),
    ],
)
def test_a_line_that_is_no_entry_is_refused_with_its_number(line: str, why: str) -> None:
    with pytest.raises(TrustedError) as raised:
        parse(f"# ours\n\n203.0.113.1\n{line}\n", "/etc/popgate/trusted.txt")
    assert str(raised.value).startswith(f"/etc/popgate/trusted.txt:4: {line!r}: ")
    assert why in str(raised.value)


def test_all_bad_lines_are_reported_at_once() -> None:
    with pytest.raises(TrustedError) as raised:
        parse("x\n203.0.113.1\ny\n", "t")
    assert str(raised.value).count("\n") == 1


def test_the_first_entry_that_matches_counts() -> None:
    trusted = parse("!198.51.100.7\n198.51.100.0/24 # the office\n!198.51.100.8\n", "t")
    assert not trusted.trusts("198.51.100.7")
    assert trusted.trusts("198.51.100.8")
    assert not trusted.trusts("203.0.113.1")
    assert not TrustedList().trusts("203.0.113.1")

"""Random trusted lists with an account of their own of what each entry holds."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hypothesis import strategies as st

Holds = Callable[[ipaddress.IPv4Address | ipaddress.IPv6Address], bool]


class Written(NamedTuple):
    """An entry as text, whether it holds an address, and addresses at its edges."""

    text: str
    holds: Holds
    edges: tuple[str, ...]


# Few distinct numbers, so that entries of one list overlap, touch and repeat.
_NUMBER = st.sampled_from([0, 1, 2, 3, 7, 8, 127, 128, 254, 255])
_PAIR = st.tuples(_NUMBER, _NUMBER).map(lambda two: (min(two), max(two)))
_V4 = st.tuples(st.sampled_from([10, 198]), _NUMBER, _NUMBER, _NUMBER).map(
    lambda octets: ipaddress.IPv4Address(".".join(map(str, octets)))
)
_V6 = st.tuples(st.sampled_from([0, 1, 0xFFFF]), st.sampled_from([0, 1, 2, 3, 8, 0xFF])).map(
    lambda two: ipaddress.IPv6Address((0x20010DB8 << 96) | two[0] << 64 | two[1])
)


def _around(
    first: int, last: int, kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]
) -> tuple[str, ...]:
    most = 2 ** (32 if kind is ipaddress.IPv4Address else 128) - 1
    numbers = {max(first - 1, 0), first, (first + last) // 2, last, min(last + 1, most)}
    return tuple(str(kind(number)) for number in sorted(numbers))


def _address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Written:
    return Written(
        str(address), lambda one: one == address, _around(int(address), int(address), type(address))
    )


def _mapped(address: ipaddress.IPv4Address) -> Written:
    return _address(address)._replace(text=f"::ffff:{address}")


def _network(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int, *, mask: bool
) -> Written:
    net = ipaddress.ip_network((address, length), strict=False)
    text = str(net)
    if mask and isinstance(net, ipaddress.IPv4Network):
        text = f"{net.network_address}/{net.netmask}"
    first, last = int(net.network_address), int(net.broadcast_address)
    return Written(
        text,
        lambda one: one.version == net.version and one in net,
        _around(first, last, type(address)),
    )


def _range(
    one: ipaddress.IPv4Address | ipaddress.IPv6Address,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> Written:
    first, last = sorted((int(one), int(other)))
    kind = type(one)
    return Written(
        f"{kind(first)}-{kind(last)}",
        lambda asked: asked.version == one.version and first <= int(asked) <= last,
        _around(first, last, kind),
    )


def _mask(octets: Sequence[tuple[int, int] | None]) -> Written:
    """Octets that are ranges, single numbers, or (None) stars."""

    def text(octet: tuple[int, int] | None) -> str:
        if octet is None:
            return "*"
        return str(octet[0]) if octet[0] == octet[1] else f"{octet[0]}-{octet[1]}"

    spans = [octet or (0, 255) for octet in octets]

    def holds(asked: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return asked.version == 4 and all(
            low <= part <= high for part, (low, high) in zip(asked.packed, spans, strict=True)
        )

    edges = {
        ".".join(
            str(min(max((span[0] if pick >> n & 1 else span[1]) + step, 0), 255))
            for n, span in enumerate(spans)
        )
        for pick in (0, 5, 10, 15)
        for step in (-1, 0, 1)
    }
    return Written(".".join(map(text, octets)), holds, tuple(sorted(edges)))


_OCTET = st.one_of(st.none(), _PAIR, _NUMBER.map(lambda one: (one, one)))
_SINGLE = st.sampled_from([10, 198]).map(lambda one: (one, one))

entry = st.one_of(
    _V4.map(_address),
    _V6.map(_address),
    _V4.map(_mapped),
    st.builds(_network, _V4, st.integers(0, 32), mask=st.booleans()),
    st.builds(
        _network, _V6, st.sampled_from([0, 32, 63, 64, 65, 96, 120, 127, 128]), mask=st.just(False)
    ),
    st.builds(_range, _V4, _V4),
    st.builds(_range, _V6, _V6),
    # A star or a range in front of numbers is many ranges: one of them keeps the lists small.
    st.tuples(_SINGLE, _SINGLE, _OCTET, _OCTET).map(_mask),
    st.tuples(_SINGLE, _OCTET, st.none(), st.none()).map(_mask),
    st.tuples(_SINGLE, _PAIR, st.just((1, 2)), _NUMBER.map(lambda one: (one, one))).map(_mask),
)
"""One entry of any form but a host name."""

trusted_list = st.lists(st.tuples(st.booleans(), entry), min_size=1, max_size=8)
"""Whether each entry takes out, and the entry."""


def text_of(entries: list[tuple[bool, Written]]) -> str:
    """The list as its file has it."""
    return "".join(
        f"{'!' if out else ''}{one.text}  # {n}\n" for n, (out, one) in enumerate(entries)
    )


def trusts(entries: list[tuple[bool, Written]], address: str) -> bool:
    """What the list says of an address, by asking one entry after another."""
    asked = ipaddress.ip_address(address)
    for out, one in entries:
        if one.holds(asked):
            return not out
    return False


def edges(entries: list[tuple[bool, Written]]) -> list[str]:
    """Addresses at which a list's answer may change."""
    return sorted({edge for _, one in entries for edge in one.edges})

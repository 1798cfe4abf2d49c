"""The trusted list: an ordered list of addresses that may always relay; pure.

One entry a line, the first that matches an address counts, `!` before an entry takes it out.
`#` begins a comment. An entry is an address, a network (203.0.113.0/24), an address with a mask
(203.0.113.0/255.255.255.0), a mask with stars (192.168.1.*), or a range (192.168.0.1-50,
172.16-31.*.*, 10.0.0.5-10.0.1.9).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

import netaddr
from msgspec import Struct

from tracker.addresses import IPNetwork, canonical, order
from tracker.errors import TrustedError

_SEPARATE = 4096
"""Blocks that one entry may stand for before it is taken for a mistake."""


class Entry(Struct, frozen=True):
    """One line of the list: the networks it stands for, in minimal blocks."""

    line: int
    text: str
    trusts: bool
    networks: tuple[IPNetwork, ...]


class TrustedList:
    """The entries in their order."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = tuple(entries)
        self.match = lru_cache(maxsize=65536)(self._match)

    def _match(self, address: str) -> Entry | None:
        """The first entry that holds the address, whether it trusts it or takes it out."""
        one = ipaddress.ip_address(address)
        for entry in self.entries:
            if any(one.version == net.version and one in net for net in entry.networks):
                return entry
        return None

    def trusts(self, address: str) -> bool:
        """Whether the list lets that address relay."""
        entry = self.match(address) if self.entries else None
        return entry is not None and entry.trusts


def parse(text: str, where: str) -> TrustedList:
    """The list that a text gives. Raises TrustedError with all lines that cannot be understood."""
    entries: list[Entry] = []
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        written = line.partition("#")[0].strip()
        if not written:
            continue
        try:
            entries.append(_entry(number, written))
        except ValueError as error:
            problems.append(f"{where}:{number}: {written!r}: {error}")
    if problems:
        raise TrustedError("\n".join(problems))
    return TrustedList(entries)


def _entry(number: int, written: str) -> Entry:
    trusts = not written.startswith("!")
    body = written.removeprefix("!").strip()
    networks = tuple(ipaddress.ip_network(str(block)) for block in _blocks(body))
    return Entry(number, written, trusts, networks)


def _blocks(body: str) -> Iterator[netaddr.IPNetwork]:
    """The minimal blocks of an entry. Raises ValueError that says what was expected."""
    if address := canonical(body):
        yield netaddr.IPNetwork(address)
        return
    if "/" in body:
        yield _network(body)
        return
    first, dash, last = (part.strip() for part in body.partition("-"))
    if dash and (low := canonical(first)) and (high := canonical(last)):
        if (":" in low) != (":" in high) or order(low) > order(high):
            raise ValueError("the range runs backwards or mixes IPv4 and IPv6")
        yield from netaddr.iprange_to_cidrs(low, high)
        return
    if re.fullmatch(r"[0-9*.\-]+", body):
        yield from netaddr.cidr_merge(list(_octets(body)))
        return
    raise ValueError("expected an address, a network, a mask with stars or a range")


def _network(body: str) -> netaddr.IPNetwork:
    address, _, mask = (part.strip() for part in body.partition("/"))
    if canonical(address) != address.lower():
        raise ValueError(f"{address!r} is no address, whole and without leading zeros")
    try:
        net = ipaddress.ip_network(f"{address}/{mask}", strict=False)
    except ValueError as error:
        raise ValueError(f"/{mask} is no mask: write /24 or /255.255.255.0") from error
    if str(net.network_address) != canonical(address):
        raise ValueError(f"bits are set behind the mask; did you mean {net}?")
    return netaddr.IPNetwork(str(net))


def _octets(body: str) -> Iterator[netaddr.IPNetwork]:
    """The blocks of four octets that may be a number, a star or a range."""
    spans: list[tuple[int, int]] = []
    for octet in body.split("."):
        match = re.fullmatch(r"(\*)|(0|[1-9][0-9]{0,2})(?:-(0|[1-9][0-9]{0,2}))?", octet)
        if match is None:
            raise ValueError(f"{octet!r} is no octet: write 7, * or 1-50")
        low, high = (0, 255) if match[1] else (int(match[2]), int(match[3] or match[2]))
        if not low <= high <= 255:
            raise ValueError(f"{octet!r} is no range between 0 and 255")
        spans.append((low, high))
    if len(spans) != 4:
        raise ValueError("an IPv4 mask has four octets")
    yield from _product(spans)


def _product(spans: list[tuple[int, int]]) -> Iterator[netaddr.IPNetwork]:
    # Trailing octets that are whole make one block of all that stands before them.
    whole = 0
    while whole < 4 and spans[3 - whole] == (0, 255):
        whole += 1
    heads: list[tuple[int, ...]] = [()]
    for low, high in spans[: max(4 - whole - 1, 0)]:
        heads = [(*head, number) for head in heads for number in range(low, high + 1)]
        if len(heads) > _SEPARATE:
            raise ValueError(f"stands for more than {_SEPARATE} separate blocks; write networks")
    if whole == 4:
        yield netaddr.IPNetwork("0.0.0.0/0")
        return
    low, high = spans[4 - whole - 1]
    for head in heads:
        begin = (*head, low, *(0,) * whole)
        end = (*head, high, *(255,) * whole)
        yield from netaddr.iprange_to_cidrs(".".join(map(str, begin)), ".".join(map(str, end)))

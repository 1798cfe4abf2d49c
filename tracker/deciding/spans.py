"""Sets of addresses as spans of numbers: unions, the first that covers, minimal blocks; pure.

A span is (version, first, last), both ends included; IPv4 and IPv6 are two number lines, and a
mapped address is never met here (`addresses.canonical` has made it IPv4).
"""

from __future__ import annotations

import ipaddress
import socket
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from typing import Literal, NamedTuple

import netaddr

BITS = {4: 32, 6: 128}


class Span(NamedTuple):
    """The addresses from `first` to `last`, both included, as numbers."""

    version: int
    first: int
    last: int

    def __str__(self) -> str:
        """An address, a network where it is one, else `first-last`."""
        if self.first == self.last:
            return text(self.version, self.first)
        if len(networks := blocks(self)) == 1:
            return networks[0]
        return f"{text(self.version, self.first)}-{text(self.version, self.last)}"


ALL = (Span(4, 0, (1 << 32) - 1), Span(6, 0, (1 << 128) - 1))
"""Every address there is."""


class Piece(NamedTuple):
    """A span, and the number of the claim that it belongs to."""

    version: int
    first: int
    last: int
    owner: int

    @property
    def span(self) -> Span:
        """The addresses."""
        return Span(self.version, self.first, self.last)


Claim = tuple[int, int, int, int]
"""Version, first and last address as numbers, and whose: the lower number counts."""

_END: Claim = (0, 1 << 129, 0, 0)


def number(address: str) -> Span:
    """A canonical address as a span of one."""
    if ":" in address:
        value = int.from_bytes(socket.inet_pton(socket.AF_INET6, address), "big")
        return Span(6, value, value)
    value = int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")
    return Span(4, value, value)


def network(net: str) -> Span:
    """A network `address/length` without host bits as a span."""
    address, _, length = net.partition("/")
    version, first, _ = number(address)
    return Span(version, first, first + (1 << (BITS[version] - int(length))) - 1)


def text(version: int, value: int) -> str:
    """The address of that number, in its canonical form."""
    if version == 4:
        return socket.inet_ntop(socket.AF_INET, value.to_bytes(4, "big"))
    return str(ipaddress.IPv6Address(value))


@lru_cache(maxsize=1 << 18)
def blocks(span: Span) -> tuple[str, ...]:
    """The fewest networks that hold exactly the span, in order.

    Kept, so that a long list of which one entry changed is not worked out anew.
    """
    version, first, last = span
    size = last - first + 1
    if size & (size - 1) == 0 and first % size == 0:
        return (f"{text(version, first)}/{BITS[version] - size.bit_length() + 1}",)
    line: Literal[4, 6] = 4 if version == 4 else 6
    ends = netaddr.IPAddress(first, line), netaddr.IPAddress(last, line)
    return tuple(map(str, netaddr.iprange_to_cidrs(*ends)))


def union(spans: Iterable[Span]) -> list[Span]:
    """The same addresses as spans that neither overlap nor touch, in order."""
    return [span for span, _ in merged((*span, 0) for span in spans)]


def merged(claims: Iterable[Claim]) -> Iterator[tuple[Span, tuple[int, ...]]]:
    """`union`, and whose each span is: the owners that have a part in it, in order."""
    at, first, last = 0, 0, -1
    owners: list[int] = []
    for version, begin, end, owner in sorted(claims):
        if owners and version == at and begin <= last + 1:
            last = max(last, end)
            owners.append(owner)
            continue
        if owners:
            yield Span(at, first, last), _each_once(owners)
        at, first, last, owners = version, begin, end, [owner]
    if owners:
        yield Span(at, first, last), _each_once(owners)


def _each_once(owners: list[int]) -> tuple[int, ...]:
    return tuple(owners) if len(owners) == 1 else tuple(sorted(set(owners)))


class FirstMatch:
    """For any address, the lowest-numbered claim that holds it; made in n log n, asked in log n."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        ordered = sorted(claims)
        self._pieces = {
            version: list(_disjoint([claim for claim in ordered if claim[0] == version]))
            for version in BITS
        }
        self._starts = {
            version: [piece[1] for piece in pieces] for version, pieces in self._pieces.items()
        }

    def owner(self, address: str) -> int | None:
        """The number of the claim that an address belongs to."""
        version, value, _ = number(address)
        place = bisect_right(self._starts[version], value) - 1
        if place < 0:
            return None
        piece = self._pieces[version][place]
        return piece.owner if value <= piece.last else None

    def pieces(self) -> Iterator[Piece]:
        """All addresses that are claimed, each once."""
        for pieces in self._pieces.values():
            yield from pieces

    def within(self, span: Span) -> Iterator[Piece]:
        """What of a span is claimed, cut to it, in order."""
        pieces = self._pieces[span.version]
        place = max(bisect_right(self._starts[span.version], span.first) - 1, 0)
        while place < len(pieces) and pieces[place].first <= span.last:
            version, first, last, owner = pieces[place]
            first, last = max(first, span.first), min(last, span.last)
            if first <= last:
                yield Piece(version, first, last, owner)
            place += 1


def _disjoint(claims: Sequence[Claim]) -> Iterator[Piece]:
    """The claims of one version, sorted by where they begin, cut so that each address is in the
    piece of the lowest-numbered claim that holds it.

    Between two beginnings the winner changes only where it ends, so a heap of the open claims,
    lowest number on top, is asked at these places alone.
    """
    open_: list[tuple[int, int]] = []
    at = 0
    for version, begin, end, owner in (*claims, _END):
        while open_ and at < begin:
            winner, last = open_[0]
            if last < at:
                heappop(open_)
                continue
            until = min(last, begin - 1)
            yield Piece(version if version else claims[0][0], at, until, winner)
            at = until + 1
        at = begin
        heappush(open_, (owner, end))

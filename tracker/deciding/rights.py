"""Rights as programs other than Postfix can take them; pure.

These programs know no order and no exceptions, or each know them otherwise: so the trusted list
becomes a set of networks that holds every address it trusts and none else, and senders of a list
become expressions over the whole address.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush

import netaddr
from msgspec import Struct

from tracker.addresses import order
from tracker.deciding.access import SenderPolicy
from tracker.deciding.trusted import TrustedList

_Span = tuple[int, int, int]
"""The first and the last address as numbers, and the place of the entry that claims them."""

_BEYOND = 1 << 129


class Listed(Struct, frozen=True):
    """A white or a black list: senders as expressions, clients as networks, both in order."""

    senders: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()


class Rights(Struct, frozen=True):
    """The rights that no login changes: whom the trusted list trusts, and the two lists."""

    trusted: tuple[str, ...] = ()
    whitelist: Listed = Listed()
    blacklist: Listed = Listed()


def rights(trusted: TrustedList, senders: SenderPolicy) -> Rights:
    """What the trusted list and the lists of senders give."""
    return Rights(
        trusted_networks(trusted), _listed(senders, "whitelist"), _listed(senders, "blacklist")
    )


def trusted_networks(trusted: TrustedList) -> tuple[str, ...]:
    """The addresses that the list trusts and none else, in the fewest networks, in order."""
    claims: dict[int, list[_Span]] = {4: [], 6: []}
    for place, entry in enumerate(trusted.entries):
        for net in map(str, entry.networks):
            claims[6 if ":" in net else 4].append((*_ends(net), place))
    trusts = [entry.trusts for entry in trusted.entries]
    return tuple(
        net
        for version, claimed in claims.items()
        for first, last in _joined(_first_claims(sorted(claimed)), trusts)
        for net in _networks(version, first, last)
    )


def _ends(network: str) -> tuple[int, int]:
    address, _, length = network.partition("/")
    family, bits = (socket.AF_INET6, 128) if ":" in address else (socket.AF_INET, 32)
    first = int.from_bytes(socket.inet_pton(family, address), "big")
    return first, first + (1 << (bits - int(length or bits))) - 1


def _first_claims(claims: Sequence[_Span]) -> Iterator[_Span]:
    """Spans that are claimed by several, cut so that each address is in one: that of the lowest
    place. A heap holds the claims that are open, the lowest on top."""
    open_: list[tuple[int, int]] = []
    at = 0
    for begin, end, place in (*claims, (_BEYOND, _BEYOND, 0)):
        while open_ and at < begin:
            first, last = open_[0]
            if last < at:
                heappop(open_)
                continue
            yield at, min(last, begin - 1), first
            at = min(last, begin - 1) + 1
        at = begin
        heappush(open_, (place, end))


def _joined(pieces: Iterable[_Span], trusts: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """The spans that are trusted, those that touch made one."""
    begin, end = 0, -1
    for first, last, place in pieces:
        if not trusts[place]:
            continue
        if begin <= end and first != end + 1:
            yield begin, end
            begin = first
        elif begin > end:
            begin = first
        end = last
    if begin <= end:
        yield begin, end


def _networks(version: int, first: int, last: int) -> list[str]:
    kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    if first == last:
        return [str(kind(first))]
    return [_written(net) for net in netaddr.iprange_to_cidrs(str(kind(first)), str(kind(last)))]


def _written(net: netaddr.IPNetwork) -> str:
    """A network of one address is that address: every program reads that."""
    return str(net.ip) if net.size == 1 else str(net)


def _listed(senders: SenderPolicy, name: str) -> Listed:
    clients = senders.tables[f"{name}_clients"].rows
    return Listed(
        tuple(_expressions(senders.tables[name].rows, senders)),
        tuple(sorted((_single(key) for key in clients), key=order)),
    )


def _single(network: str) -> str:
    address, _, length = network.partition("/")
    return address if length == ("128" if ":" in address else "32") else network


def _expressions(keys: Iterable[str], senders: SenderPolicy) -> Iterator[str]:
    """For each key of an access table, an expression (PCRE) for the addresses that Postfix looks it
    up for: access(5)."""
    delimiters = re.escape(senders.host.delimiters)
    extension = f"(?:[{delimiters}][^@]*)?" if delimiters else ""
    for key in sorted(keys):
        local, at, domain = key.rpartition("@")
        if at:
            yield f"^{re.escape(local)}{extension}@{re.escape(domain)}$"
        elif domain.startswith("."):
            yield f"@.+{re.escape(domain)}$"
        else:
            yield f"@{'(?:.+[.])?' if senders.host.parents else ''}{re.escape(domain)}$"

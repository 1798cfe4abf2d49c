"""The forms an entry of the trusted list may have; pure.

| form | example |
| --- | --- |
| address | 203.0.113.5, 2001:db8::5 |
| network | 203.0.113.0/24, 203.0.113.0/255.255.255.0, 2001:db8::/32 |
| mask with stars, ranges in any octet | 192.168.*.*, 192.168.0.1-50, 172.16-31.*.* |
| range | 10.0.0.5-10.0.1.9, 2001:db8::5-2001:db8::ff |
| host name | mail.example.com |

What two programs could read differently is refused, with what was probably meant: octets with a
leading zero (octal to some), host bits behind a mask, inverse masks, zone ids. IPv4-mapped IPv6 is
IPv4, as everywhere in popgate.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tracker.addresses import canonical
from tracker.deciding.spans import BITS, Span, number, text

SEPARATE = 65536
"""Ranges that one entry may stand for before it is taken for a mistake: 10.*.*.1 is the most."""

_OCTET = re.compile(r"(\*)|([0-9]{1,3})(?:-([0-9]{1,3}))?", re.ASCII)
_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_EXPECTED = "expected an address, a network, a mask with stars, a range or a host name"


@lru_cache(maxsize=1 << 17)
def spans_or_name(written: str) -> tuple[Span, ...] | str:
    """What an entry without its `!` stands for: spans of addresses, or a host name in lower case.

    Kept, so that a long list of which one line changed is read at once. Raises ValueError that says
    what was expected.
    """
    if address := canonical(written):
        return (number(address),)
    _refuse_decoration(written)
    if "/" in written:
        return (_network(written),)
    if re.fullmatch(r"[0-9*.\s-]+", written, re.ASCII) or ":" in written:
        first, dash, last = (part.strip() for part in written.partition("-"))
        if dash and (":" in written or ("." in last and "." in first and "*" not in written)):
            ends = _address(first), _address(last)
            if ends[0] and ends[1]:
                return (_range(ends[0], ends[1]),)
            if ends[0] or ends[1]:
                raise ValueError(f"{last if ends[0] else first!r} is no whole address")
            # 10.0.0-1.5 has a dash between two parts with dots, too, and is a mask.
        if ":" in written:
            raise ValueError(f"{_not_ipv6(written)}; {_EXPECTED}")
        return _octets(written)
    return _name(written)


def _refuse_decoration(written: str) -> None:
    """Things that stand around addresses elsewhere."""
    if not written:
        raise ValueError(_EXPECTED)
    if not written.isascii():
        raise ValueError(f"{_EXPECTED}; names of other letters in their xn-- form")
    if "%" in written:
        raise ValueError("a zone id means something on one host alone: leave % and the rest out")
    if "[" in written or "]" in written:
        raise ValueError("write the address without brackets")
    if re.search(r"[^\s/-]\s+[^\s/-]", written) or "," in written or ";" in written:
        raise ValueError("one entry a line; a note goes behind a #")


def _address(written: str) -> str | None:
    """A canonical address; None where it is none. Raises ValueError for an octal-looking one."""
    _refuse_zeros(written)
    return canonical(written)


def _refuse_zeros(written: str) -> None:
    if ":" in written:
        return
    for octet in re.findall(r"[0-9]+", written):
        if len(octet) > 1 and octet.startswith("0"):
            raise ValueError(
                f"{octet!r} has a leading zero, which some read as octal: "
                f"write {octet.lstrip('0') or '0'}"
            )


def _not_ipv6(written: str) -> str:
    if "*" in written:
        return "IPv6 has no masks with stars: write a network such as 2001:db8::/32"
    if "-" in written:
        return "a range of IPv6 has a whole address at each end"
    return "no IPv6 address"


def _range(low: str, high: str) -> Span:
    first, last = number(low), number(high)
    if first.version != last.version:
        raise ValueError("the range mixes IPv4 and IPv6")
    if first.first > last.first:
        raise ValueError(f"the range runs backwards; did you mean {high}-{low}?")
    return Span(first.version, first.first, last.first)


def _network(written: str) -> Span:
    address, _, mask = (part.strip() for part in written.partition("/"))
    begin = _address(address)
    if begin is None:
        meant = f": write the range without /{mask}" if re.search(r"[*-]", address) else ""
        raise ValueError(f"{address!r} is no whole address{meant}")
    version, first, _ = number(begin)
    length = _length(mask, ":" in address)
    if version == 4 and ":" in address:  # ::ffff:203.0.113.0/120
        length -= 96
        if length < 0:
            raise ValueError("wider than all of IPv4 in IPv6, whose addresses are written as IPv4")
    size = 1 << (BITS[version] - length)
    if first % size:
        meant = text(version, first - first % size)
        raise ValueError(f"bits are set behind the mask; did you mean {meant}/{length}?")
    return Span(version, first, first + size - 1)


def _length(mask: str, ipv6: bool) -> int:
    most = 128 if ipv6 else 32
    if _LENGTH.fullmatch(mask) and int(mask) <= most:
        return int(mask)
    if not ipv6 and "." in mask and canonical(mask):
        bits = number(mask).first
        inverted = bits ^ 0xFFFFFFFF
        if inverted & (inverted + 1) == 0:
            return 32 - inverted.bit_length()
        if bits & (bits + 1) == 0:
            raise ValueError(f"/{mask} is an inverse mask; did you mean /{32 - bits.bit_length()}?")
    write = "/64" if ipv6 else "/24 or /255.255.255.0"
    raise ValueError(f"/{mask} is no mask: write {write}")


def _octets(written: str) -> tuple[Span, ...]:
    """The spans of four octets that may be a number, a star or a range each."""
    _refuse_zeros(written)
    octets: list[tuple[int, int]] = []
    for octet in written.split("."):
        match = _OCTET.fullmatch(octet.replace(" ", ""))
        if match is None:
            raise ValueError(f"{octet!r} is no octet: write 7, * or 1-50")
        low, high = (0, 255) if match[1] else (int(match[2]), int(match[3] or match[2]))
        if not low <= high <= 255:
            raise ValueError(f"{octet!r} is no range between 0 and 255")
        octets.append((low, high))
    if len(octets) != 4:
        raise ValueError("an IPv4 mask has four octets")
    return _product(octets)


def _product(octets: list[tuple[int, int]]) -> tuple[Span, ...]:
    """One span for each choice of the octets before those that a single span can hold.

    These are the last octet that is not whole, and all behind it.
    """
    whole = 0
    while whole < 3 and octets[3 - whole] == (0, 255):
        whole += 1
    heads = [0]
    for low, high in octets[: 3 - whole]:
        if len(heads) * (high - low + 1) > SEPARATE:
            raise ValueError(f"stands for more than {SEPARATE} separate ranges; write networks")
        heads = [head << 8 | octet for head in heads for octet in range(low, high + 1)]
    low, high = octets[3 - whole]
    bits = 8 * whole
    return tuple(
        Span(4, (head << 8 | low) << bits, ((head << 8 | high) + 1 << bits) - 1) for head in heads
    )


def _name(written: str) -> str:
    """A host name in lower case, without its last dot. Raises ValueError."""
    name = written.lower().removesuffix(".")
    labels = name.split(".")
    if "*" in name:
        raise ValueError("a name with stars cannot be looked up: write addresses or networks")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise ValueError(f"an address in an unusual form; {_EXPECTED}")
    if len(name) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(_EXPECTED)
    if len(labels) == 1:
        raise ValueError(f"{_EXPECTED}; a name is looked up whole: write it with its domain")
    return name

"""IP addresses as log lines and admins write them, made canonical; pure.

Strict on purpose: leading zeros (octal to some), short forms (`10.1`) and zone ids (`fe80::1%eth0`)
are refused, since two programs that read them differently would grant the wrong address.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path

from tracker.errors import AddressError

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = "::ffff:"
_ENDPOINT = re.compile(
    r"(?:\[([0-9a-f:.]+)\]|([0-9.]+)(?=:|$)|([0-9a-f:.]+)$)(?::([0-9]{1,5}))?", re.IGNORECASE
)


def canonical(text: str) -> str | None:
    """The one way to write the address that `text` names, or None when it is no address.

    An IPv4-mapped IPv6 address becomes IPv4: Postfix never looks the mapped form up.
    """
    try:
        if ":" not in text:
            # Four whole octets without leading zeros, or an error: inet_pton(3). What it takes is
            # canonical as it stands.
            socket.inet_pton(socket.AF_INET, text)
            return text
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (ValueError, OSError):
        return None
    written = socket.inet_ntop(socket.AF_INET6, packed)
    if "." not in written:  # as RFC 5952 has it, and a dozen times as fast as `ipaddress`
        return written
    if written.startswith(_MAPPED):
        return written.removeprefix(_MAPPED)
    return str(ipaddress.IPv6Address(packed))  # IPv4 in an older form of IPv6


def require(text: str) -> str:
    """`canonical`, for the text an admin typed. Raises AddressError."""
    address = canonical(text.strip())
    if address is None:
        raise AddressError(f"{text!r} is no IP address: write 203.0.113.5 or 2001:db8::5, whole")
    return address


def network(text: str) -> IPNetwork:
    """A network such as 203.0.113.0/24; host bits must be zero, as in Postfix's cidr tables.

    Raises AddressError with the network that was probably meant.
    """
    try:
        loose = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as error:
        meant = "write 203.0.113.0/24 or 2001:db8::/32"
        raise AddressError(f"{text!r} is no network ({error}): {meant}") from error
    if "%" in text:
        raise AddressError(f"{text!r} is no network (it has a zone id): leave that out")
    one = _unmapped(loose)
    if one is not loose:
        raise AddressError(f"{text!r} is never met (it is IPv4 in IPv6); did you mean {one}?")
    try:
        return ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise AddressError(f"{text!r} is no network ({error}); did you mean {one}?") from error


def endpoint(text: str, port: int) -> tuple[str, int]:
    """Address and port of a server: 192.0.2.53, 192.0.2.53:5353, 2001:db8::53, [2001:db8::53]:53.

    `port` where the text has none. Raises AddressError.
    """
    match = _ENDPOINT.fullmatch(text.strip())
    address = canonical(match[1] or match[2] or match[3]) if match else None
    number = int(match[4] or port) if match else 0
    if address is None or not 0 < number < 65536:
        raise AddressError(f"{text!r} is no server: write 192.0.2.53 or 192.0.2.53:5353")
    return address, number


def listen_place(listen: str) -> tuple[str, int] | Path:
    """Where a service listens, written as Postfix does: a host and a port (`inet:127.0.0.1:10025`),
    or a path (`unix:popgate/policy`), which may be within Postfix's queue folder.

    Raises ValueError that says what was expected.
    """
    kind, _, rest = listen.partition(":")
    if (
        kind == "unix"
        and rest
        and not set(rest) & set(" ,{}\t\n\0")
        and ".." not in rest.split("/")
    ):
        return Path(rest)
    host, _, port = rest.rpartition(":")
    address = canonical(host.removeprefix("[").removesuffix("]"))
    if kind == "inet" and address and port.isascii() and port.isdecimal() and 0 < int(port) < 65536:
        return address, int(port)
    raise ValueError("expected unix:popgate/policy, unix:/a/path, or inet:127.0.0.1:PORT")


def _unmapped(one: IPNetwork) -> IPNetwork:
    """The IPv4 network of an IPv4-mapped one; any other as it is."""
    mapped = one.network_address.ipv4_mapped if one.version == 6 else None
    if mapped is None or one.prefixlen < 96:
        return one
    return ipaddress.ip_network((int(mapped), one.prefixlen - 96))


def order(text: str) -> bytes:
    """A sort key for canonical addresses and networks: IPv4 before IPv6, each by number. Those of
    a family are of one length."""
    address, _, length = text.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return b"%c%b%c" % (family, socket.inet_pton(family, address), int(length or 128))


def subject(address: str, ipv6_prefix: int) -> str:
    """What a grant for an address is written for: itself, or its IPv6 network of that length."""
    if ipv6_prefix == 128 or ":" not in address:
        return address
    return str(ipaddress.ip_network((address, ipv6_prefix), strict=False))

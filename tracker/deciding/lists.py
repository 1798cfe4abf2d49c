"""Lists of senders and clients: local domains, exceptions, the white and the black list; pure.

An entry is a mail address, a domain (`.example.com` with all its subdomains), an IP address or a
network. A domain may be written in its own letters or as xn--: both are kept, since Postfix takes
neither for the other.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from tracker.addresses import IPNetwork, canonical, network
from tracker.errors import AddressError, ListError
from tracker.records import ListEntry, Row
from tracker.texts import visible

_LABEL = re.compile(r"[^\W_](?:[\w-]{0,61}\w)?|_[\w-]{0,62}")


def parse(text: str, where: str) -> list[ListEntry]:
    """The entries of a file, one a line; `#` begins a comment.

    Raises ListError with all lines that cannot be understood.
    """
    found: list[ListEntry] = []
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        written = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        if not written:
            continue
        try:
            found.append(entry(written, f"{where}:{number}"))
        except ListError as error:
            problems.append(f"{where}:{number}: {visible(str(error), 1000)}")
    if problems:
        raise ListError("\n".join(problems))
    return found


def entry(written: str, where: str) -> ListEntry:
    """One entry of any kind. Raises ListError that says what was expected."""
    if "@" in written:
        return ListEntry("address", _address(written), where)
    if "/" in written or ":" in written or canonical(written):
        try:
            return ListEntry("client", str(network(canonical(written) or written)), where)
        except AddressError as error:
            raise ListError(str(error)) from error
    return domain(written, where)


def domain(written: str, where: str) -> ListEntry:
    """An entry that can only be a domain. Raises ListError."""
    # Not folded yet: folding makes ss of ß, which xn-- tells apart (RFC 5891).
    name = unicodedata.normalize("NFC", written.removeprefix(".").removesuffix(".")).lower()
    labels = name.split(".")
    if (
        len(name) > 253
        or not all(_LABEL.fullmatch(label) and not label.endswith("-") for label in labels)
        or labels[-1].isdecimal()
    ):
        raise ListError(
            f"{written!r} is no domain: write example.com, or .example.com with its subdomains"
        )
    return ListEntry("domain", name, where, subdomains=written.startswith("."))


def _address(written: str) -> str:
    local, _, name = unicodedata.normalize("NFC", written).rpartition("@")
    if not local or local[0] in "#\"'@" or not local.isprintable() or set(local) & set(' <>"\\@'):
        raise ListError(f"{written!r} is no address: write user@example.com")
    return f"{local.casefold()}@{domain(name, '').key}"


def spellings(name: str) -> tuple[str, ...]:
    """A domain in its own letters, folded, and as xn--: the keys that stand for it (RFC 5890)."""
    own = ".".join(_own_letters(label) for label in name.split("."))
    ascii_ = ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"
        for label in own.split(".")
    )
    return tuple(dict.fromkeys((own.casefold(), ascii_)))


def _own_letters(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return label


def sender_rows(
    entries: Iterable[ListEntry], value: str, *, parents: bool
) -> Iterator[tuple[str, Row]]:
    """The keys of an indexed access table that addresses and domains make. `parents`: Postfix takes
    a domain's key for its subdomains too; else a key with a dot before it does."""
    for one in entries:
        if one.kind == "client":
            continue
        local, at, name = one.key.rpartition("@")
        for spelling in spellings(name):
            yield f"{local}{at}{spelling}", Row(value, one)
            if one.subdomains and not parents:
                yield f".{spelling}", Row(value, one)


def client_rows(entries: Iterable[ListEntry], value: str) -> Iterator[tuple[str, Row]]:
    """The rows of a cidr table that the networks make."""
    for one in entries:
        if one.kind == "client":
            yield one.key, Row(value, one)


class ClientIndex:
    """The networks of a cidr table all of whose values weigh the same, so that none needs to be
    looked for first."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self._rows = rows
        self._by_length: dict[tuple[int, int], dict[int, str]] = {}
        for text in rows:
            net = ipaddress.ip_network(text)
            found = self._by_length.setdefault((net.version, net.prefixlen), {})
            found[int(net.network_address) >> (net.max_prefixlen - net.prefixlen)] = text

    def find(self, client: str) -> tuple[str, Row] | None:
        """The narrowest network that holds the address, and its row."""
        address = ipaddress.ip_address(client)
        for (version, length), found in sorted(self._by_length.items(), reverse=True):
            if version != address.version:
                continue
            text = found.get(int(address) >> (address.max_prefixlen - length))
            if text is not None:
                return text, self._rows[text]
        return None


def holds(networks: Iterable[tuple[IPNetwork, bool]], client: str) -> IPNetwork | None:
    """The network that permits a client, in a list where the first that matches counts and may
    take out; None when none does."""
    address = ipaddress.ip_address(client)
    for net, permits in networks:
        if net.version == address.version and address in net:
            return net if permits else None
    return None

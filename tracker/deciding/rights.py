"""Rights as programs other than Postfix can take them; pure.

These programs know no order and no exceptions, or each know them otherwise: so the trusted list
becomes a set of networks that holds every address it trusts and none else, and senders of a list
become expressions over the whole address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

from tracker.addresses import order
from tracker.deciding.access import SenderPolicy
from tracker.deciding.spans import blocks, union
from tracker.deciding.trusted import TrustedList


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
    claimed = (
        piece.span for piece in trusted.first.pieces() if trusted.entries[piece.owner].trusts
    )
    return tuple(_single(net) for span in union(claimed) for net in blocks(span))


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

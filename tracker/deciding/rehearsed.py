"""Whom an installed popgate is asked about, and which answers are wrong; pure.

A stranger is refused as before, and reaches the host's own recipients as before; a trusted and a
granted address may relay; a submission port opens for none of them. Their addresses are from the
documentation ranges (RFC 5737), outside of mynetworks and of every table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from tracker.addresses import IPNetwork
from tracker.deciding.lists import holds
from tracker.records import SmtpAnswer

FOREIGN = "popgate-probe@example.org"
"""A recipient for whom this host can only relay (RFC 2606)."""

_RANGES = ("203.0.113", "198.51.100", "192.0.2")


class Case(Struct, frozen=True):
    """One question: `service` is the smtpd asked, `who` the client in words."""

    service: str
    who: str
    client: str
    recipient: str
    wants: Literal["accepted", "refused", "as before"]


def clients(
    mynetworks: Sequence[tuple[IPNetwork, bool]], known: Callable[[str], bool], number: int
) -> list[str]:
    """So many addresses that nobody has. `known`: whether a table has one. Fewer where all are
    taken."""
    found: list[str] = []
    for last in range(1, 255):
        for prefix in _RANGES:
            address = f"{prefix}.{last}"
            if len(found) < number and not holds(mynetworks, address) and not known(address):
                found.append(address)
    return found


def broken(answer: SmtpAnswer) -> bool:
    """Whether smtpd does not answer, or its configuration is wrong: 4.3.x (RFC 3463) is what it
    says of itself, such as 451 4.3.5 for a restriction that it does not know."""
    return answer.code in (0, 421) or answer.text.startswith("4.3.")


def wrong(case: Case, answer: SmtpAnswer, before: SmtpAnswer | None = None) -> str | None:
    """What is wrong with an answer, as a line; None when nothing is. `before`: what was said
    without popgate; whom it put off, as a greylist does, it may accept now."""
    right = {
        "accepted": accepts(answer),
        "refused": not accepts(answer) and not broken(answer),
        "as before": not worse(answer, before),
    }[case.wants]
    if right:
        return None
    should = f"{case.wants} ({before})" if case.wants == "as before" else case.wants
    return f"{case.who} ({case.client}) to <{case.recipient}>: {answer}; should be {should}"


def accepts(answer: SmtpAnswer) -> bool:
    """Whether the recipient was taken."""
    return answer.code // 100 == 2


def worse(answer: SmtpAnswer, before: SmtpAnswer | None) -> bool:
    """Whether mail breaks that did not before."""
    if before is not None and broken(before):
        return False
    return broken(answer) or (before is not None and accepts(before) and not accepts(answer))

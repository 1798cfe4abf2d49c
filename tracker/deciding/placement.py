"""What is wrong with the place of our words in Postfix's restriction lists; pure.

A client that is trusted or granted has the rights of an authenticated one when `$popgate_clients`
stands right after permit_sasl_authenticated in every list that has it. This says where it does not,
and which lists refuse such a client before they come to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from tracker.deciding.restrictions import (
    CLIENTS,
    DATA_LIST,
    LISTS,
    MARK,
    PERMITS,
    RECIPIENT_LIST,
    RELAY_LIST,
    SENDER_LIST,
    SENDER_RULES,
    Item,
    flat,
    is_mismatch,
    items,
    knows,
)

Problem = Literal[
    "missing",  # the list has permit_sasl_authenticated, or is the one that refuses relaying
    "late",  # what authenticated clients never come to refuses ours before they are let through
    "early",  # ours skip what authenticated clients do not
    "refused-before",  # the list refuses by address or greeting before it knows anybody
    "unknown",  # the list refuses by address or greeting and never asks who is known
    "login-mismatch",  # the sender's login is checked before ours are let through
    "rules-missing",  # $popgate_sender_rules or $popgate_mark stands nowhere
    "rules-early",  # something of the admin's stands behind $popgate_sender_rules
    "rules-for-all",  # somebody known comes to the sender rules or the mark
    "open-relay",  # $popgate_sender_rules stands in a list that decides on relaying
]


class Misplaced(Struct, frozen=True):
    """One finding. `error`: it breaks what popgate is for, or opens the relay; else it weakens it.
    `on`: the restriction that it is about."""

    parameter: str
    problem: Problem
    severity: Literal["error", "warning"]
    text: str
    on: str = ""


_BY_CONTENT = (
    "reject_non_fqdn_sender",
    "reject_non_fqdn_recipient",
    "reject_unknown_sender_domain",
    "reject_unknown_recipient_domain",
    "reject_unlisted_",
    "reject_unverified_",
    "reject_unauth_pipelining",
    "reject_multi_recipient_bounce",
    "reject_plaintext_session",
)
"""What refuses a bad message from anybody, and nobody for where they are."""


def gate(lists: Mapping[str, str]) -> str:
    """The list that keeps strangers from relaying: the relay list, or where that is empty the
    recipient list (postconf(5), smtpd_relay_restrictions)."""
    return RELAY_LIST if items(lists.get(RELAY_LIST, "")) else RECIPIENT_LIST


def judge(lists: Mapping[str, str], parameters: Mapping[str, str]) -> list[Misplaced]:
    """What is wrong with the lists of the service on port 25.

    `lists`: each smtpd_*_restrictions that holds there, as written (`postconf -h`), the relay list
    as it is in force when main.cf sets none. `parameters`: the values of main.cf, for `$name`.
    """
    found: list[Misplaced] = []
    for parameter in LISTS:
        listed = flat(lists.get(parameter, ""), parameters)
        found += _clients(parameter, listed, gate=parameter == gate(lists))
        if parameter == SENDER_LIST:
            found += _rules(parameter, listed, SENDER_RULES, last=True)
        elif parameter == DATA_LIST:
            found += _rules(parameter, listed, MARK, last=False)
        elif parameter in (RELAY_LIST, RECIPIENT_LIST) and _first(listed, SENDER_RULES) is not None:
            text = f"{parameter}: ${SENDER_RULES} stands here: the white list opens the relay"
            found.append(Misplaced(parameter, "open-relay", "error", text, f"${SENDER_RULES}"))
    return found


def _clients(parameter: str, listed: Sequence[Item], *, gate: bool) -> Iterator[Misplaced]:
    auth = _first(listed, "permit_sasl_authenticated")
    clients = _first(listed, CLIENTS)
    if clients is None:
        clients = _first(listed, PERMITS)
    if clients is None and (auth is not None or gate):
        why = "has permit_sasl_authenticated" if auth is not None else "decides on relaying"
        text = f"{parameter}: {why}, but not ${CLIENTS}: grants count nothing there"
        yield Misplaced(parameter, "missing", "error", text)
        return
    if clients is not None and auth is not None:
        yield from _apart(parameter, listed, auth, clients)
    known = min((n for n in (auth, clients) if n is not None), default=len(listed))
    for item in listed[:known]:
        if _by_client(item):
            yield _refused(parameter, item, never=known == len(listed))
    for item in listed if clients is None else listed[:clients]:
        if is_mismatch(item):
            text = f"{parameter}: {item.name} refuses a trusted or granted address: it has no login"
            yield Misplaced(parameter, "login-mismatch", "error", text, item.name)


def _refused(parameter: str, item: Item, *, never: bool) -> Misplaced:
    """A restriction that known clients come to. What refuses every stranger refuses them all."""
    everybody = never and (item.name in ("reject", "defer") or "unauth_destination" in item.name)
    what = "and the list never asks who is known" if never else "before the list asks who is known"
    return Misplaced(
        parameter,
        "unknown" if never else "refused-before",
        "error" if everybody else "warning",
        f"{parameter}: {shown(item)} can refuse a trusted or granted address {what}",
        shown(item),
    )


def _apart(parameter: str, listed: Sequence[Item], auth: int, clients: int) -> Iterator[Misplaced]:
    """Where permit_sasl_authenticated and our clients have something between them."""
    first, last = sorted((auth, clients))
    between = [one for one in listed[first + 1 : last] if one.kind in ("reject", "check")]
    between = [one for one in between if not is_mismatch(one)]
    if not between:
        return
    on = shown(between[0])
    if clients > auth:
        text = f"{parameter}: {on} comes before ${CLIENTS}; authenticated clients never come to it"
        yield Misplaced(parameter, "late", "error", text, on)
    elif not any(is_mismatch(one) for one in listed[first + 1 : last]):
        text = f"{parameter}: ${CLIENTS} comes before {on}, which authenticated clients come to"
        yield Misplaced(parameter, "early", "warning", text, on)


def _rules(parameter: str, listed: Sequence[Item], word: str, *, last: bool) -> Iterator[Misplaced]:
    place = _first(listed, word)
    if place is None:
        text = f"{parameter}: ${word} is missing: local senders and lists are not looked at"
        yield Misplaced(parameter, "rules-missing", "warning", text)
        return
    if not knows(listed[:place]):
        text = (
            f"{parameter}: mynetworks, authenticated and our clients are not all let through "
            f"before ${word}: put ${PERMITS} before it"
        )
        yield Misplaced(parameter, "rules-for-all", "warning", text)
    behind = [item for item in listed[place + 1 :] if item.kind in ("reject", "check")]
    if last and behind and behind != [listed[-1]]:
        text = f"{parameter}: {shown(behind[0])} stands behind ${word}: the white list skips it"
        yield Misplaced(parameter, "rules-early", "warning", text, shown(behind[0]))


def shown(item: Item) -> str:
    """The restriction as a person would write it."""
    name = f"${item.name}" if item.kind in ("ours", "parameter") else item.name
    return f"{name} {item.argument}" if item.argument else name


def _by_client(item: Item) -> bool:
    """Whether it can refuse a client that is known, for what it is."""
    if is_mismatch(item):
        return False  # a finding of its own
    refuses = item.kind in ("reject", "check", "parameter")
    return refuses and not item.name.startswith(_BY_CONTENT)


def _first(listed: Sequence[Item], name: str) -> int | None:
    return next((n for n, item in enumerate(listed) if item.name == name), None)

"""Postfix's restriction lists as text: read as smtpd reads them, edited word by word; pure.

smtpd takes a list apart with mystrtokq: commas and blanks part the words, but not between braces;
names count in any case; `check_x_access`, `reject_rbl_client` and some more take the next word as
their argument; `warn_if_reject` belongs to what follows it (smtpd_check.c, postconf(5)). A value is
given as `postconf -h` prints it: its continuation lines joined, no blank at either end.

What is ours in a list is one kind of word alone, `$popgate_...`. So what was put in can be taken
out again, exactly: each word goes with the separators before it, right behind what stood there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

CLIENTS = "popgate_clients"
SENDER_RULES = "popgate_sender_rules"
MARK = "popgate_mark"
PERMITS = "popgate_permits"
"""User-defined parameters of main.cf whose `$name` stands in lists. `popgate_permits` is everybody
who is known (`permit_mynetworks, permit_sasl_authenticated, $popgate_clients`), for lists of the
admin's that do not ask for them before our rules."""

OURS = (CLIENTS, SENDER_RULES, MARK, PERMITS)

LISTS = tuple(
    f"smtpd_{stage}_restrictions"
    for stage in ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data", "etrn")
)
"""The parameters that hold restriction lists, in the order in which smtpd comes to them."""
SENDER_LIST = "smtpd_sender_restrictions"
RELAY_LIST = "smtpd_relay_restrictions"
RECIPIENT_LIST = "smtpd_recipient_restrictions"
DATA_LIST = "smtpd_data_restrictions"

Kind = Literal["auth", "permit", "reject", "check", "none", "ours", "parameter"]
"""What an item can do to a client: `auth` is permit_sasl_authenticated; `check` may permit or
refuse (a table, a policy service, a class, what is not known); `none` does neither; `parameter` is
`$name` and stands for what that parameter holds."""

_SEPARATORS = ", \t\r\n"
_AUTH = "permit_sasl_authenticated"
_REFERENCE = re.compile(r"\$(?:([A-Za-z0-9_]+)|\{([A-Za-z0-9_]+)\}|\(([A-Za-z0-9_]+)\))")
_WITH_ARGUMENT = re.compile(
    r"check_\w+_access|check_policy_service|sleep|permit_dnswl_client|permit_rhswl_client"
    r"|reject_rbl(_client)?|reject_rhsbl_\w+"
)
_NEITHER = frozenset({"sleep", "defer_if_reject", "reject_authenticated_sender_login_mismatch"})
_MISMATCH = re.compile(r"reject_(un\w+_|known_)?sender_login_mismatch")
_DEEPEST = 8
"""Parameters within parameters that are followed before it is taken for a circle."""


class Item(Struct, frozen=True):
    """A restriction of a list with what belongs to it; `value[start:end]` is its text.

    `name`: folded to lower case; of a reference, the parameter's name. `warns`: it stands behind
    warn_if_reject, and refuses nobody.
    """

    name: str
    kind: Kind
    start: int
    end: int
    argument: str = ""
    warns: bool = False


def items(value: str) -> tuple[Item, ...]:
    """The restrictions of a list, in order."""
    found: list[Item] = []
    rest = iter(_words(value))
    for start, first in rest:
        name, end, warns, argument = value[start:first], first, False, ""
        while name.lower() == "warn_if_reject":
            warns = True
            after = next(rest, None)
            if after is None:
                break
            name, end = value[slice(*after)], after[1]
        if _WITH_ARGUMENT.fullmatch(name.lower()):
            after = next(rest, None)
            if after is not None:
                argument, end = value[slice(*after)], after[1]
        reference = _REFERENCE.fullmatch(name)
        name = next(filter(None, reference.groups())) if reference else name.lower()
        kind = _kind(name, reference=bool(reference), warns=warns)
        found.append(Item(name, kind, start, end, argument, warns))
    return tuple(found)


def _words(value: str) -> Iterator[tuple[int, int]]:
    """Where each word begins and ends: mystrtokq(3) of Postfix."""
    start, level = -1, 0
    for place, char in enumerate(value):
        if level == 0 and char in _SEPARATORS:
            if start >= 0:
                yield start, place
            start = -1
            continue
        if start < 0:
            start = place
        level += (char == "{") - (char == "}" and level > 0)
    if start >= 0:
        yield start, len(value)


def _kind(name: str, *, reference: bool, warns: bool) -> Kind:
    if reference:
        return "ours" if name in OURS else "parameter"
    if name == _AUTH:
        return "auth"
    if name in _NEITHER or name == "warn_if_reject":
        return "none"
    if name == "permit" or name.startswith("permit_"):
        return "permit"
    if name in ("reject", "defer") or name.startswith(("reject_", "defer_")):
        return "none" if warns else "reject"
    return "check"


def flat(value: str, parameters: Mapping[str, str], depth: int = 0) -> tuple[Item, ...]:
    """The items with each `$name` replaced by those of the parameter, but for ours.

    The places of items that come so are those of the reference. What cannot be followed stays.
    """
    found: list[Item] = []
    for item in items(value):
        inner = parameters.get(item.name) if item.kind == "parameter" else None
        if inner is None or depth == _DEEPEST:
            found.append(item)
            continue
        found += (
            Item(one.name, one.kind, item.start, item.end, one.argument, one.warns)
            for one in flat(inner, parameters, depth + 1)
        )
    return tuple(found)


def is_mismatch(item: Item) -> bool:
    """Whether it refuses a sender for want of a login, which a granted address never has."""
    return bool(_MISMATCH.fullmatch(item.name)) and not item.warns


def ours(value: str) -> frozenset[str]:
    """Which of our words stand in the list."""
    return frozenset(item.name for item in items(value) if item.kind == "ours")


def remove(value: str, words: Sequence[str] = OURS) -> str:
    """The list without our words, everything else byte for byte."""
    for item in reversed([one for one in items(value) if one.kind == "ours" and one.name in words]):
        head, tail = value[: item.start], value[item.end :]
        kept = head.rstrip(_SEPARATORS)
        value = kept + tail if kept else head + re.sub(r"^(, ?| )", "", tail)
    return value


def add_clients(
    value: str,
    parameters: Mapping[str, str],
    *,
    gate: bool = False,
    separator: str = ", ",
) -> str | None:
    """The list with `$popgate_clients` right after permit_sasl_authenticated, where it has that,
    and before a check of the sender's login.

    `parameters`: the values of main.cf, for `$name` in the list. `gate`: this list keeps strangers
    from relaying, so our clients have a place in it in any case, before the first refusal. None:
    the place lies within a `$name`, between restrictions that refuse.
    """
    if CLIENTS in ours(value):
        return value
    listed = flat(value, parameters)
    auth = next((n for n, item in enumerate(listed) if item.kind == "auth"), None)
    mismatch = next((n for n, item in enumerate(listed) if is_mismatch(item)), None)
    if mismatch is not None and (auth is None or mismatch < auth):
        return _insert(value, listed, mismatch, CLIENTS, separator)
    if auth is not None:
        return _insert(value, listed, auth + 1, CLIENTS, separator)
    if not gate:
        return value
    first = next((n for n, one in enumerate(listed) if one.kind not in ("permit", "none")), None)
    return _insert(value, listed, len(listed) if first is None else first, CLIENTS, separator)


def add_last(value: str, parameters: Mapping[str, str], word: str, separator: str = ", ") -> str:
    """The list with `$word` at its end, before a bare permit or reject that ends it.

    `$popgate_permits` goes before the word where somebody known could come to it.
    """
    if word in ours(value):
        return value
    listed = items(value)
    ends = bool(listed) and listed[-1].name in ("permit", "reject", "defer")
    place = listed[:-1] if ends else listed
    before = flat(value[: place[-1].end] if place else "", parameters)
    text = f"${word}" if knows(before) else f"${PERMITS}{separator}${word}"
    return _put(value, place[-1].end if place else 0, text, separator)


def add_mark(value: str, parameters: Mapping[str, str], separator: str = ", ") -> str:
    """The data list with `$popgate_mark`: right after `$popgate_clients` where all who are known
    have been let through there, else at its end."""
    if MARK in ours(value):
        return value
    listed = items(value)
    clients = next((item for item in listed if item.name == CLIENTS), None)
    if clients is not None and knows(flat(value[: clients.end], parameters)):
        return _put(value, clients.end, f"${MARK}", separator)
    return add_last(value, parameters, MARK, separator)


def knows(before: Sequence[Item]) -> bool:
    """Whether mynetworks, authenticated and our clients do not come further than these items."""
    names = {item.name for item in before}
    return PERMITS in names or {"permit_mynetworks", _AUTH, CLIENTS} <= names


def _insert(
    value: str, listed: Sequence[Item], number: int, word: str, separator: str
) -> str | None:
    """`$word` before the item of that number. Within a reference there is no place to write to:
    then before it or behind it, where nothing that refuses lies between."""
    start = listed[number].start if number < len(listed) else len(value)
    before = [n for n in range(number) if listed[n].start == start]
    after = [n for n in range(number, len(listed)) if listed[n].start == listed[number - 1].start]
    if before and any(listed[n].kind in ("reject", "check") for n in before):
        if any(listed[n].kind in ("reject", "check") for n in after):
            return None
        number = after[-1] + 1
    elif before:
        number = before[0]
    end = listed[number - 1].end if number else 0
    return _put(value, end, f"${word}", separator)


def _put(value: str, end: int, text: str, separator: str) -> str:
    """`text` behind what ends there."""
    if end:
        return value[:end] + separator + text + value[end:]
    return text + separator + value if value else text

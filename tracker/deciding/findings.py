"""What is doubtful about a trusted list that can be read: `popgate trust check`; pure.

| kind | what |
| --- | --- |
| duplicate | says again what an earlier entry says |
| shadowed | earlier entries of the same sign leave it no address |
| contradictory | earlier entries of the other sign leave it no address, or cut a `!` in two |
| wide | trusts more than a /8 of IPv4 or a /32 of IPv6; or the list as a whole does |
| private | trusts addresses that stand behind many gateways, or that no client has |
| unresolved, stale, refused | a host name without a present answer, or with one not to be trusted |
| mynetworks | a `!` takes out what Postfix's own mynetworks lets relay before popgate is asked |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Literal

from msgspec import Struct

from tracker.deciding.kinds import KINDS, kind_of, spans_of
from tracker.deciding.names import UNKNOWN, Known
from tracker.deciding.spans import ALL, BITS, Piece, Span
from tracker.deciding.trusted import Entry, TrustedList

Kind = Literal[
    "duplicate",
    "shadowed",
    "contradictory",
    "wide",
    "private",
    "unresolved",
    "stale",
    "refused",
    "mynetworks",
]

WIDEST = {4: 24, 6: 96}
"""Bits of host part from which on an entry is too wide: a /8 of IPv4, a /32 of IPv6."""

_NAMED = 3
_LOOKED_AT = 1000
"""Neighbours that are looked at for one entry: many wide entries must not take minutes."""


class Finding(Struct, frozen=True):
    """One doubt; `number` and `line` of the entry, 0 where it is the list as a whole."""

    kind: Kind
    number: int
    line: int
    entry: str
    text: str


def findings(
    listed: TrustedList, names: Mapping[str, Known], mynetworks: TrustedList | None = None
) -> list[Finding]:
    """All doubts, in the order of the list. `names`: what its host names stand for, as in
    `listed.bound`; those that are not there are passed over."""
    found: list[Finding] = []
    earlier: dict[object, int] = {}
    winners = {piece.owner for piece in listed.first.pieces()}
    for place, entry in enumerate(listed.entries):
        doubts = [
            *_order(listed, place, entry, earlier, winners),
            *_width(entry),
            *_privacy(entry),
            *_naming(entry, names),
            *_permitted_before(entry, mynetworks),
        ]
        found += [Finding(kind, place + 1, entry.line, entry.text, text) for kind, text in doubts]
        earlier.setdefault(entry.meaning, place)
    found += [Finding("wide", 0, 0, "", text) for text in _sum(listed)]
    return found


def too_wide(entry: Entry) -> bool:
    """Whether an entry trusts more than anybody has a reason to."""
    return bool(list(_width(entry)))


Doubts = Iterator[tuple[Kind, str]]


def _order(
    listed: TrustedList, place: int, entry: Entry, earlier: Mapping[object, int], winners: set[int]
) -> Doubts:
    """What earlier entries leave of this one."""
    first = earlier.get(entry.meaning)
    if first is not None:
        other = listed.entries[first]
        if other.trusts == entry.trusts:
            yield "duplicate", f"says again what {_at(other)} says"
        else:
            yield "contradictory", f"{_at(other)} says the opposite, and comes first"
        return
    if not entry.spans:
        return
    if place not in winners:
        before = _covering(listed, place, entry)
        opposed = any(other.trusts != entry.trusts for other in before)
        effect = "trusts" if entry.trusts else "takes out"
        yield (
            "contradictory" if opposed else "shadowed",
            f"{effect} nothing: all of it is in {_several(before)}, which comes first",
        )
    elif not entry.trusts:
        for other in _crossing(listed, place, entry):
            yield "contradictory", f"takes out a part alone: {_at(other)} trusts the rest before"


def _covering(listed: TrustedList, place: int, entry: Entry) -> list[Entry]:
    """The earlier entries that hold its addresses."""
    owners = dict.fromkeys(
        piece.owner
        for span in entry.spans[:_LOOKED_AT]
        for piece in islice(listed.first.within(span), _LOOKED_AT)
        if piece.owner < place
    )
    return [listed.entries[owner] for owner in owners]


def _crossing(listed: TrustedList, place: int, entry: Entry) -> list[Entry]:
    """Earlier entries that trust a part of what this one takes out, and something beside it.

    One that lies inside is an exception made on purpose.
    """
    return [
        other
        for other in _covering(listed, place, entry)
        if other.trusts
        and any(_crosses(one, span) for one in other.spans[:_LOOKED_AT] for span in entry.spans[:8])
    ][:_NAMED]


def _crosses(one: Span, span: Span) -> bool:
    overlap = one.version == span.version and one.first <= span.last and span.first <= one.last
    return overlap and (one.first < span.first or one.last > span.last)


def _width(entry: Entry) -> Doubts:
    if not entry.trusts:
        return
    sizes = dict.fromkeys(WIDEST, 0)
    for version, first, last in entry.spans:
        sizes[version] += last - first + 1
    for version, size in sizes.items():
        bits = WIDEST[version]
        if size > 1 << bits:
            much = _share(size, version)
            yield "wide", f"trusts {much}: more than a /{BITS[version] - bits}"


def _sum(listed: TrustedList) -> Iterator[str]:
    """The list as a whole: small parts can add up to the internet."""
    for version, bits in WIDEST.items():
        total = _trusted(listed, listed.first.pieces(), version)
        if total <= 1 << bits:
            continue
        for kind in KINDS:
            for span in spans_of(kind):
                if span.version == version:
                    total -= _trusted(listed, listed.first.within(span), version)
        if total > 1 << bits:
            yield (
                f"the list as a whole trusts {_share(total, version)}: more than a "
                f"/{BITS[version] - bits} of addresses that are not private"
            )


def _trusted(listed: TrustedList, pieces: Iterable[Piece], version: int) -> int:
    """How many of some addresses are trusted."""
    return sum(
        last - first + 1
        for of, first, last, owner in pieces
        if of == version and listed.entries[owner].trusts
    )


def _share(size: int, version: int) -> str:
    share = size / (1 << BITS[version])
    return f"{share:.0%} of IPv{version}" if share >= 0.01 else f"{size} addresses"


def _privacy(entry: Entry) -> Doubts:
    if not entry.trusts or entry.name:
        return
    kinds = dict.fromkeys(map(kind_of, entry.spans))
    for kind in kinds:
        if kind == "nobody":
            yield "private", "no client has such an address"
        elif kind is not None:
            yield (
                "private",
                f"a {kind} address stands behind many gateways: a NAT or container bridge that is "
                "taken for the client lets everybody behind it relay",
            )


def _naming(entry: Entry, names: Mapping[str, Known]) -> Doubts:
    if entry.name is None or entry.name not in names:
        return
    known = names.get(entry.name, UNKNOWN)
    why = f" ({known.trouble})" if known.trouble else ""
    effect = "trusts" if entry.trusts else "takes out"
    if known.state == "gone":
        yield "unresolved", f"{effect} nothing: DNS says that the name has no address"
    elif known.state == "stale":
        yield "stale", f"DNS does not answer{why}: the last known addresses stay for now"
    elif not entry.trusts and not set(ALL).isdisjoint(known.excluded):
        yield (
            "unresolved",
            f"DNS has never answered{why}: all addresses of that family are taken out of what "
            "comes behind it until it does",
        )
    elif known.state == "unresolved":
        yield "unresolved", f"{effect} nothing: DNS does not answer{why}"
    elif known.trouble:
        yield "stale", f"DNS does not answer in full{why}"
    if entry.trusts:
        for refusal in known.refused:
            yield "refused", f"DNS gives an address that is not trusted: {refusal}"


def _permitted_before(entry: Entry, mynetworks: TrustedList | None) -> Doubts:
    if entry.trusts or mynetworks is None:
        return
    for span in entry.spans[:_LOOKED_AT]:
        if span in ALL:
            continue  # an end of the list, or a name that nobody knows: not meant for these
        for piece in islice(mynetworks.first.within(span), _LOOKED_AT):
            other = mynetworks.entries[piece.owner]
            if other.trusts:
                yield (
                    "mynetworks",
                    f"{piece.span} relays anyway: Postfix's mynetworks has {other.text}, and is "
                    "asked first",
                )
                return


def _at(entry: Entry) -> str:
    return f"line {entry.line} ({entry.text})"


def _several(entries: list[Entry]) -> str:
    more = f" and {len(entries) - _NAMED} more" if len(entries) > _NAMED else ""
    return " and ".join(map(_at, entries[:_NAMED])) + more

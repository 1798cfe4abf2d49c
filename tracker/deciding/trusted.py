"""The trusted list: an ordered list of addresses that may always relay; pure.

One entry a line, the first that matches an address counts, `!` before an entry takes it out. `#`
begins a comment; behind an entry it is the entry's note. The forms are those of `entries.py`.
What host names stand for is given from outside (`bound`); until then they trust nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from tracker.deciding.entries import spans_or_name
from tracker.deciding.names import UNKNOWN, Known
from tracker.deciding.spans import FirstMatch, Span, blocks, merged
from tracker.errors import TrustedError
from tracker.texts import visible


class Entry(Struct, frozen=True, gc=False):
    """One line of the list and the addresses it stands for; `name`: the host name that it is."""

    line: int
    text: str
    trusts: bool
    spans: tuple[Span, ...]
    note: str = ""
    name: str | None = None

    @property
    def networks(self) -> tuple[str, ...]:
        """Its addresses in the fewest networks."""
        return tuple(block for span in self.spans for block in blocks(span))

    @property
    def meaning(self) -> tuple[Span, ...] | str:
        """What it stands for, however it is written and whatever its sign."""
        return self.name or self.spans

    def same_as(self, other: Entry) -> bool:
        """Whether the two say the same, however they are written."""
        return (self.trusts, self.meaning) == (other.trusts, other.meaning)


class Group(Struct, frozen=True, gc=False):
    """Networks of a table, and the entries that they come from."""

    trusts: bool
    entries: tuple[Entry, ...]
    networks: tuple[str, ...]


class TrustedList:
    """The entries in their order."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries: Sequence[Entry] = tuple(entries)
        self.match = lru_cache(maxsize=65536)(self._match)

    @cached_property
    def first(self) -> FirstMatch:
        """Which entry, by its place in `entries`, an address belongs to."""
        return FirstMatch(
            (*span, place) for place, entry in enumerate(self.entries) for span in entry.spans
        )

    def _match(self, address: str) -> Entry | None:
        """The first entry that holds the address, whether it trusts it or takes it out."""
        place = self.first.owner(address)
        return None if place is None else self.entries[place]

    def trusts(self, address: str) -> bool:
        """Whether the list lets that address relay."""
        entry = self.match(address) if self.entries else None
        return entry is not None and entry.trusts

    @cached_property
    def names(self) -> frozenset[str]:
        """The host names in it."""
        return frozenset(entry.name for entry in self.entries if entry.name)

    def bound(self, names: Mapping[str, Known]) -> TrustedList:
        """The list with its host names standing for what is known of them."""
        if not self.names:
            return self
        return TrustedList(
            entry if entry.name is None else _bound(entry, names.get(entry.name, UNKNOWN))
            for entry in self.entries
        )

    def groups(self) -> list[Group]:
        """The list as a table of networks that is read from the top.

        Where an entry takes out what a later one trusts, their order is kept; between entries of
        one sign it does not matter, and their addresses are put together in the fewest networks.
        """
        groups: list[Group] = []
        numbered = enumerate(self.entries)
        for trusts, run in groupby(numbered, key=lambda one: one[1].trusts):
            groups += self._of_one_sign(trusts, list(run))
        return groups

    def _of_one_sign(self, trusts: bool, run: Sequence[tuple[int, Entry]]) -> list[Group]:
        if len(run) == 1:
            ((_, entry),) = run
            return [Group(trusts, (entry,), entry.networks)]
        claims = ((*span, place) for place, entry in run for span in entry.spans)
        joined: dict[tuple[int, ...], list[str]] = {
            (place,): [] for place, entry in run if not entry.spans
        }
        for span, places in merged(claims):
            joined.setdefault(places, []).extend(blocks(span))
        return [
            Group(trusts, tuple(self.entries[place] for place in places), tuple(networks))
            for places, networks in sorted(joined.items())
        ]


def _bound(entry: Entry, known: Known) -> Entry:
    return replace(entry, spans=known.trusted if entry.trusts else known.excluded)


def parse(text: str, where: str) -> TrustedList:
    """The list that a text gives. Raises TrustedError with all lines that cannot be understood."""
    entries: list[Entry] = []
    problems: list[str] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        written, _, note = line.partition("#")
        written = written.strip()
        if not written:
            continue
        try:
            entries.append(parse_entry(written, note.strip(), number))
        except ValueError as error:
            problems.append(f"{where}:{number}: {written!r}: {visible(str(error), 1000)}")
    if problems:
        raise TrustedError("\n".join(problems))
    return TrustedList(entries)


def parse_entry(written: str, note: str = "", line: int = 0) -> Entry:
    """One entry. Raises ValueError that says what was expected."""
    trusts = not written.startswith("!")
    stands_for = spans_or_name(written if trusts else written[1:].lstrip())
    if isinstance(stands_for, str):
        return _bound(Entry(line, written, trusts, (), note, stands_for), UNKNOWN)
    return Entry(line, written, trusts, stands_for, note)


def parse_mynetworks(text: str) -> tuple[TrustedList, list[str]]:
    """Postfix's mynetworks as a list, and the words of it that name a file or table or make no
    sense: postconf(5), "mynetworks"; IPv6 stands in brackets there."""
    entries: list[Entry] = []
    beyond: list[str] = []
    for word in text.replace(",", " ").split():
        try:
            entries.append(parse_entry(word.replace("[", "").replace("]", "")))
        except ValueError:
            beyond.append(word)
    return TrustedList(entries), beyond

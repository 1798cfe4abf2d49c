"""What changed between two states of a list or of the settings, in an admin's words; pure.

Each change is a line. Nothing changed: no line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher

from tracker.deciding.trusted import Entry
from tracker.records import AccessTable, Row
from tracker.texts import visible

_MOVES_TOLD = 500
"""Entries up to which it is worked out which of them were moved."""

_LISTS = {
    "local_clients": "clients whose senders are not looked at",
    "local_senders": "local senders",
    "whitelist_clients": "white list, clients",
    "whitelist": "white list",
    "blacklist_clients": "black list, clients",
    "blacklist": "black list",
}
"""The tables that say it all; those of the mark H are made from the same entries."""


def of_trusted(before: Sequence[Entry], after: Sequence[Entry]) -> list[str]:
    """Entries that came, went or were moved, and what names came to stand for."""
    old, new = Counter(map(_key, before)), Counter(map(_key, after))
    lines = [
        *(f"removed {_entry(one)}" for one in _beyond(before, old - new)),
        *(f"added {_entry(one)}" for one in _beyond(after, new - old)),
    ]
    common = old & new
    kept, keeps = _among(before, common), _among(after, common)
    lines += _moved(kept, keeps)
    lines += _notes(before, after)
    return lines + _names(before, after)


def of_tables(
    before: Mapping[str, AccessTable], after: Mapping[str, AccessTable]
) -> dict[str, list[str]]:
    """For each list of senders and clients, by its name for people: entries that came and went,
    and answers that are others."""
    return {
        name: lines
        for table, name in _LISTS.items()
        if (lines := list(_rows(_of(before, table), _of(after, table))))
    }


def of_settings(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Settings that have another value, by `section.key`."""
    return [
        f"{key}: {_shown(before.get(key))} -> {_shown(after.get(key))}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _key(entry: Entry) -> tuple[bool, object]:
    return entry.trusts, entry.name or entry.text.replace(" ", "").lower()


def _entry(entry: Entry) -> str:
    note = f"  # {visible(entry.note)}" if entry.note else ""
    return f"{entry.text} (line {entry.line}){note}"


def _beyond(entries: Sequence[Entry], left: Counter[tuple[bool, object]]) -> Iterator[Entry]:
    """The last entries of those keys, as many as `left` has of them."""
    found: list[Entry] = []
    for entry in reversed(entries):
        if left[_key(entry)] > 0:
            left[_key(entry)] -= 1
            found.append(entry)
    return reversed(found)


def _among(entries: Sequence[Entry], common: Counter[tuple[bool, object]]) -> list[Entry]:
    left = Counter(common)
    kept: list[Entry] = []
    for entry in entries:
        if left[_key(entry)] > 0:
            left[_key(entry)] -= 1
            kept.append(entry)
    return kept


def _moved(before: Sequence[Entry], after: Sequence[Entry]) -> list[str]:
    old, new = list(map(_key, before)), list(map(_key, after))
    if old == new:
        return []
    if len(old) > _MOVES_TOLD:
        return ["entries were put into another order"]
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    stayed = {place for block in blocks for place in range(block.b, block.b + block.size)}
    return [
        f"moved {entry.text} to line {entry.line}"
        for place, entry in enumerate(after)
        if place not in stayed
    ]


def _notes(before: Sequence[Entry], after: Sequence[Entry]) -> list[str]:
    old = {_key(entry): entry for entry in before}
    return [
        f"note of {entry.text}: {visible(entry.note) or 'none'}"
        for entry in after
        if (was := old.get(_key(entry))) is not None and was.note != entry.note
    ]


def _names(before: Sequence[Entry], after: Sequence[Entry]) -> list[str]:
    old = {_key(entry): entry for entry in before if entry.name}
    return [
        f"{entry.text}: {_spans(entry)} (was {_spans(was)})"
        for entry in after
        if entry.name and (was := old.get(_key(entry))) is not None and was.spans != entry.spans
    ]


def _spans(entry: Entry) -> str:
    return " ".join(map(str, entry.spans)) or "no address"


def _of(tables: Mapping[str, AccessTable], name: str) -> Mapping[str, Row]:
    table = tables.get(name)
    if table is None:
        return {}
    return {key: row for key, row in table.rows.items() if row.entry is not None}


def _rows(before: Mapping[str, Row], after: Mapping[str, Row]) -> Iterator[str]:
    for key in sorted(before.keys() - after.keys()):
        yield f"removed {_row(key, before[key])}"
    for key in sorted(after.keys() - before.keys()):
        yield f"added {_row(key, after[key])}"
    answers = Counter(
        (before[key].value, after[key].value)
        for key in before.keys() & after.keys()
        if before[key].value != after[key].value
    )
    for (old, new), number in sorted(answers.items()):
        yield f"answer of {number} {'entry' if number == 1 else 'entries'}: {old} -> {new}"


def _row(key: str, row: Row) -> str:
    except_ = "exception " if row.exempts else ""
    where = f" ({row.entry.where})" if row.entry else ""
    return f"{except_}{visible(key)}{where}"


def _shown(value: str | None) -> str:
    return "not there" if value is None else visible(value)

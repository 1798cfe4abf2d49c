"""Changes of the trusted list's text: entries come, go and move; all else stays as it is; pure.

Entries are numbered from 1, comments and blank lines not counted. Comments and blank lines keep
their place when entries move; a note moves with its entry. What comes out is not checked here.
"""

from __future__ import annotations

from tracker.deciding.trusted import Entry, TrustedList, parse_entry
from tracker.errors import TrustedError


def add(text: str, listed: TrustedList, entry: str, note: str = "", at: int | None = None) -> str:
    """The text with one entry more: before the entry of number `at`, or behind all.

    Raises TrustedError.
    """
    if "#" in entry or "\n" in entry + note:
        raise TrustedError(f"{entry!r}: an entry is one line, and its note is given with --note")
    try:
        parse_entry(entry.strip())
    except ValueError as error:
        raise TrustedError(f"{entry.strip()!r}: {error}") from error
    line = entry.strip() + (f"  # {note.strip()}" if note.strip() else "")
    end = "\r" if "\r\n" in text else ""
    lines = text.split("\n")
    if at is not None and at != len(listed.entries) + 1:
        lines.insert(numbered(listed, at).line - 1, line + end)
    elif lines[-1]:
        lines += [line + end, ""]
    else:
        lines.insert(len(lines) - 1, line + end)
    return "\n".join(lines)


def remove(text: str, listed: TrustedList, which: str) -> tuple[str, Entry]:
    """The text without an entry, named by its number or as it is written; and that entry."""
    entry = _named(listed, which)
    lines = text.split("\n")
    del lines[entry.line - 1]
    return "\n".join(lines), entry


def move(text: str, listed: TrustedList, number: int, to: int) -> str:
    """The text with the entry of a number at the place of another; those between make room."""
    for each in (number, to):
        numbered(listed, each)
    lines = text.split("\n")
    places = [entry.line - 1 for entry in listed.entries]
    moved = [lines[place] for place in places]
    moved.insert(to - 1, moved.pop(number - 1))
    for place, line in zip(places, moved, strict=True):
        lines[place] = line
    return "\n".join(lines)


def numbered(listed: TrustedList, number: int) -> Entry:
    """The entry of that number. Raises TrustedError."""
    if not 1 <= number <= len(listed.entries):
        raise TrustedError(f"there is no entry {number}: the list has {len(listed.entries)}")
    return listed.entries[number - 1]


def _named(listed: TrustedList, which: str) -> Entry:
    if which.isascii() and which.isdigit():
        return numbered(listed, int(which))
    try:
        wanted = parse_entry(which.strip())
    except ValueError as error:
        raise TrustedError(f"{which!r}: {error}") from error
    found = [number for number, entry in enumerate(listed.entries, 1) if entry.same_as(wanted)]
    if not found:
        raise TrustedError(f"{which!r} is not in the list: popgate trust list shows what is")
    if len(found) > 1:
        raise TrustedError(f"{which!r} is there several times: say its number, of {found}")
    return numbered(listed, found[0])

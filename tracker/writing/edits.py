"""What somebody else made of the tables: edits by hand, found by comparison; changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tracker.errors import PostfixError, PostfixTimeoutError
from tracker.records import AccessTable, Table
from tracker.regular import is_own, read_text
from tracker.texts import visible
from tracker.writing.parameters import GRANT_FILES, GrantTableType
from tracker.writing.postfix import Postfix
from tracker.writing.render import access_text

_SHOWN = 20
"""Differences of one table that are named."""


class Edits:
    """The maps folder, held against what should stand there."""

    def __init__(self, directory: Path, postfix: Postfix, kind: GrantTableType) -> None:
        self._directory = directory
        self._postfix = postfix
        self._kind = kind

    def find(
        self,
        texts: Iterable[Table],
        tables: Iterable[AccessTable],
        granted: Mapping[str, int] | None,
    ) -> list[str]:
        """Each difference, a line that names the file. `granted`: what the grant table should hold;
        a value that ends sooner waits to be renewed, and is none. Raises PostfixTimeoutError."""
        lines: list[str] = []
        for text in texts:
            lines += self._text(text)
        for table in tables:
            text = access_text(table, self._kind)
            lines += self._text(text)
            if text.kind == "text":
                lines += self._access(table)
        if granted is not None:
            lines += self._grants(granted)
        return lines

    def _text(self, wanted: Table) -> list[str]:
        path = self._directory / wanted.name
        if fault := _fault(path):
            return [f"{wanted.name}: {fault}"]
        try:
            found = read_text(path)
        except (OSError, UnicodeDecodeError) as error:
            return [f"{wanted.name}: cannot be read: {error}"]
        if found == wanted.text:
            return []
        has, should = found.split("\n"), wanted.text.split("\n")
        more, less = set(has) - set(should), set(should) - set(has)
        return _named(
            wanted.name,
            [
                *(f"has a line {visible(line)!r}" for line in has if line in more),
                *(f"lacks a line {visible(line)!r}" for line in should if line in less),
            ]
            or ["its lines are in another order"],
        )

    def _access(self, table: AccessTable) -> list[str]:
        wanted = {key: row.value for key, row in table.rows.items()}
        name = f"{table.name}.lmdb"
        found = self._read(table.name)
        if isinstance(found, str):
            return [f"{name}: {found}"]
        return _named(
            name,
            [
                *(f"has {_entry(key, found[key])}" for key in sorted(found.keys() - wanted.keys())),
                *(
                    f"lacks {_entry(key, wanted[key])}"
                    for key in sorted(wanted.keys() - found.keys())
                ),
                *(
                    f"has {_entry(key, found[key])} in place of {visible(wanted[key])!r}"
                    for key in sorted(found.keys() & wanted.keys())
                    if found[key] != wanted[key]
                ),
            ],
        )

    def _grants(self, granted: Mapping[str, int]) -> list[str]:
        name = f"{GRANT_FILES[self._kind]}{'.lmdb' if self._kind == 'lmdb' else ''}"
        found = self._read(GRANT_FILES["lmdb"]) if self._kind == "lmdb" else self._read_cidr()
        if isinstance(found, str):
            return [f"{name}: {found}"]
        lacking: list[str] = []
        other: list[str] = []
        for key, end in granted.items():
            value = found.pop(key, None)
            if value is None:
                lacking.append(f"lacks {key}, which has a grant")
            elif not _waits(value, end):
                other.append(f"has {_entry(key, value)} in place of '{end}'")
        foreign = [f"has {_entry(key, found[key])}, which has no grant" for key in sorted(found)]
        return _named(name, [*foreign, *sorted(lacking), *sorted(other)])

    def _read(self, name: str) -> dict[str, str] | str:
        """An lmdb table; or what is wrong with it."""
        if fault := _fault(self._directory / f"{name}.lmdb"):
            return fault
        try:
            return self._postfix.read(f"lmdb:{self._directory / name}")
        except PostfixTimeoutError:
            raise
        except PostfixError as error:
            return f"cannot be read: {error}"

    def _read_cidr(self) -> dict[str, str] | str:
        path = self._directory / GRANT_FILES["cidr"]
        if fault := _fault(path):
            return fault
        try:
            text = read_text(path)
        except (OSError, UnicodeDecodeError) as error:
            return f"cannot be read: {error}"
        lines = [line for line in text.split("\n") if line and not line.startswith("#")]
        return {key: value for key, _, value in (line.partition(" ") for line in lines)}


def _fault(path: Path) -> str | None:
    """What is wrong with a file whatever it says; a pipe would be waited for, and what a link leads
    to is its owner's to change."""
    try:
        return None if is_own(path) else "is a link, a second name, or no file of popgate's own"
    except FileNotFoundError:
        return "is missing"


def _waits(found: str, wanted: int) -> bool:
    """Whether the value is the wanted one, or one that has not been renewed yet."""
    return found.isascii() and found.isdigit() and int(found) <= wanted


def _entry(key: str, value: str) -> str:
    return repr(visible(f"{key} {value}"))


def _named(name: str, found: list[str]) -> list[str]:
    rest = len(found) - _SHOWN
    lines = [f"{name}: {one}" for one in found[:_SHOWN]]
    return [*lines, *([f"{name}: and {rest} more differences"] if rest > 0 else [])]

"""Log formats as data: `formats/*.toml`, a file for each server, and the loader that proves them.

A file says how a server writes a login, a logout and a failed login, under which syslog tags, and
carries example lines with the event that each gives (null for a value the line does not tell) and
counter-examples that must give none. `load` refuses a file that its own examples do not prove.

The patterns are matched at the start of the message, after stamp, host and tag, which
`scanner.py` reads; a name in braces, `{address}`, stands for the text of that name in `[define]`.
Groups: service, user, address, session; each may be missing.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from tracker.errors import FormatError
from tracker.reading.patterns import FIELDS, CounterExample, Example, Format, Kind, Pattern
from tracker.reading.scanner import prove

_FOLDER = Path(__file__).with_name("formats")


class _Written(Struct, frozen=True, forbid_unknown_fields=True):
    event: Kind
    regex: str


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    title: str
    tags: list[str]
    pattern: list[_Written]
    example: list[Example]
    counter_example: list[CounterExample]
    own_log: bool = False
    define: dict[str, str] = {}


def load(path: Path) -> Format:
    """The format in the file at `path`, proved by its examples.

    Raises FormatError with the file, the key and the fault.
    """
    try:
        written = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except (OSError, ValueError) as error:  # msgspec and tomllib errors are ValueErrors
        raise FormatError(f"{path}: {error}") from error
    if not written.example or not written.counter_example:
        raise FormatError(f"{path}: needs at least one [[example]] and one [[counter_example]]")
    made = Format(
        name=written.name,
        title=written.title,
        tags=tuple(written.tags),
        own_log=written.own_log,
        patterns=tuple(
            _compile(path, number, pattern, written.define)
            for number, pattern in enumerate(written.pattern, 1)
        ),
        examples=tuple(written.example),
        counter_examples=tuple(written.counter_example),
    )
    try:
        for fault in prove(made):
            raise FormatError(f"{path}: {fault}")
    except re.error as error:  # sound alone, but not beside the others: (?i), (?P=user)
        raise FormatError(f"{path}: the patterns cannot be joined: {error}") from error
    return made


@cache
def packaged(name: str) -> Format:
    """The format of that name that comes with popgate. Raises FormatError."""
    path = _FOLDER / f"{name}.toml"
    if name not in names():
        raise FormatError(f"unknown log format {name!r}; known: {', '.join(names())}")
    return load(path)


def names() -> list[str]:
    """The names of the formats that come with popgate."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def _compile(path: Path, number: int, written: _Written, define: dict[str, str]) -> Pattern:
    where = f"{path}: pattern {number} ({written.event})"
    text = written.regex
    for name, meaning in define.items():
        text = text.replace("{" + name + "}", meaning)
    for field in FIELDS:
        if f"(?P<{field}>" not in text:
            text += f"(?:(?P<{field}>(?!))|)"  # a group that never matches reads as null
    try:
        regex = re.compile(text, re.ASCII)
    except re.error as error:
        raise FormatError(f"{where}: {error}") from error
    if left := re.search(r"\{[a-z_]+\}", text):
        raise FormatError(f"{where}: {left[0]} is not in [define]")
    if unknown := set(regex.groupindex) - set(FIELDS):
        raise FormatError(f"{where}: unknown group {min(unknown)!r}; known: {', '.join(FIELDS)}")
    if regex.groups > len(FIELDS):
        raise FormatError(f"{where}: has a group without a name; write (?:..)")
    return Pattern(event=written.event, regex=text)

r"""Log formats as data: `formats/*.toml`, a file for each server, and the loader that proves them.

A file says how a server writes a login, a logout and a failed login, under which syslog tags, and
carries example lines with the event that each gives and counter-examples that must give no login.
`load` refuses a file that its own examples do not prove. docs/formats.md tells how to write one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from tracker.errors import FormatError
from tracker.reading.certain import ADDRESS, STAMPED
from tracker.reading.events import EventReader
from tracker.reading.patterns import (
    FIELDS,
    CounterExample,
    Custom,
    Example,
    Format,
    Guard,
    Kind,
    Pattern,
    Process,
)
from tracker.reading.pcre import Expression, PatternError
from tracker.reading.timestamps import StampReader
from tracker.records import Event

ADMIN_FOLDER = Path("/etc/popgate/formats.d")
_FOLDER = Path(__file__).with_name("formats")
_BUILT_IN = {"stamp": STAMPED, "address": ADDRESS}
_ACROSS_LINES = re.compile(r"\\[sDWRvnX](?<!\\n)|\(\?[a-z]*[sJ]")
_NEGATED = re.compile(r"\[\^(?:\\.|[^\]\\])*\]")


class _Written(Struct, frozen=True, forbid_unknown_fields=True):
    event: Kind
    regex: str
    service: str | None = None
    process: Process | None = None


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    title: str
    pattern: list[_Written]
    example: list[Example]
    counter_example: list[CounterExample]
    needles: list[str]
    versions: str = ""
    tags: list[str] = []
    own_log: str | None = None
    services: dict[str, str] = {}
    by_pid: bool = False
    forgeable: str | None = None
    guard: Guard | None = None
    define: dict[str, str] = {}
    custom: Custom | None = None


def load(path: Path) -> Format:
    """The format in the file at `path`, proved by its examples.

    Raises FormatError with the file, the key and the fault.
    """
    try:
        text = path.read_text(encoding="utf-8")
        written = msgspec.convert(tomllib.loads(text), _File)
    except (OSError, ValueError) as error:  # msgspec and tomllib errors are ValueErrors
        raise FormatError(f"{path}: {error}") from error
    made = _make(written, str(path))
    for fault in prove(made):
        raise FormatError(f"{path}: {fault}")
    return made


def names(folder: Path | None = ADMIN_FOLDER) -> dict[str, Path]:
    """The names of all formats and their files: popgate's own, and the admin's, which win."""
    folders = [_FOLDER] if folder is None else [_FOLDER, folder]
    return {path.stem: path for one in folders for path in sorted(one.glob("*.toml"))}


def find(name: str, folder: Path | None = ADMIN_FOLDER) -> Format:
    """The format of that name. Raises FormatError."""
    known = names(folder)
    if name not in known:
        raise FormatError(f"unknown log format {name!r}; known: {', '.join(sorted(known))}")
    found = _loaded(known[name])
    if found.name != name:
        raise FormatError(f"{known[name]}: name = {found.name!r}: must be that of the file")
    return found


@cache
def _loaded(path: Path) -> Format:
    return load(path)


def _make(written: _File, where: str) -> Format:
    if not written.example or not written.counter_example:
        raise FormatError(f"{where}: needs at least one [[example]] and one [[counter_example]]")
    if not written.tags and written.own_log is None:
        raise FormatError(f"{where}: needs `tags`, `own_log` or both: how do its lines begin?")
    # Those of the file first: what they mean may use the others.
    define = written.define | {
        name: meaning for name, meaning in _BUILT_IN.items() if name not in written.define
    }
    tags = f"(?:{'|'.join(written.tags)})" if written.tags else None
    patterns = tuple(
        Pattern(
            pattern.event,
            _piece(f"{where}: pattern {number} ({pattern.event})", pattern.regex, define),
            pattern.service,
            pattern.process,
        )
        for number, pattern in enumerate(written.pattern, 1)
    )
    return Format(
        name=written.name,
        title=written.title,
        versions=written.versions,
        needles=tuple(written.needles),
        tag=tags and _piece(f"{where}: tags", tags, define),
        own_log=written.own_log and _piece(f"{where}: own_log", written.own_log, define),
        services=written.services,
        by_pid=written.by_pid,
        forgeable=written.forgeable,
        guard=written.guard,
        patterns=patterns,
        examples=tuple(written.example),
        counter_examples=tuple(written.counter_example),
        custom=written.custom and _custom(written.custom, where, define),
    )


def _custom(written: Custom, where: str, define: dict[str, str]) -> Custom:
    pieces = {
        name: _piece(f"{where}: [custom.pieces] {name}", text, define)
        for name, text in written.pieces.items()
    }
    return structs.replace(written, pieces=pieces)


def _piece(where: str, text: str, define: dict[str, str]) -> str:
    """The expression with its names filled in and taken off its groups. Raises FormatError."""
    for name, meaning in define.items():
        text = text.replace("{" + name + "}", meaning)
    if left := re.search(r"\{[a-z_]+\}", text):
        raise FormatError(f"{where}: {left[0]} is not in [define]")
    if not text.isascii():
        raise FormatError(rf"{where}: write bytes beyond ASCII as \xNN")
    across = _ACROSS_LINES.search(text)
    negated = [found for found in _NEGATED.findall(text) if r"\n" not in found]
    if across or negated:
        said = across[0] if across else negated[0]
        raise FormatError(
            rf"{where}: {said} can match a line's end: name the characters, as in [^>\n]"
        )
    groups = re.findall(r"\(\?P<([^>]*)>", text)
    if unknown := [group for group in groups if group not in FIELDS]:
        raise FormatError(f"{where}: unknown group {unknown[0]!r}; known: {', '.join(FIELDS)}")
    if twice := [group for group in groups if groups.count(group) > 1]:
        raise FormatError(f"{where}: has two groups {twice[0]!r}; write two patterns")
    try:
        count = Expression(text, jit=False).groups()
    except PatternError as error:
        raise FormatError(f"{where}: {error}") from error
    if count != len(groups):
        raise FormatError(f"{where}: has a group without a name; write (?:..)")
    return text


def prove(one: Format) -> Iterator[str]:
    """The faults that a format's own examples show, one line each; none for a sound format."""
    stamps = StampReader(datetime(2026, 11, 24, 12, tzinfo=UTC), UTC)
    try:
        reader = EventReader([one], stamps)
    except PatternError as error:  # sound alone, but not beside the others
        yield f"the patterns cannot be joined: {error}"
        return
    for example in one.examples:
        events = _events(reader, example)
        found = _told(events[-1]) if events else None
        meant = (example.event, example.service, example.user, example.address, example.session)
        if found != meant:
            yield f"this example gives {found}, not {meant}: {example.line}"
        if example.event == "login" and not any(needle in example.line for needle in one.needles):
            yield f"none of `needles` is in this login: {example.line}"
    for counter in one.counter_examples:
        if any(_told(event)[0] == "login" for event in _events(reader, counter)):
            yield f"this counter-example ({counter.why}) gives a login: {counter.line}"


def _events(reader: EventReader, example: Example | CounterExample) -> Sequence[Event]:
    reader.forget()
    return reader.read(example.line.encode("utf-8", "surrogateescape") + b"\n")


def _told(event: Event) -> tuple[str, str | None, str | None, str | None, str | None]:
    kind = type(event).__name__.lower()
    return kind, event.service, event.user, event.address, event.session

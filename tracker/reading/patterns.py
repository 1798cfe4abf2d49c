"""What a log format is once it is read: its patterns, and the lines that prove it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal["login", "logout", "failed"]
FIELDS = ("service", "user", "address", "session")
"""The groups that every pattern has, in the order of an event's fields."""


class Example(Struct, frozen=True, forbid_unknown_fields=True):
    """A line and what it must give."""

    line: str
    event: Kind
    service: str | None = None
    user: str | None = None
    address: str | None = None
    session: str | None = None


class CounterExample(Struct, frozen=True, forbid_unknown_fields=True):
    """A line that must give no login."""

    line: str
    why: str


class Pattern(Struct, frozen=True):
    """One way a server writes an event: a regular expression that has a group for each FIELD."""

    event: Kind
    regex: str


class Format(Struct, frozen=True):
    """How one server writes; `own_log`: also in a log file of its own, without host and tag."""

    name: str
    title: str
    tags: tuple[str, ...]
    own_log: bool
    patterns: tuple[Pattern, ...]
    examples: tuple[Example, ...]
    counter_examples: tuple[CounterExample, ...]

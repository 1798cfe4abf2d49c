"""What a log format is once it is read: its patterns, and the lines that prove it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal["login", "logout", "failed", "connect", "restart"]
"""`connect`: an address that a later line of the same process refers to. `restart`: the server
began anew, so none of its sessions is open any more."""

FIELDS = ("stamp", "service", "user", "address", "session", "pid")
"""The names that groups may have."""


class Example(Struct, frozen=True, forbid_unknown_fields=True):
    """A line, or several that belong together, and what the last one must give."""

    line: str
    event: Kind
    service: str | None = None
    user: str | None = None
    address: str | None = None
    session: str | None = None


class CounterExample(Struct, frozen=True, forbid_unknown_fields=True):
    """A line, or several, that must give no login."""

    line: str
    why: str


class Guard(Struct, frozen=True, forbid_unknown_fields=True):
    """No login is believed for `seconds` after a message of `bytes` or more of the same server."""

    bytes: int
    seconds: int


class Pattern(Struct, frozen=True):
    """One way a server writes an event: a regular expression for PCRE2 with FIELDS as groups."""

    event: Kind
    regex: str


class Format(Struct, frozen=True):
    """How one server writes.

    `tag`: its program's name in syslog, `own_log`: how a line of a log of its own begins; both are
    regular expressions. `needles`: words of which one stands in every line of a login.
    `services`: what popgate calls the services that the log names otherwise. `by_pid`: lines belong
    together that the same process wrote. `forgeable`: why anyone can forge its logins.
    """

    name: str
    title: str
    versions: str
    needles: tuple[str, ...]
    tag: str | None
    own_log: str | None
    services: dict[str, str]
    by_pid: bool
    names_sessions: bool
    forgeable: str | None
    guard: Guard | None
    patterns: tuple[Pattern, ...]
    examples: tuple[Example, ...]
    counter_examples: tuple[CounterExample, ...]

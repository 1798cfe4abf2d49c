"""What a log format is once it is read: its patterns, and the lines that prove it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal["login", "logout", "failed", "connect", "restart"]
"""`connect`: an address that a later line of the same process refers to. `restart`: the server
began anew, so none of its sessions is open any more."""

Process = Literal["login", "mail"]
"""Which of a server's processes writes a line whose form its own settings decide (`Custom`)."""

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
    """One way a server writes an event: a regular expression for PCRE2 with FIELDS as groups.

    `service`: that of its lines, where none of their words is its name.
    """

    event: Kind
    regex: str
    service: str | None = None
    process: Process | None = None


class Variable(Struct, frozen=True, forbid_unknown_fields=True):
    """What a server's settings can have written into a line.

    `names`: how the settings call it. `piece`: the expression for its value; None where a client
    chooses the value. `always`: it is never empty.
    """

    names: tuple[str, ...]
    piece: str | None = None
    field: str | None = None
    always: bool = False


class Custom(Struct, frozen=True, forbid_unknown_fields=True):
    """What the lines are made of that a server's own settings shape.

    `defaults`: for each setting its values in the versions that the patterns read, the newest last.
    `pieces`: expressions for the server's own words, and for the values of variables.
    `login`, `mail`: the variables of the lines of these processes.
    """

    defaults: dict[str, tuple[str, ...]]
    pieces: dict[str, str]
    login: tuple[Variable, ...]
    mail: tuple[Variable, ...]


class Format(Struct, frozen=True):
    """How one server writes.

    `tag`: its program's name in syslog, `own_log`: how a line of a log of its own begins; both are
    regular expressions. `needles`: words of which one stands in every line of a login.
    `services`: what popgate calls the services that the log names otherwise. `by_pid`: lines belong
    together that the same process wrote. `forgeable`: why anyone can forge its logins.
    `custom`: what its own settings can make of its lines. `timestamp`: how the stamps of its own
    log are written, for strftime(3), where they are not in a known form.
    """

    name: str
    title: str
    versions: str
    needles: tuple[str, ...]
    tag: str | None
    own_log: str | None
    services: dict[str, str]
    by_pid: bool
    forgeable: str | None
    guard: Guard | None
    patterns: tuple[Pattern, ...]
    examples: tuple[Example, ...]
    counter_examples: tuple[CounterExample, ...]
    custom: Custom | None = None
    timestamp: str | None = None

    def names_sessions(self) -> bool:
        """Whether a login tells its session, so that its process need not stand for it."""
        return any(
            pattern.event == "login" and "(?P<session>" in pattern.regex
            for pattern in self.patterns
        )

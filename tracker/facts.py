"""What `popgate doctor` sees of a host: frozen facts, gathered by `reading/health/` and judged by
`deciding/health/`.

Times are aware UTC. None stands for what does not exist or cannot be known; what could not be
looked at at all is not among the facts, and is said by who gathers them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from tracker.records import Login, MailHost

Role = Literal["smtp", "submission", "submissions"]
"""What smtpd is for there: mail of strangers (25), or of users (587; 465, with TLS at once)."""


class Answers(Struct, frozen=True):
    """What a mail port said to EHLO. `fault`: why it said nothing; `refused`: since nobody listens.

    `auth`: AUTH is offered before TLS; `auth_within`: behind STARTTLS, or on a port with TLS at
    once. None: TLS could not be begun, `tls_fault` says why.
    """

    fault: str = ""
    refused: bool = False
    starttls: bool = False
    auth: bool = False
    auth_within: bool | None = None
    tls_fault: str = ""


class Service(Struct, frozen=True):
    """A service of smtpd that strangers or users reach. `values`: its restriction lists in force.

    `name`: as postconf(1) has it, `smtp/inet`. `overridden`: those of the lists that master.cf
    gives. `host`: what it is bound to, where master.cf says that. `answers`: None where it was not
    asked.
    """

    name: str
    role: Role
    port: int | None
    values: Mapping[str, str]
    overridden: frozenset[str] = frozenset()
    host: str = ""
    answers: Answers | None = None


class TableSeen(Struct, frozen=True):
    """A table that Postfix's lists name in popgate's folder, and what `postmap -q` said of it."""

    source: str
    fault: str = ""


class MailSystem(Struct, frozen=True):
    """Postfix, as far as it concerns popgate.

    `names_us`: main.cf or master.cf name the maps folder. `parameters`: what main.cf sets, as it is
    written there. `wanted`: the tables that popgate keeps for Postfix, each `type:path`; `classes`:
    the restriction classes that its rules need. `warnings`: what postconf says on stderr.
    `running`: None where only root can tell. `old_readers`: for each table that is read once a
    process, the smtpd processes that began before it last changed. `policy`: why the policy service
    does not answer, empty when it does; None where it is not needed.
    """

    names_us: bool
    parameters: Mapping[str, str]
    host: MailHost
    services: tuple[Service, ...] = ()
    tables: tuple[TableSeen, ...] = ()
    wanted: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    running: bool | None = None
    lmdb: bool = True
    policy: str | None = None
    old_readers: Mapping[str, int] = MappingProxyType({})


class Format(Struct, frozen=True):
    """A log format, tried on the last lines of the log. `doubt`: why its logins can be forged."""

    name: str
    logins: int = 0
    not_understood: int = 0
    examples: tuple[str, ...] = ()
    doubt: str = ""


class Source(Struct, frozen=True):
    """A place where logins are logged, and its end.

    `trouble`: why it cannot be read. `last`: the stamp of its last line, as written, also when that
    lies in the future. `written`: when the file was last written to. `zoned`: the stamp names its
    zone.
    """

    name: str
    trouble: str = ""
    missing: bool = False
    lines: int = 0
    last: datetime | None = None
    written: datetime | None = None
    zoned: bool = True


class LogSeen(Struct, frozen=True):
    """The log's sources and their last lines."""

    sources: tuple[Source, ...] = ()
    formats: tuple[Format, ...] = ()
    logins: tuple[Login, ...] = ()
    fault: str = ""
    """Why the formats could not be made."""
    dovecot_unread: str = ""
    """Why popgate's own user cannot ask doveconf, where that matters."""


class Place(Struct, frozen=True):
    """A file or folder. `mode`, `owner`, `group`: as stat(2) has them. `readable`: by the one who
    looked. `fault`: it cannot be looked at."""

    path: str
    exists: bool = True
    folder: bool = False
    mode: int = 0
    owner: int = 0
    group: int = 0
    readable: bool = True
    fault: str = ""


class Room(Struct, frozen=True):
    """What is left on the file system of a folder."""

    path: str
    free: int
    """Bytes."""
    share: float
    """Of all bytes, from 0 to 1."""
    files_share: float
    """Of all inodes."""


class History(Struct, frozen=True):
    """The git repository of the maps folder. `changed`: files that differ from the last commit, and
    when they were last written to."""

    changed: Mapping[str, datetime]
    locked_since: datetime | None = None


class Files(Struct, frozen=True):
    """Owners and modes. `user`: whom popgate runs as, by number and name."""

    user: int
    user_name: str
    state: Place
    maps: Place
    inside: tuple[Place, ...] = ()
    """Files of the maps folder and of the state folder."""
    above: tuple[Place, ...] = ()
    """The folders that lead to them."""
    config: tuple[Place, ...] = ()
    """The configuration file, the lists, the formats, and their folders."""
    logs: tuple[Place, ...] = ()
    """The log files that are read, and the folders that they are in."""
    rooms: tuple[Room, ...] = ()
    history: History | None = None


class Unit(Struct, frozen=True):
    """A unit of systemd: systemctl's LoadState, ActiveState, UnitFileState, Result."""

    name: str
    loaded: str
    active: str
    enabled: str
    result: str = ""


class Upkeep(Struct, frozen=True):
    """Who does popgate's work, and how far it is.

    `pid`: of the popgate that follows the log. `read_until`: when the log was last read to its end.
    `newest`: the latest moment in the state. `expired`: when `popgate expire` last did its work.
    `reload_asked`: since when a request for a reload waits to be taken. `units`: None where systemd
    does not run this host. `crontab`: lines of crontabs that call popgate. `crontab_unseen`: why
    some could not be read.
    """

    pid: int | None = None
    read_until: datetime | None = None
    newest: datetime | None = None
    expired: datetime | None = None
    reload_asked: datetime | None = None
    state: str = ""
    """Why the state cannot be read."""
    units: tuple[Unit, ...] | None = None
    crontab: tuple[str, ...] = ()
    crontab_unseen: str = ""


class TableState(Struct, frozen=True):
    """A table as it stands, and as it should: the keys that only one of the two has, or that have
    another value."""

    name: str
    written: datetime | None
    lacks: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    fault: str = ""


class Tables(Struct, frozen=True):
    """The maps folder held against state, lists and settings.

    `expired`: addresses that the grant table holds and whose grant is over. `reload_since`: since
    when a reload is due. `kind`: the type of the grant table. `there`: the folder exists.
    `users`: for each address with grants, whose they are.
    """

    kind: str
    grants: TableState
    expired: tuple[str, ...] = ()
    texts: tuple[TableState, ...] = ()
    reload_since: datetime | None = None
    users: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    there: bool = True

"""What a look at a mail host showed (`popgate init`): the records that `reading/survey` fills in,
and the configuration that `deciding/draft.py` makes from them.

A `trouble` is why something could not be looked at, in one line; empty where it could.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from tracker.records import MailHost

Tls = Literal["none", "offered", "required"]
Weight = Literal["found", "guessed", "missing", "note"]


class Log(Struct, frozen=True):
    """A log that was looked into: the end of a file, or the last entries of a journal's units.

    `place`: the file, or the units with commas. `named`: where that place is named, if anywhere.
    `writers`: the log formats whose server's lines stand in it. `formats`: those that understood
    logins or enough else, the one that understood most first. `written`: when it last grew.
    `denied`: why popgate's own user cannot read it.
    """

    place: str
    named: str = ""
    writers: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    logins: int = 0
    last_login: datetime | None = None
    written: datetime | None = None
    trouble: str = ""
    denied: str = ""


class DovecotSeen(Struct, frozen=True):
    """What doveconf says.

    `log`: where what is no error is logged, `syslog` or a file; `named`: the setting that says so.
    `sockets`: those of its auth service. `unsafe`: why its log lines cannot be read as they are.
    """

    version: str = ""
    log: str = "syslog"
    named: str = "log_path"
    sockets: tuple[str, ...] = ()
    unsafe: str = ""
    trouble: str = ""


class Process(Struct, frozen=True):
    """A POP and IMAP server, or a syslog daemon, that runs.

    `unit`: the systemd service that it runs in, empty where none does. `contained`: it runs in a
    container, and its log is not this host's.
    """

    server: str
    pid: int
    unit: str = ""
    contained: bool = False


class Port(Struct, frozen=True):
    """A service of master.cf that speaks SMTP to clients."""

    name: str
    tls: Tls
    auth: bool


class PostfixSeen(Struct, frozen=True):
    """What postconf says. `sasl`: smtpd_sasl_type and the whole path of smtpd_sasl_path."""

    version: str = ""
    lmdb: bool = False
    host: MailHost | None = None
    ports: tuple[Port, ...] = ()
    sasl: tuple[str, str] = ("", "")
    trouble: str = ""


class Gateway(Struct, frozen=True):
    """A network or an address behind which many clients may stand, and how that shows."""

    network: str
    why: str


class Survey(Struct, frozen=True):
    """All of it. `dovecot`: None where there is no doveconf. `files`: those that logins may be in,
    the likeliest first. `journal`: None where there is none. `unit_files`: Dovecot's units that are
    installed. `forgeable`: the log formats whose logins anyone can make up. `root`: whether root
    looked. `at`: when."""

    dovecot: DovecotSeen | None = None
    postfix: PostfixSeen = PostfixSeen()
    servers: tuple[Process, ...] = ()
    syslog: Process | None = None
    files: tuple[Log, ...] = ()
    journal: Log | None = None
    unit_files: tuple[str, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    forgeable: tuple[str, ...] = ()
    root: bool = True
    at: datetime | None = None


class Chosen(Struct, frozen=True):
    """A setting that the configuration is to have, and why."""

    value: Any
    why: str
    weight: Weight = "found"


class Remark(Struct, frozen=True):
    """A line to the admin, with what it rests on: a file, a command, a parameter."""

    weight: Weight
    text: str
    evidence: str = ""


class Draft(Struct, frozen=True):
    """The configuration that suits a host: settings by `section.key`, and what to say of it."""

    settings: dict[str, Chosen]
    remarks: tuple[Remark, ...]

"""What doveconf and postconf say of a host, as far as popgate's configuration depends on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from tracker.errors import PostfixError, ReadingError
from tracker.host import own_addresses
from tracker.reading import mailhost
from tracker.reading.sources import doveconf
from tracker.surveyed import DovecotSeen, Port, PostfixSeen, Tls
from tracker.writing.postfix import Postfix

_VERSION = re.compile(r"# (\d[^\s(:]*)")
_BLOCK = re.compile(r'(\w+)(?: "?([^"{]*?)"?)? *\{')
_SMTPD = (
    "smtpd_sasl_auth_enable",
    "smtpd_tls_security_level",
    "smtpd_use_tls",
    "smtpd_enforce_tls",
    "smtpd_tls_wrappermode",
)
_ONCE = ("mail_version", "smtpd_sasl_type", "smtpd_sasl_path", "queue_directory")
_NUMBERS = {"smtp": "25", "submission": "587", "submissions": "465", "smtps": "465"}


def dovecot(config: str, unsafe: str) -> DovecotSeen | None:
    """What doveconf says; None where it is not. `config`: the dovecot.conf, empty for Dovecot's
    own. `unsafe`: see DovecotSeen."""
    try:
        told = doveconf.log_path(config)
        text = doveconf.changed(config)
    except ReadingError as error:
        return DovecotSeen(trouble=str(error))
    if told is None:
        return None
    version = _VERSION.match(text)
    return DovecotSeen(
        version=version[1] if version else "",
        log=told[1],
        named=told[0],
        sockets=tuple(auth_sockets(text)),
        unsafe=unsafe,
    )


def auth_sockets(text: str) -> Iterator[str]:
    """The unix sockets of the auth service that `doveconf -n` shows and an admin added: with a
    path. Dovecot's own, such as auth-userdb, are names in its folder; 2.4 shows those too."""
    blocks: list[tuple[str, str]] = []
    for line in text.splitlines():
        words = line.strip()
        if match := _BLOCK.fullmatch(words):
            blocks.append((match[1], match[2] or ""))
            name = match[2] or ""
            inside = blocks[:-1] == [("service", "auth")] and match[1] == "unix_listener"
            if inside and name.startswith("/"):
                yield name
        elif words == "}" and blocks:
            blocks.pop()


def postfix(commands: Postfix) -> PostfixSeen:
    """What postconf says."""
    try:
        one = commands.parameters(_ONCE)
        services = commands.services(_SMTPD)
        path = one["smtpd_sasl_path"].removeprefix("unix:")
        if path and not path.startswith(("/", "inet:")):
            path = str(PurePath(one["queue_directory"], path))
        return PostfixSeen(
            version=one["mail_version"],
            lmdb="lmdb" in commands.table_types(),
            host=mailhost.ask(commands, own_addresses()),
            ports=tuple(
                Port(port, _tls(values), values["smtpd_sasl_auth_enable"] == "yes")
                for name, values in services.items()
                if (port := _number(name))
            ),
            sasl=(one["smtpd_sasl_type"], path),
        )
    except PostfixError as error:
        return PostfixSeen(trouble=str(error))


def _number(service: str) -> str:
    """The port of a service for clients: a number, and the address where it has one; empty for a
    service that serves programs of this host alone."""
    address, _, port = service.rpartition(":")
    if address in ("localhost", "127.0.0.1", "[::1]"):
        return ""
    number = _NUMBERS.get(port, port)
    return f"{address}:{number}" if address else number


def _tls(values: dict[str, str]) -> Tls:
    """postconf(5): the level says it all where it is set; else the older parameters do."""
    if values["smtpd_tls_wrappermode"] == "yes":
        return "required"
    level = values["smtpd_tls_security_level"]
    if level == "encrypt" or (not level and values["smtpd_enforce_tls"] == "yes"):
        return "required"
    return (
        "offered" if level == "may" or (not level and values["smtpd_use_tls"] == "yes") else "none"
    )

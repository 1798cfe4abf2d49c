"""Postfix's policy protocol: bytes to requests, an action to bytes (SMTPD_POLICY_README); pure.

A request is lines of `name=value` that an empty line ends. Attributes that are not known are left
alone. What is longer than it may be, or is no such lines, is an error that costs its connection:
where the next request begins cannot be told then.

The answer is one of two words. An empty `action=` would be OK to Postfix, an open relay: so no text
that is made up while the program runs ever becomes an action.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from tracker.errors import PolicyError
from tracker.records import SmtpSession

_KNOWN = frozenset(
    {"request", "client_address", "sender", "recipient", "server_port", "sasl_username", "instance"}
)
_KIND = "smtpd_access_policy"


class Action(Enum):
    """What Postfix may be told: go on as if the client were authenticated, or as if not asked."""

    OK = b"action=OK\n\n"
    DUNNO = b"action=DUNNO\n\n"


class Request(Struct, frozen=True, gc=False):
    """What Postfix asks about: a session, and the `instance` that all questions of one RCPT share.

    `readable`: the sender is UTF-8 and can be looked at."""

    session: SmtpSession
    instance: str = ""
    readable: bool = True


class Requests:
    """The requests of one connection, out of pieces as they come."""

    def __init__(self, longest: int) -> None:
        """`longest`: bytes that a request may have."""
        self._longest = longest
        self._rest = b""

    @property
    def pending(self) -> bool:
        """Whether a request has begun that has not ended."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[Request]:
        """The requests that end in this piece. Raises PolicyError for what is none."""
        *whole, self._rest = (self._rest + data).split(b"\n\n")
        if len(self._rest) > self._longest or any(len(one) > self._longest for one in whole):
            raise PolicyError(f"a request is longer than {self._longest} bytes")
        return [parse(one) for one in whole]


def parse(text: bytes) -> Request:
    """One request, without the empty line. Raises PolicyError that says what is wrong with it."""
    if b"\0" in text:
        raise PolicyError("a request has a NUL byte")
    found: dict[str, str] = {}
    for line in text.split(b"\n"):
        name, equals, value = line.partition(b"=")
        if not equals or not name:
            raise PolicyError("a line of a request is no name=value")
        # What is no UTF-8 stays recognisable as such, and is equal to no user's name.
        key = name.decode("utf-8", "surrogateescape")
        if key in _KNOWN:
            if key in found:
                raise PolicyError(f"a request has {key} twice")
            found[key] = value.decode("utf-8", "surrogateescape")
    if found.get("request") != _KIND:
        raise PolicyError(f"a request is no {_KIND}")
    sender = found.get("sender", "")
    port = found.get("server_port", "")
    session = SmtpSession(
        client=found.get("client_address", ""),
        sender=sender,
        recipient=found.get("recipient", ""),
        port=int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else 25,
        login=found.get("sasl_username") or None,
    )
    return Request(session, found.get("instance", ""), _is_utf8(sender))


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)

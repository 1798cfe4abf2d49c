"""A mail log made up by a seeded generator: the same bytes on every machine.

12 % logins, 10 % logouts, 8 % failures, the rest Postfix; syslog with RFC 3164 or RFC 3339 stamps.
Addresses, users and lengths are those of a mid-sized host.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

Stamps = Literal["rfc3164", "rfc3339"]
_BEGIN = datetime(2026, 3, 10, tzinfo=UTC)
_SECONDS = 80_000


def write(path: Path, count: int, stamps: Stamps, seed: int = 1) -> None:
    """Write that many lines to `path`."""
    chance = random.Random(seed)
    second, stamp = -1, ""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            whole, fraction = divmod(number * _SECONDS * 1_000_000 // count, 1_000_000)
            if whole != second:
                second, stamp = whole, _stamp(_BEGIN + timedelta(seconds=whole), stamps)
            exact = f".{fraction:06}+00:00" if stamps == "rfc3339" else ""
            file.write(f"{stamp}{exact} mailhost {_message(chance, number)}\n")


def login(address: str, moment: datetime, number: int) -> str:
    """One login line as Dovecot writes it through rsyslog."""
    return (
        f"{moment.isoformat()} mailhost dovecot: pop3-login: Login: "
        f"user=<user{number}@example.com>, method=PLAIN, rip={address}, lip=192.0.2.1, "
        f"mpid={number}, TLS, session=<{number:016x}>\n"
    )


def _stamp(moment: datetime, stamps: Stamps) -> str:
    if stamps == "rfc3339":
        return f"{moment:%Y-%m-%dT%H:%M:%S}"
    return f"{moment:%b} {moment.day:2} {moment:%H:%M:%S}"


def _message(chance: random.Random, number: int) -> str:
    bits = chance.getrandbits(96)
    user = f"user{(bits >> 64) % 5000}@example.com"
    address = f"203.0.{bits >> 80 & 255}.{bits >> 88}"
    session = f"{bits & 0xFFFF_FFFF_FFFF_FFFF:016x}"
    draw = chance.random()
    if draw < 0.12:
        return (
            f"dovecot: pop3-login: Login: user=<{user}>, method=PLAIN, rip={address}, "
            f"lip=192.0.2.1, mpid={number % 32768}, TLS, session=<{session}>"
        )
    if draw < 0.22:
        return (
            f"dovecot: imap({user})<{number % 32768}><{session}>: Disconnected: Logged out in=8 "
            "out=469 deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 "
            "body_bytes=0"
        )
    if draw < 0.30:
        return (
            "dovecot: pop3-login: Disconnected: Aborted login by logging out (auth failed, 1 "
            f"attempts in 1 secs): user=<{user}>, method=PLAIN, rip={address}, lip=192.0.2.1, "
            f"session=<{session}>"
        )
    if draw < 0.60:
        return f"postfix/smtpd[{number % 32768}]: connect from unknown[{address}]"
    queue_id = session[:10].upper()
    if draw < 0.80:
        size = bits % 50000
        return f"postfix/qmgr[812]: {queue_id}: from=<{user}>, size={size}, nrcpt=1 (queue active)"
    return (
        f"postfix/smtp[{number % 32768}]: {queue_id}: to=<{user}>, relay=mx.example.net[192.0.2.25]"
        ":25, delay=0.5, delays=0.1/0/0.2/0.2, dsn=2.0.0, status=sent (250 2.0.0 Ok)"
    )

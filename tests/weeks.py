"""A week of a made-up mail host, the same each time: its state folder, and Postfix's log of it."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tracker.deciding.ledger import Ledger
from tracker.deciding.policy import GrantPolicy
from tracker.history.lives import Told
from tracker.records import Change, Grant, Login
from tracker.settings import GrantSettings
from tracker.store import Store

NOW = datetime(2026, 11, 24, 16, 40, tzinfo=UTC)
SINCE = NOW - timedelta(days=7)
OFFICE = "198.51.100.20"
"""An address that eleven users share."""

_USERS = (
    "alice",
    "bob",
    "carol",
    "dave",
    "erin",
    "frank",
    "grace",
    "heidi",
    "ivan",
    "judy",
    "niaj",
)
_HOURS = (1, 1, 1, 1, 1, 2, 5, 9, 14, 12, 10, 9, 8, 10, 11, 10, 9, 8, 6, 5, 4, 3, 2, 1)
"""How busy each hour of a day is."""


def logins(seed: int = 7) -> list[Login]:
    """A week of them, in order."""
    dice = random.Random(seed)
    found = []
    for minutes in range(0, 7 * 24 * 60, 5):
        time = SINCE + timedelta(minutes=minutes)
        busy = _HOURS[time.hour] * (0.3 if time.weekday() >= 5 else 1)
        for _ in range(dice.randrange(0, 2 + int(busy))):
            user = f"{dice.choice(_USERS)}@example.com"
            at_home = f"203.0.113.{10 + _USERS.index(user.partition('@')[0])}"
            address = dice.choice((OFFICE, at_home, at_home, f"2001:db8:7::{dice.randrange(1, 9)}"))
            service = dice.choice(("imap", "imap", "pop3"))
            when = time + timedelta(seconds=dice.randrange(300))
            found.append(Login(min(when, NOW), service, user, address, None))
    return sorted(found, key=lambda one: one.time)


def state(directory: Path, events: list[Login] | None = None) -> None:
    """The state folder after these logins, saved as a popgate would that is always at work."""
    store = Store(directory)
    ledger = Ledger(GrantPolicy(GrantSettings()))
    try:
        for event in [*(logins() if events is None else events)]:
            for change in ledger.expire(event.time):
                store.save([change], change.grant.expires)
            told = Told()
            told.counts = Counter({(int(event.time.timestamp()) // 3600, "login"): 1})
            if event.time.minute == 13:
                told.counts[int(event.time.timestamp()) // 3600, "failed"] += 3
            store.save(ledger.apply(event, event.time), event.time, told=told)
        store.save(ledger.expire(NOW), NOW)
    finally:
        store.close()


def many(directory: Path, number: int) -> None:
    """A state folder with so many grants in force, each of an address of its own."""
    store = Store(directory)
    made = []
    for place in range(number):
        address = f"10.{place >> 16}.{place >> 8 & 255}.{place & 255}"
        last = NOW - timedelta(seconds=place % 1700)
        until = last + timedelta(minutes=30)
        user = f"user{place % 70_000}@example.com"
        made.append(Change("added", Grant(address, user, ("imap",), last, last, until, until), "x"))
    try:
        store.save(made, NOW)
    finally:
        store.close()


def mail_log(seed: int = 11) -> str:
    """Postfix's log of the same week: mail by grants, from the trusted list, and refusals."""
    dice = random.Random(seed)
    lines = []
    for minutes in range(0, 7 * 24 * 60, 11):
        time = SINCE + timedelta(minutes=minutes, seconds=dice.randrange(60))
        head = f"{time.isoformat()} mail postfix/smtpd[411]: "
        stranger = f"192.0.2.{dice.randrange(1, 40)}"
        end = "from=<{}> to=<{}> proto=ESMTP helo=<h.example>"
        lines.append(
            head
            + dice.choice(
                (
                    f"4F{minutes:06X}: client=unknown[{OFFICE}]",
                    f"4F{minutes:06X}: client=unknown[203.0.113.{dice.randrange(10, 22)}]",
                    f"4F{minutes:06X}: client=scanner.example.com[192.0.2.200]",
                    f"4F{minutes:06X}: client=mx.far.test[{stranger}]",
                    f"4F{minutes:06X}: client=unknown[{stranger}], sasl_method=PLAIN, "
                    "sasl_username=erin@example.com",
                    f"NOQUEUE: reject: RCPT from unknown[{stranger}]: 554 5.7.1 <b@far.test>: "
                    "Relay access denied; " + end.format("x@spam.test", "b@far.test"),
                    f"NOQUEUE: reject: RCPT from unknown[203.0.113.{dice.randrange(10, 22)}]: 554 "
                    "5.7.1 <b@far.test>: Relay access denied; "
                    + end.format("bob@example.com", "b@far.test"),
                    f"NOQUEUE: reject: RCPT from unknown[{stranger}]: 554 5.7.1 <ceo@example.com>: "
                    "Sender address rejected: local sender: log in first, by SMTP AUTH on port 587 "
                    "or by POP3 or IMAP from this address; "
                    + end.format("ceo@example.com", "alice@example.com"),
                    f"NOQUEUE: reject: RCPT from unknown[{stranger}]: 550 5.1.1 <no@example.com>: "
                    "Recipient address rejected: User unknown in virtual mailbox table; "
                    + end.format("x@spam.test", "no@example.com"),
                )
            )
        )
    return "\n".join(lines) + "\n"

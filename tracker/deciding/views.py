"""The rows of a report on a stretch of time: frozen records that a page is filled from; pure.

Lists are bounded; beside each stands how many entries there are in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from tracker.deciding.health.catalogue import Diagnosis
from tracker.records import Outcome

RIGHTS: Mapping[str, str] = {
    "T": "Trusted list",
    "A": "SMTP AUTH",
    "P": "Grant (POP before SMTP)",
    "-": "None of these",
}
OUTCOMES: Mapping[Outcome, tuple[str, str]] = {
    "relay": ("-", "Relay access denied"),
    "local": ("H", "Local sender, refused"),
    "warned": ("H", "Local sender, let through with a warning"),
    "black": ("B", "On the black list"),
    "submission": ("A", "Submission port without SMTP AUTH"),
    "other": ("", "Refused by Postfix's own rules"),
}


class Listed(Struct, frozen=True):
    """An address that may send now."""

    address: str
    users: tuple[str, ...]
    services: tuple[str, ...]
    last_login: datetime
    expires: datetime
    sessions: int


class Bar(Struct, frozen=True):
    """What happened from `start` on, for the length of a step."""

    start: datetime
    logins: int
    failed: int
    grants: int
    refused: int


class Strip(Struct, frozen=True):
    """When an address had a grant: stretches within the period, none touching another."""

    address: str
    users: tuple[str, ...]
    grants: int
    stretches: tuple[tuple[datetime, datetime], ...]
    total: timedelta
    in_force: bool


class Ranked(Struct, frozen=True):
    """A user or an address by its logins; `others`: addresses of a user, users of an address."""

    name: str
    logins: int
    grants: int
    others: int
    mails: int


class Shared(Struct, frozen=True):
    """An address that stood for several users."""

    address: str
    users: tuple[str, ...]
    gateway: bool
    in_force: bool


class Refusals(Struct, frozen=True):
    """One kind of refusal. `code`: the rule's letter, empty for none of ours."""

    code: str
    about: str
    count: int
    clients: int
    last: datetime | None


class Refused(Struct, frozen=True):
    """A client by its refusals; `had_grant`: at some time of the period."""

    address: str
    count: int
    by: tuple[tuple[str, int], ...]
    had_grant: bool


class Sent(Struct, frozen=True):
    """Messages that Postfix took, by what gave their clients the right."""

    code: str
    about: str
    count: int
    clients: int


class Mattered(Struct, frozen=True):
    """When an entry of the trusted list last decided: mail taken by it, or, of a `!`, refused."""

    count: int = 0
    last: datetime | None = None


class PostfixView(Struct, frozen=True):
    """What Postfix's log tells of the period. `mattered`: by the line of a trusted entry."""

    refusals: tuple[Refusals, ...]
    refused: tuple[Refused, ...]
    sent: tuple[Sent, ...]
    mattered: Mapping[int, Mattered]


class View(Struct, frozen=True):
    """All that an Overview makes. Of each list: how many it would have, whole."""

    since: datetime
    now: datetime
    step: timedelta
    listed: tuple[Listed, ...]
    addresses: int
    grants: int
    users: int
    logins: int
    failed: int
    earned: int
    refused: int
    bars: tuple[Bar, ...]
    strips: tuple[Strip, ...]
    strips_all: int
    top_users: tuple[Ranked, ...]
    users_all: int
    top_addresses: tuple[Ranked, ...]
    addresses_all: int
    shared: tuple[Shared, ...]
    shared_all: int
    postfix: PostfixView | None


class TrustedRow(Struct, frozen=True):
    """An entry of the trusted list. `networks`: some of what it stands for, `more`: how many more.
    `state`: of a host name, in words; empty where all is well. `mattered`: None: not known."""

    number: int
    entry: str
    trusts: bool
    note: str
    networks: tuple[str, ...]
    more: int
    state: str
    mattered: Mattered | None


class TableRow(Struct, frozen=True):
    """A text or table in the maps folder. `entries`: None where it has no lines. `changed`: when
    it was last written."""

    name: str
    about: str
    entries: int | None
    size: int
    changed: datetime


class Page(Struct, frozen=True):
    """All that the report shows.

    `began`: when the history began, None where nothing is recorded. `logs`: Postfix's, that were
    read. `trusted`: rows, or why there are none. `findings`: None: not looked for.
    """

    host: str
    version: str
    view: View
    began: datetime | None
    logs: tuple[str, ...]
    trusted: tuple[TrustedRow, ...]
    trusted_all: int
    trusted_trouble: str
    tables: tuple[TableRow, ...]
    findings: tuple[Diagnosis, ...] | None

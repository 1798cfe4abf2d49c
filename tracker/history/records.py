"""The frozen records of the history: what is written of what happened, and read again later.

Times are aware UTC datetimes. `None` as an end means: still so.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from tracker.records import Origin

SnapshotKind = Literal["trusted", "names", "senders", "postfix", "settings"]
ChangeOf = Literal["trusted", "name", "senders", "settings", "table", "reload", "service", "edit"]
CountOf = Literal["login", "logout", "failed"]


class KeptLogin(Struct, frozen=True):
    """A login of a grant's life, or an admin's word for it (`why`), that is kept whole."""

    time: datetime
    why: str
    origin: Origin | None


class Life(Struct, frozen=True):
    """A grant from when it came into the ledger until it went.

    `began`: when the ledger took it, at or after `first`, the login that earned it. `logins`: how
    many there were, the last of them `last`. `closed`: when the last session ended, where that was
    logged. `expires`: the end as it was last known; `ended`: when it was taken out, which is later
    where nobody was at work, and `how`.
    """

    id: int
    address: str
    user: str
    services: tuple[str, ...]
    began: datetime
    first: KeptLogin
    logins: int
    last: KeptLogin
    closed: datetime | None
    expires: datetime
    ended: datetime | None
    how: str | None


class Held(Struct, frozen=True):
    """For how long the table that Postfix reads held an address. `table`: such as `lmdb`."""

    address: str
    table: str
    since: datetime
    until: datetime | None


class PastChange(Struct, frozen=True):
    """A change of what is not a grant: `what` in a few words, `detail` a line for each part."""

    time: datetime
    of: ChangeOf
    what: str
    detail: tuple[str, ...] = ()


class Commit(Struct, frozen=True):
    """A commit of the tables' texts: its hash, and when it was made."""

    time: datetime
    id: str
    subject: str


class Count(Struct, frozen=True):
    """How many events of a kind the logs had in the hour that begins at `hour`."""

    hour: datetime
    of: CountOf
    number: int

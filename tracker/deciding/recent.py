"""Grants that are over and still count: for the limit of a user's addresses, for an hour; pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

HOUR = timedelta(hours=1)


class Recent(Struct, frozen=True):
    """A grant whose window is over, and whose last login counts for an hour."""

    user: str
    address: str
    last_login: datetime

"""A length of time as the configuration writes it."""

from __future__ import annotations

from datetime import timedelta


class Duration(timedelta):
    """A length of time that the configuration writes as text with a unit."""

    __slots__ = ()

"""Times on the command line, with their unit as in the configuration: 30m, 24h, 7d."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click


class Length(click.ParamType[timedelta]):
    """A length of time above zero, and of at most so many days."""

    name = "time"

    def __init__(self, days: int) -> None:
        self._days = days

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        from tracker.config import parse_duration

        try:
            length = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not timedelta(0) < length <= timedelta(days=self._days):
            self.fail(f"expected a time of at most {self._days}d", param, ctx)
        return length

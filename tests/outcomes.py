"""The table at the end of `make torture`: what failed, how often, and what came of it.

A test tells what it did by the fixture `outcome`; the rows of one fault are added up, and of their
recovery times the longest is shown.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Protocol

import pytest
from rich.console import Console
from rich.table import Table

_NAME = "outcome"


class Outcome(Protocol):
    """Records what came of a fault."""

    def __call__(
        self,
        fault: str,
        *,
        runs: int = 1,
        lost: int = 0,
        wrong: int = 0,
        recovery: float | None = None,
        measured: str = "",
    ) -> None:
        """`lost`: logins without their grant; `wrong`: addresses granted without a right;
        `recovery`: seconds from the end of the fault until all was right again; `measured`: what
        else there is to say."""


@pytest.fixture
def outcome(request: pytest.FixtureRequest) -> Outcome:
    """Records a row of the table."""

    def record(
        fault: str,
        *,
        runs: int = 1,
        lost: int = 0,
        wrong: int = 0,
        recovery: float | None = None,
        measured: str = "",
    ) -> None:
        row = (fault, runs, lost, wrong, recovery, measured)
        request.node.user_properties.append((_NAME, row))  # so it comes back from other workers too

    return record


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table where torture was asked for."""
    if "not torture" in config.option.markexpr:
        return
    reports = [
        report
        for kind in ("passed", "failed")
        for report in terminalreporter.stats.get(kind, [])
        if report.when == "call"
    ]
    rows = _added_up(
        value for one in reports for name, value in one.user_properties if name == _NAME
    )
    if not rows:
        return
    table = Table("fault", "runs", "lost", "wrongly granted", "recovery, s", "measured", box=None)
    for fault, (runs, lost, wrong, recovery, measured) in rows.items():
        seconds = "-" if recovery is None else f"{recovery:.1f}"
        table.add_row(fault, str(runs), str(lost), str(wrong), seconds, measured)
    text = io.StringIO()
    console = Console(width=160, file=text)
    console.print(table)
    terminalreporter.section("faults")
    terminalreporter.write(text.getvalue())


_Row = tuple[int, int, int, float | None, str]


def _added_up(values: Iterable[tuple[str, int, int, int, float | None, str]]) -> dict[str, _Row]:
    rows: dict[str, _Row] = {}
    for fault, runs, lost, wrong, recovery, measured in values:
        before = rows.get(fault, (0, 0, 0, None, ""))
        longest = max((one for one in (before[3], recovery) if one is not None), default=None)
        sums = (before[0] + runs, before[1] + lost, before[2] + wrong)
        rows[fault] = (*sums, longest, measured or before[4])
    return rows

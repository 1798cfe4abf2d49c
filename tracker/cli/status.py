"""`popgate status`: whether popgate is at work, and what it told of itself."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracker.cli.common import config_option, json_option, print_json, settings_of

if TYPE_CHECKING:
    from tracker.settings import Settings
    from tracker.status import Status

_FRESH = timedelta(seconds=60)


@click.command()
@json_option
@config_option
def status(*, as_json: bool, config_file: Path) -> None:
    """Say whether popgate is at work, since when, how far the log is read, and what it counted.

    Exits with 1 where `popgate run` is not at work, or `popgate policy` where the settings want it.
    """
    from tracker.errors import FINDING

    settings = settings_of(config_file)
    rows = _rows(settings)
    if as_json:
        print_json(rows)
    else:
        for command, row in rows.items():
            _print(command, row)
    if not all(row["running"] for row in rows.values()):
        raise click.exceptions.Exit(FINDING)


def _rows(settings: Settings) -> dict[str, dict[str, Any]]:
    """For each process that the settings want, whether it runs, and what it told."""
    from msgspec import structs

    from tracker.status import told

    directory = settings.state.directory
    wanted = ["run"]
    if settings.grants.scope == "address" and not settings.policy.serve:
        wanted.append("policy")
    rows: dict[str, dict[str, Any]] = {}
    for command in wanted:
        last = told(directory, command)
        pid = _pid(directory, command, last)
        known = structs.asdict(last) if last is not None and last.pid == pid else {}
        rows[command] = {"running": pid is not None, **known, "pid": pid}
    return rows


def _pid(directory: Path, command: str, last: Status | None) -> int | None:
    """The process that does it now."""
    from tracker.host import utc_now
    from tracker.status import lives
    from tracker.store import Store

    if command == "run":
        if not (directory / "popgate.db").exists():
            return None
        store = Store(directory)
        try:
            return store.running()
        finally:
            store.close()
    fresh = last is not None and utc_now() - last.told < _FRESH and lives(last)
    return last.pid if last is not None and fresh else None


def _print(command: str, row: dict[str, Any]) -> None:
    if not row["running"]:
        click.echo(f"popgate {command}: not running")
        return
    click.echo(f"popgate {command}: running, pid {row['pid']}")
    if "version" not in row:
        click.echo("  it has not told of itself yet")
        return
    click.echo(f"  version {row['version']}, scope {row['scope']}")
    click.echo(f"  since {row['started']:%Y-%m-%d %H:%M:%SZ}")
    if row["read_until"] is not None:
        click.echo(f"  log read until {row['read_until']:%Y-%m-%d %H:%M:%SZ}")
    if row["grants"] is not None:
        click.echo(f"  grants {row['grants']}")
    for source, percent in row["behind"].items():
        click.echo(f"  catching up: {source}{'' if percent is None else f' {percent} %'}")
    for source in row["waits"]:
        click.echo(f"  waiting for {source}")
    for name, figure in row["metrics"].items():
        click.echo(f"  {name}: {_figure(figure)}")


def _figure(figure: Any) -> str:
    """A figure on one line; of a histogram, the bounds that half and 99 % of all do not exceed."""
    if not isinstance(figure, dict):
        return f"{figure:g}"
    if "not_longer_than" not in figure:
        return ", ".join(f"{label} {count}" for label, count in figure.items())
    shares = [
        f"{name} <= {next(bound for bound, n in figure['not_longer_than'].items() if n >= least)} s"
        for name, least in (("p50", figure["count"] * 0.5), ("p99", figure["count"] * 0.99))
        if figure["count"]
    ]
    return ", ".join([f"count {figure['count']}", *shares])

"""`popgate list`, `allow` and `revoke`: the grants, seen and changed by hand."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracker.cli.common import (
    changing,
    config_option,
    json_option,
    log_to_stderr,
    print_json,
    settings_of,
)
from tracker.cli.lengths import Length

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tracker.records import Grant


@click.command("list")
@config_option
@json_option
def list_grants(config_file: Path, as_json: bool) -> None:
    """List the grants in force, an address a line, with the time that is left."""
    from tracker.host import utc_now
    from tracker.store import Store

    settings = settings_of(config_file)
    if not (settings.state.directory / "popgate.db").exists():
        rows = []
        click.echo(f"popgate: nothing in {settings.state.directory} yet: run popgate", err=True)
    else:
        store = Store(settings.state.directory)
        now = utc_now()
        try:
            rows = _rows(grant for grant in store.grants() if grant.expires > now)
        finally:
            store.close()
    if as_json:
        print_json(rows)
    else:
        _print(rows)


def _rows(grants: Iterable[Grant]) -> list[dict[str, Any]]:
    """One row an address: its users together."""
    from tracker.addresses import order

    by_address: dict[str, list[Grant]] = {}
    for grant in grants:
        by_address.setdefault(grant.address, []).append(grant)
    return [
        {
            "address": address,
            "users": sorted(grant.user for grant in those),
            "services": sorted({service for grant in those for service in grant.services}),
            "first_login": min(grant.first_login for grant in those).isoformat(),
            "last_login": max(grant.last_login for grant in those).isoformat(),
            "expires": max(grant.expires for grant in those).isoformat(),
            "sessions": sum(len(grant.sessions) for grant in those),
        }
        for address, those in sorted(by_address.items(), key=lambda item: order(item[0]))
    ]


def _print(rows: list[dict[str, Any]]) -> None:
    from datetime import datetime

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tracker.host import utc_now
    from tracker.texts import printable

    table = Table(
        "address", "users", "services", "last login", "expires", "left", "sessions", box=None
    )
    now = utc_now()
    for row in rows:
        expires = datetime.fromisoformat(row["expires"])
        left = timedelta(seconds=int((expires - now).total_seconds()))
        table.add_row(
            row["address"],
            Text(" ".join(printable(user) for user in row["users"])),
            " ".join(row["services"]),
            f"{datetime.fromisoformat(row['last_login']):%Y-%m-%d %H:%M:%SZ}",
            f"{expires:%Y-%m-%d %H:%M:%SZ}",
            str(left),
            str(row["sessions"]),
        )
    console = Console()
    if not console.is_terminal:
        console.width = 200
    console.print(table if rows else "no grants")


@click.command()
@click.argument("address")
@click.option(
    "--for", "length", type=Length(30), default="30m", show_default=True, help="How long."
)
@click.option("--user", default="-", help="Whose grant it is, for list and history.")
@config_option
def allow(address: str, length: timedelta, user: str, config_file: Path) -> None:
    """Let ADDRESS send for some time, by your word: no rule of who earns a grant is asked."""
    from tracker.addresses import require
    from tracker.deciding.owners import NAMELESS

    log_to_stderr()
    canonical = require(address)
    settings = settings_of(config_file)
    if settings.grants.scope == "address" and user in NAMELESS:
        raise click.UsageError(
            '--user: with grants.scope = "address" a grant is for the senders of a user: name one'
        )
    with changing(settings) as engine:
        grant = engine.allow(canonical, user, length).grant
    click.echo(f"{grant.address} may send until {grant.expires:%Y-%m-%d %H:%M:%SZ}")


@click.command()
@click.argument("address", required=False)
@click.option("--user", help="End the grants of this user only, at ADDRESS or everywhere.")
@config_option
def revoke(address: str | None, user: str | None, config_file: Path) -> None:
    """End the grants of ADDRESS, or of --user, at once. The next login earns a new one."""
    from tracker.addresses import require
    from tracker.errors import FINDING

    log_to_stderr()
    if address is None and user is None:
        raise click.UsageError("name an ADDRESS, or --user, or both")
    canonical = require(address) if address is not None else None
    with changing(settings_of(config_file)) as engine:
        ended = engine.revoke(canonical, user)
    click.echo(f"{len(ended)} grants ended")
    if not ended:
        raise click.exceptions.Exit(FINDING)

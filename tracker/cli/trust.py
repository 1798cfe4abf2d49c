"""`popgate trust`: the trusted list, seen and checked here, changed in `trust_edit.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracker.cli.common import config_option, json_option, print_json, settings_of
from tracker.cli.doubts import say
from tracker.cli.trust_edit import add, edit, move, remove

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracker.deciding.names import Known
    from tracker.deciding.trusted import Entry, TrustedList
    from tracker.settings import Settings

_BLOCKS_SHOWN = 4


@click.group()
def trust() -> None:
    """See, check and change the trusted list."""


for _command in (add, edit, move, remove):
    trust.add_command(_command)


@trust.command("list")
@config_option
@json_option
def list_entries(config_file: Path, as_json: bool) -> None:
    """List the entries with their numbers, notes, and what they stand for now."""
    from tracker.deciding.trusted import TrustedList
    from tracker.host import utc_now
    from tracker.trusting import Trusting

    settings = settings_of(config_file)
    trusting = Trusting(settings)
    listed = trusting.reread(utc_now()) or TrustedList()
    rows = [_row(number, entry, trusting.known()) for number, entry in enumerate(listed.entries, 1)]
    if as_json:
        print_json(rows)
    else:
        _print_list(rows)


def _row(number: int, entry: Entry, names: Mapping[str, Known]) -> dict[str, Any]:
    row = {
        "number": number,
        "line": entry.line,
        "entry": entry.text,
        "trusts": entry.trusts,
        "note": entry.note,
        "networks": list(entry.networks),
    }
    if entry.name is not None:
        known = names[entry.name]
        row |= {
            "name": entry.name,
            "state": known.state,
            "trouble": known.trouble,
            "refused": list(known.refused),
            "until": known.ends.isoformat() if known.ends else None,
        }
    return row


def _print_list(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tracker.texts import visible

    table = Table("number", "entry", "stands for", "note", box=None)
    for row in rows:
        table.add_row(
            str(row["number"]), row["entry"], Text(_stands_for(row)), Text(visible(row["note"]))
        )
    console = Console()
    if not console.is_terminal:
        console.width = 200
    console.print(table if rows else "no entries")


def _stands_for(row: dict[str, Any]) -> str:
    """Its networks where they say more than the entry itself; for a name, how it stands."""
    networks = row["networks"]
    shown = " ".join(
        network.removesuffix("/128" if ":" in network else "/32")
        for network in networks[:_BLOCKS_SHOWN]
    )
    if len(networks) > _BLOCKS_SHOWN:
        shown += f" and {len(networks) - _BLOCKS_SHOWN} more"
    if "name" in row:
        trouble = f": {row['trouble']}" if row["trouble"] else ""
        state = "" if row["state"] == "resolved" and not trouble else f"({row['state']}{trouble})"
        refused = f"(refused: {'; '.join(row['refused'])})" if row["refused"] else ""
        return " ".join(filter(None, [shown, state, refused]))
    return "" if shown == row["entry"].removeprefix("!").strip() else shown


@trust.command()
@config_option
@json_option
def check(config_file: Path, as_json: bool) -> None:
    """Name what is doubtful, and exit 1 if anything is.

    Duplicate, shadowed, contradictory, too wide and private entries, host names that do not
    resolve, and exclusions that Postfix's mynetworks undoes.
    """
    import msgspec

    from tracker.deciding.findings import findings
    from tracker.errors import FINDING
    from tracker.trusting import read_trusted

    settings = settings_of(config_file)
    listed = read_trusted(settings.trusted.file)
    names = _looked_up(settings, listed)
    found = findings(listed.bound(names), names, _mynetworks(settings))
    if as_json:
        print_json([msgspec.structs.asdict(one) for one in found])
    else:
        click.echo(
            "\n".join(say(settings.trusted.file, found))
            or f"{settings.trusted.file}: {len(listed.entries)} entries, nothing found"
        )
    if found:
        raise click.exceptions.Exit(FINDING)


def _looked_up(settings: Settings, listed: TrustedList) -> Mapping[str, Known]:
    """What the list's names stand for by what DNS says now."""
    if not listed.names:
        return {}
    from tracker.host import utc_now
    from tracker.resolver import Resolver
    from tracker.trusting import Trusting

    resolver = Resolver(settings.trusted, settings.state.directory)
    try:
        resolver.follow(listed.names)
        resolver.look_all_up()
        trusting = Trusting(settings, resolver)
        trusting.reread(utc_now())
        return trusting.known()
    finally:
        resolver.close()


def _mynetworks(settings: Settings) -> TrustedList | None:
    """What Postfix lets relay before it asks popgate; what cannot be looked at is said."""
    from tracker.deciding.trusted import parse_mynetworks
    from tracker.errors import PostfixError
    from tracker.writing.postfix import Postfix

    try:
        listed, beyond = parse_mynetworks(Postfix(settings.postfix).mynetworks())
    except PostfixError as error:
        click.echo(f"popgate: mynetworks is not compared: {error}", err=True)
        return None
    if beyond:
        click.echo(f"popgate: not compared, of mynetworks: {' '.join(beyond)}", err=True)
    return listed

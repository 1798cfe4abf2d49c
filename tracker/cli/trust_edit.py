"""`popgate trust add`, `remove`, `move` and `edit`.

They write the list as whoever called them: it lies in /etc and is root's, not popgate's. Only then
root becomes the owner of popgate's folders, to wake a running popgate.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracker.cli.common import config_option, wake
from tracker.cli.doubts import warnings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tracker.deciding.trusted import TrustedList
    from tracker.settings import Settings


@click.command()
@click.argument("entry")
@click.option("--at", type=int, metavar="N", help="Its number; the default is the end of the list.")
@click.option("--note", default="", help="Stands behind the entry, after a #.")
@click.option("--force", is_flag=True, help="Add it though it is wider than a /8.")
@config_option
def add(entry: str, at: int | None, note: str, force: bool, config_file: Path) -> None:
    """Add ENTRY: an address, network, range, mask or host name; !ENTRY takes it out."""
    from tracker.deciding import edits
    from tracker.deciding.findings import too_wide
    from tracker.errors import TrustedError

    def change(text: str, listed: TrustedList) -> tuple[str, str]:
        new = edits.add(text, listed, entry, note, at)
        number = at or len(listed.entries) + 1
        if not force and too_wide(_parsed(new, config_file).entries[number - 1]):
            raise TrustedError(f"{entry!r} is wider than anybody should trust: --force adds it")
        return new, f"{entry} is entry {number}"

    _change(config_file, change)


@click.command()
@click.argument("entry", metavar="N|ENTRY")
@config_option
def remove(entry: str, config_file: Path) -> None:
    """Remove an entry, named by its number or as it is written."""
    from tracker.deciding import edits

    def change(text: str, listed: TrustedList) -> tuple[str, str]:
        new, gone = edits.remove(text, listed, entry)
        return new, f"{gone.text} is removed"

    _change(config_file, change)


@click.command()
@click.argument("number", type=int, metavar="N")
@click.argument("where", nargs=-1, required=True, metavar="up|down|to M")
@config_option
def move(number: int, where: tuple[str, ...], config_file: Path) -> None:
    """Move entry N: the first that matches an address counts. Comments keep their place."""
    from tracker.deciding import edits

    match = re.fullmatch(r"(up)|(down)|to ([0-9]{1,7})", " ".join(where))
    if match is None:
        raise click.UsageError("say where to: up, down, or to M")
    to = int(match[3]) if match[3] else number + (-1 if match[1] else 1)

    def change(text: str, listed: TrustedList) -> tuple[str, str]:
        moved = edits.numbered(listed, number)
        return edits.move(text, listed, number, to), f"{moved.text} is entry {to}"

    _change(config_file, change)


@click.command()
@config_option
def edit(config_file: Path) -> None:
    """Open the list in $VISUAL or $EDITOR; it is checked before it replaces the old one."""
    from tracker import config
    from tracker.cli.editing import edited
    from tracker.listfile import locked, replace
    from tracker.trusting import read_text

    settings = config.load(config_file)
    with locked(settings.trusted.file, patience=0) as file:
        old = read_text(file)
        new = edited(file, old)
        if new is None or new == old:
            click.echo(f"{file}: {'as it was' if new is None else 'nothing changed'}")
            return
        replace(file, new)
    click.echo(f"{file}: saved; the old one is {file.name}~")
    _tell(settings)


def _change(config_file: Path, change: Callable[[str, TrustedList], tuple[str, str]]) -> None:
    """Change the list by a function of its text and entries that gives the new text and what to
    say. What comes out is read as a whole before it replaces the file."""
    from tracker import config
    from tracker.deciding.trusted import parse
    from tracker.listfile import locked, replace
    from tracker.trusting import read_text

    settings = config.load(config_file)
    with locked(settings.trusted.file) as file:
        text = read_text(file)
        before = parse(text, str(file))
        new, said = change(text, before)
        after = parse(new, str(file))
        if new != text:
            replace(file, new)
    click.echo(said)
    _tell(settings)
    for line in warnings(file, before, after):
        click.echo(f"popgate: {line}", err=True)


def _parsed(text: str, where: Path) -> TrustedList:
    from tracker.deciding.trusted import parse

    return parse(text, str(where))


def _tell(settings: Settings) -> None:
    """Wake a running popgate; say so where none runs."""
    from tracker.errors import PopgateError
    from tracker.privileges import become_owner
    from tracker.store import Store

    folder = settings.state.directory
    try:
        become_owner(folder)
        if not (folder / "popgate.db").exists():
            running = None
        else:
            store = Store(folder)
            try:
                running = store.running()
                wake(store)
            finally:
                store.close()
    except (PopgateError, OSError) as error:
        click.echo(f"popgate: cannot wake popgate ({error}); it looks by itself soon", err=True)
        return
    if running is None:
        click.echo(
            "popgate: no popgate runs; the next start or popgate once publishes it", err=True
        )

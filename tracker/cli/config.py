"""`popgate config check`, `show` and `sample`; `get`, `set` and `unset` are in `config_edit.py`."""

from __future__ import annotations

from pathlib import Path

import click

from tracker.cli.common import config_option, json_option
from tracker.cli.config_edit import get, set_, unset


@click.group()
def config() -> None:
    """Check, show, sample or change the configuration."""


for command in (get, set_, unset):
    config.add_command(command)


@config.command()
@config_option
def check(config_file: Path) -> None:
    """Read configuration, trusted list and the lists of senders, and report every fault."""
    from tracker import config as settings
    from tracker.host import utc_now
    from tracker.reading.follow import absent
    from tracker.reading.selecting import doubts, select
    from tracker.standing import listed
    from tracker.trusting import read_trusted

    found = settings.load(config_file)
    formats = select(found.log, utc_now())
    trusted = read_trusted(found.trusted.file)
    counts = [len(entries) for entries in listed(found)]
    click.echo(f"{config_file}: good")
    entries = len(trusted.entries)
    there = "" if found.trusted.file.exists() else " (no such file)"
    click.echo(f"{found.trusted.file}: {entries} entries{there}")
    for line in (*absent(found.log), *doubts(formats, found.log)):
        click.echo(line)
    names = ("local domains", "exceptions", "on the white list", "on the black list")
    shown = [f"{count} {name}" for count, name in zip(counts, names, strict=True) if count]
    if shown:
        click.echo(f"listed: {', '.join(shown)}")


@config.command()
@config_option
@json_option
def show(config_file: Path, as_json: bool) -> None:
    """Print every setting that is in force, as TOML or JSON."""
    from tracker import config as settings

    found = settings.load(config_file)
    click.echo(settings.as_json(found) if as_json else settings.show(found), nl=False)


@config.command()
def sample() -> None:
    """Print a configuration file with every setting, its default and what it means."""
    from tracker import config as settings

    click.echo(settings.sample(), nl=False)

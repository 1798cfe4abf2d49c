"""`popgate install` and `uninstall`: Postfix's main.cf and master.cf, in one way and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracker.cli.common import config_option

if TYPE_CHECKING:
    from tracker.settings import PostfixSettings, Settings

_dry_run = click.option("--dry-run", is_flag=True, help="Print the commands, and do nothing.")


@click.command()
@config_option
@_dry_run
def install(config_file: Path, dry_run: bool) -> None:
    """Put popgate into Postfix's main.cf and master.cf, as root.

    The tables are made first. The change is tried on a copy that is asked what strangers, trusted
    and granted addresses may do; both files are saved before they are touched, and put back when
    the running Postfix does not answer as it should. A second time there is nothing to do.
    """
    from tracker import config
    from tracker.installing import Installation

    settings = config.load(config_file)
    made = Installation(settings.postfix, click.echo)
    if dry_run:
        made.preview(settings, ["popgate", "once", "--config", str(config_file)])
        return
    _insist_on_root()
    made.install(settings, lambda: _publish(settings))


def _publish(settings: Settings) -> None:
    """Make the tables, as their owner; a running popgate is left to its work."""
    from tracker.errors import InstallError
    from tracker.privileges import as_owner

    if as_owner(settings.state.directory, lambda: _make_tables(settings)) != 0:
        raise InstallError("nothing was changed: the tables cannot be made")


def _make_tables(settings: Settings) -> int:
    from tracker.cli.common import finish
    from tracker.engine import Engine

    engine = Engine(settings, follow=True)
    try:
        if engine.store.claim() is None:
            engine.start()
            finish(engine)
    finally:
        engine.close()
    return 0


@click.command()
@config_option
@_dry_run
def uninstall(config_file: Path, dry_run: bool) -> None:
    """Take popgate out of Postfix's main.cf and master.cf, as root.

    Where nobody edited them since, they become what they were, byte for byte; else what is
    popgate's is taken out. Asks nothing, and does with a configuration file that is missing or
    bad. The tables stay.
    """
    from tracker.uninstalling import Removal

    made = Removal(_postfix_settings(config_file), click.echo)
    if dry_run:
        made.preview()
        return
    _insist_on_root()
    made.uninstall()


def _postfix_settings(config_file: Path) -> PostfixSettings:
    """[postfix], as far as it can be had."""
    from tracker import config

    sound, faults = config.as_far_as_sound(config_file)
    if not faults:
        return sound.postfix
    click.echo(f"popgate: {faults[0]}", err=True)
    postfix = sound.postfix
    where = postfix.config_directory or "Postfix's default folder"
    click.echo(f"popgate: going on with the Postfix of {where}", err=True)
    return postfix


def _insist_on_root() -> None:
    from tracker.errors import InstallError

    if os.geteuid() != 0:
        raise InstallError("only root may change main.cf and master.cf; --dry-run shows how")

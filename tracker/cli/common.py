"""What several commands share: their options, and how they come to their settings and state."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tracker.engine import Engine
    from tracker.settings import Settings
    from tracker.store import Store

_PUSH_PATIENCE = 60.0
"""Seconds that a command waits for a push."""

_F = TypeVar("_F", bound=Callable[..., Any])


def config_option(command: _F) -> _F:
    """`--config FILE`."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("/etc/popgate/popgate.toml"),
        show_default=True,
        help="The configuration file.",
    )(command)


def json_option(command: _F) -> _F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(what: object) -> None:
    """Print it as JSON, in ASCII: users' names in it are no terminal's business."""
    import json

    import msgspec

    click.echo(json.dumps(msgspec.to_builtins(what), indent=2))


def settings_of(config_file: Path) -> Settings:
    """The settings. From here on the process is the owner of popgate's folders where it was root,
    and makes no file that others can read."""
    from tracker import config
    from tracker.privileges import become_owner

    settings = config.load(config_file)
    os.umask(0o077)
    become_owner(settings.state.directory)
    return settings


def quiet_option(command: _F) -> _F:
    """`--quiet`, for cron, which mails whatever a command says."""
    return click.option(
        "-q", "--quiet", is_flag=True, help="Say nothing but what failed: for cron."
    )(command)


def log_to_stderr(quiet: bool = False) -> None:
    """What popgate says of its work; `quiet`: what failed alone."""
    from tracker.loglines import begin

    begin(sys.stderr, logging.ERROR if quiet else logging.INFO)


def finish(engine: Engine) -> None:
    """What follows a change of the tables: exports, texts, commit, reload.

    Raises a PopgateError; one of the exports after all else is done.
    """
    from tracker.errors import ExportError

    faults = engine.export()
    if engine.unsettled():
        engine.settle()
    engine.reload()
    for fault in engine.tend_history(_PUSH_PATIENCE):
        click.echo(f"popgate: {fault}", err=True)
    if faults:
        raise ExportError("\n".join(faults))


@contextmanager
def changing(settings: Settings) -> Iterator[Engine]:
    """An engine for an admin's word on grants; a running popgate then takes it up, and exports,
    texts, commit and reload follow. Raises a PopgateError."""
    from tracker.engine import Engine

    engine = Engine(settings, follow=False)
    try:
        engine.start()
        yield engine
        wake(engine.store)
        finish(engine)
    finally:
        engine.close()


def wake(store: Store) -> None:
    """Have a running popgate take up what was changed here."""
    pid = store.running()
    if pid:
        try:
            os.kill(pid, signal.SIGUSR1)
        except ProcessLookupError:
            return
        except PermissionError:
            click.echo(
                f"popgate: may not wake the running popgate (pid {pid}); it looks by itself soon",
                err=True,
            )

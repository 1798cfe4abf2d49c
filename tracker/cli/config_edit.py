"""`popgate config get`, `set` and `unset`: one setting by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracker.cli.common import config_option, json_option, log_to_stderr

if TYPE_CHECKING:
    from tracker.settings import Settings

_THEN = {
    "postfix.table": "main.cf names the tables by their type: run popgate install again",
    "tables.directory": "main.cf names the folder: run popgate install again",
    "submission": "popgate install makes it so in master.cf",
    "state.directory": "grants and positions stay in the old folder: move it there first",
}
"""What is to be done besides, for settings and sections that more than popgate depends on."""


@click.command()
@click.argument("key", metavar="SECTION.KEY")
@config_option
@json_option
def get(key: str, config_file: Path, as_json: bool) -> None:
    """Print the value in force of one setting, be it set or at its default."""
    import json

    from tracker import amend, config

    value = amend.value_of(config.load(config_file), key)
    click.echo(json.dumps({"key": key, "value": value}) if as_json else amend.shown(value))


@click.command(name="set")
@click.argument("key", metavar="SECTION.KEY")
@click.argument("value")
@config_option
def set_(key: str, value: str, config_file: Path) -> None:
    """Give one setting a value. Comments stay; a running popgate takes it up.

    VALUE is written as in the file, without the quotes of text: 45m, true, 203.0.113.0/24. A list
    may be words with commas, or TOML: '["a", "b"]'. The file is checked as a whole first: when it
    would be bad, it stays as it is.
    """
    from tracker import amend

    typed = amend.typed(key, value)
    _change(config_file, key, lambda text: amend.put(text, key, typed))


@click.command()
@click.argument("key", metavar="SECTION.KEY")
@config_option
def unset(key: str, config_file: Path) -> None:
    """Take one setting out of the file: it is at its default then."""
    from tracker import amend

    amend.split(key)
    _change(config_file, key, lambda text: amend.drop(text, key))


def _change(config_file: Path, key: str, changed: Callable[[str], str]) -> None:
    """Put another text in the place of the file, when it is good."""
    from tracker import amend
    from tracker.errors import ConfigError
    from tracker.listfile import locked, replace

    log_to_stderr(quiet=True)
    _read(config_file)  # where there is none, that is the fault, and not its folder's lock
    with locked(config_file) as real:
        old = _read(real)
        before = _salvaged(old)
        try:
            new = changed(old)
            after = _checked(new, str(config_file), before)
        except ConfigError as error:
            raise ConfigError([*error.problems, f"{config_file}: stays as it is"]) from error
        value = amend.shown(amend.value_of(after, key))
        if new == old:
            click.echo(f"{key} = {value}: as it was")
            return
        replace(real, new)
    was = f" (it was {amend.shown(amend.value_of(before, key))})" if before else ""
    click.echo(f"{key} = {value}{was}")
    if then := _THEN.get(key) or _THEN.get(key.partition(".")[0]):
        click.echo(then)
    _tell((before or after).state.directory, key)


def _read(file: Path) -> str:
    from tracker.errors import ConfigError

    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError([f"{file}: no such file: popgate init writes one"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file}: cannot be read: {error}"]) from error


def _checked(text: str, where: str, before: Settings | None) -> Settings:
    """The settings of a text. Raises ConfigError with what is wrong with them; a log format that
    could not be read with before either is not of this change."""
    from tracker import config
    from tracker.errors import ConfigError

    after = config.parse(text, where)
    wrong = _formats_fault(after)
    if wrong and wrong != (before and _formats_fault(before)):
        raise ConfigError(wrong.splitlines())
    return after


def _formats_fault(settings: Settings) -> str:
    """What keeps the log formats of these settings from being read with, which the file alone does
    not tell; empty when nothing does."""
    from tracker.errors import FormatError
    from tracker.host import utc_now
    from tracker.reading.selecting import select

    try:
        select(settings.log, utc_now())
    except FormatError as error:
        return str(error)
    return ""


def _salvaged(text: str) -> Settings | None:
    """The settings before; None where they were bad."""
    from tracker import config
    from tracker.errors import ConfigError

    try:
        return config.parse(text, "")
    except ConfigError:
        return None


def _tell(state: Path, key: str) -> None:
    """Have a running popgate take the change up, or say how."""
    from tracker.store import running

    pid = running(state)
    if pid is None:
        click.echo("popgate is not running: it takes effect when it starts")
    elif key.startswith("state."):
        click.echo("it takes effect when popgate is restarted: systemctl restart popgate")
    elif _hangs_up(pid):
        click.echo(f"the running popgate (pid {pid}) takes it up now")
    else:
        click.echo("tell the running popgate: systemctl reload popgate")


def _hangs_up(pid: int) -> bool:
    """Send SIGHUP, where that is allowed. A popgate that has not said its pid yet is 0."""
    import os
    import signal

    try:
        if pid > 0:
            os.kill(pid, signal.SIGHUP)
    except (ProcessLookupError, PermissionError):
        return False
    return pid > 0

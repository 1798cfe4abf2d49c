"""`popgate formats`: what log formats there are, which one fits a log, whether a file is sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracker.cli.common import json_option, print_json

if TYPE_CHECKING:
    from tracker.reading.choosing import Trial
    from tracker.reading.patterns import Format


def _folder_option(command: Any) -> Any:
    return click.option(
        "--folder",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("/etc/popgate/formats.d"),
        show_default=True,
        help="The folder of your own formats.",
    )(command)


@click.group(invoke_without_command=True)
@_folder_option
@json_option
@click.pass_context
def formats(ctx: click.Context, folder: Path, as_json: bool) -> None:
    """List the log formats: popgate's own, and yours in /etc/popgate/formats.d."""
    if ctx.invoked_subcommand is not None:
        return
    from tracker.reading.formats import names

    found, faults = _all(folder)
    files = names(folder)
    rows: list[dict[str, Any]] = [
        {
            "name": one.name,
            "title": one.title,
            "versions": one.versions,
            "forgeable": one.forgeable,
            "file": str(files[one.name]),
        }
        for one in found
    ]
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            mark = "!" if row["forgeable"] else " "
            own = f"  ({row['file']})" if row["file"].startswith(str(folder)) else ""
            about = "; ".join(filter(None, (row["title"], row["versions"])))
            click.echo(f"{row['name']:16} {mark} {about}{own}")
        if any(row["forgeable"] for row in rows):
            click.echo("! anyone can forge its logins: docs/formats.md says how")
    _report(faults)


@formats.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--format", "only", multiple=True, help="Try these formats alone.")
@_folder_option
@json_option
def test(files: tuple[str, ...], only: tuple[str, ...], folder: Path, as_json: bool) -> None:
    """Say which format fits the log in FILES, and how many of its lines were understood.

    Lines that look like the server's logins and were not understood are counted, and some are
    shown: the log is customised then, or of another version.
    """
    from tracker.errors import FINDING
    from tracker.host import utc_now
    from tracker.reading.choosing import Trial, choose
    from tracker.reading.formats import find
    from tracker.reading.sources.whole import blocks_of

    found, faults = ([find(name, folder) for name in only], []) if only else _all(folder)
    trials = [Trial(one, utc_now()) for one in found]
    for file in files:
        for block in blocks_of(file):
            for trial in trials:
                trial.read(block)
    met = [trial for trial in trials if trial.places or trial.not_understood]
    rows = [_row(trial) for trial in sorted(met, key=lambda trial: -len(trial.places))]
    chosen = [one.name for one in choose(trials)]
    if as_json:
        print_json({"fits": chosen, "formats": rows})
    else:
        _print(rows, chosen)
    _report(faults)
    if not chosen:
        raise click.exceptions.Exit(FINDING)


@formats.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def check(file: Path) -> None:
    """Say whether a format FILE is sound: its own examples prove it, or show what is wrong."""
    from tracker.reading.formats import load

    one = load(file)
    count = len(one.examples) + len(one.counter_examples)
    click.echo(f"{file}: good: {len(one.patterns)} patterns, proved by {count} examples")


def _all(folder: Path) -> tuple[list[Format], list[str]]:
    """Every format that is sound, and what is wrong with the others."""
    from tracker.errors import FormatError
    from tracker.reading.formats import find, names

    found: list[Format] = []
    faults: list[str] = []
    for name in sorted(names(folder)):
        try:
            found.append(find(name, folder))
        except FormatError as error:
            faults.append(str(error))
    return found, faults


def _report(faults: list[str]) -> None:
    from tracker.errors import FormatError

    if faults:
        raise FormatError("\n".join(faults))


def _row(trial: Trial) -> dict[str, Any]:
    return {
        "format": trial.format.name,
        "lines": trial.lines,
        **trial.counts,
        "not_understood": trial.not_understood,
        "examples": trial.examples,
        "forgeable": trial.format.forgeable,
    }


def _print(rows: list[dict[str, Any]], chosen: list[str]) -> None:
    from tracker.texts import printable

    columns = ("lines", "login", "logout", "failed", "not_understood")
    if rows:
        click.echo(f"{'format':16}" + "".join(f"{name:>16}" for name in columns))
    for row in rows:
        click.echo(f"{row['format']:16}" + "".join(f"{row[name]:>16}" for name in columns))
    for row in rows:
        if row["format"] in chosen:
            for line in row["examples"]:
                click.echo(f"not understood as {row['format']}: {printable(line)}")
    click.echo(f"fits: {', '.join(chosen)}" if chosen else "no known format fits")

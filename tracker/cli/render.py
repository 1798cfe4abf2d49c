"""`popgate render`: the tables and snippets as they should be, in a folder of one's choice."""

from __future__ import annotations

from pathlib import Path

import click

from tracker.cli.common import config_option, settings_of


@click.command()
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write to; made when it is missing.",
)
@click.option("--check", is_flag=True, help="Write nothing; name what differs, and exit 1.")
@config_option
def render(out: Path, check: bool, config_file: Path) -> None:
    """Write the texts of the tables, main.cf.snippet, master.cf.snippet and exports to a folder.

    They are what popgate would publish now. Nothing is told to Postfix.
    """
    from tracker.errors import FINDING, PublishError
    from tracker.offline import wanted_tables

    tables = wanted_tables(settings_of(config_file))
    differing = [table for table in tables if _differs(out / table.name, table.text)]
    if check:
        for table in differing:
            click.echo(f"{out / table.name}: differs")
        if differing:
            raise click.exceptions.Exit(FINDING)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        for table in differing:
            (out / table.name).parent.mkdir(parents=True, exist_ok=True)
            (out / table.name).write_text(table.text, encoding="utf-8")
    except OSError as error:
        raise PublishError(f"{error.filename}: cannot be written: {error.strerror}") from error
    for table in tables:
        click.echo(f"{out / table.name}{'' if table in differing else ' (as it was)'}")


def _differs(file: Path, text: str) -> bool:
    try:
        return file.read_text(encoding="utf-8") != text
    except (OSError, UnicodeDecodeError):
        return True

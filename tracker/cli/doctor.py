"""`popgate doctor`: what is wrong on this host, and the commands that mend it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracker.cli.common import config_option, json_option, print_json

if TYPE_CHECKING:
    from tracker.doctor import Examination


@click.command()
@config_option
@json_option
def doctor(config_file: Path, as_json: bool) -> None:
    """Look at Postfix, the log, the tables, the files and the service; change nothing.

    Exits with 1 when there are errors or warnings, with 2 when the configuration is one of them.
    Notes do not count. What could not be looked at is said; root sees most.
    """
    import logging

    from tracker.doctor import examine
    from tracker.errors import FINDING, USAGE

    logging.getLogger("popgate").addHandler(logging.NullHandler())  # the findings say it all
    seen = examine(config_file)
    if as_json:
        print_json(seen.findings)
    else:
        _print(seen)
    if seen.bad_configuration:
        raise click.exceptions.Exit(USAGE)
    if seen.counting():
        raise click.exceptions.Exit(FINDING)


def _print(seen: Examination) -> None:
    from tracker.deciding.health.catalogue import SEVERITIES
    from tracker.texts import visible

    for one in seen.findings:
        click.echo(f"{one.severity}: {one.code}: {one.where}")
        click.echo(f"    {visible(one.what, 400)}")
        click.echo(f"    why: {one.why}")
        click.echo(f"    mend: {one.mend}")
    counts = {name: sum(one.severity == name for one in seen.findings) for name in SEVERITIES}
    shown = [f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items() if count]
    click.echo(", ".join(shown) if shown else "nothing found")

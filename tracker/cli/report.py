"""`popgate report`: one page on who may send, and on what happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracker.cli.common import config_option, settings_of
from tracker.cli.lengths import Length

if TYPE_CHECKING:
    from datetime import timedelta

    from tracker.deciding.health.catalogue import Diagnosis

# The package's libraries lie in a folder that Python does not know; -I keeps out what lies in the
# folder where root happens to be, which another may have put there.
_SAME_POPGATE = """
import os, sys
sys.path[:] = sys.argv.pop(1).split(os.pathsep)
from tracker.cli import main
main()
"""


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    required=True,
    help="The file to write, for its owner alone; - is standard output.",
)
@click.option(
    "--since",
    "length",
    type=Length(3650),
    default="7d",
    show_default=True,
    help="How far back it goes.",
)
@click.option(
    "--postfix-log",
    "postfix_logs",
    multiple=True,
    metavar="FILE",
    help="Postfix's log, for mail and refusals; repeatable, .gz is unpacked.",
)
@click.option(
    "--doctor/--no-doctor", default=True, show_default=True, help="With what doctor finds."
)
@config_option
def report(
    *,
    output: Path,
    length: timedelta,
    postfix_logs: tuple[str, ...],
    doctor: bool,
    config_file: Path,
) -> None:
    """Write one HTML page: grants, logins, refusals, the trusted list, tables, findings.

    It loads nothing from elsewhere and holds user names and addresses: keep it to yourself.
    """
    if str(output) != "-" and os.geteuid() == 0:
        text = _made_as_owner(length, postfix_logs, config_file, doctor=doctor)
    else:
        text = _made(length, postfix_logs, config_file, doctor=doctor)
    if str(output) == "-":
        sys.stdout.write(text)
        return

    from tracker.writing.files import put

    put(output.absolute(), text, 0o600)
    click.echo(f"{output}: {len(text.encode()):,} bytes")


def _made(
    length: timedelta, postfix_logs: tuple[str, ...], config_file: Path, *, doctor: bool
) -> str:
    from tracker.host import utc_now
    from tracker.reporting import gather

    try:
        from tracker.writing.page import html
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"the report needs {error.name}: pip install 'popgate[report]'"
        ) from error

    # Doctor looks first, since root sees most; it becomes the owner by itself.
    findings = _findings(config_file) if doctor else None
    settings = settings_of(config_file)
    now = utc_now()
    return html(gather(settings, now - length, now, postfix_logs, findings))


def _findings(config_file: Path) -> tuple[Diagnosis, ...]:
    import logging

    from tracker.doctor import examine

    logging.getLogger("popgate").addHandler(logging.NullHandler())  # the findings say it all
    return examine(config_file).findings


def _made_as_owner(
    length: timedelta, postfix_logs: tuple[str, ...], config_file: Path, *, doctor: bool
) -> str:
    """Made by a process that becomes the owner of the state: it reads what strangers wrote, and
    may not write where root wants the page."""
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-c", _SAME_POPGATE, os.pathsep.join(sys.path)),
            *("report", "-o", "-"),
            *("--since", f"{length.total_seconds():.3f}s", "--config", str(config_file)),
            "--doctor" if doctor else "--no-doctor",
            *(f"--postfix-log={file}" for file in postfix_logs),
        ],
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise click.exceptions.Exit(done.returncode)
    return done.stdout.decode()

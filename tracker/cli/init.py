"""`popgate init`: look at this host, and write the configuration that suits it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracker.cli.common import config_option, json_option, log_to_stderr, print_json

if TYPE_CHECKING:
    from tracker.surveyed import Draft, Remark

_LONGEST = 500


@click.command()
@config_option
@click.option(
    "--print",
    "--dry-run",
    "only_print",
    is_flag=True,
    help="Write nothing; print the configuration, and what was found on stderr.",
)
@click.option(
    "--postfix-config",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The configuration folder of another Postfix than /etc/postfix.",
)
@click.option(
    "--dovecot-config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The dovecot.conf of another Dovecot than doveconf's own.",
)
@json_option
def init(
    config_file: Path,
    only_print: bool,
    postfix_config: Path | None,
    dovecot_config: Path | None,
    as_json: bool,
) -> None:
    """Look at Postfix, Dovecot and the logs, and write popgate.toml and trusted.txt.

    What was found and what was guessed is said, each with what it rests on. A file that is there
    already is left as it is. Postfix and Dovecot are asked, and never changed.
    """
    from tracker import config
    from tracker.deciding.draft import draft
    from tracker.host import utc_now
    from tracker.reading.survey import look
    from tracker.reading.survey.places import Places
    from tracker.settings import PostfixSettings
    from tracker.writing import setup
    from tracker.writing.postfix import Postfix

    log_to_stderr(quiet=True)  # what fails on the way stands among the remarks
    chosen = _by_option(config_file, postfix_config, dovecot_config)
    folder = str(chosen["postfix.config_directory"].value) if postfix_config else ""
    dovecot = str(chosen["log.dovecot"].value) if dovecot_config else ""
    commands = Postfix(PostfixSettings(config_directory=folder))
    made = draft(look(utc_now(), commands, dovecot, Places()))
    text = setup.configuration({**made.settings, **chosen}.items())
    config.parse(text, str(config_file))  # what popgate could not read itself is not written
    trusted = config_file.absolute().with_name("trusted.txt")
    written: dict[Path, bool] = {}
    if not only_print:
        for file, content in ((trusted, setup.trusted_list()), (config_file, text)):
            written[file] = setup.create(file, content)
    if as_json:
        _print_json(made, text, written)
    else:
        for remark in made.remarks:
            click.echo(_line(remark), err=only_print)
        if only_print:
            click.echo(text, nl=False)
        _tell(written)
    if written and not written[config_file]:
        from tracker.errors import FINDING

        raise click.exceptions.Exit(FINDING)


def _by_option(
    config_file: Path, postfix_config: Path | None, dovecot_config: Path | None
) -> dict[str, Any]:
    """The settings that follow from the command line, where they are not the defaults."""
    from tracker.config import DEFAULT_FILE
    from tracker.surveyed import Chosen

    chosen: dict[str, Chosen] = {}
    if config_file.absolute().parent != DEFAULT_FILE.parent:
        beside = str(config_file.absolute().with_name("trusted.txt"))
        chosen["trusted.file"] = Chosen(beside, "beside this file")
    if postfix_config is not None:
        chosen["postfix.config_directory"] = Chosen(str(postfix_config.absolute()), "as told")
    if dovecot_config is not None:
        chosen["log.dovecot"] = Chosen(str(dovecot_config.absolute()), "as told")
    return chosen


def _line(remark: Remark) -> str:
    from tracker.texts import visible

    evidence = f"  ({remark.evidence})" if remark.evidence else ""
    return visible(f"{remark.weight:8} {remark.text}{evidence}", _LONGEST)


def _tell(written: dict[Path, bool]) -> None:
    """What became of the files, and what to do now."""
    for file, made in written.items():
        if made:
            click.echo(f"{file}: written")
        else:
            click.echo(
                f"popgate: {file}: is there already, and left as it is "
                "(popgate init --print shows what would be written)",
                err=True,
            )
    if any(written.values()):
        click.echo("now: popgate config check, then popgate install")


def _print_json(made: Draft, text: str, written: dict[Path, bool]) -> None:
    shown = {
        "settings": made.settings,
        "remarks": made.remarks,
        "text": text,
        "files": [{"file": str(file), "written": new} for file, new in written.items()],
    }
    print_json(shown)

"""The manual pages: popgate(8) from the commands' own help, popgate.toml(5) from the settings.

`make docs` writes them to docs/man, from where the packages take them; a test holds them against
both. The macros are those of man(7).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from tracker import __version__
from tracker.cli import popgate
from tracker.config import DEFAULT_FILE, settings_table, show
from tracker.settings import Settings

_ABOUT = """\
An address may send mail through Postfix for some minutes after a successful POP or IMAP login:
popgate follows the login log and keeps a Postfix table of who may relay until when, next to a
list of trusted addresses.

Each command takes --config FILE; most that print data take --json.
"""
_EXIT_CODES = {
    "0": "Done.",
    "1": "A finding: of doctor, of render --check, a session that explain says is refused.",
    "2": "Wrong usage, or a configuration that is bad.",
    "3": "A part of the system failed: disk, Postfix, git.",
}
_FILES = {
    str(DEFAULT_FILE): "The configuration, popgate.toml(5).",
    "/etc/popgate/trusted.txt": "The trusted list: addresses, networks and host names.",
    "/var/lib/popgate": "The state; in maps the tables that Postfix reads, and their git history.",
}
_SIGNALS = {
    "SIGHUP": "run reads configuration and trusted list anew; bad ones change nothing.",
    "SIGTERM, SIGINT": "run brings what it is at to an end, and ends.",
}


def commands() -> str:
    """popgate(8)."""
    lines = [
        *_head("POPGATE", 8, "popgate", "POP before SMTP for Postfix"),
        *_synopsis(),
        ".SH DESCRIPTION",
        *_paragraphs(_ABOUT),
        ".SH COMMANDS",
    ]
    for path, command in _leaves(("popgate",), popgate):
        lines += _command(path, command)
    lines += [".SH SIGNALS", *_listed(_SIGNALS), ".SH EXIT STATUS", *_listed(_EXIT_CODES)]
    lines += [".SH FILES", *_listed(_FILES)]
    return "\n".join([*lines, *_seen_also(("popgate.toml", 5))]) + "\n"


def settings() -> str:
    """popgate.toml(5)."""
    lines = _head("POPGATE.TOML", 5, "popgate.toml", "configuration of popgate")
    lines += [".SH SYNOPSIS", f".B {_plain(str(DEFAULT_FILE))}", ".SH DESCRIPTION"]
    lines += _paragraphs(
        "One TOML file. Every key may be left out, and then has the default that stands here. "
        "popgate config check reads it and reports every fault at once.\n\n"
        'A time is text with a unit: "500ms", "90s", "30m", "24h", "7d". A path starts at the '
        "root."
    )
    kinds = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    defaults = (line for line in show(Settings()).splitlines() if " = " in line)
    section = ""
    for setting in settings_table():
        if setting.section != section:
            section = setting.section
            lines += [
                f".SH [{section}]",
                *_paragraphs(inspect.cleandoc(kinds[section].__doc__ or "")),
            ]
        lines += [".TP", f".B {_plain(next(defaults))}", _plain(setting.help)]
    return "\n".join([*lines, *_seen_also(("popgate", 8))]) + "\n"


def _head(title: str, section: int, name: str, about: str) -> list[str]:
    return [
        f'.TH {title} {section} "" "popgate {__version__}" "popgate"',
        ".SH NAME",
        rf"{name} \- {about}",
    ]


def _synopsis() -> list[str]:
    return [".SH SYNOPSIS", ".B popgate", ".I COMMAND", "[OPTIONS]"]


def _leaves(
    path: tuple[str, ...], command: click.Command
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    context = click.Context(command, info_name=path[-1])
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                yield from _leaves((*path, name), found)


def _command(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=" ".join(path))
    arguments = [
        one.make_metavar(context) for one in command.params if isinstance(one, click.Argument)
    ]
    yield f".SS {_plain(' '.join([*path[1:], *arguments]))}"
    yield from _paragraphs(inspect.cleandoc(command.help or ""))
    for option in command.params:
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record and option.name not in ("config_file", "help", "as_json"):
            yield from (".TP", f".B {_plain(record[0])}", _plain(record[1]))


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield ".PP"
        yield _plain(" ".join(paragraph.split()))


def _listed(terms: dict[str, str]) -> Iterator[str]:
    for term, text in terms.items():
        yield from (".TP", f".B {_plain(term)}", _plain(text))


def _seen_also(*pages: tuple[str, int]) -> list[str]:
    own = [f".BR {name} ({section})," for name, section in pages]
    return [".SH SEE ALSO", *own, ".BR postconf (5),", ".BR access (5),", ".BR doveconf (1)"]


def _plain(text: str) -> str:
    """A line that troff takes as it stands: groff_char(7)."""
    shown = (
        text.replace("\\", r"\e").replace("-", r"\-").replace("~", r"\(ti").replace('"', r"\(dq")
    )
    shown = shown.replace("^", r"\(ha").replace("`", r"\(ga").replace("'", r"\(aq")
    return rf"\&{shown}" if shown[:1] in (".", "\\") and not shown.startswith(r"\e") else shown


def write(folder: Path) -> None:
    """Both pages, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "popgate.8").write_text(commands(), encoding="utf-8")
    (folder / "popgate.toml.5").write_text(settings(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))

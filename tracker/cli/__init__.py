"""The command line: thin commands, a module a group, each imported only when it is called.

Every expected fault is a line on stderr, `popgate: ...`, and an exit code: 0 done, 1 a finding,
2 usage or bad configuration, 3 a system part failed.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from tracker import __version__
from tracker.errors import SYSTEM, PopgateError

_COMMANDS = {
    "init": ("tracker.cli.init", "Look at this host, and write the configuration that suits it."),
    "run": ("tracker.cli.work", "Follow the log and keep the tables, until SIGTERM."),
    "once": ("tracker.cli.work", "Read what is new, expire, publish, commit, and end (cron)."),
    "expire": ("tracker.cli.work", "End grants that are over, whoever should have done it."),
    "scan": ("tracker.cli.scan", "Print the logins, logouts and failures in log files."),
    "formats": ("tracker.cli.formats", "List the log formats; tell which one fits a log."),
    "list": ("tracker.cli.grants", "List the grants in force."),
    "allow": ("tracker.cli.grants", "Let an address send for some time."),
    "revoke": ("tracker.cli.grants", "End the grants of an address or a user at once."),
    "trust": ("tracker.cli.trust", "See, check and change the trusted list."),
    "explain": ("tracker.cli.explain", "Say what the rules make of a session, and why."),
    "policy": ("tracker.cli.policy", "Answer Postfix whether a grant is for the sender."),
    "status": ("tracker.cli.status", "Say whether popgate is at work, and what it counted."),
    "render": ("tracker.cli.render", "Write the tables and snippets to a folder."),
    "doctor": ("tracker.cli.doctor", "Say what is wrong on this host, and what mends it."),
    "install": ("tracker.cli.install", "Put popgate into Postfix's main.cf and master.cf."),
    "uninstall": ("tracker.cli.install", "Take it out of them again."),
    "config": ("tracker.cli.config", "Check, show, sample or change the configuration."),
}


class _Lazy(click.Group):
    """Commands whose modules are imported when they are called, or asked for their own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name if cmd_name != "list" else "list_grants"
        command = getattr(import_module(_COMMANDS[cmd_name][0]), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="popgate")
def popgate() -> None:
    """POP before SMTP for Postfix: an address may send for some minutes after a login."""


def main() -> None:
    """The entry point."""
    try:
        code = popgate.main(prog_name="popgate", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        code = 130
    except PopgateError as error:
        for line in str(error).splitlines():
            click.echo(f"popgate: {line}", err=True)
        code = error.exit_code
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does; nothing is left to be flushed to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = SYSTEM
    sys.exit(code if isinstance(code, int) else 0)

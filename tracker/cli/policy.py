"""`popgate policy`: answer Postfix from the shared state, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import click

from tracker.cli.common import config_option, log_to_stderr, settings_of


@click.command()
@config_option
def policy(config_file: Path) -> None:
    """Answer Postfix whether a grant is for the sender, in the foreground, until SIGTERM.

    For grants.scope = "address" with policy.serve = false; else `popgate run` does it by itself.
    Changes nothing, and reads no log: that is `run`'s work.
    """
    import asyncio

    from tracker.host import open_many_files
    from tracker.policy.alone import Alone

    log_to_stderr()
    settings_of(config_file)
    open_many_files()
    asyncio.run(Alone(config_file).run())

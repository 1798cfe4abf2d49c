"""`popgate run`, `once` and `expire`: the three ways to have the work done."""

from __future__ import annotations

from pathlib import Path

import click

from tracker.cli.common import config_option, finish, log_to_stderr, settings_of


@click.command()
@config_option
def run(config_file: Path) -> None:
    """Follow the log and keep the tables, in the foreground, until SIGTERM or SIGINT.

    Where standard input is read (log.files = ["-"]), its end is the end too.

    SIGHUP reads configuration and trusted list anew; when they are bad, the old ones stay.
    """
    import asyncio

    from tracker.host import open_many_files
    from tracker.service import Service

    log_to_stderr()
    settings_of(config_file)
    open_many_files()
    asyncio.run(Service(config_file).run())


@click.command()
@config_option
def once(config_file: Path) -> None:
    """Read what is new in the log, expire, publish, commit, and end: for cron."""
    from tracker.engine import Engine
    from tracker.errors import ConfigError, ReadingError
    from tracker.host import open_many_files
    from tracker.resolver import Resolver

    log_to_stderr()
    settings = settings_of(config_file)
    if any(str(path) == "-" for path in settings.log.files):
        text = 'log.files = ["-"]: standard input has no end to wait for: popgate run reads it'
        raise ConfigError([f"{config_file}: {text}"])
    open_many_files()
    resolver = Resolver(settings.trusted, settings.state.directory)
    engine = Engine(settings, follow=True, resolver=resolver)
    try:
        other = engine.store.claim()
        if other is not None:
            click.echo(f"popgate: another popgate (pid {other}) is at work; nothing done", err=True)
            return
        engine.start()
        while engine.step():
            pass
        engine.look_names_up()
        finish(engine)
        if troubles := engine.troubles():
            raise ReadingError("\n".join(troubles))
    finally:
        engine.close()


@click.command()
@config_option
def expire(config_file: Path) -> None:
    """End grants that are over, in ledger and table, whoever should have done it.

    Reads no log. When nobody follows it, open sessions count as ended when it was last read. Run it
    every minute, and after `run` has ended: then a daemon that died opens nothing.
    """
    from tracker.engine import Engine, publisher_of
    from tracker.errors import StoreError
    from tracker.host import utc_now
    from tracker.store import running
    from tracker.writing.postfix import Postfix

    log_to_stderr()
    settings = settings_of(config_file)
    try:
        engine = Engine(settings, follow=False)
        try:
            engine.start()
            finish(engine)
        finally:
            engine.close()
    except StoreError:
        # The table says itself when each entry ends; whoever follows the log knows better.
        if running(settings.state.directory) is None:
            publisher = publisher_of(settings, Postfix(settings.postfix), follow=False)
            publisher.end_over(utc_now().timestamp())
        raise

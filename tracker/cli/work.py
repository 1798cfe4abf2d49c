"""`popgate run`, `once` and `expire`: the three ways to have the work done."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracker.cli.common import config_option, finish, log_to_stderr, quiet_option, settings_of

if TYPE_CHECKING:
    from tracker.settings import PostfixSettings, Settings, TableSettings
    from tracker.store import Store


@click.command()
@config_option
def run(config_file: Path) -> None:
    """Follow the log and keep the tables, in the foreground, until SIGTERM or SIGINT.

    Where standard input is read (log.files = ["-"]), its end is the end too.

    SIGHUP reads configuration and trusted list anew; when they are bad, the old ones stay.
    """
    import asyncio
    import faulthandler

    from tracker.host import open_many_files
    from tracker.service import Service

    log_to_stderr()
    faulthandler.enable()  # systemd's watchdog ends what hangs by SIGABRT: then it says where
    settings_of(config_file)
    open_many_files()
    asyncio.run(Service(config_file).run())


@click.command()
@config_option
@quiet_option
def once(config_file: Path, quiet: bool) -> None:
    """Read what is new in the log, expire, publish, commit, and end: for cron.

    Where another popgate is at work already, be it `once` or `run`, the work is its own, and this
    one ends at once with exit code 0. With --quiet it looks first whether anything changed.
    """
    from tracker import unchanged
    from tracker.errors import ConfigError
    from tracker.store import Store

    began = datetime.now(UTC)
    log_to_stderr(quiet)
    settings = settings_of(config_file)
    if any(str(path) == "-" for path in settings.log.files):
        text = 'log.files = ["-"]: standard input has no end to wait for: popgate run reads it'
        raise ConfigError([f"{config_file}: {text}"])
    store = Store(settings.state.directory)
    try:
        other = store.claim()
        if other is not None:
            if not quiet:
                said = f"popgate: another popgate (pid {other}) is at work; nothing done"
                click.echo(said, err=True)
            return
        # Who asks by hand wants to be told of what stands as it stood, too.
        if quiet and unchanged.holds(config_file, settings, store, began):
            return
        _once(config_file, settings, store, began)
    finally:
        store.close()


def _once(config_file: Path, settings: Settings, store: Store, began: datetime) -> None:
    """All of it, with everything that this needs. `store`: holds the claim to follow the log."""
    from tracker import unchanged
    from tracker.engine import Engine
    from tracker.errors import ReadingError
    from tracker.host import open_many_files
    from tracker.resolver import Resolver

    open_many_files()
    resolver = Resolver(settings.trusted, settings.state.directory)
    engine = Engine(settings, follow=True, resolver=resolver)
    try:
        engine.store.take_over(store)
        engine.start()
        while engine.step():
            pass
        engine.look_names_up()
        finish(engine)
        if troubles := engine.troubles():
            raise ReadingError("\n".join(troubles))
        unchanged.leave(config_file, engine, began)
    finally:
        engine.close()


@click.command()
@config_option
@quiet_option
def expire(config_file: Path, quiet: bool) -> None:
    """End grants that are over, in ledger and table, whoever should have done it.

    Reads no log. When nobody follows it, open sessions count as ended when it was last read. Run it
    every minute, and after `run` has ended: then a daemon that died opens nothing. Where the
    configuration is bad or the state cannot be read, what the table says is over ends all the same.
    """
    from tracker.engine import Engine
    from tracker.errors import ConfigError, StoreError
    from tracker.lastresort import salvaged
    from tracker.status import tell_expired

    log_to_stderr(quiet)
    try:
        settings = settings_of(config_file)
    except ConfigError:
        if config_file.exists():
            _end_by_table(*salvaged(config_file))
        raise
    try:
        engine = Engine(settings, follow=False)
        try:
            engine.start()
            tell_expired(settings.state.directory)
            finish(engine)
        finally:
            engine.close()
    except StoreError:
        _end_by_table(settings.tables, settings.postfix)
        raise


def _end_by_table(tables: TableSettings, postfix: PostfixSettings) -> None:
    """Where nothing is known but the table: what is over by its own numbers ends all the same."""
    from tracker.host import utc_now
    from tracker.lastresort import end_by_table

    for address in end_by_table(tables, postfix, utc_now().timestamp()):
        click.echo(f"popgate: {address}: ended, since the table says that it is over", err=True)

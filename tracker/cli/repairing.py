"""`popgate audit --verify --repair`: the tables brought in line by whoever follows the log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tracker.cli.common import finish, wake

if TYPE_CHECKING:
    from tracker.settings import Settings

_PATIENCE = 10.0


def put_right(settings: Settings) -> None:
    """Have a running popgate compare all tables now; where none runs, do as its start does.

    Raises a PopgateError.
    """
    from tracker.engine import Engine
    from tracker.resolver import Resolver
    from tracker.store import Store

    store = Store(settings.state.directory)
    try:
        if store.running() is not None:
            store.ask_for_check()
            wake(store)
            end = time.monotonic() + _PATIENCE
            while store.check_asked() and time.monotonic() < end:
                time.sleep(0.05)
            return
    finally:
        store.close()
    engine = Engine(
        settings, follow=True, resolver=Resolver(settings.trusted, settings.state.directory)
    )
    try:
        if engine.store.claim() is None:
            engine.start()
            finish(engine)
    finally:
        engine.close()

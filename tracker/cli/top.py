"""`popgate top`: the grants in force, live in a terminal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracker.cli.common import changing, config_option, settings_of

if TYPE_CHECKING:
    from tracker.deciding.board import Board, Order
    from tracker.records import Grant
    from tracker.settings import Settings
    from tracker.store import Store
    from tracker.terminal import Terminal

_EVERY = 1.0
"""Seconds between two pictures."""
_SHARE = 4
"""Of large states: looking at all grants may take one part in so many of the time."""


@click.command()
@config_option
def top(config_file: Path) -> None:
    """Show the grants in force with their time left, and what happens to them.

    q quits, ? tells the other keys. r revokes and + extends the selected grant, after a question.
    """
    import logging

    from tracker.errors import StoreError
    from tracker.store import Store
    from tracker.terminal import Terminal

    terminal = Terminal()
    settings = settings_of(config_file)
    directory = settings.state.directory
    if not (directory / "popgate.db").exists():
        raise StoreError(f"nothing in {directory} yet: run popgate")
    logging.getLogger("popgate").addHandler(logging.NullHandler())  # the screen is not for it
    store = Store(directory)
    try:
        with terminal:
            _show(terminal, settings, store)
    finally:
        store.close()
    if terminal.ended:
        raise click.exceptions.Exit(128 + terminal.ended)


def _show(terminal: Terminal, settings: Settings, store: Store) -> None:
    from tracker.deciding.board import Board
    from tracker.host import utc_now
    from tracker.writing.screen import lines

    board = Board()
    grants: list[Grant] | None = None
    look_at = 0.0
    keys: list[str] = []
    while not terminal.ended and _press(terminal, settings, board, keys):
        begun = time.monotonic()
        if begun >= look_at:
            if grants is None or store.changed_elsewhere():
                grants = list(store.grants())
            board.see(grants, utc_now())
            look_at = begun + max(_EVERY, (time.monotonic() - begun) * _SHARE)
        terminal.draw(lines(board, utc_now(), store.running(), terminal.size()))
        keys = terminal.keys(_EVERY)


def _press(terminal: Terminal, settings: Settings, board: Board, keys: list[str]) -> bool:
    """Keys that came at once; False when one of them ends it."""
    from tracker.host import utc_now

    for key in keys:
        if key == "q" and not board.typing and board.asked is None and not board.helping:
            return False
        order = board.press(key, utc_now(), terminal.console.height // 2)
        if order is not None:
            board.said = _carry_out(settings, order)
        if board.asked is not None:
            break  # what was pasted behind it is no answer
    return True


def _carry_out(settings: Settings, order: Order) -> str:
    """As `popgate revoke` and `popgate allow` do it; what became of it, on one line."""
    import contextlib
    import io

    from tracker.errors import PopgateError

    told, done = io.StringIO(), ""
    try:
        with contextlib.redirect_stderr(told), changing(settings) as engine:
            if order.what == "revoke":
                ended = engine.revoke(order.address, order.user)
                done = f"{len(ended)} grants ended" if len(ended) != 1 else "1 grant ended"
            elif order.user is not None:
                grant = engine.allow(order.address, order.user, order.length).grant
                done = f"{grant.address} may send until {grant.expires:%H:%M:%S} UTC"
    except PopgateError as error:
        return f"failed: {error}"
    return " ".join([done, *told.getvalue().split()])

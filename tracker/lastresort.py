"""Ending grants where configuration or state cannot be read: by the grant table's own numbers.

Each entry of the table says when it ends. A disk that was full, a state that is damaged, a daemon
that hangs and holds the lock, a mistake in the configuration: in none of these may an address relay
for ever. Nothing is added, nothing else is written; what the ledger knows of an entry that is
renewed or whose session is open is put back by the next popgate that can read it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

from tracker import config
from tracker.privileges import become_owner
from tracker.settings import PostfixSettings, TableSettings
from tracker.writing.parameters import GrantTableType
from tracker.writing.postfix import Postfix
from tracker.writing.publish import Publisher


def end_by_table(tables: TableSettings, postfix: PostfixSettings, now: float) -> list[str]:
    """End what is over at `now` (seconds since 1970); the addresses that were ended. Raises a
    PopgateError."""
    commands = Postfix(postfix)
    ended: list[str] = []
    # A configuration that cannot be read does not tell the type: whichever is there is asked.
    for kind in get_args(GrantTableType):
        publisher = Publisher(tables.directory, commands, kind, 0, opens=False)
        if not publisher.table.exists():
            continue
        publisher.prepare()
        ended += publisher.end_over(now)
        publisher.reload(0)
    return ended


def salvaged(file: Path) -> tuple[TableSettings, PostfixSettings]:
    """Where the tables are and which Postfix reads them, as far as a bad configuration tells; from
    here on the process is the owner of the tables where it was root."""
    sound, _ = config.as_far_as_sound(file)
    os.umask(0o077)
    become_owner(sound.tables.directory)
    return sound.tables, sound.postfix

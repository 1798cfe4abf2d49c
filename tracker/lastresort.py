"""Ending grants where configuration or state cannot be read: by the grant table's own numbers.

Each entry of the table says when it ends. A disk that was full, a state that is damaged, a daemon
that hangs and holds the lock, a mistake in the configuration: in none of these may an address relay
for ever. Nothing is added, nothing else is written; what the ledger knows of an entry that is
renewed or whose session is open is put back by the next popgate that can read it.
"""

from __future__ import annotations

import os
from pathlib import Path

from tracker import config
from tracker.privileges import become_owner
from tracker.settings import PostfixSettings, TableSettings
from tracker.writing.postfix import Postfix
from tracker.writing.publish import Publisher, table_type


def end_by_table(tables: TableSettings, postfix: PostfixSettings, now: float) -> list[str]:
    """End what is over at `now` (seconds since 1970); the addresses that were ended. Raises a
    PopgateError."""
    commands = Postfix(postfix)
    kind = table_type(postfix, commands)
    publisher = Publisher(tables.directory, commands, kind, 0, opens=False)
    publisher.prepare()
    ended = publisher.end_over(now)
    publisher.reload(0)
    return ended


def salvaged(file: Path) -> tuple[TableSettings, PostfixSettings]:
    """Where the tables are and which Postfix reads them, as far as a bad configuration tells; from
    here on the process is the owner of the tables where it was root."""
    sections = config.salvage(file)
    directory = sections.get("tables", {}).get("directory")
    tables = TableSettings(Path(directory)) if isinstance(directory, str) else TableSettings()
    commands = [
        sections.get("postfix", {}).get(f"{kind}_directory") for kind in ("config", "command")
    ]
    config_directory, command_directory = (
        word if isinstance(word, str) else "" for word in commands
    )
    os.umask(0o077)
    become_owner(tables.directory)
    return tables, PostfixSettings(
        config_directory=config_directory, command_directory=command_directory
    )

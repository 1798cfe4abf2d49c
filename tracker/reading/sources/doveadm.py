"""`doveadm who`: the mail sessions that Dovecot itself says are open, as a check on the log.

The line that ends a session can be lost: a mail process that is killed writes none. Where doveadm
can be run (as root, or as a user whom Dovecot lets into its anvil socket), what it lists no more
has ended. Columns as in doveadm-who(1) of 2.3 and 2.4.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from tracker.addresses import canonical
from tracker.errors import ReadingError


async def who(command: Sequence[str], timeout: float) -> frozenset[tuple[str, str]]:
    """The user and the address of every open session, as `command` lists them.

    Raises ReadingError where nobody can tell.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise ReadingError(f"{command[0]} cannot be run: {error.strerror}") from error
    try:
        output, said = await asyncio.wait_for(process.communicate(), timeout)
    except TimeoutError as error:
        raise ReadingError(f"{command[0]} takes longer than {timeout:g} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        words = said.decode(errors="backslashreplace").strip().splitlines()
        raise ReadingError(f"{command[0]}: {words[-1] if words else process.returncode}")
    return parse(output.decode(errors="backslashreplace"))


def parse(table: str) -> frozenset[tuple[str, str]]:
    """User and address from doveadm's table. Raises ReadingError when it is another table."""
    head, *rows = table.splitlines() or [""]
    columns = head.split("\t")
    if "username" not in columns or "ip" not in columns:
        raise ReadingError(f"doveadm who: no columns username and ip in {head!r}")
    user, address = columns.index("username"), columns.index("ip")
    found: set[tuple[str, str]] = set()
    for row in rows:
        values = row.split("\t")
        if len(values) == len(columns) and (known := canonical(values[address])):
            found.add((values[user], known))
    return frozenset(found)

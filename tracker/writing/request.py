"""Asking root for a reload of Postfix, by a file that `popgate-reload.path` waits for.

The daemon reads what strangers can write, so it is never root. All that root learns from it is that
the file is there: root removes it first and reloads then, so a request that comes meanwhile is
answered by a reload of its own. A request that nobody took stays, and is answered by the path unit
when it is started.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from tracker.errors import PostfixError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PATIENCE = 3.0
"""Seconds in which systemd should have taken the file: it takes some hundredths of one."""


def ask(request: Path) -> None:
    """Ask for a reload, and see that it was heard. Raises PostfixError that says what to do."""
    if not request.parent.is_dir():
        raise PostfixError("only root may reload Postfix: run `postfix reload` as root")
    try:
        os.close(os.open(request, _NEW, 0o600))
    except OSError as error:
        raise PostfixError(
            f"{request}: Postfix is not reloaded, the request cannot be made: {error.strerror}"
        ) from error
    end = time.monotonic() + _PATIENCE
    while request.exists():
        if time.monotonic() > end:
            raise PostfixError(
                f"{request}: nobody took the request to reload Postfix within {_PATIENCE:g} s: "
                "run `systemctl enable --now popgate-reload.path` as root"
            )
        time.sleep(0.01)

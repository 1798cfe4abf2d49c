"""What systemd is told of the service: sd_notify(3). Where it started nothing, nobody is told.

`WATCHDOG=1` says that the service is alive; when it does not come within `WatchdogSec=`, systemd
kills the service and starts it anew.
"""

from __future__ import annotations

import contextlib
import os
import socket


def tell(state: str) -> None:
    """Send a state such as `READY=1`. What cannot be sent is lost."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel,
            contextlib.suppress(OSError),
        ):
            channel.connect(address.replace("@", "\0", 1))
            channel.send(state.encode())


def watchdog_interval() -> float | None:
    """Seconds within which `WATCHDOG=1` should come, half of what systemd waits, as
    sd_watchdog_enabled(3) advises; None when it does not watch this process."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    if not microseconds.isdigit() or microseconds == "0":
        return None
    return int(microseconds) / 2_000_000

"""What the host tells about itself and allows: clock, its name, its addresses, open files; and what
it is told: systemd's notifications."""

from __future__ import annotations

import os
import resource
import socket
from contextlib import suppress
from datetime import UTC, datetime

import ifaddr

from tracker.addresses import canonical


def utc_now() -> datetime:
    """The moment, aware."""
    return datetime.now(UTC)


def own_addresses() -> list[str]:
    """The addresses of this host's interfaces."""
    found = (
        canonical(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    )
    return sorted({address for address in found if address is not None})


def open_many_files() -> None:
    """Allow this process as many open files as it may have: a log that was rotated a thousand times
    is opened as a whole. The usual 1024 is for programs that use select(2)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def host_name() -> str:
    """This host's name as syslog writes it, without a domain."""
    return socket.gethostname().partition(".")[0]


def notify(state: str) -> None:
    """Tell systemd, where it started us: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel,
            suppress(OSError),
        ):
            channel.connect(address.replace("@", "\0", 1))
            channel.send(state.encode())

"""What the host tells about itself: the clock, and the addresses of its interfaces."""

from __future__ import annotations

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

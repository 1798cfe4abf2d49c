"""[trusted]: the trusted list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from tracker.settings.duration import Duration


class TrustedSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The trusted list."""

    file: Annotated[
        Path,
        Meta(
            description="Addresses that may always relay: one a line, the first that matches "
            "counts, ! takes out. A missing file is an empty list."
        ),
    ] = Path("/etc/popgate/trusted.txt")
    stale: Annotated[
        Duration,
        Meta(
            description="How long the addresses of a host name stay trusted after their TTL while "
            "DNS does not answer. Between 0 and 30d."
        ),
    ] = Duration(hours=24)
    nameservers: Annotated[
        tuple[str, ...],
        Meta(
            description='Servers to ask for host names, such as "192.0.2.53", "127.0.0.1:5353", '
            '"[::1]:53". Empty: those of /etc/resolv.conf. Who answers for a name decides who '
            "relays: name servers on a network that you trust."
        ),
    ] = ()
    timeout: Annotated[
        Duration,
        Meta(
            description="A question to DNS is given up after this time, and asked again later. "
            "Between 100ms and 1m."
        ),
    ] = Duration(seconds=5)
    private_names: Annotated[
        bool,
        Meta(
            description="Host names may stand for private addresses (10.0.0.0/8 and the like), as "
            "in an office's own DNS. Loopback, link-local and multicast addresses never count."
        ),
    ] = False

"""Networks and addresses behind which many clients may stand: container bridges, the next router.

A proxy of containers or a router that rewrites addresses is seen as the client by Dovecot and by
Postfix; a grant for it would open the relay to everyone behind it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from tracker.deciding.kinds import kind_of
from tracker.deciding.spans import network
from tracker.host import interfaces
from tracker.surveyed import Gateway

_BRIDGES = re.compile(
    r"docker[0-9]+|docker_gwbridge|br-[0-9a-f]{12}|podman[0-9]+|cni[0-9]+|cni-podman[0-9]+"
)
"""Interfaces of Docker (its own, and those of `docker network create`), Podman and CNI."""


def gateways(proc: Path) -> Iterator[Gateway]:
    """Those of this host, with private addresses; each once."""
    seen: set[str] = set()
    for one in (*_bridges(interfaces()), *_routers(proc / "net/route")):
        if one.network not in seen and kind_of(network(one.network)) == "private":
            seen.add(one.network)
            yield one


def _bridges(found: dict[str, list[str]]) -> Iterator[Gateway]:
    for name, networks in sorted(found.items()):
        if _BRIDGES.fullmatch(name):
            yield from (Gateway(one, f"the container bridge {name}") for one in networks)


def _routers(file: Path) -> Iterator[Gateway]:
    """Default routes of IPv4, as the kernel lists them: hexadecimal, in the host's order of bytes.
    Those of IPv6 lead to link-local addresses, which earn no grant anyhow."""
    try:
        rows = [line.split() for line in file.read_text(encoding="ascii").splitlines()[1:]]
    except OSError:
        return
    for row in rows:
        if len(row) > 7 and row[1] == row[7] == "00000000" and row[2] != "00000000":
            address = socket.inet_ntoa(int(row[2], 16).to_bytes(4, sys.byteorder))
            yield Gateway(f"{ipaddress.IPv4Address(address)}/32", f"the default route, {file}")

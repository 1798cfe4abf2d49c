"""Who earns a grant, on what address and for how long; pure.

`refusal` answers with a reason, never with a bare no: the reason is what an admin reads.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache

from tracker.addresses import IPNetwork, network, subject
from tracker.records import Login
from tracker.settings import GrantSettings

_KINDS: dict[str, tuple[str, ...]] = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    # RFC 1918, RFC 6598 (shared by carriers), RFC 4193
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
}
_NOBODY = ("0.0.0.0/8", "224.0.0.0/3", "::/128", "ff00::/8")
"""Unspecified, multicast and reserved: no client has such an address."""


class GrantPolicy:
    """The settings of grants, made ready to be asked for each login."""

    def __init__(self, settings: GrantSettings, own: Iterable[str] = ()) -> None:
        """`own`: the host's own addresses, which `refuse = ["own"]` means."""
        self.window: timedelta = settings.window
        self.max_session: timedelta = settings.max_session
        self.while_connected = settings.while_connected
        self._services = frozenset(settings.services)
        self._users = _globs(settings.users)
        self._exclude_users = _globs(settings.exclude_users)
        self._prefix = settings.ipv6_prefix
        self._networks: list[tuple[IPNetwork, str]] = [
            (network(text), "no client has such an address") for text in _NOBODY
        ]
        for kind in settings.refuse:
            own_or_known = own if kind == "own" else _KINDS[kind]
            self._networks += [(network(text), f"{kind} address") for text in own_or_known]
        self._networks += [
            (network(text), f"in {text} of grants.exclude_networks")
            for text in settings.exclude_networks
        ]
        self.refused_address = lru_cache(maxsize=65536)(self._refused_address)

    def refusal(self, login: Login) -> str | None:
        """Why this login earns no grant, or None when it does."""
        if not self.window:
            return "grants.window is 0"
        if login.service not in self._services:
            return f"service {login.service} is not in grants.services"
        if login.address is None:
            return "the line has no address"
        user = login.user or ""
        if not self._users.fullmatch(user):
            return f"user {user} is not in grants.users"
        if self._exclude_users.fullmatch(user):
            return f"user {user} is in grants.exclude_users"
        return self.refused_address(login.address)

    def _refused_address(self, address: str) -> str | None:
        one = ipaddress.ip_address(address)
        for net, why in self._networks:
            if one.version == net.version and one in net:
                return why
        return None

    def subject(self, address: str) -> str:
        """What a grant for that address is written for: itself, or its IPv6 network."""
        return subject(address, self._prefix)


def _globs(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all patterns, in any case; for none it matches nothing."""
    if not patterns:
        return re.compile(r"(?!)")
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns), re.IGNORECASE)

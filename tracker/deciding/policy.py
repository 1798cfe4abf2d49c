"""Who earns a grant, on what address and for how long; pure.

`refusal` answers with a reason, never with a bare no: the reason is what an admin reads.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import socket
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import lru_cache

from tracker import __version__
from tracker.addresses import network, subject
from tracker.deciding.kinds import KINDS, NOBODY
from tracker.records import Login
from tracker.settings import GrantSettings, LimitName


class GrantPolicy:
    """The settings of grants, made ready to be asked for each login."""

    def __init__(
        self,
        settings: GrantSettings,
        own: Iterable[str] = (),
        forgeable: Mapping[str, str] | None = None,
    ) -> None:
        """`own`: the host's own addresses, which `refuse = ["own"]` means. `forgeable`: log formats
        whose logins anyone could have made up and that the admin does not accept, and why."""
        own = sorted(own)
        self._forgeable = dict(forgeable or {})
        self.terms = (
            _number(__version__, settings, own),
            _number(sorted(self._forgeable.items())),
        )
        """Numbers that are others where this policy may decide otherwise: on what everybody knows
        of it, and on what only those know who read the log."""
        self.window: timedelta = settings.window
        self.max_session: timedelta = settings.max_session
        self.while_connected = settings.while_connected
        self.max_grants = settings.max_grants
        self.max_users_per_address = settings.max_users_per_address
        self.max_grants_per_user = settings.max_grants_per_user
        self._refuse_beyond = frozenset({"max_grants", *settings.refuse_beyond})
        self._services = frozenset(settings.services)
        self._users = _globs(settings.users)
        self._exclude_users = _globs(settings.exclude_users)
        self._prefix = settings.ipv6_prefix
        refused = [(text, "no client has such an address") for text in NOBODY]
        for kind in settings.refuse:
            networks = own if kind == "own" else KINDS[kind]
            refused += [(text, f"{kind} address") for text in networks]
        refused += [
            (text, f"in {text} of grants.exclude_networks") for text in settings.exclude_networks
        ]
        self._refused = [(*_span(text), why) for text, why in refused]
        self._excluded = [(text, *_span(text)) for text in settings.exclude_networks]
        self.refused_address = lru_cache(maxsize=65536)(self._refused_address)

    def refusal(self, login: Login) -> str | None:
        """Why this login earns no grant, or None when it does."""
        if not self.window:
            return "grants.window is 0"
        if login.service not in self._services:
            return f"service {login.service} is not in grants.services"
        if login.address is None:
            return "the line has no address"
        if why := self._forgeable.get(login.format):
            return f"{login.format}: {why}; log.accept_forgeable takes such logins"
        return self._refused_user(login.user or "") or self.refused_address(login.address)

    def _refused_user(self, user: str) -> str | None:
        if not self._users.fullmatch(user):
            return f"user {user} is not in grants.users"
        if self._exclude_users.fullmatch(user):
            return f"user {user} is in grants.exclude_users"
        return None

    def _refused_address(self, address: str) -> str | None:
        packed = _packed(address)
        for first, last, why in self._refused:
            # Bytes of one length compare as the numbers they stand for.
            if len(first) == len(packed) and first <= packed <= last:
                return why
        subject = self.subject(address)
        return self._holds_excluded(subject) if subject != address else None

    def _holds_excluded(self, network: str) -> str | None:
        """Why a whole network earns no grant: an address in it must not."""
        begin, end = _span(network)
        for text, first, last in self._excluded:
            if len(first) == len(begin) and first <= end and begin <= last:
                return f"{network} (grants.ipv6_prefix) holds {text} of grants.exclude_networks"
        return None

    def refuses(self, limit: LimitName) -> bool:
        """Whether a grant beyond that limit is not made; else it is told of alone."""
        return limit in self._refuse_beyond

    def subject(self, address: str) -> str:
        """What a grant for that address is written for: itself, or its IPv6 network."""
        return subject(address, self._prefix)


def _number(*facts: object) -> int:
    digest = hashlib.blake2b(repr(facts).encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest, "big")


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _span(text: str) -> tuple[bytes, bytes]:
    """The first and the last address of a network."""
    net = network(text)
    return net.network_address.packed, net.broadcast_address.packed


def _globs(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all patterns, in any case; for none it matches nothing."""
    if not patterns:
        return re.compile(r"(?!)")
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns), re.IGNORECASE)

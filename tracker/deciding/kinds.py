"""Kinds of addresses that stand for no single client of the internet; pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from tracker.deciding.spans import Span, network

KINDS: Mapping[str, tuple[str, ...]] = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    # RFC 1918, RFC 6598 (shared by carriers), RFC 4193
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
}
NOBODY = ("0.0.0.0/8", "224.0.0.0/3", "::/128", "ff00::/8")
"""Unspecified, multicast and reserved: no client has such an address."""


@cache
def spans_of(kind: str) -> tuple[Span, ...]:
    """The addresses of a kind; of `nobody` too."""
    return tuple(network(net) for net in (NOBODY if kind == "nobody" else KINDS[kind]))


def kind_of(span: Span) -> str | None:
    """The kind that all addresses of a span are of; None when they are of none."""
    for kind in ("nobody", *KINDS):
        for held in spans_of(kind):
            if held.version == span.version and held.first <= span.first and span.last <= held.last:
                return kind
    return None

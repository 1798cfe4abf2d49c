"""Sets of nftables: the trusted list as intervals, grants as elements that the kernel ends itself.

An element's timeout is the rest of its grant, so nothing needs to be running for it to end. A
renewed grant is told to the kernel when its element has no more than `_MARGIN` left; what comes,
goes or ends sooner, at once. Every change is one transaction. The sets are looked at every `_LOOK`
seconds: a firewall that is loaded anew (`flush ruleset`) has lost them. What failed is tried again
after that time.

Facts (nft 1.0.6, Linux 6): rules can name only sets of their own table. Text for `nft -f` may have
add, delete and add of the same element in one transaction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tracker.errors import ExportError
from tracker.records import Table
from tracker.settings import ExportSettings
from tracker.writing.commands import run
from tracker.writing.templates import fill

_MARGIN = 150.0
"""Seconds: more than two of the longest `log.poll_interval`."""

_LOOK = 60.0


def sets_text(settings: ExportSettings, trusted: Sequence[str], ipv6_prefix: int) -> Table:
    """`nftables/sets.nft`: the sets, and all that stands in those of the trusted list."""
    timed = "timeout" if ipv6_prefix == 128 else "interval, timeout"
    asked = trusted if "trusted" in settings.nftables else ()
    text = fill(
        "nftables.sets.nft.j2",
        table=settings.nft_table,
        sets=[
            ("popgate_trusted4", "ipv4_addr", "interval"),
            ("popgate_trusted6", "ipv6_addr", "interval"),
            ("popgate_granted4", "ipv4_addr", "timeout"),
            ("popgate_granted6", "ipv6_addr", timed),
        ],
        trusted=[
            ("popgate_trusted4", [address for address in asked if ":" not in address]),
            ("popgate_trusted6", [address for address in asked if ":" in address]),
        ],
    )
    return Table("nftables/sets.nft", "text", text)


class Nftables:
    """The sets of one table, and what the kernel has of them."""

    def __init__(self, settings: ExportSettings) -> None:
        self._table = settings.nft_table
        self._command = settings.nft_command
        self._sets: str | None = None
        self._ends: dict[str, float] | None = None
        self._look_at = 0.0
        self._renew_at = math.inf
        self._retry_at = -math.inf

    def put(self, sets: str, granted: Mapping[str, int], now: float, at: float) -> None:
        """Bring the kernel's sets in line. `sets`: the text of `sets_text`; `granted`: when each
        grant ends; `now`: seconds since 1970; `at`: monotonic seconds. Raises ExportError."""
        if at < self._retry_at:
            return
        self._retry_at = at + _LOOK  # if this fails
        if self._ends is None or at >= self._look_at:
            self._ends = self._read(now)
            self._look_at = at + _LOOK
        whole = self._ends is None or sets != self._sets
        had = self._ends or {}
        gone = [address for address, end in had.items() if address not in granted and end > now]
        come = {key: end for key, end in granted.items() if _due(had.get(key), end, now)}
        if whole or gone or come:
            self._ends = None  # until it is known to be done
            run([*self._command, "-f", "-"], (sets if whole else "") + self._text(gone, come, now))
            self._sets = sets
        left = {key: end for key, end in had.items() if key in granted and end > now}
        self._ends = {**left, **come}
        late = (end for key, end in self._ends.items() if granted[key] > end + 1)
        self._renew_at = min(late, default=math.inf) - _MARGIN
        self._retry_at = at

    def due(self, now: float, at: float) -> bool:
        """Whether the sets should be looked at, or an element would end before its grant."""
        wants = self._ends is None or at >= self._look_at or now >= self._renew_at
        return wants and at >= self._retry_at

    def _text(self, gone: Iterable[str], come: Mapping[str, int], now: float) -> str:
        changes = [
            *((_set_of(address), address, None) for address in sorted(gone)),
            *((_set_of(key), key, math.ceil(end - now)) for key, end in sorted(come.items())),
        ]
        return fill("nftables.granted.nft.j2", table=self._table, changes=changes)

    def _read(self, now: float) -> dict[str, float] | None:
        """When each element ends; None when a set is missing."""
        try:
            listing = run([*self._command, "-j", "list", "table", *self._table.split()])
        except ExportError as error:
            if "No such file or directory" in str(error):
                return None
            raise
        ends: dict[str, float] = {}
        found = 0
        for item in msgspec.json.decode(listing)["nftables"]:
            name = item.get("set", {}).get("name", "")
            found += name.startswith("popgate_")
            if name.startswith("popgate_granted"):
                for element in item["set"].get("elem", ()):
                    address, left = _element(element)
                    ends[address] = now + left
        return ends if found == 4 else None


def _due(had: float | None, end: float, now: float) -> bool:
    """Whether the kernel must be told that a grant ends then. It counts whole seconds."""
    if end <= now:
        return False
    if had is None or had <= now or end < had - 1:
        return True
    return end > had + 1 and had <= now + _MARGIN


def _element(element: Any) -> tuple[str, float]:
    """An element as `nft -j` lists it: the address or network, and the seconds it has left."""
    if isinstance(element, dict) and "elem" in element:
        address, _ = _element(element["elem"]["val"])
        return address, float(element["elem"].get("expires", math.inf))
    if isinstance(element, dict) and "prefix" in element:
        return f"{element['prefix']['addr']}/{element['prefix']['len']}", math.inf
    return str(element), math.inf


def _set_of(address: str) -> str:
    return "popgate_granted6" if ":" in address else "popgate_granted4"

"""The report as one HTML page: rows in, text out; the same rows give the same text.

The page loads nothing and runs nothing. Its Content-Security-Policy allows the one style sheet that
is in it, by its hash, so that a fault in escaping could still run no script and fetch nothing.
Every value is escaped by the template; words of clients are made printable first.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup, escape

from tracker.deciding.views import Page, View
from tracker.texts import printable, visible
from tracker.writing import charts
from tracker.writing.templates import fill

_LONGEST_NAME = 80
_LONGEST_LINE = 400
_LONGEST_UNBROKEN = 18
_LONG_AGO = timedelta(days=300)
"""From then on a date has its year."""
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_SEVERITIES = ("error", "warning")


def html(page: Page) -> str:
    """The page."""
    view = page.view
    style = fill("report.css")
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    found = {one.severity for one in page.findings or ()}
    logins = max((row.logins for row in view.top_users), default=0)
    most = max((row.logins for row in view.top_addresses), default=0)
    users = max((len(row.users) for row in view.shared), default=0)
    return fill(
        "report.html.j2",
        FILTERS,
        page=page,
        view=view,
        style=Markup(style),  # a file of ours
        long_ago=_LONG_AGO,
        style_hash=f"sha256-{digest}",
        worst=next((one for one in _SEVERITIES if one in found), ""),
        charts=_charts(view),
        axis=charts.axis(view.since, view.now),
        strips=[(row, charts.strip(row.stretches, view.since, view.now)) for row in view.strips],
        top_users=[(row, charts.share(row.logins, logins)) for row in view.top_users],
        top_addresses=[(row, charts.share(row.logins, most)) for row in view.top_addresses],
        shared=[(row, charts.share(len(row.users), users)) for row in view.shared],
    )


def _charts(view: View) -> list[dict[str, Any]]:
    """Small ones of the same scale of time; those of which there is nothing are left out."""
    wanted = [
        ("logins", "Logins", "accepted logins", view.logins, True),
        ("failed", "Failed logins", "refused passwords", view.failed, bool(view.failed)),
        ("grants", "Grants earned", "grants that began", view.earned, True),
        ("refused", "Refused by Postfix", "refusals", view.refused, view.postfix is not None),
    ]
    return [
        {
            "name": name,
            "title": title,
            "about": what,
            "total": total,
            "drawn": charts.columns(
                name,
                f"{title}, for each {step_of(view.step)}",
                _in_words(what, [(bar.start, getattr(bar, name)) for bar in view.bars]),
                [(bar.start, getattr(bar, name)) for bar in view.bars],
                view.step,
            ),
        }
        for name, title, what, total, shown in wanted
        if shown
    ]


def _in_words(what: str, bars: list[tuple[datetime, int]]) -> str:
    """What a chart shows, for who cannot see it."""
    total = sum(count for _, count in bars)
    if not total:
        return f"No {what} in this time."
    start, most = max(bars, key=lambda bar: (bar[1], bar[0]))
    return (
        f"{total:,} {what} in all; the most, {most:,}, from {clock(start)} UTC. The table below "
        "has every number."
    )


def clock(time: datetime) -> str:
    """24 Nov 2026 16:38, in UTC."""
    return f"{time.astimezone(UTC):%-d %b %Y %H:%M}"


def length_of(length: timedelta) -> str:
    """A time in its two largest units: 2 d 3 h, 29 min, 45 s; nothing below zero."""
    left = max(int(length.total_seconds()), 0)
    for place, (unit, seconds) in enumerate(_UNITS):
        if left >= seconds:
            count, rest = divmod(left, seconds)
            text = f"{count} {unit}"
            if place < 2 and (smaller := rest // _UNITS[place + 1][1]):
                text += f" {smaller} {_UNITS[place + 1][0]}"
            return text
    return "0 s"


def step_of(step: timedelta) -> str:
    """hour, 6 hours, day."""
    hours = step // timedelta(hours=1)
    return {1: "hour", 24: "day"}.get(hours, f"{hours} hours")


def size_of(length: int) -> str:
    """Bytes in the largest unit that fits, kB being 1,000."""
    for unit, factor in (("MB", 10**6), ("kB", 10**3)):
        if length >= factor:
            return f"{length / factor:.1f} {unit}"
    return f"{length} B"


def _shown(name: str) -> Markup:
    """A client's word: printable, on one line, and not longer than a table can bear. It is best
    broken before the @, where it has to be."""
    safe = printable(name)
    cut = safe if len(safe) <= _LONGEST_NAME else f"{safe[: _LONGEST_NAME - 1]}…"
    return escape(cut).replace("@", Markup("<wbr>@"))


def _address(text: str) -> Markup:
    """An address that may be broken behind a colon, where it is too long for a screen."""
    wide = len(text) > _LONGEST_UNBROKEN
    return escape(text).replace(":", Markup(":<wbr>")) if wide else escape(text)


FILTERS: Mapping[str, Callable[[Any], str]] = {
    "shown": _shown,
    "line": lambda text: visible(text, _LONGEST_LINE),
    "number": lambda count: f"{count:,}",
    "iso": lambda time: time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "clock": clock,
    "short": lambda time: f"{time.astimezone(UTC):%-d %b %H:%M}",
    "address": _address,
    "length_of": length_of,
    "step_of": step_of,
    "bytes": size_of,
}
"""What the template shows values with."""

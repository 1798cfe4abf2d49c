"""The report's charts as inline SVG, made by svg.py; styled by the page's own style sheet.

All places along the time axis are in percent and there is no viewBox: a chart takes the width that
it is given, and its text stays as large as the page's. svg.py escapes nothing: no word of a client
may come here, and what text there is goes through `_text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import svg
from markupsafe import Markup, escape

_HEIGHT = 132
_TOP, _BOTTOM = 18, 22
_FLOOR = _HEIGHT - _BOTTOM
_STRIP = 14
_LEAST = 0.25
"""Percent of the width that anything takes at least, so that it can be seen."""
_GAP = 0.3
"""Percent of the width between two stretches, so that one strip cannot hold thousands."""
_DAY = timedelta(days=1)
_MOST_TICKS = 8
_MINOR_FROM = 5


def columns(
    name: str,
    title: str,
    about: str,
    bars: Sequence[tuple[datetime, int]],
    step: timedelta,
) -> Markup:
    """A column for each (start, count); `name` is its class and makes its ids."""
    top = nice(max((count for _, count in bars), default=0))
    width = 100 / max(len(bars), 1)
    begin, end = bars[0][0], bars[-1][0] + step
    drawn: list[svg.Element] = [
        svg.Title(id=f"{name}-title", text=_text(title)),
        svg.Desc(id=f"{name}-about", text=_text(about)),
        *_grid(top),
    ]
    for place, (start, count) in enumerate(bars):
        if count:
            height = max(1.5, round(count / top * (_FLOOR - _TOP), 1))
            drawn.append(
                svg.Rect(
                    class_=["column"],
                    x=_percent(place * width + width * 0.1),
                    y=_FLOOR - height,
                    width=_percent(max(width * 0.8, _LEAST)),
                    height=height,
                    elements=[svg.Title(text=_text(f"{start:%a %-d %b %H:%M}: {count:,}"))],
                )
            )
    drawn += _axis(begin, end)
    return _drawn(
        drawn,
        _HEIGHT,
        ["chart", name],
        {"role": "img", "aria-labelledby": f"{name}-title", "aria-describedby": f"{name}-about"},
    )


def strip(stretches: Sequence[tuple[datetime, datetime]], since: datetime, now: datetime) -> Markup:
    """When something was so, between `since` and `now`. The row's own cells tell it in words.
    Stretches too near to each other to be told apart are drawn as one."""
    drawn: list[svg.Element] = [
        svg.Rect(class_=["track"], x=0, y=6, width=svg.Length(100, "%"), height=2)
    ]
    for left, right in _apart(
        (_place(begin, since, now), _place(end, since, now)) for begin, end in stretches
    ):
        wide = max(right - left, _LEAST)
        drawn.append(
            svg.Rect(
                class_=["stretch"],
                x=_percent(min(left, 100 - wide)),
                y=2,
                width=_percent(wide),
                height=10,
            )
        )
    return _drawn(drawn, _STRIP, ["strip"], {"aria-hidden": "true"})


def _apart(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The spans, joined where less than `_GAP` lies between them."""
    found: list[tuple[float, float]] = []
    for left, right in spans:
        if found and left - found[-1][1] < _GAP:
            found[-1] = (found[-1][0], max(right, found[-1][1]))
        else:
            found.append((left, right))
    return found


def axis(since: datetime, now: datetime) -> Markup:
    """The days above the strips."""
    return _drawn(_axis(since, now, floor=4), 22, ["axis"], {"aria-hidden": "true"})


def share(part: float, whole: float) -> Markup:
    """A bar as long as the part is of the whole; the number stands beside it."""
    wide = max(100 * part / whole, 1.0) if part and whole else 0.0
    drawn: list[svg.Element] = [
        svg.Rect(class_=["share"], x=0, y=1, width=_percent(wide), height=6, rx=1.5)
    ]
    return _drawn(drawn, 8, ["bar"], {"aria-hidden": "true"})


def nice(count: int) -> int:
    """The round number at the top of a scale that is not below the count, with a whole half."""
    unit = 1
    while True:
        for step in (2, 4, 6, 8, 10, 12, 16):
            if unit * step >= count:
                return unit * step
        unit *= 10


def _grid(top: int) -> Iterator[svg.Element]:
    """Lines at the top, the half and the floor, with their numbers."""
    for part in (top, top // 2, 0):
        y = _FLOOR - part / top * (_FLOOR - _TOP)
        yield svg.Line(
            class_=["grid" if part else "floor"], x1=0, x2=svg.Length(100, "%"), y1=y, y2=y
        )
        if part:
            yield svg.Text(class_=["tick"], x=0, y=y - 4, text=_text(f"{part:,}"))


def _axis(begin: datetime, end: datetime, floor: float = _FLOOR) -> list[svg.Element]:
    """A mark and a word for each day, or for some hours of the one."""
    drawn: list[svg.Element] = []
    ticks = list(_ticks(begin, end))
    for place, (moment, word) in enumerate(ticks):
        at = _place(moment, begin, end)
        # On a narrow screen only some of the words stay.
        kinds = ["moment"]
        if len(ticks) > _MINOR_FROM and place % 4:
            kinds.append("minor" if place % 2 else "sparse")
        drawn.append(
            svg.Line(class_=["mark"], x1=_percent(at), x2=_percent(at), y1=floor, y2=floor + 4)
        )
        if 2 < at < 98:
            drawn.append(svg.Text(class_=kinds, x=_percent(at), y=floor + 16, text=_text(word)))
    return drawn


def _ticks(begin: datetime, end: datetime) -> Iterator[tuple[datetime, str]]:
    days = (end - begin) / _DAY
    if days <= 2:
        step, form = timedelta(hours=6 if days > 1 else 3), "%H:%M"
    else:
        step, form = _DAY * max(1, round(days / _MOST_TICKS)), "%-d %b"
    moment = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    while moment < end:
        if moment >= begin:
            yield moment, moment.strftime(form)
        moment += step


def _place(moment: datetime, begin: datetime, end: datetime) -> float:
    return min(max(100 * ((moment - begin) / (end - begin)), 0.0), 100.0)


def _percent(value: float) -> svg.Length:
    return svg.Length(round(value, 3), "%")


def _text(text: str) -> str:
    return str(escape(text))


def _drawn(
    elements: list[svg.Element], height: int, kinds: list[str], extra: dict[str, str]
) -> Markup:
    made = svg.SVG(
        xmlns=None,
        width=svg.Length(100, "%"),
        height=height,
        class_=kinds,
        extra={**extra, "focusable": "false"},
        elements=elements,
    )
    return Markup(made.as_str())  # numbers of ours, and text that is escaped

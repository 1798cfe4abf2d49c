"""The screen of `popgate top`: a board to lines that fit a terminal of any size.

Words of clients are made printable first, and cut to their column as a terminal counts cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from rich.cells import set_cell_size
from rich.text import Text

from tracker.deciding.board import Board, Order
from tracker.records import Grant
from tracker.texts import printable, visible

_LEAST_ROWS = 3
_EVENT_LINES = 5
_SMALL = 16
"""Lines of a terminal below which no events are shown."""
_MARKS = {"added": ("+", "green"), "renewed": ("~", "cyan"), "removed": ("-", "red")}
_SOON = timedelta(minutes=2)
_KEYS = "q quit  ↑↓ move  s sort  S turn  / filter  r R revoke  + extend  ? help"
_HELP = (
    "q            quit",
    "up down j k  select a grant; PgUp PgDn Home End too",
    "s            sort by time left, last login, address, user; S turns the order",
    "/            filter by a part of address or user; Esc takes it away",
    "r            revoke the selected grant, after a question",
    "R            revoke all grants of its address, after a question",
    "+            let it end 30 minutes later, after a question",
    "",
    "A grant that is revoked comes back with the next login.",
    "Any key closes this.",
)


def lines(board: Board, now: datetime, running: int | None, size: tuple[int, int]) -> Text:
    """The whole screen. `running`: the pid of the popgate that follows the log; None: none does.
    `size`: columns and lines."""
    width, height = size
    body = height - 4  # two lines above, the columns' names, the keys
    if board.helping:
        shown = [Text(f"  {line}") for line in _HELP[:body]]
        shown += [Text()] * (body + 1 - len(shown))
    else:
        events = _EVENT_LINES if height >= _SMALL else 0
        rows = max(body - (events + 1 if events else 0), _LEAST_ROWS)
        shown = [*_grants(board, now, width, rows)]
        if events:
            shown += _events(board, width, events)
    every = [*_head(board, now, running), *shown, _foot(board, now)]
    return Text("\n").join(_cut(line, width) for line in every[:height])


def _head(board: Board, now: datetime, running: int | None) -> Iterator[Text]:
    first = Text("popgate top", style="bold")
    first.append(f"  {now:%H:%M:%S} UTC  ", style="not bold")
    if running is None:
        first.append("nobody follows the log: popgate run is not at work", style="bold red")
    else:
        first.append(f"popgate run is at work, pid {running}", style="not bold green")
    yield first
    rate = board.rate(now)
    grants = board.all
    parts = [
        f"{board.addresses:,} address{'es' * (board.addresses != 1)}",
        f"{len(grants):,} grant{'s' * (len(grants) != 1)}",
        f"{rate:.1f} logins/min" if rate is not None else "- logins/min",
        f"by {board.sort}{', turned' if board.backwards else ''}",
    ]
    second = Text("  ".join(parts))
    if board.filter or board.typing:
        second.append(f"  filter: {printable(board.filter)}", style="yellow")
    yield second


def _grants(board: Board, now: datetime, width: int, height: int) -> Iterator[Text]:
    rows = board.rows()
    first, end = board.window(rows, height)
    shown = rows[first:end]
    wide = min(max((len(one.address) for one in shown), default=7), max(width - 46, 15), 43)
    wide = max(wide, 7)
    user = max(width - wide - 34, 8)
    names = f"{'LEFT':>8}  {'ADDRESS':{wide}}  {'USER':{user}}  {'LAST':8}  {'BY':9}"
    yield Text(names.ljust(width), style="reverse")
    selected = board.selected(rows)
    for place, one in enumerate(shown, first):
        yield _row(one, now, wide, user, selected=place == selected, width=width)
    if not rows:
        yield Text("  no grant matches the filter" if board.filter else "  no grants", style="dim")
    for _ in range(height - max(len(shown), 1)):
        yield Text()


def _row(one: Grant, now: datetime, wide: int, user: int, *, selected: bool, width: int) -> Text:
    left = one.expires - now
    mark = f"{len(one.sessions)}*" if one.sessions else ""
    line = Text(f"{_left(left):>8}", style="yellow" if left < _SOON else "")
    line.append(
        f"  {set_cell_size(one.address, wide)}  {set_cell_size(printable(one.user), user)}"
        f"  {one.last_login:%H:%M:%S}  {set_cell_size(' '.join([*one.services, mark]).strip(), 9)}",
        style="default",
    )
    if selected:
        line.stylize("reverse")
        line.pad_right(max(width - line.cell_len, 0))
        line.stylize("reverse")
    return line


def _events(board: Board, width: int, height: int) -> Iterator[Text]:
    title = "── what happened "
    yield Text(title + "─" * max(width - len(title), 0), style="dim")
    for event in list(board.events)[-height:]:
        mark, style = _MARKS[event.kind]
        line = Text(f"{event.time:%H:%M:%S} ")
        line.append(f"{mark} {event.kind:8}", style=style)
        line.append(f" {event.grant.address}  {printable(event.grant.user)}")
        yield line
    for _ in range(height - len(board.events)):
        yield Text()


def _foot(board: Board, now: datetime) -> Text:
    if board.asked is not None:
        return Text(_question(board.asked, now), style="bold reverse yellow")
    if board.typing:
        return Text(f"filter: {printable(board.filter)}_   Enter keeps it, Esc takes it away")
    if board.said:
        return Text(visible(board.said), style="bold")
    return Text(_KEYS, style="dim")


def _question(asked: Order, now: datetime) -> str:
    who = f"{asked.address} {printable(asked.user)}" if asked.user is not None else asked.address
    if asked.what == "extend":
        return f"y/n  Let {who} send until {now + asked.length:%H:%M:%S} UTC?"
    if asked.user is None:
        return f"y/n  Revoke every grant of {who}?"
    if asked.others:
        others = "another user keeps" if asked.others == 1 else f"{asked.others} others keep"
        return f"y/n  Revoke {who}? ({others} the address open: R)"
    return f"y/n  Revoke {who}?"


def _cut(line: Text, width: int) -> Text:
    line = line.copy()
    line.truncate(width, overflow="ellipsis")
    return line


def _left(left: timedelta) -> str:
    """1:05:09, 29:59, 0:07."""
    seconds = max(int(left.total_seconds()), 0)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours}:{minutes:02}:{seconds % 60:02}"
    return f"{minutes}:{seconds % 60:02}"

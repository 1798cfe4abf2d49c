"""`popgate scan`: the events in log files, offline and without state."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from tracker.cli.common import json_option

if TYPE_CHECKING:
    from tracker.cli.counting import Found
    from tracker.reading.events import EventReader
    from tracker.records import Event

_Show = Callable[[int, "Event"], str]
_Bar = Callable[[int], None]

_LARGE = 50_000_000
_PARALLEL = 32_000_000
"""Bytes from which on a summary is made by all processors."""

_DRAWN_EVERY = 0.1
_KINDS = ("login", "logout", "failed", "restart")
_ROW = "{:>9}  {:25}  {:6}  {:10}  {:39}  {}"


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--format",
    "format_names",
    default="dovecot",
    show_default=True,
    help="Who wrote it: formats with commas between them, or auto.",
)
@click.option(
    "--dovecot",
    "dovecot_settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting under which Dovecot wrote it, as in login_log_format='%s - %$'; repeatable.",
)
@click.option("--timezone", default="", help="The zone of stamps that name none.")
@click.option("--summary", is_flag=True, help="Print the summary alone.")
@json_option
def scan(
    *,
    files: tuple[str, ...],
    format_names: str,
    dovecot_settings: tuple[str, ...],
    timezone: str,
    summary: bool,
    as_json: bool,
) -> None:
    """Print the logins, logouts and failures in FILES; - is standard input, .gz is unpacked.

    Reads no state and changes nothing. A summary goes to stderr.
    """
    from datetime import UTC, datetime, tzinfo
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from tracker.reading.events import EventReader
    from tracker.reading.selecting import select
    from tracker.reading.timestamps import StampReader
    from tracker.settings import LogSettings

    zone: tzinfo | None = None
    if timezone:
        try:
            zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise click.UsageError(f"--timezone {timezone}: no such zone") from error
    settings = LogSettings(
        files=tuple(map(Path, files)), format=format_names, dovecot=_table(dovecot_settings)
    )
    now = datetime.now(UTC)
    reader = EventReader(select(settings, now), StampReader(now, zone))
    counts = dict.fromkeys((*_KINDS, "lines", "bytes"), 0)
    gc.disable()  # events hold no cycles, and there are millions of them
    started = time.perf_counter()
    if not summary and not as_json and sys.stdout.isatty():
        click.echo(_ROW.format("line", "time", "event", "service", "address", "user"))
    for file in files:
        show: _Show | None = None
        if not summary:
            named = {"file": file} if len(files) > 1 else {}
            show = partial(_json_row, named) if as_json else _text_row
        _scan_file(file, reader, counts, show)
    seconds = time.perf_counter() - started
    _summarise(counts, seconds, as_json=as_json and summary)


def _table(given: tuple[str, ...]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals:
            raise click.UsageError(f"--dovecot {one}: expected KEY=VALUE")
        settings[key.strip()] = value
    return settings


def _scan_file(file: str, reader: EventReader, counts: dict[str, int], show: _Show | None) -> None:
    from tracker.reading.sources.whole import opened, unreadable

    before = counts["bytes"]
    try:
        with ExitStack() as stack:
            source, size = opened(file, stack)
            bar = _progress(file, size, stack)
            packed = getattr(source, "fileobj", None)  # what gzip reads
            # Rows on a terminal go where the bar stands; it is drawn again below them.
            clear = "\r\x1b[2K" if bar is not None and sys.stdout.isatty() else ""
            parallel = size >= _PARALLEL and packed is None
            for found in _found(source, reader, show, clear, size if parallel else 0):
                for kind, number in found.events.items():
                    counts[kind.__name__.lower()] += number
                counts["lines"] += found.lines
                counts["bytes"] += found.bytes
                if bar is not None:
                    sys.stdout.flush()
                    bar(packed.tell() if packed else counts["bytes"] - before)
    except BrokenPipeError:
        raise
    except (OSError, EOFError) as error:
        raise unreadable(file, error) from error


def _found(
    source: IO[bytes], reader: EventReader, show: _Show | None, clear: str, size: int
) -> Iterator[Found]:
    """What is in a log, piece by piece. `size`: of one that can be read by many; else 0."""
    from tracker.cli.counting import in_blocks, in_parallel

    if show is not None:
        return _shown(source, reader, show, clear)
    return in_parallel(source.fileno(), size, reader) if size else in_blocks(source, reader)


def _shown(source: IO[bytes], reader: EventReader, show: _Show, clear: str) -> Iterator[Found]:
    """Each block's events are printed, each with the number of its line."""
    from tracker.cli.counting import Found
    from tracker.reading.joining import SessionJoin
    from tracker.reading.sources.whole import blocks

    join = SessionJoin()
    first = 1
    for block in blocks(source):
        line, at, rows, kinds = first, 0, [clear], []
        for start, event in reader.placed(block):
            line += block.count(b"\n", at, start)
            at = start
            kinds.append(type(event))
            rows.append(show(line, join.join(event)))
        if kinds:
            sys.stdout.write("".join(rows))
        lines = block.count(b"\n")
        yield Found(Counter(kinds), lines, len(block))
        first += lines


def _progress(file: str, size: int, stack: ExitStack) -> _Bar | None:
    """A bar on stderr for large files on a terminal; what it returns draws it anew."""
    if size <= _LARGE or not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    progress = Progress(
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
        redirect_stdout=False,
        transient=True,
    )
    stack.enter_context(progress)
    task = progress.add_task(os.path.basename(file), total=size)
    drawn = 0.0

    def draw(done: int) -> None:
        nonlocal drawn
        if time.monotonic() - drawn < _DRAWN_EVERY:
            return
        drawn = time.monotonic()
        progress.update(task, completed=done, refresh=True)

    return draw


def _json_row(named: dict[str, str], line: int, event: Event) -> str:
    import json

    row = {
        **named,
        "line": line,
        "time": event.time.isoformat(),
        "event": type(event).__name__.lower(),
        "service": event.service,
        "user": event.user,
        "address": event.address,
        "session": event.session,
        "format": event.format,
    }
    return json.dumps(row) + "\n"


def _text_row(line: int, event: Event) -> str:
    from tracker.texts import printable

    kind = type(event).__name__.lower()
    time = event.time.isoformat(timespec="seconds")
    user = printable(event.user or "-")
    row = (str(line), time, kind, event.service or "-", event.address or "-", user)
    return _ROW.format(*row) + "\n"


def _summarise(counts: dict[str, int], seconds: float, *, as_json: bool) -> None:
    if as_json:
        import json

        click.echo(json.dumps({**counts, "seconds": round(seconds, 3)}), err=True)
        return
    shown = [kind for kind in _KINDS if counts[kind] or kind != "restart"]
    events = ", ".join(f"{counts[kind]} {kind}" for kind in shown)
    click.echo(
        f"{counts['lines']} lines: {events}; {counts['bytes']} bytes in {seconds:.2f} s", err=True
    )

"""`popgate scan`: the events in log files, offline and without state."""

from __future__ import annotations

import gc
import gzip
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import click

from tracker.cli.common import json_option

if TYPE_CHECKING:
    from tracker.reading.events import EventReader
    from tracker.records import Event

_Show = Callable[[int, "Event"], str]

_LARGE = 50_000_000
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
@click.option("--timezone", default="", help="The zone of stamps that name none.")
@click.option("--summary", is_flag=True, help="Print the summary alone.")
@json_option
def scan(
    files: tuple[str, ...], format_names: str, timezone: str, summary: bool, as_json: bool
) -> None:
    """Print the logins, logouts and failures in FILES; - is standard input, .gz is unpacked.

    Reads no state and changes nothing. A summary goes to stderr.
    """
    from datetime import tzinfo
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from tracker.host import utc_now
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
    settings = LogSettings(files=tuple(map(Path, files)), format=format_names)
    reader = EventReader(select(settings, utc_now()), StampReader(utc_now(), zone))
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


def _scan_file(file: str, reader: EventReader, counts: dict[str, int], show: _Show | None) -> None:
    from tracker.errors import ReadingError

    try:
        with ExitStack() as stack:
            source, size = _open(file, stack)
            bar = _progress(file, size, stack)
            # Rows on a terminal go where the bar stands; it is drawn again below them.
            clear = "\r\x1b[2K" if bar is not None and sys.stdout.isatty() else ""
            blocks = _blocks(source)
            read = (
                reader.read_ahead(blocks) if show is None else _shown(reader, blocks, show, clear)
            )
            for block, events in read:
                for kind, number in Counter(map(type, events)).items():
                    counts[kind.__name__.lower()] += number
                counts["lines"] += block.count(b"\n")
                counts["bytes"] += len(block)
                if bar is not None:
                    sys.stdout.flush()
                    bar(source)
    except BrokenPipeError:
        raise
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ReadingError(f"{file}: cannot be read: {reason}") from error


def _shown(
    reader: EventReader, blocks: Iterable[bytes], show: _Show, clear: str
) -> Iterator[tuple[bytes, list[Event]]]:
    """Each block with its events, once they are printed, each with the number of its line."""
    from tracker.reading.joining import SessionJoin

    join = SessionJoin()
    first = 1
    for block in blocks:
        line, at, rows, events = first, 0, [clear], []
        for start, event in reader.placed(block):
            line += block.count(b"\n", at, start)
            at = start
            events.append(join.join(event))
            rows.append(show(line, events[-1]))
        if events:
            sys.stdout.write("".join(rows))
        yield block, events
        first += block.count(b"\n")


def blocks_of(file: str) -> Iterator[bytes]:
    """The lines of a file, in blocks. Raises ReadingError."""
    from tracker.errors import ReadingError

    try:
        with ExitStack() as stack:
            source, _ = _open(file, stack)
            yield from _blocks(source)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ReadingError(f"{file}: cannot be read: {reason}") from error


def _open(file: str, stack: ExitStack) -> tuple[IO[bytes], int]:
    """The bytes of a file and how many its file has on disk; 0 where nobody knows."""
    if file == "-":
        return sys.stdin.buffer, 0
    raw = open(file, "rb", buffering=0)  # noqa: SIM115 (the stack closes it)
    stack.callback(raw.close)
    size = os.fstat(raw.fileno()).st_size
    if file.endswith(".gz"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw)), size
    return raw, size


def _blocks(source: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, some 64 KiB at a time; a last line without its end counts too."""
    from tracker.reading.scanner import LONGEST_LINE
    from tracker.reading.sources.opened import CHUNK

    rest = b""
    skipping = False
    read = getattr(source, "read1", source.read)  # what a pipe has now, not what it will have
    while chunk := read(CHUNK):
        if skipping:
            end = chunk.find(b"\n")
            if end < 0:
                continue
            # The over-long line counts as one line, without its text.
            chunk, skipping = chunk[end:], False
        data = rest + chunk
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        if len(rest) > LONGEST_LINE:
            rest, skipping = b"", True
        if end:
            yield data[:end]
    if rest:
        yield rest + b"\n"


def _progress(file: str, size: int, stack: ExitStack) -> Callable[[IO[bytes]], None] | None:
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

    def draw(source: IO[bytes]) -> None:
        nonlocal drawn
        if time.monotonic() - drawn < _DRAWN_EVERY:
            return
        drawn = time.monotonic()
        raw = getattr(source, "fileobj", source)  # what gzip has read of the file itself
        progress.update(task, completed=raw.tell(), refresh=True)

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

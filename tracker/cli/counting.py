"""`popgate scan --summary`: events counted, not made; a large file's on all processors.

A large file is cut into parts of whole lines. Each is read by a process of its own, which gives
back counts, and what can only be understood together with the lines of other parts.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tracker.reading.events import EventReader
from tracker.reading.scanner import Counted
from tracker.reading.sources.whole import Range, Readable, blocks, parts
from tracker.records import Event

_PART = 8 * 1024 * 1024


class Found(NamedTuple):
    """What is in some lines."""

    events: Counter[type[Event]]
    lines: int
    bytes: int


def in_blocks(source: Readable, reader: EventReader) -> Iterator[Found]:
    """The counts of what can be read from `source`, block by block."""
    for block in blocks(source):
        yield _joined(reader.count(block), len(block), reader)


def in_parallel(file: int, size: int, reader: EventReader) -> Iterator[Found]:
    """The counts of an open file, part by part; every event is counted in the end."""
    jobs = len(os.sched_getaffinity(0))
    if jobs == 1:
        yield from in_blocks(Range(file, 0, size), reader)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Forked, so that the reader need not be made anew; the parts are all that is sent.
    context = get_context("fork")
    with ProcessPoolExecutor(jobs, context, _begin, (reader,)) as pool:
        for counted, length in pool.map(_count, parts(file, size, _PART)):
            yield _joined(counted, length, reader)


def _joined(counted: Counted, length: int, reader: EventReader) -> Found:
    if counted.parts:
        counted.events.update(map(type, reader.join(counted.parts)))
    return Found(counted.events, counted.lines, length)


_readers: list[EventReader] = []


def _begin(reader: EventReader) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's
    _readers[:] = [reader]


def _count(part: Range) -> tuple[Counted, int]:
    (reader,) = _readers
    whole, length = Counted(Counter(), 0, []), 0
    for block in blocks(part):
        events, lines, unjoined = reader.count(block)
        whole.events.update(events)
        whole.parts.extend(unjoined)
        whole, length = whole._replace(lines=whole.lines + lines), length + len(block)
    return whole, length

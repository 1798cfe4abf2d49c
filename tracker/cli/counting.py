"""`popgate scan --summary` of a large file, on all processors.

The file is cut into parts of whole lines. Each is read by a process of its own, which gives back
counts, and what can only be understood together with the lines of other parts.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

from tracker.reading.correlating import Part
from tracker.reading.events import EventReader
from tracker.reading.sources.whole import Range, blocks, parts
from tracker.records import Event

_PART = 8 * 1024 * 1024


class Counted(NamedTuple):
    """What is in some lines."""

    events: Counter[type[Event]]
    lines: int
    bytes: int
    unjoined: list[Part]


def in_parallel(file: int, size: int, reader: EventReader) -> Iterator[Counted]:
    """The counts of an open file, part by part; every event is counted in the end."""
    jobs = len(os.sched_getaffinity(0))
    # Forked, so that the reader need not be made anew; the parts are all that is sent.
    context = get_context("fork")
    with ProcessPoolExecutor(jobs, context, _begin, (reader,)) as pool:
        for counted in pool.map(_count, parts(file, size, _PART)):
            joined = Counter(map(type, reader.join(counted.unjoined)))
            yield counted._replace(events=counted.events + joined, unjoined=[])


_readers: list[EventReader] = []


def _begin(reader: EventReader) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's
    _readers[:] = [reader]


def _count(part: Range) -> Counted:
    (reader,) = _readers
    counted = Counted(Counter(), 0, 0, [])
    for block in blocks(part):
        events, unjoined = reader.count(block)
        counted = Counted(
            counted.events + events,
            counted.lines + block.count(b"\n"),
            counted.bytes + len(block),
            counted.unjoined + unjoined,
        )
    return counted

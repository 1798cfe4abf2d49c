"""What the follower does with a log's lines: events made, in one process, of Dovecot's format.

Prints the seconds of processor that the file named on the command line takes, the median of five.
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import UTC, datetime

from tracker.reading.events import EventReader
from tracker.reading.formats import find
from tracker.reading.sources.whole import blocks_of
from tracker.reading.timestamps import StampReader


def main() -> None:
    """Measure it."""
    seconds: list[float] = []
    for _ in range(5):
        reader = EventReader([find("dovecot", None)], StampReader(datetime.now(UTC)))
        began = time.process_time()
        for block in blocks_of(sys.argv[1]):
            reader.read(block)
        seconds.append(time.process_time() - began)
    print(statistics.median(seconds))


if __name__ == "__main__":
    main()

"""A yardstick: the same three kinds of events by a plain loop over lines with `re`.

What one would write in an afternoon: one pattern a kind, searched for in each line.
"""

from __future__ import annotations

import re
import sys

_PATTERNS = (
    re.compile(
        r"^(.{15}|\S+) \S+ dovecot: (\S+)-login: Login: user=<(.*)>, .*rip=(\S+), .*session=<(.*)>"
    ),
    re.compile(r"^(.{15}|\S+) \S+ dovecot: (\w+)\((.*)\)<\d+><(.*)>: Disconnected"),
    re.compile(
        r"^(.{15}|\S+) \S+ dovecot: (\S+)-login: Disconnected.*auth failed.*user=<(.*)>, "
        r".*rip=(\S+), .*session=<(.*)>"
    ),
)


def main() -> None:
    """Count the events of the file named on the command line."""
    counts = [0, 0, 0]
    with open(sys.argv[1], encoding="utf-8", errors="replace") as file:
        for line in file:
            for kind, pattern in enumerate(_PATTERNS):
                match = pattern.search(line)
                if match:
                    event = match.groups()
                    counts[kind] += len(event) > 0
                    break
    print(*counts)


if __name__ == "__main__":
    main()

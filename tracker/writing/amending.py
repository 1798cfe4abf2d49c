"""A text of addresses in their order, changed in the few rows that are others now.

A million rows take the better part of a minute to be rendered, in which no login would be taken up;
the place of one row is found by some thirty looks at the text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection

from msgspec import structs

from tracker.addresses import order
from tracker.records import Table


def amended(table: Table, part: Table, touched: Collection[str]) -> Table:
    """The table with the rows that the touched addresses have in `part`, which is rendered by the
    same template of them alone; those that have none there have none any more."""
    rows = part.text[_first_row(part.text) :].split("\n")[:-1]
    wanted = {row.partition(" ")[0]: f"{row}\n" for row in rows}
    text = table.text
    done = at = _first_row(text)
    pieces = [text[:done]]
    for address in sorted(touched, key=order):
        at = _place(text, address, at)
        pieces.append(text[done:at])
        done = at = _behind(text, at) if text.startswith(f"{address} ", at) else at
        pieces.append(wanted.get(address, ""))
    pieces.append(text[done:])
    return structs.replace(table, text="".join(pieces))


def _first_row(text: str) -> int:
    """Where the rows begin, behind the comments."""
    at = 0
    while text.startswith("#", at):
        at = _behind(text, at)
    return at


def _behind(text: str, at: int) -> int:
    """Where the line after this one begins."""
    return text.index("\n", at) + 1


def _place(text: str, address: str, begin: int) -> int:
    """Where the row of an address is, or would be; `begin`: no row before that one can be it."""

    def of_row(at: int) -> bytes:
        start = text.rfind("\n", 0, at) + 1
        return order(text[start : text.index(" ", start)])

    return begin + bisect_left(range(begin, len(text)), order(address), key=of_row)

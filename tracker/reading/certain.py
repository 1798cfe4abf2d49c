r"""Stamps and addresses that hold as they stand, as pieces of expressions; pure.

Who only counts events needs no stamp and no address but to know that they are some. So in the
expression for that, each piece that captures one is put behind another that captures nothing: it
takes the same text to the same end, where the form alone shows that `StampReader` and `canonical`
will take it too. What it leaves to the capturing piece may still be right, and is looked at.

The day of a leap year and addresses in odd forms are among those.
"""

from __future__ import annotations

from msgspec import structs

from tracker.reading.patterns import Format
from tracker.reading.timestamps import STAMP, TIME

ADDRESS = "(?P<address>[0-9A-Fa-f.:]{2,45}+)"
"""The piece that captures an address; `{address}` in the files of formats."""

STAMPED = f"(?P<stamp>{STAMP})"
"""The piece that captures a stamp without a host; `{stamp}` there."""

_DAY = r"(?:0[1-9]|[12]\d|3[01])"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_YEARLESS = (
    r"(?!Feb (?:29|3)|(?:Apr|Jun|Sep|Nov) 31)"
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    rf"(?: [1-9]|{_DAY}) {_CLOCK}"
)
_DATE = rf"20\d\d-(?!02-(?:29|3)|(?:0[469]|11)-31)(?:0[1-9]|1[0-2])-{_DAY}"
_ZONE = r"(?:Z|[+-](?:0\d|1[0-4]):?[0-5]\d|)"
_ISO = rf"{_DATE}(?:T{_CLOCK}(?:\.\d{{1,6}}+|){_ZONE}(?![0-9T:.+Z-]| {TIME})| {_CLOCK})"
CERTAIN_STAMP = f"(?:{_YEARLESS}|{_ISO})"
"""Takes of a text what STAMP takes of it, or nothing."""

_END = "(?![0-9A-Fa-f.:])"
_OCTET = r"(?:1\d?+\d?+|2(?:[0-4]\d?+|5[0-5]?+|[6-9]|)|[3-9]\d?+|0)"
_IPV4 = r"\.".join([_OCTET] * 4)
_GROUP = "[0-9a-f]{1,4}+"
_IPV6 = (
    rf"(?=(?:[0-9a-f]{{0,4}}+:){{2,7}}+{_GROUP}{_END})"
    rf"(?:(?:{_GROUP}:){{7}}{_GROUP}|(?::|(?:{_GROUP}:){{1,6}}+)(?::{_GROUP}){{1,6}}+)"
)
CERTAIN_ADDRESS = rf"(?:(?:::ffff:|){_IPV4}|{_IPV6}){_END}"
"""Takes of a text what ADDRESS takes of it, or nothing."""

DEFINED = f"(?(DEFINE)(?<certain>{CERTAIN_ADDRESS}))"
"""Behind every expression that has pieces of `uncertain` formats. Said once, since a compiled
expression has a bound that a hundred of it would pass."""


def uncertain(one: Format) -> Format:
    """The format with its pieces for stamps and addresses capturing only what is not certain."""
    own_log = one.own_log and one.own_log.replace(STAMPED, f"(?>{CERTAIN_STAMP}|{STAMPED})")
    patterns = tuple(
        structs.replace(pattern, regex=pattern.regex.replace(ADDRESS, f"(?>(?&certain)|{ADDRESS})"))
        for pattern in one.patterns
    )
    return structs.replace(one, own_log=own_log, patterns=patterns)

"""Stamps that an admin had written in a form of his own, by strftime(3); pure.

`StampForm` turns such a form into an expression that finds a stamp, and reads what it found. Names
of days and months are English: Dovecot sets no locale. A zone's name (%Z) tells too little, and is
taken for that of the settings; an offset (%z) and seconds since 1970 (%s) need none.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from tracker.errors import FormatError

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_TWO = "[0-9]{2}"
_PADDED = "[ 0-9][0-9]"
_MONTH_NAME = "|".join(name[:3] for name in _MONTHS)
_LONG_MONTH = "|".join(_MONTHS)
_WORDS = {
    "a": "|".join(name[:3] for name in _DAYS),
    "A": "|".join(_DAYS),
    "b": _MONTH_NAME,
    "h": _MONTH_NAME,
    "B": _LONG_MONTH,
    "d": _TWO,
    "e": _PADDED,
    "j": "[0-9]{3}",
    "m": _TWO,
    "Y": "[0-9]{4}",
    "y": _TWO,
    "H": _TWO,
    "k": _PADDED,
    "I": _TWO,
    "l": _PADDED,
    "M": _TWO,
    "S": _TWO,
    "p": "AM|PM",
    "P": "am|pm",
    "s": "[0-9]{1,12}",
    "u": "[1-7]",
    "w": "[0-6]",
    "z": "[+-][0-9]{4}",
    "Z": "[A-Za-z0-9+-]{1,8}",
}
_SHORT = {
    "T": "%H:%M:%S",
    "R": "%H:%M",
    "D": "%m/%d/%y",
    "F": "%Y-%m-%d",
    "r": "%I:%M:%S %p",
    "c": "%a %b %e %H:%M:%S %Y",
    "n": "\n",
    "t": "\t",
}
_SAME = {"h": "b", "B": "b", "e": "d", "k": "H", "l": "I", "P": "p"}
_CENTURY = 69
"""The two digits from which a year lies in the 1900s: strptime(3)."""


class StampForm:
    """One form of stamps. `regex` finds one (it has no groups), `blanks` follow behind it."""

    def __init__(self, form: str) -> None:
        """Raises FormatError when it names no moment, or cannot be read."""
        text = form.rstrip(" ")
        for letter, meaning in _SHORT.items():
            text = re.sub(rf"(?<!%)((?:%%)*)%{letter}", rf"\g<1>{meaning}", text)
        self._letters: list[str] = []
        pieces = [self._piece(part, form) for part in re.findall(r"%.?|[^%]+", text, re.DOTALL)]
        self._check(form)
        self.has_year = not {"Y", "y", "s"}.isdisjoint(self._letters)
        self.regex = "".join(pieces)
        self._pattern = re.compile(self.regex.replace("(?:", "("), re.ASCII)
        self.blanks = form[len(form.rstrip(" ")) :]

    def _piece(self, part: str, form: str) -> str:
        if not part.startswith("%"):
            if not part.isascii() or "\n" in part or any(char in part for char in "()"):
                raise FormatError(f"log_timestamp = {form!r}: popgate cannot read {part!r} in it")
            return re.escape(part)
        letter = part[1:]
        if letter == "%":
            return "%"
        if letter not in _WORDS:
            raise FormatError(f"log_timestamp = {form!r}: popgate cannot read {part}")
        self._letters.append(_SAME.get(letter, letter))
        return f"(?:{_WORDS[letter]})"

    def _check(self, form: str) -> None:
        has = set(self._letters)
        if "s" in has:
            return
        day = "j" in has or {"b", "d"} <= has or {"m", "d"} <= has
        time = "M" in has and ("H" in has or {"I", "p"} <= has)
        if not (day and time):
            lacks = "no day and month" if not day else "no hour and minute"
            raise FormatError(f"log_timestamp = {form!r}: it has {lacks}, so no line has a time")

    def cut(self, stamp: str) -> tuple[str, int] | None:
        """The stamp without its second, and the second; None for a text that is none."""
        match = self._pattern.fullmatch(stamp)
        if match is None:
            return None
        if "S" not in self._letters:
            return stamp, 0
        first, last = match.span(self._letters.index("S") + 1)
        # A leap second is the second before it, since datetime has none.
        return stamp[:first] + stamp[last:], min(int(stamp[first:last]), 59)

    def read(self, stamp: str) -> datetime:
        """What a stamp of this form says: aware where it names its offset, else local.

        Without a year it is in 2000, a leap year. Raises ValueError when there is no such date.
        """
        match = self._pattern.fullmatch(stamp)
        if match is None:
            raise ValueError(f"{stamp!r} is no such stamp")
        value = dict(zip(self._letters, match.groups(), strict=True))
        if "s" in value:
            return datetime.fromtimestamp(int(value["s"]), UTC)
        second = min(int(value.get("S", "0")), 59)
        moment = datetime(_year(value), 1, 1, _hour(value), int(value["M"]), second)
        if "j" in value:
            moment += timedelta(days=int(value["j"]) - 1)
        else:
            moment = moment.replace(month=_month(value), day=int(value["d"]))
        if "z" in value:
            zone = value["z"]
            offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
            moment = moment.replace(tzinfo=timezone(-offset if zone[0] == "-" else offset))
        return moment


def _year(value: dict[str, str]) -> int:
    if "Y" in value:
        return int(value["Y"])
    if "y" in value:
        year = int(value["y"])
        return year + (1900 if year >= _CENTURY else 2000)
    return 2000


def _month(value: dict[str, str]) -> int:
    if "m" in value:
        return int(value["m"])
    return next(n for n, name in enumerate(_MONTHS, 1) if name.startswith(value["b"][:3]))


def _hour(value: dict[str, str]) -> int:
    if "H" in value:
        return int(value["H"])
    return int(value["I"]) % 12 + (12 if value["p"].upper() == "PM" else 0)

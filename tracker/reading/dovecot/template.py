"""Dovecot's settings that say how a line is written, taken apart: text and variables; pure.

Both dialects: `%u`, `%Lu`, `%{session}` of 2.3 (doc/wiki/Variables), `%{user}`, `%{user | upper}`
of 2.4 (lib-var-expand). What popgate cannot read back out of a line is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tracker.errors import FormatError
from tracker.reading.patterns import Variable

ELEMENTS, MESSAGE = "elements", "message"
_SPECIAL = {"s": ELEMENTS, "elements": ELEMENTS, "$": MESSAGE, "message": MESSAGE}
_PART = re.compile(r"%%|%([A-Z]?)\{([^{}]*)\}|%([LU]?)([a-z$])|(%.?)|[^%]+", re.DOTALL)
_MODERN = frozenset(
    (
        "elements",
        "message",
        "mechanism",
        "protocol",
        "local_ip",
        "remote_ip",
        "local_port",
        "remote_port",
        "original_user",
        "real_local_ip",
        "real_remote_ip",
        "process:pid",
    )
)
_CASE = {"lower", "upper"}
_PARTS_OF_USER = {"username", "domain"}


class Value(NamedTuple):
    """A variable in a setting. `name`: how the setting calls it."""

    name: str
    variable: Variable


Token = str | Value


class Template:
    """One setting. `tokens`: its text and variables; for `login_log_format` the words ELEMENTS and
    MESSAGE stand for what it puts together, and `elements` are those of the other setting."""

    def __init__(
        self,
        setting: str,
        text: str,
        variables: Sequence[Variable],
        elements: Template | None = None,
    ) -> None:
        """Raises FormatError."""
        self.setting = setting
        self.text = text
        self.elements = elements
        self.modern: bool = elements is not None and elements.modern
        self._known = {name: one for one in variables for name in one.names}
        if not text.isascii() or any(char in text for char in "\n\r\t\0"):
            raise self.refused("popgate reads only plain ASCII text in it")
        self.marks: list[str] = []
        self.tokens = list(self._tokens())

    def refused(self, why: str) -> FormatError:
        """The error that says that this setting is why."""
        return FormatError(f"{self.setting} = {self.text!r}: {why}")

    def words(self) -> list[list[Token]]:
        """The tokens between the blanks: Dovecot's elements. A blank in %{..} does not count."""
        found: list[list[Token]] = [[]]
        for token in self.tokens:
            if isinstance(token, Value):
                found[-1].append(token)
                continue
            first, *more = token.split(" ")
            for number, part in enumerate((first, *more)):
                if number:
                    found.append([])
                if part:
                    found[-1].append(part)
        return [word for word in found if word]

    def _tokens(self) -> Iterator[Token]:
        for match in _PART.finditer(self.text):
            _, long, _, short, wrong = match.groups()
            if wrong is not None:
                raise self.refused(f"popgate cannot read {wrong!r} in it")
            if match[0] == "%%":
                yield "%"
            elif long is None and short is None:
                yield match[0]
            else:
                yield self._variable(match, long if long is not None else short)

    def _variable(self, match: re.Match[str], said: str) -> Token:
        name, *filters = (part.strip() for part in said.split("|"))
        modifier = match[1] or match[3]
        if modifier and modifier not in "LU":
            raise self.refused(f"popgate cannot read the modifier {modifier!r} of {match[0]}")
        self.modern |= name in _MODERN or bool(filters)
        for one in filters:
            if one in _PARTS_OF_USER and name == "user":
                name = one
            elif one not in _CASE:
                raise self.refused(f"popgate cannot read what the filter {one!r} makes of {name}")
        if self.elements is not None:
            if name not in _SPECIAL:
                raise self.refused(f"popgate knows no {match[0]} there")
            self.marks.append(_SPECIAL[name])
            return Value(_SPECIAL[name], Variable(names=(name,)))
        known = self._known.get(name)
        if known is None:
            raise self.refused(f"popgate does not know what {match[0]} writes")
        if known.field == "service" or (known.piece or "").endswith("service"):
            self._check_case(match[0], modifier, filters)
        return Value(name, known)

    def _check_case(self, said: str, modifier: str | None, filters: list[str]) -> None:
        if modifier == "U" or "upper" in filters:
            raise self.refused(f"write the service in lower case, without {said}")


def names_field(template: Template, field: str) -> bool:
    """Whether a line has this field (`FIELDS`) by this setting."""
    tokens = [*template.tokens, *(template.elements.tokens if template.elements else ())]
    return any(isinstance(token, Value) and token.variable.field == field for token in tokens)

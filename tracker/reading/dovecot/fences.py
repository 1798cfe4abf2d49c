"""Whether what a client chose can be told from what Dovecot wrote around it; pure.

`Atom`s are the pieces of a line. The rules are about every line that can be made of them, so that
settings are refused before the first line is read.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import NamedTuple

from tracker.reading.dovecot.template import Value

VALUE = "\0"
WORD = frozenset(string.ascii_letters + string.digits + "_.:+/@-")
"""What values are made of. Those of the login process can have blanks and parentheses too."""
LOGIN_WORD = WORD | frozenset(" ()")

_IN_ADDRESSES = frozenset(string.hexdigits + ".:")
UNDELIMITED = "the end of an address cannot be told from what follows it: put a blank or ] there"


class Atom(NamedTuple):
    """A piece of a line. `shape`: its text, with VALUE for what differs from line to line.
    `optional`: a line may be without it. `text`: the setting's name of a text of the client."""

    regex: str
    shape: str = ""
    optional: bool = False
    value: Value | None = None

    def is_text(self) -> bool:
        """Whether a client chose it."""
        return self.value is not None and self.value.variable.piece is None

    def field(self) -> str | None:
        """The group that its value is for (`FIELDS`)."""
        return self.value.variable.field if self.value else None


def is_delimited(atoms: Sequence[Atom], place: int) -> bool:
    """Whether an address ends where it seems to: before text that cannot be part of one, or before
    a port. What is no address ends well."""
    value = atoms[place].value
    if value is None or value.variable.piece != "address":
        return True
    after = [atom for atom in atoms[place + 1 :] if atom.shape][:3]
    if not after:
        return True
    if after[0].shape == ":" and after[1:] and after[1].value is not None:
        is_port = after[1].value.variable.piece == "number"
        return is_port and (len(after) == 2 or after[2].shape[0] not in _IN_ADDRESSES)
    return after[0].shape[0] not in _IN_ADDRESSES | {VALUE}


def ends_well(rest: Sequence[Atom], word: frozenset[str], end: str) -> bool:
    """Whether the text before `rest` ends where the last possible `rest` begins, and only there.

    So it is when no string that `rest` matches ends with a shorter one that it matches too: when it
    begins with a character that no value can have, and no optional part has it either (all strings
    have the same number of it, and a longer one would have more), or when the whole text up to the
    first value can stand nowhere else in it.
    """
    fence = ""
    for atom in rest:
        if atom.optional or atom.value is not None or VALUE in atom.shape:
            break
        fence += atom.shape
    else:
        fence += end
    if not fence:
        return False
    changing = any(fence[0] in atom.shape for atom in rest if atom.optional)
    if fence[0] not in word and not changing:
        return True
    return occurs(fence, "".join(atom.shape for atom in rest) + end) == 1


def text_before(atoms: Sequence[Atom]) -> str | None:
    """The text right before a value, from a character on that no value can have; "" at the start;
    None where there is no such text."""
    fence = ""
    for atom in reversed(atoms):
        if atom.value is not None or atom.optional or VALUE in atom.shape:
            first = next((n for n, char in enumerate(fence) if char not in LOGIN_WORD), None)
            return None if first is None else fence[first:]
        fence = atom.shape + fence
    return fence


def occurs(fence: str, shape: str) -> int:
    """How often a text can stand in a line of that shape, values taken to be anything."""
    return sum(_begins(fence, shape, place) for place in range(len(shape)))


def _begins(fence: str, shape: str, place: int) -> bool:
    if shape[place] == VALUE:
        return fence[0] in LOGIN_WORD and _stands(fence[1:], shape, place)
    return _stands(fence, shape, place)


def _stands(fence: str, shape: str, place: int) -> bool:
    if not fence:
        return True
    if place == len(shape):
        return False
    if shape[place] == VALUE:
        return _stands(fence, shape, place + 1) or (
            fence[0] in LOGIN_WORD and _stands(fence[1:], shape, place)
        )
    return shape[place] == fence[0] and _stands(fence[1:], shape, place + 1)

r"""One expression for all lines of all formats that are read, and what its alternatives mean; pure.

    ^ ( stamp host tag[pid]:  | own head )  ( pattern | pattern | .. )

A line of syslog begins with stamp, host and a known tag (RFC 3164 or RFC 3339 stamps, or all of RFC
5424); a line of a server's own log begins as its format says. Only right behind that are the
patterns of that format tried, in their order, each anchored there. So nothing that a client sends
can stand where a server's own words must.

All alternatives number their groups anew (a branch reset, `(?|..)`), and each sets a mark, the
number of its `Route`. Most patterns name their fields in the order of COLUMNS; they get empty
groups for those that they leave out, so that a field has the same number in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from tracker.reading.certain import CERTAIN_STAMP, DEFINED, uncertain
from tracker.reading.patterns import Format, Kind
from tracker.reading.timestamps import STAMP

COLUMNS = ("rfc5424", "stamp", "service", "user", "address", "session", "pid")
"""The groups of an aligned route, from number 1. `stamp`: with the host behind it,
where there is one."""

_HOST = r"[^ ()<>\n]++(?<!:)"
"""A host's name. In a server's own log `imap(USER)<PID>..` or `auth:` stands in its place, and a
USER may say ` dovecot: ` to pass for a line of syslog."""

_RFC5424 = "(?P<rfc5424><[0-9]{1,3}+>1 )?+"
_STAMPED = f"(?P<stamp>{STAMP} {_HOST})"
_SYSLOG = f"{_RFC5424}{_STAMPED} "
_SYSLOG_UNCERTAIN = f"{_RFC5424}(?>{CERTAIN_STAMP} {_HOST}|{_STAMPED}) "
_OWN = r"(?P<rfc5424>)"
_DATA = r"(?:-|(?:\[(?:[^\]\\\n]|\\[^\n])*+\])++) {1,2}(?:\xef\xbb\xbf)?+"
_AFTER_TAG = rf"(?(1) [^ \n]++ [^ \n]++ {_DATA}|(?:\[[0-9]{{1,10}}+\]|): )"
_AFTER_TAG_PID = (
    rf"(?|(?(1) (?P<pid>[^ \n]++) [^ \n]++ {_DATA}|(?!))"
    r"|(?(1)(?!)|(?:\[([0-9]{1,10}+)\]|): ))"
)
_GROUP = re.compile(r"\(\?P<([a-z0-9]+)>")


class Route(NamedTuple):
    """What a match of one alternative means. `groups`: the numbers of its fields' groups.
    `service`: that of all its lines, where they do not name one.

    `event` is None for a message that is too long to believe what follows (`Guard`).
    """

    format: Format
    event: Kind | None
    groups: dict[str, int]
    service: str | None = None

    def aligned(self) -> bool:
        """Whether each field's group has its number in COLUMNS."""
        return all(COLUMNS[number - 1] == name for name, number in self.groups.items())


def build(formats: Sequence[Format]) -> tuple[str, list[Route]]:
    """The expression, and its routes by the number that is their mark."""
    routes: list[Route] = []
    return f"(?m)^{_choice(_ways(formats, _SYSLOG, routes))}[^\\n]*+", routes


def counting(formats: Sequence[Format]) -> str:
    """The expression that finds the same lines by the same routes, for who only counts them.

    Of stamps and addresses it captures those alone that must be looked at (`certain.py`). It also
    matches at the begin of every other line, without a mark, so that its matches are as many as
    there are lines. Each mark stands between a line feed and a semicolon, which part what is told
    of two lines, and a mark from what is behind it.
    """
    ways = _ways([uncertain(one) for one in formats], _SYSLOG_UNCERTAIN, [], mark="\n{};")
    return f"(?m)^{_choice([*ways, '(?s:.)'])}{DEFINED}"


def _ways(
    formats: Sequence[Format], syslog: str, routes: list[Route], mark: str = "{}"
) -> list[str]:
    """How a line can begin and go on; `routes` gets what the marks mean."""
    syslog, numbers = _numbered(syslog, {}, aligned=True)
    tagged: list[str] = []
    own: list[str] = []
    for one in formats:
        if one.tag:
            # A pid in the message is the one that lines are joined by, whoever wrote them.
            in_head = one.by_pid and not any("(?P<pid>" in own.regex for own in one.patterns)
            head = one.tag + (_AFTER_TAG_PID if in_head else _AFTER_TAG)
            tagged.append(_way(one, head, numbers, routes, mark))
        if one.own_log:
            own.append(_way(one, _OWN + one.own_log, {}, routes, mark))
    return [syslog + _choice(tagged), *own] if tagged else own


def heads(one: Format) -> str:
    """The expression for every line that the format's server wrote, whatever it says."""
    syslog, numbers = _numbered(_SYSLOG, {}, aligned=False)
    ways: list[str] = []
    if one.tag:
        ways.append(syslog + _numbered(one.tag + _AFTER_TAG, numbers, aligned=False)[0])
    if one.own_log:
        ways.append(_numbered(_OWN + one.own_log, {}, aligned=False)[0])
    return f"(?m)^{_choice(ways)}[^\\n]*+"


def _way(one: Format, head: str, before: dict[str, int], routes: list[Route], mark: str) -> str:
    """The head of a format's lines and its patterns behind it."""
    for aligned in (True, False):
        text, numbers = _numbered(head, before, aligned=aligned)
        bodies = [_numbered(one.regex, numbers, aligned=aligned) for one in one.patterns]
        if all(max(found.values()) <= len(COLUMNS) for _, found in bodies):
            break
    marked: list[str] = []
    if one.guard:
        marked.append(f"[^\\n]{{{one.guard.bytes}}}(*:{mark.format(len(routes))})")
        routes.append(Route(one, None, numbers))
    for pattern, (body, found) in zip(one.patterns, bodies, strict=True):
        marked.append(f"(?:{body})(*:{mark.format(len(routes))})")
        routes.append(Route(one, pattern.event, found, pattern.service))
    return text + _choice(marked)


def _numbered(text: str, before: dict[str, int], *, aligned: bool) -> tuple[str, dict[str, int]]:
    """`text` without the names of its groups, and their numbers after those in `before`.

    `aligned`: where they stand in the order of COLUMNS they get the numbers of the columns, with
    empty groups in between. Else they are numbered as they come.
    """
    columns = [COLUMNS.index(name) + 1 for name in _GROUP.findall(text)]
    after = max(before.values(), default=0) + 1
    padded = aligned and columns == sorted(columns) and after <= min(columns, default=after)
    # A pid stands in the head, and the fields of the message behind it.
    padded = padded and COLUMNS.index("pid") + 1 not in columns
    numbers = dict(before)

    def opened(match: re.Match[str]) -> str:
        nonlocal after
        column = COLUMNS.index(match[1]) + 1 if padded else after
        empty = "()" * (column - after)
        numbers[match[1]], after = column, column + 1
        return f"{empty}("

    return _GROUP.sub(opened, text), numbers


def _choice(alternatives: list[str]) -> str:
    return f"(?|{'|'.join(alternatives)})"

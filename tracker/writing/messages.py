"""Commit messages: who came, was renewed, went, and what changed in the lists; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from tracker.records import Change
from tracker.texts import printable, visible

_SHOWN = 200
_NAMED = 4
_LONGEST = 120
"""Characters of a subject."""

_MARKS = {"added": "+", "renewed": "~", "removed": "-"}


class Net:
    """Of each grant the last change, as seen from before the first.

    One that came and went is none. So there are never more of them than grants before and now.
    """

    def __init__(self, changes: Iterable[Change] = ()) -> None:
        self._of: dict[tuple[str, str], Change] = {}
        for change in changes:
            self.add(change)

    def add(self, change: Change) -> None:
        """One more."""
        grant = change.grant
        key = (grant.address, grant.user)
        earlier = self._of.pop(key, None)
        if earlier is not None and earlier.kind == "added":
            if change.kind == "removed":
                return
            if change.kind != "added":
                change = Change("added", grant, change.why)
        self._of[key] = change

    def __iter__(self) -> Iterator[Change]:
        """In the order in which they came last."""
        return iter(self._of.values())

    def __len__(self) -> int:
        return len(self._of)


def message(
    changes: Iterable[Change],
    policy: Sequence[str] = (),
    words: Sequence[tuple[str, Sequence[str]]] = (),
) -> str:
    """Counts in the subject, then a line for each grant's last change.

    `policy`: the names of other texts that changed, such as trusted.cidr. `words`: what changed in
    the lists that they are made from, and the details, a line each; they stand for the names.
    """
    changed = Net(changes)
    kinds = Counter(change.kind for change in changed)
    counts = [f"{kinds[kind]} {kind}" for kind in ("added", "renewed", "removed") if kinds[kind]]
    grants = "grants: " + ", ".join(counts) if counts else ""
    told = "; ".join(what for what, _ in words) or _names(policy)
    subject = visible("; ".join(filter(None, [grants, told])), _LONGEST)
    lines = [subject or "tables brought in line with the ledger", ""]
    for what, details in words:
        lines += [visible(what), *_first((f"  {visible(one)}" for one in details), len(details))]
    lines += _first(map(_line, changed), len(changed))
    return "\n".join(lines).rstrip() + "\n"


def _names(policy: Sequence[str]) -> str:
    if len(policy) > _NAMED:
        return f"{policy[0]} and {len(policy) - 1} more texts"
    return ", ".join(policy)


def _line(change: Change) -> str:
    grant = change.grant
    until = grant.expires.strftime("%Y-%m-%d %H:%M:%SZ")
    who = f"{grant.address} {printable(grant.user)}"
    return f"{_MARKS[change.kind]} {who} until {until} ({change.why})"


def _first(lines: Iterable[str], number: int) -> list[str]:
    """So many lines as people read, of that number."""
    rest = [f"and {number - _SHOWN} more"] if number > _SHOWN else []
    return [*islice(lines, _SHOWN), *rest]

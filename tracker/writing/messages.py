"""Commit messages: who came, was renewed, went, and what changed in the lists; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tracker.records import Change
from tracker.texts import printable, visible

_SHOWN = 200
_NAMED = 4
_LONGEST = 120
"""Characters of a subject."""

_MARKS = {"added": "+", "renewed": "~", "removed": "-"}


def message(
    changes: Sequence[Change],
    policy: Sequence[str] = (),
    words: Sequence[tuple[str, Sequence[str]]] = (),
) -> str:
    """Counts in the subject, then a line for each grant's last change.

    `policy`: the names of other texts that changed, such as trusted.cidr. `words`: what changed in
    the lists that they are made from, and the details, a line each; they stand for the names.
    """
    changed = net(changes)
    counts = [
        f"{number} {kind}"
        for kind in ("added", "renewed", "removed")
        if (number := sum(change.kind == kind for change in changed))
    ]
    grants = "grants: " + ", ".join(counts) if counts else ""
    told = "; ".join(what for what, _ in words) or _names(policy)
    subject = visible("; ".join(filter(None, [grants, told])), _LONGEST)
    lines = [subject or "tables brought in line with the ledger", ""]
    for what, details in words:
        lines += [visible(what), *_first(f"  {visible(line)}" for line in details)]
    lines += _first(_line(change) for change in changed)
    return "\n".join(lines).rstrip() + "\n"


def net(changes: Iterable[Change]) -> list[Change]:
    """Of each grant the last change, as seen from before the first."""
    found: dict[tuple[str, str], Change] = {}
    for change in changes:
        key = (change.grant.address, change.grant.user)
        earlier = found.pop(key, None)
        came = earlier is not None and earlier.kind == "added"
        if came and change.kind == "removed":
            continue  # it came and went between two commits
        found[key] = Change("added", change.grant, change.why) if came else change
    return list(found.values())


def _names(policy: Sequence[str]) -> str:
    if len(policy) > _NAMED:
        return f"{policy[0]} and {len(policy) - 1} more texts"
    return ", ".join(policy)


def _line(change: Change) -> str:
    grant = change.grant
    until = grant.expires.strftime("%Y-%m-%d %H:%M:%SZ")
    who = f"{grant.address} {printable(grant.user)}"
    return f"{_MARKS[change.kind]} {who} until {until} ({change.why})"


def _first(lines: Iterable[str]) -> list[str]:
    """So many lines as people read."""
    every = list(lines)
    rest = len(every) - _SHOWN
    return [*every[:_SHOWN], *([f"and {rest} more"] if rest > 0 else [])]

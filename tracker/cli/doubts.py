"""What is doubtful about the trusted list, in lines for whoever changes it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tracker.deciding.findings import Finding
    from tracker.deciding.trusted import TrustedList


def say(file: Path, found: Iterable[Finding]) -> list[str]:
    """A line for each finding."""
    return [
        f"{file}:{one.line}: {one.entry}: {one.kind}: {one.text}"
        if one.line
        else f"{file}: {one.kind}: {one.text}"
        for one in found
    ]


def warnings(file: Path, before: TrustedList, after: TrustedList) -> list[str]:
    """What is doubtful about the new list and was not about the old one; DNS is not asked."""
    from tracker.deciding.findings import findings

    known = Counter(map(_kind_of, findings(before, {})))
    fresh = []
    for one in findings(after, {}):
        known[_kind_of(one)] -= 1
        if known[_kind_of(one)] < 0:
            fresh.append(one)
    return say(file, fresh)


def _kind_of(finding: Finding) -> tuple[str, str]:
    return finding.kind, finding.entry

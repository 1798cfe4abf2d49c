"""Edits of main.cf and master.cf as arguments of postconf: `-e`, `-X`, `-M`, `-P`, `-PX`, `-MX`.

Each command replaces its file as a whole, so as many edits as may be go into one. A service is
added before it gets options; `-P` and `-M` take no white space within a value (postconf(1)).
"""

from __future__ import annotations

from collections.abc import Sequence

from tracker.records import Edit


def commands(edits: Sequence[Edit]) -> list[list[str]]:
    """The arguments of each postconf that makes these edits, in order; main.cf first."""
    main = [one for one in edits if not one.service]
    services = [one for one in edits if one.service and not one.name]
    options = [one for one in edits if one.service and one.name]
    groups = [
        ("-e", [f"{one.name} = {one.value}" for one in main if one.value is not None]),
        ("-X", [one.name for one in main if one.value is None]),
        ("-M", [f"{one.service}={one.value}" for one in services if one.value is not None]),
        ("-P", [f"{_place(one)}={one.value}" for one in options if one.value is not None]),
        ("-PX", [_place(one) for one in options if one.value is None]),
        ("-MX", [one.service for one in services if one.value is None]),
    ]
    return [[flag, *words] for flag, words in groups if words]


def _place(one: Edit) -> str:
    return f"{one.service}/{one.name}"

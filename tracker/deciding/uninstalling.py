"""What main.cf and master.cf become when popgate is taken out; pure.

It goes by what stands there now, and by what was noted when it was put in: words of ours leave
every value, what is still as we set it becomes what it was, and what somebody changed since stays.
"""

from __future__ import annotations

from collections.abc import Sequence

from tracker.deciding import restrictions
from tracker.deciding.installing import (
    CLASS_PARAMETER,
    OWN_NAME,
    as_made,
    back,
    compact,
    edited_word_by_word,
    present,
)
from tracker.records import Edit, PostfixSetup


def unplan(setup: PostfixSetup, made: Sequence[Edit], classes: Sequence[str]) -> list[Edit]:
    """The edits that take popgate out. `made`: those of all installs; what they do not tell is
    left, but for words of ours, which are known as such."""
    edits = {(one.service, one.name): one for one in back(setup, made)}
    gone = {one.service for one in edits.values() if not one.name}
    unset = {(one.service, one.name): one for one in made if one.before is None}
    places = {("", name): value for name, value in setup.main.items()}
    for service in setup.services:
        places |= {(service.id, name): value for name, value in service.options.items()}
    for (where, name), value in places.items():
        if (where, name) not in edits:
            after = _without(name, value, classes, unset.get((where, name)))
            if where and after is not None and after != value:
                after = compact(after)
            edits[where, name] = Edit(where, name, after, value)
    return [
        one
        for one in edits.values()
        if one.value != one.before and (one.service not in gone or not one.name)
    ]


def _without(name: str, value: str, classes: Sequence[str], unset: Edit | None) -> str | None:
    """A value without what is ours. `unset`: how we set what nothing stood in before."""
    if OWN_NAME.fullmatch(name):
        return None
    after = _taken_out(name, value, classes)
    ours_alone = unset is not None and after == _taken_out(name, unset.value or "", classes)
    return None if after != value and ours_alone else after


def _taken_out(name: str, value: str, classes: Sequence[str]) -> str:
    if name != CLASS_PARAMETER:
        return restrictions.remove(value)
    for item in reversed(restrictions.items(value)):
        if item.name in classes:
            value = value[: item.start].rstrip(", \t") + value[item.end :]
    return value.lstrip(", \t")


def kept(setup: PostfixSetup, made: Sequence[Edit]) -> list[Edit]:
    """What we set and somebody changed since, so that it stays as it is."""
    return [
        one
        for one in made
        if not edited_word_by_word(one)
        and not OWN_NAME.fullmatch(one.name)
        and not as_made(setup, one)
        and present(setup, one.service, one.name) not in (None, one.before)
    ]

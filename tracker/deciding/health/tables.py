"""Whether what Postfix reads is what the ledger and the lists say; pure.

The facts are looked at twice, a moment apart, and only what is wrong both times counts: a table
that is being changed is no finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from tracker.deciding.health.catalogue import Diagnosis, found, in_maps, remake
from tracker.facts import Tables, TableState
from tracker.texts import visible

_SHOWN = 4
_TEXT = "pop_before_smtp.txt"
RELOAD_WITHIN = timedelta(minutes=2)
"""A reload that failed is tried again after a minute."""


class Keeper(Struct, frozen=True):
    """Whose maps folder it is: `user` by name, `pid` of the popgate that follows the log.
    `commit_within`: how long the text beside the grant table may lag behind."""

    folder: str
    user: str = "root"
    pid: int | None = None
    commit_within: timedelta = timedelta(seconds=150)


def lasting(first: Tables, second: Tables) -> Tables:
    """What was wrong at both looks."""
    earlier = {one.name: one for one in first.texts}
    return replace(
        second,
        grants=_both(first.grants, second.grants),
        expired=tuple(one for one in second.expired if one in first.expired),
        texts=tuple(
            _both(earlier[one.name], one) if one.name in earlier else one for one in second.texts
        ),
    )


def _both(first: TableState, second: TableState) -> TableState:
    return replace(
        second,
        lacks=tuple(one for one in second.lacks if one in first.lacks),
        extra=tuple(one for one in second.extra if one in first.extra),
        differs=tuple(one for one in second.differs if one in first.differs),
        fault=second.fault if first.fault else "",
    )


def doubtful(seen: Tables) -> bool:
    """Whether anything is wrong, and a second look is worth its time."""
    wrong = (one.lacks or one.extra or one.differs or one.fault for one in seen.texts)
    grants = seen.grants
    return bool(grants.lacks or grants.extra or grants.fault or seen.expired or any(wrong))


def tables(
    seen: Tables,
    keeper: Keeper,
    now: datetime,
    unreadable: frozenset[str] = frozenset(),
) -> Iterator[Diagnosis]:
    """What is wrong with the tables. `unreadable`: those that Postfix could not read, as
    `type:path`, of which that was said."""
    folder = keeper.folder
    # A start compares all tables with the ledger; SIGHUP is as good as one.
    again = f"kill -HUP {keeper.pid}" if keeper.pid else "popgate once"
    if not seen.there:
        yield found("tables-missing", folder, "does not exist", again)
        return
    yield from _grants(seen, folder, again, unreadable)
    said = {source.partition(":")[2] for source in unreadable}
    for one in seen.texts:
        if one.fault and f"{folder}/{one.name.removesuffix('.lmdb')}" in said:
            continue
        if one.name != _TEXT:
            yield from _policy(one, keeper, again)
        elif one.written is None or now - one.written > keeper.commit_within:
            yield from _text(one, keeper)
    if seen.reload_since is not None and now - seen.reload_since > RELOAD_WITHIN:
        text = f"a reload is due since {seen.reload_since.isoformat(timespec='seconds')}"
        yield found("reload-due", f"{folder}/.reload", text, f"postfix reload && {again}")


def _grants(
    seen: Tables, folder: str, again: str, unreadable: frozenset[str]
) -> Iterator[Diagnosis]:
    grants = seen.grants
    where = f"{seen.kind}:{folder}/{grants.name}"
    if grants.fault and where not in unreadable:
        mend = remake(where.partition(":")[2], grants.fault, again)
        yield found("grants-unreadable", where, grants.fault, mend)
    if grants.lacks:
        text = f"lacks {_named(grants.lacks)}, which the ledger grants"
        yield found("grant-missing", where, text, again)
    if grants.extra:
        text = f"has {_named(grants.extra)}, which the ledger does not grant"
        yield found("grant-extra", where, text, "popgate expire")
    if seen.expired:
        text = f"has {_named(seen.expired)}, whose time is over"
        yield found("grant-expired", where, text, "popgate expire")


def _policy(one: TableState, keeper: Keeper, again: str) -> Iterator[Diagnosis]:
    where = f"{keeper.folder}/{one.name}"
    if one.fault:
        yield found("table-differs", where, one.fault, again)
        return
    parts = [
        f"lacks {_named(one.lacks)}" if one.lacks else "",
        f"has {_named(one.extra)} too many" if one.extra else "",
        f"says something else of {_named(one.differs)}" if one.differs else "",
    ]
    text = "; ".join(filter(None, parts))
    if text and one.name.endswith(".txt"):
        yield found("text-behind", where, text, _restore(keeper, one.name))
    elif text:
        yield found("table-differs", where, text, again)


def _text(one: TableState, keeper: Keeper) -> Iterator[Diagnosis]:
    where = f"{keeper.folder}/{one.name}"
    parts = [
        one.fault,
        f"lacks {_named(one.lacks)}" if one.lacks else "",
        f"has {_named(one.extra)}" if one.extra else "",
    ]
    if text := "; ".join(filter(None, parts)):
        yield found("text-behind", where, f"{text}: not as the table", _restore(keeper, one.name))


def _restore(keeper: Keeper, name: str) -> str:
    return in_maps(keeper.user, keeper.folder, f"checkout -- {name}")


def _named(keys: tuple[str, ...]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(visible(key, 60) for key in keys[:_SHOWN]) + more

"""Who could relay then, and why: the history read, the rules asked, the evidence put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from fnmatch import fnmatchcase

from msgspec import Struct

from tracker.addresses import IPNetwork, network
from tracker.deciding.past import Relayed, Then, could_relay
from tracker.history import snapshots
from tracker.history.reading import Past
from tracker.history.records import Commit, Held, KeptLogin, Life, SnapshotKind
from tracker.texts import printable


class Earned(Struct, frozen=True):
    """A grant that stood behind an entry of the table, and the login that counted then.

    `login`: the newest that is kept of those up to that moment; of a client that logs in all the
    time it may be up to an hour older than the one that counted.
    """

    life: Life
    login: KeptLogin


class Reason(Struct, frozen=True):
    """Why a client could relay: what a rule matched, from when until when that was so, the grants
    behind it, and the commit that shows it."""

    relayed: Relayed
    since: datetime | None
    until: datetime | None
    table: str | None
    earned: tuple[Earned, ...]
    commit: Commit | None


class Answer(Struct, frozen=True):
    """Who could relay at some moment from `first` to `last`; `notes`: what else is to be known, a
    line each."""

    first: datetime
    last: datetime
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...]


def who_could(
    past: Past,
    first: datetime,
    last: datetime,
    asked: IPNetwork | None = None,
    user: str | None = None,
) -> Answer:
    """The answer for a network or for all there are. `user`: a glob; then only grants of such
    users are told."""
    held = list(past.held(first, last, network=asked))
    reasons: dict[tuple[str, str, str], Reason] = {}
    for at in _moments(past, first, last):
        trusted = past.snapshot("trusted", at)
        names = past.snapshot("names", at)
        mynetworks = past.snapshot("postfix", at)
        then = Then(
            snapshots.trusted_list(trusted and trusted[1], names and names[1]),
            snapshots.networks(mynetworks and mynetworks[1]),
            [one.address for one in held],
        )
        for one in could_relay(then, asked, at):
            key = (one.client, one.code, one.on)
            if one.code == "P":
                for entry in held:
                    if one.on.endswith(f" {entry.address}"):
                        reasons[*key[:2], str(entry.since)] = _granted(past, one, entry, last)
            else:
                since = trusted if one.code == "T" else mynetworks
                reasons.setdefault(key, _listed(past, one, since and since[0]))
    found = [one for one in reasons.values() if _is_of(one, user)]
    notes = [
        *_of_reasons(past, found, first, last),
        *_of_lives(past.lives(first, last, network=asked), {one.address for one in held}),
        *_of_service(past, last),
    ]
    return Answer(first, last, tuple(found), tuple(notes))


def _moments(past: Past, first: datetime, last: datetime) -> list[datetime]:
    """The moments between which nothing changed but grants."""
    kinds: tuple[SnapshotKind, ...] = ("trusted", "names", "postfix")
    changed = {time for kind in kinds for time in past.snapshot_times(kind, first, last)}
    return [first, *sorted(changed)]


def _is_of(reason: Reason, user: str | None) -> bool:
    return user is None or any(fnmatchcase(one.life.user, user) for one in reason.earned)


def _granted(past: Past, relayed: Relayed, held: Held, last: datetime) -> Reason:
    end = last if held.until is None else min(held.until, last)
    lives = [
        life
        for life in past.lives(held.since, end, network=network(held.address))
        if life.address == held.address
    ]
    # The table may have held on to it after the ledger had let go: those that were in force last.
    in_force = [life for life in lives if life.ended is None or life.ended >= end] or lives
    earned = tuple(Earned(life, _login(past, life, end)) for life in in_force)
    return Reason(relayed, held.since, held.until, held.table, earned, _commit(past, held))


def _login(past: Past, life: Life, at: datetime) -> KeptLogin:
    """The newest login of a life, up to a moment, that is kept."""
    if life.last.time <= at:
        return life.last
    kept = past.kept_logins(life.id, at, 1)
    return kept[0] if kept else life.first


def _commit(past: Past, held: Held) -> Commit | None:
    """The first commit that shows the entry; None where it went before one was made."""
    after = past.commits(held.since, held.until, limit=1)
    return after[0] if after else None


def _listed(past: Past, relayed: Relayed, since: datetime | None) -> Reason:
    commit = past.commits(since, limit=1) if since else []
    return Reason(relayed, since, None, None, (), commit[0] if commit else None)


def _of_reasons(
    past: Past, found: Iterable[Reason], first: datetime, last: datetime
) -> Iterator[str]:
    if any(one.relayed.code == "T" for one in found):
        yield from _reload(past, last)
    for reason in found:
        over = [one.life.expires for one in reason.earned]
        if over and max(over) < first:
            yield (
                f"{reason.relayed.client}: the grant was over at {_iso(max(over))}, and nobody had "
                "taken it out of the table: popgate was not at work"
            )


def _of_lives(lives: Iterable[Life], held: set[str]) -> Iterator[str]:
    for life in lives:
        if life.address not in held:
            yield (
                f"{life.address}: had a grant from {_iso(life.began)} on (user "
                f"{printable(life.user)}), but the table that Postfix reads did not hold it"
            )


def _of_service(past: Past, last: datetime) -> Iterator[str]:
    state = past.changes(until=last, of=["service"], newest_first=True, limit=1)
    if state and state[0].what == "stopped":
        yield f"popgate was not at work: it had been stopped at {_iso(state[0].time)}"


def _reload(past: Past, last: datetime) -> Iterator[str]:
    """When Postfix read the list that is told of."""
    published = [
        one.time
        for one in past.changes(until=last, of=["table"], newest_first=True, limit=100)
        if one.what == "trusted.cidr"
    ]
    if not published:
        return
    reloads = past.changes(published[0], last, of=["reload"], limit=1)
    if reloads:
        yield f"Postfix was reloaded for this trusted list at {_iso(reloads[0].time)}"
    else:
        yield (
            f"the trusted list had been published at {_iso(published[0])}, and popgate had not "
            "reloaded Postfix since: its processes may have had the list before"
        )


def _iso(moment: datetime) -> str:
    return moment.astimezone().isoformat(sep=" ", timespec="seconds")

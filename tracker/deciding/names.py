"""What a host name of the trusted list stands for, from what DNS said of it and when; pure.

What is not certain trusts nothing. A name that DNS has never answered for, or not for longer than
`trusted.stale` after the answer's time was over, has no address. Before a `!` the same name errs
the other way: it takes out the addresses that were last known, however old, and where there never
was an answer, everything that comes behind it.

"There is no such name" is an answer. "No server answered" is none.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from tracker.deciding.kinds import kind_of
from tracker.deciding.spans import ALL, Span, number
from tracker.records import Answer, NameAnswers

State = Literal["resolved", "stale", "gone", "unresolved"]

_GRACE = timedelta(seconds=60)
"""An answer whose time is over counts on for as long as it may take to ask anew."""


class NamePolicy(Struct, frozen=True):
    """`stale`: how long an answer outlives its time while DNS does not answer. `private`: whether
    a name may stand for private addresses."""

    stale: timedelta
    private: bool


class Known(Struct, frozen=True):
    """What a name stands for at some moment.

    `trusted` are the addresses it has in an entry that trusts, `excluded` those behind a `!`.
    `refused`: addresses that DNS gave and that are not trusted, with the reason. `ends`: the
    moment from which this is no longer so unless DNS answers again.
    """

    state: State
    trusted: tuple[Span, ...] = ()
    excluded: tuple[Span, ...] = ALL
    refused: tuple[str, ...] = ()
    trouble: str | None = None
    ends: datetime | None = None

    def stands_for(self) -> tuple[tuple[Span, ...], tuple[Span, ...], tuple[str, ...], State]:
        """What of it an admin is told when it changes."""
        return self.trusted, self.excluded, self.refused, self.state


UNKNOWN = Known("unresolved", trouble="not looked up yet")


def known(answers: NameAnswers, policy: NamePolicy, now: datetime) -> Known:
    """What a name stands for at `now`."""
    trusted: list[Span] = []
    excluded: list[Span] = []
    refused: list[str] = []
    ends: list[datetime] = []
    stale = False
    for answer, everything in zip((answers.v4, answers.v6), ALL, strict=True):
        if answer.expires is None:
            excluded.append(everything)
            continue
        # AAAA may hold mapped IPv4; so the family of an address is its own.
        excluded += map(number, answer.addresses)
        end = answer.expires + policy.stale + _GRACE
        if end <= now:
            continue
        ends.append(end)
        stale |= bool(answer.addresses and answer.trouble and answer.expires <= now)
        for address in answer.addresses:
            span = number(address)
            reason = _refusal(span, policy)
            if reason is None:
                trusted.append(span)
            else:
                refused.append(f"{address}: {reason}")
    return Known(
        state=_state(answers, bool(ends), stale=stale),
        trusted=tuple(sorted(set(trusted))),
        excluded=tuple(sorted(set(excluded))),
        refused=tuple(refused),
        trouble=_trouble(answers),
        ends=min(ends, default=None),
    )


def _state(answers: NameAnswers, counts: bool, *, stale: bool) -> State:
    if not counts:
        return "unresolved"
    if not answers.v4.addresses and not answers.v6.addresses:
        both = answers.v4.expires is not None and answers.v6.expires is not None
        return "gone" if both else "unresolved"
    return "stale" if stale else "resolved"


def _trouble(answers: NameAnswers) -> str | None:
    said = {family: answer.trouble for family, answer in _families(answers) if answer.trouble}
    if len(set(said.values())) == 1 and len(said) == 2:
        return said["A"]
    return "; ".join(f"{family}: {trouble}" for family, trouble in said.items()) or None


def _families(answers: NameAnswers) -> tuple[tuple[str, Answer], tuple[str, Answer]]:
    return ("A", answers.v4), ("AAAA", answers.v6)


def _refusal(span: Span, policy: NamePolicy) -> str | None:
    """Why an address that DNS gave is not trusted; None when it is."""
    kind = kind_of(span)
    if kind is None or (kind == "private" and policy.private):
        return None
    if kind == "nobody":
        return "no client has such an address"
    if kind == "private":
        return "a private address (trusted.private_names lets names have such)"
    return f"a {kind} address"

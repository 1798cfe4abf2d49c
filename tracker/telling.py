"""The log's lines of grants: one for each that comes or goes, and for each limit reached."""

from __future__ import annotations

import logging

from tracker.deciding.limits import Crossing
from tracker.pseudonyms import Names
from tracker.records import Change
from tracker.texts import printable, visible

log = logging.getLogger("popgate")


def change(change: Change, names: Names) -> None:
    """A grant came, went or was renewed."""
    level = logging.DEBUG if change.kind == "renewed" else logging.INFO
    if not log.isEnabledFor(level):  # most are not, and what would be said of them is costly
        return
    grant = change.grant
    log.log(
        level,
        "event=grant_%s address=%s user=%s expires=%s why=%r",
        change.kind,
        grant.address,
        visible(printable(names(grant.user))),
        grant.expires.isoformat(timespec="seconds"),
        change.why,
    )


def crossing(crossing: Crossing, names: Names) -> None:
    """A limit of grants is reached."""
    of_user = crossing.limit == "max_grants_per_user"
    subject = names(crossing.subject) if of_user else crossing.subject
    log.warning(
        "event=limit limit=grants.%s most=%d subject=%s action=%s",
        crossing.limit,
        crossing.most,
        visible(printable(subject)) or "all",
        "refused" if crossing.refused else "granted",
    )

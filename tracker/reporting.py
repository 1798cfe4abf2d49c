"""What a report shows, brought together from state, history, lists, tables and Postfix's log.

Nothing is written, and a running popgate is not in the way. What cannot be read of the trusted
list is said on the page; a log that cannot be read is an error, since it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from tracker import __version__
from tracker.deciding.overview import Overview, Spell
from tracker.deciding.trusted import Entry, TrustedList
from tracker.deciding.views import Mattered, Page, TableRow, TrustedRow, View
from tracker.errors import PopgateError, TrustedError
from tracker.host import host_name
from tracker.reading.smtpd import smtp_lines
from tracker.reading.sources.whole import blocks_of
from tracker.reading.timestamps import StampReader
from tracker.records import SmtpLine
from tracker.settings import Settings
from tracker.store import Store
from tracker.trusting import Trusting

ENTRIES_LISTED = 300
_NETWORKS_SHOWN = 4

_ABOUT = {
    "pop_before_smtp.lmdb": "who has a grant: the table that Postfix asks",
    "pop_before_smtp.cidr": "who has a grant: the table that Postfix asks",
    "pop_before_smtp.txt": "the grants, for people and git",
    "trusted.cidr": "the trusted list",
    "main.cf.snippet": "parameters for main.cf",
    "master.cf.snippet": "submission services for master.cf",
}
_PARTS = {"local": "local senders", "mark": "the mark H", "white": "white list", "black": "black list"}


def gather(
    settings: Settings, since: datetime, now: datetime, postfix_logs: Iterable[str] = ()
) -> Page:
    """All that the report on the time from `since` to `now` shows. Raises a PopgateError."""
    logs = tuple(postfix_logs)
    trusted, trouble, states = _trusted(settings, now)
    overview = Overview(since, now, trusted, settings.grants.ipv6_prefix)
    began = _from_state(settings, overview)
    if logs:
        overview.mail(_smtp(logs, now))
    view = overview.view()
    return Page(
        host=host_name(),
        version=__version__,
        view=view,
        began=began,
        logs=logs,
        trusted=tuple(
            _trusted_row(number, entry, view, states)
            for number, entry in enumerate(trusted.entries[:ENTRIES_LISTED], 1)
        ),
        trusted_all=len(trusted.entries),
        trusted_trouble=trouble,
        tables=tuple(_tables(settings.tables.directory)),
        findings=None,
    )

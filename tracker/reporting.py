"""What a report shows, brought together from state, history, lists, tables and Postfix's log.

Nothing is written, and a running popgate is not in the way. What cannot be read of the trusted
list is said on the page; a log that cannot be read is an error, since it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from msgspec import structs

from tracker import __version__
from tracker.deciding.access import SenderPolicy
from tracker.deciding.health.catalogue import Diagnosis
from tracker.deciding.names import Known
from tracker.deciding.overview import Overview
from tracker.deciding.trusted import Entry, TrustedList
from tracker.deciding.views import Mattered, Page, TableRow, TrustedRow, View
from tracker.errors import PublishError, TrustedError
from tracker.history.reading import Past
from tracker.host import host_name
from tracker.pseudonyms import names
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


def gather(
    settings: Settings,
    since: datetime,
    now: datetime,
    postfix_logs: Iterable[str] = (),
    findings: tuple[Diagnosis, ...] | None = None,
) -> Page:
    """All that the report on the time from `since` to `now` shows. `findings`: of doctor, who looks
    at a host as it is now and not at its past. Raises a PopgateError."""
    logs = tuple(postfix_logs)
    trusted, trouble, names = _trusted(settings, now)
    overview = Overview(
        since,
        now,
        trusted,
        settings.grants.ipv6_prefix,
        settings.grants.max_users_per_address,
    )
    began = _tell(settings, overview, since, now)
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
            _trusted_row(number, entry, view, names)
            for number, entry in enumerate(trusted.entries[:ENTRIES_LISTED], 1)
        ),
        trusted_all=len(trusted.entries),
        trusted_trouble=trouble,
        tables=tuple(_tables(settings.tables.directory)),
        findings=findings,
    )


def _tell(
    settings: Settings, overview: Overview, since: datetime, now: datetime
) -> datetime | None:
    """Grants and history to the overview; when the history begins."""
    directory = settings.state.directory
    if not (directory / "popgate.db").exists():
        return None
    called = names(settings)
    store = Store(directory)
    try:
        for grant in store.grants():
            overview.grant(structs.replace(grant, user=called(grant.user)))
    finally:
        store.close()
    with Past(directory) as past:
        for life in past.lives(since, now):
            overview.life(structs.replace(life, user=called(life.user)))
        for count in past.counts(since, now):
            overview.counted(count.of, count.hour, count.number)
        return past.began()


def _smtp(logs: Iterable[str], now: datetime) -> Iterator[SmtpLine]:
    stamps = StampReader(now)
    for log in logs:
        for block in blocks_of(log):
            yield from smtp_lines(block, stamps)


def _trusted(settings: Settings, now: datetime) -> tuple[TrustedList, str, Mapping[str, Known]]:
    """The list, why there is none, and what its names stand for."""
    trusting = Trusting(settings)
    try:
        listed = trusting.reread(now) or TrustedList()
    except TrustedError as error:
        return TrustedList(), str(error).splitlines()[0], {}
    return listed, "", trusting.known()


def _trusted_row(number: int, entry: Entry, view: View, names: Mapping[str, Known]) -> TrustedRow:
    networks = [
        network.removesuffix("/128" if ":" in network else "/32")
        for network in islice(entry.networks, _NETWORKS_SHOWN)
    ]
    mattered = view.postfix.mattered.get(entry.line, Mattered()) if view.postfix else None
    return TrustedRow(
        number,
        entry.text,
        entry.trusts,
        entry.note,
        () if networks == [entry.text.removeprefix("!").strip()] else tuple(networks),
        max(len(entry.networks) - _NETWORKS_SHOWN, 0),
        _state(names[entry.name]) if entry.name else "",
        mattered,
    )


def _state(name: Known) -> str:
    """What is not well with a host name; nothing where all is."""
    if name.refused:
        return f"refused: {'; '.join(name.refused)}"
    if name.state == "resolved" and not name.trouble:
        return ""
    return f"{name.state}: {name.trouble}" if name.trouble else name.state


def _tables(directory: Path) -> Iterator[TableRow]:
    """The files of the maps folder, that of the grants first."""
    try:
        files = sorted(file for file in directory.iterdir() if file.name[:1] != ".")
    except FileNotFoundError:
        return
    except OSError as error:
        raise PublishError(f"{directory}: cannot be read: {error.strerror}") from error
    for file in sorted(files, key=lambda one: (not one.name.startswith("pop_before"), one.name)):
        if file.is_file():
            found = file.stat()
            changed = datetime.fromtimestamp(found.st_mtime, UTC)
            yield TableRow(file.name, _about(file.name), _entries(file), found.st_size, changed)


def _about(name: str) -> str:
    if name in _ABOUT:
        return _ABOUT[name]
    table = SenderPolicy().tables.get(name.partition(".")[0])
    if table is None:
        return ""
    about = table.about[0].lower() + table.about[1:].rstrip(".")
    return f"{about} (for people and git)" if name.endswith(".txt") else about


def _entries(file: Path) -> int | None:
    """Lines of a text that say something; a compiled table has none that can be counted."""
    if file.suffix not in (".txt", ".cidr"):
        return None
    with file.open("rb") as lines:
        return sum(1 for line in lines if line.strip() and not line.startswith(b"#"))

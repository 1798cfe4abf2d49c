"""The access tables of the rules H, W and B: made once, for Postfix and `decide` alike; pure.

The block of these rules comes last in Postfix's sender list. For each client, `local_clients` says
whether its senders are looked up in `local_senders` at all; then come the white and the black list,
by client and by sender. `mark_clients` and `local_marks` are the same for the mark H, which Postfix
sets once a message, at DATA. An indexed table has no order, so what is to be left out stands there
as `key DUNNO`, nearer to the address than the entry that it takes it from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tracker.deciding.lists import ClientIndex, client_rows, sender_rows
from tracker.deciding.owners import Owners
from tracker.records import AccessTable, ListEntry, MailHost, Row
from tracker.settings import LocalSenderSettings

SKIP_LISTS = "popgate_skip_lists"
WARN_LOCAL = "popgate_warn_local"
LOCAL_SENDER = "popgate_local_sender"
LOCAL_MARK = "popgate_local_mark"
MARK_SENDER = "popgate_mark_sender"
"""Restriction classes: words that main.cf.snippet gives a meaning and that tables answer with."""

LOCAL_TEXT = (
    "local sender: log in first, by SMTP AUTH on port 587 or by POP3 or IMAP from this address"
)
WARN_TEXT = "local sender, would be refused: not logged in"
BLACK_TEXT = "on this host's black list"

_EVERYBODY = ("0.0.0.0/0", "::/0")


class SenderPolicy:
    """What holds whoever logs in: whose senders are local, and the white and the black list."""

    def __init__(
        self,
        host: MailHost | None = None,
        settings: LocalSenderSettings | None = None,
        *,
        domains: Iterable[ListEntry] = (),
        exceptions: Iterable[ListEntry] = (),
        whitelist: Iterable[ListEntry] = (),
        blacklist: Iterable[ListEntry] = (),
        owners: Owners | None = None,
    ) -> None:
        """`domains`: of local senders; `exceptions`: of these, and clients whose senders are not
        looked at. `owners`: to whom a sender belongs, where that is asked."""
        self.host = host or MailHost()
        self.owners = owners
        answer = _local_answer(settings or LocalSenderSettings())
        local, exempt = tuple(domains), tuple(exceptions)
        white, black = tuple(whitelist), tuple(blacklist)
        made = (
            _clients(
                "local_clients",
                "Clients whose senders are not held against the local domains.",
                exempt,
                LOCAL_SENDER,
            ),
            self._senders(
                "local_senders", "Senders that claim a local domain.", local, answer, exempt
            ),
            _listed("whitelist_clients", "The white list, by client.", white, "OK"),
            self._senders("whitelist", "The white list, by sender.", white, "OK"),
            _listed(
                "blacklist_clients", "The black list, by client.", black, f"REJECT {BLACK_TEXT}"
            ),
            self._senders("blacklist", "The black list, by sender.", black, f"REJECT {BLACK_TEXT}"),
            _clients(
                "mark_clients", "Clients whose mail does not get the mark H.", exempt, MARK_SENDER
            ),
            self._senders(
                "local_marks", "Senders whose mail gets the mark H.", local, LOCAL_MARK, exempt
            ),
        )
        self.tables: Mapping[str, AccessTable] = MappingProxyType({one.name: one for one in made})
        self._indexes = {one.name: ClientIndex(one.rows) for one in made if one.asks == "client"}

    def by_client(self, table: str, client: str | None) -> tuple[str, Row] | None:
        """What a cidr table answers for a client, and the network that does."""
        return None if client is None else self._indexes[table].find(client)

    def by_sender(self, table: str, keys: Iterable[str]) -> tuple[str, Row] | None:
        """What an indexed table answers for the keys that Postfix asks in turn, and the key that
        does."""
        rows = self.tables[table].rows
        return next(((key, rows[key]) for key in keys if key in rows), None)

    def _senders(
        self,
        name: str,
        about: str,
        entries: Iterable[ListEntry],
        value: str,
        exempt: Iterable[ListEntry] = (),
    ) -> AccessTable:
        rows: dict[str, Row] = {}
        for key, row in sender_rows(exempt, "DUNNO", parents=self.host.parents):
            rows.setdefault(key, Row(row.value, row.entry, exempts=True))
        for key, row in sender_rows(entries, value, parents=self.host.parents):
            rows.setdefault(key, row)
        return AccessTable(name, "sender", about, rows)


def _local_answer(settings: LocalSenderSettings) -> str:
    skips = settings.skip_lists_for_local_untrusted
    if settings.reject and settings.action == "reject":
        return f"REJECT {LOCAL_TEXT}"
    if settings.reject:
        return WARN_LOCAL if skips else f"WARN {WARN_TEXT}"
    return SKIP_LISTS if skips else "DUNNO"


def _clients(name: str, about: str, exempt: Iterable[ListEntry], value: str) -> AccessTable:
    rows: dict[str, Row] = {}
    for key, row in client_rows(exempt, "DUNNO"):
        rows.setdefault(key, Row(row.value, row.entry, exempts=True))
    for key in _EVERYBODY:
        rows.setdefault(key, Row(value))
    return AccessTable(name, "client", about, rows)


def _listed(name: str, about: str, entries: Iterable[ListEntry], value: str) -> AccessTable:
    rows: dict[str, Row] = {}
    for key, row in client_rows(entries, value):
        rows.setdefault(key, row)
    return AccessTable(name, "client", about, rows)

"""The rule set as text: deterministic, sorted, from the templates.

A template that asks for a value it is not given fails here (StrictUndefined), never in Postfix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from tracker import __version__
from tracker.addresses import order
from tracker.deciding.trusted import Entry, TrustedList
from tracker.records import AccessTable, Table
from tracker.settings import Settings
from tracker.texts import printable, visible
from tracker.writing import parameters
from tracker.writing.parameters import GrantTableType
from tracker.writing.templates import fill as _render

_LENGTHS = {order(address)[:1]: len(order(address)) for address in ("0.0.0.0", "::")}
"""How many bytes the sort key of an address has, by its family."""

_SHOWN = 8
"""Entries that a comment names of those whose addresses were put together in the same networks."""


def trusted_table(trusted: TrustedList, source: Path) -> Table:
    """`trusted.cidr`: exclusions are DUNNO before what follows them; `!` is never written,
    since cidr_table(5) reads it as everything but that network. Comments name the entries that the
    networks below them come from."""
    text = _render("trusted.cidr.j2", groups=_commented(trusted), source=source)
    return Table("trusted.cidr", "cidr", text)


def _commented(trusted: TrustedList) -> Iterator[tuple[list[str], str, tuple[str, ...]]]:
    """Comments, what Postfix shall answer, and the networks it answers so for."""
    for group in trusted.groups():
        comments = [_comment(entry) for entry in group.entries[:_SHOWN]]
        if len(group.entries) > _SHOWN:
            last = group.entries[-1].text
            comments.append(f"and {len(group.entries) - _SHOWN} more, the last of them {last}")
        yield comments, "OK" if group.trusts else "DUNNO", group.networks


def _comment(entry: Entry) -> str:
    text = entry.text if entry.spans else f"{entry.text} (has no address now)"
    return f"{text}  {visible(entry.note)}" if entry.note else text


def grant_texts(
    entries: Mapping[str, int], holders: Iterable[tuple[str, str]], kind: GrantTableType
) -> list[Table]:
    """`pop_before_smtp.txt`, for people and git, and the table itself where it is a text.

    `entries`: of the grant table. `holders`: address and user of each grant, those of an address
    together.
    """
    texts = [grant_text(entries, holders, kind)]
    if kind == "cidr":
        texts.append(grant_table(entries))
    return texts


def grant_text(
    entries: Mapping[str, int], holders: Iterable[tuple[str, str]], kind: GrantTableType
) -> Table:
    """`pop_before_smtp.txt`: a row for each entry, with the users who earned it."""
    rows = _held(entries, holders)
    text = _render("pop_before_smtp.txt.j2", rows=rows, grant_type=kind)
    return Table("pop_before_smtp.txt", "text", text)


def _held(
    entries: Mapping[str, int], holders: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, str, str, str]]:
    """The rows, by address. Each waits as one piece of bytes that sorts as its address does, and is
    let go of when it was told: of a million, dictionaries would take half a gigabyte."""
    waiting: list[bytes] = []
    for address, those in groupby(holders, key=itemgetter(0)):
        expires = entries.get(address)
        if expires is not None:
            users = " ".join(sorted(printable(user) for _, user in those))
            row = f"{address} {expires} {users}".encode("utf-8", "surrogatepass")
            waiting.append(order(address) + row)
    waiting.sort(reverse=True)
    while waiting:
        row = waiting.pop()
        text = row[_LENGTHS[row[:1]] :].decode("utf-8", "surrogatepass")
        address, end, users = text.split(" ", 2)
        until = datetime.fromtimestamp(int(end), UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        yield address, end, users, until


def grant_table(entries: Mapping[str, int]) -> Table:
    """`pop_before_smtp.cidr`."""
    rows = sorted(entries.items(), key=lambda item: order(item[0]))
    return Table("pop_before_smtp.cidr", "cidr", _render("pop_before_smtp.cidr.j2", rows=rows))


def access_text(table: AccessTable, kind: GrantTableType) -> Table:
    """An access table as text: the table itself, or what people and git read beside an lmdb one."""
    if table.asks == "client":
        rows = sorted(table.rows.items(), key=lambda item: (item[1].entry is None, order(item[0])))
        text = _render("access.cidr.j2", about=table.about, rows=rows)
        return Table(f"{table.name}.cidr", "cidr", text)
    indexed = kind == "lmdb"
    text = _render(
        "access.txt.j2",
        about=table.about,
        name=table.name,
        indexed=indexed,
        rows=sorted(table.rows.items()),
    )
    return Table(f"{table.name}.txt", "text" if indexed else "texthash", text)


def main_cf_snippet(settings: Settings, kind: GrantTableType) -> Table:
    """`main.cf.snippet`: the parameters that make Postfix ask the tables, in the rules' order, and
    the policy service where grants are for addresses of senders."""
    text = _render(
        "main.cf.snippet.j2",
        version=__version__,
        parameters=parameters.parameters(settings, kind),
        classes=parameters.CLASSES,
        known=parameters.KNOWN,
    )
    return Table("main.cf.snippet", "text", text)


def master_cf_snippet() -> Table:
    """`master.cf.snippet`: the submission services, which SMTP AUTH alone opens."""
    services = {
        name: parameters.submission_options(name) for name in parameters.SUBMISSION_SERVICES
    }
    text = _render("master.cf.snippet.j2", version=__version__, services=services)
    return Table("master.cf.snippet", "text", text)

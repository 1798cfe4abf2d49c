"""The rule set as text: deterministic, sorted, from the templates.

A template that asks for a value it is not given fails here (StrictUndefined), never in Postfix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import jinja2

from tracker import __version__
from tracker.addresses import order
from tracker.deciding.rules import RuleSet
from tracker.deciding.trusted import Entry, TrustedList
from tracker.records import Grant, Table
from tracker.texts import printable, visible

GrantTableType = Literal["lmdb", "cidr"]
GRANT_FILES: dict[GrantTableType, str] = {
    "lmdb": "pop_before_smtp",  # Postfix adds .lmdb by itself
    "cidr": "pop_before_smtp.cidr",
}

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


def grant_texts(rules: RuleSet, grants: Iterable[Grant], kind: GrantTableType) -> list[Table]:
    """`pop_before_smtp.txt`, for people and git, and the table itself where it is a text."""
    entries = rules.granted()
    users: dict[str, list[str]] = {}
    for grant in grants:
        users.setdefault(grant.address, []).append(grant.user)
    rows = [
        {
            "address": address,
            "expires": expires,
            "until": datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%d %H:%M:%SZ"),
            "users": " ".join(printable(user) for user in sorted(users.get(address, ()))),
        }
        for address, expires in sorted(entries.items(), key=lambda item: order(item[0]))
    ]
    texts = [
        Table(
            "pop_before_smtp.txt",
            "text",
            _render("pop_before_smtp.txt.j2", rows=rows, grant_type=kind),
        )
    ]
    if kind == "cidr":
        texts.append(grant_table(entries))
    return texts


def grant_table(entries: Mapping[str, int]) -> Table:
    """`pop_before_smtp.cidr`."""
    rows = [
        {"address": address, "expires": expires}
        for address, expires in sorted(entries.items(), key=lambda item: order(item[0]))
    ]
    return Table("pop_before_smtp.cidr", "cidr", _render("pop_before_smtp.cidr.j2", rows=rows))


def main_cf_snippet(directory: Path, kind: GrantTableType) -> Table:
    """`main.cf.snippet`: the parameters that make Postfix ask the tables."""
    text = _render(
        "main.cf.snippet.j2",
        version=__version__,
        directory=directory,
        grant_type=kind,
        grant_file=GRANT_FILES[kind],
    )
    return Table("main.cf.snippet", "text", text)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_template_folders()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def _template_folders() -> list[Path]:
    """In the wheel the templates lie in the package, in a checkout beside it."""
    package = Path(__file__).parents[1]
    return [package / "templates", package.parent / "templates"]


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)

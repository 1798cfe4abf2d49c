"""Whether Postfix asks popgate's tables, in the right places, and whom it lets relay before; pure.

What is wrong with the place of our words in its lists is judged by `deciding/placement.py`, the
same that `popgate install` goes by.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from tracker.deciding.health.catalogue import Diagnosis, found, remake, unseen
from tracker.deciding.kinds import kind_of
from tracker.deciding.placement import Misplaced, judge
from tracker.deciding.restrictions import LISTS, items
from tracker.deciding.spans import Span, network
from tracker.facts import MailSystem, Service
from tracker.records import MailHost

INSTALL = "popgate install"
_CLASSES = "smtpd_restriction_classes"
WIDE = {4: 16, 6: 32}
"""Bits of a public network from which on mynetworks trusts more hosts than one site has."""

_CODES = {
    "missing": "clients-missing",
    "late": "clients-late",
    "early": "clients-early",
    "refused-before": "refused-before",
    "unknown": "refused-before",
    "login-mismatch": "login-mismatch",
    "rules-missing": "rules-missing",
    "rules-early": "rules-early",
    "rules-for-all": "rules-for-all",
    "open-relay": "open-relay",
}


def mailsystem(seen: MailSystem) -> Iterator[Diagnosis]:
    """What is wrong with main.cf, master.cf and the tables that they name."""
    if seen.running is False:
        yield found("postfix-stopped", "Postfix", "is not running", "postfix start")
    for warning in seen.warnings:
        if "unused parameter" not in warning and "overriding earlier entry" not in warning:
            yield found("postfix-warns", "main.cf, master.cf", warning, "postfix check")
    for table, count in seen.old_readers.items():
        text = f"{count} smtpd processes began before it last changed"
        yield found("old-readers", table, text, "postfix reload")
    if seen.policy:
        text = f"does not answer: {seen.policy}"
        yield found(
            "policy-silent",
            "policy service",
            text,
            "popgate status; systemctl restart popgate.service",
        )
    if seen.running is None:
        yield unseen("Postfix", "only root can tell whether it runs, and since when")
    if not seen.names_us:
        text = "neither main.cf nor master.cf names popgate's tables"
        yield found("not-installed", "main.cf", text, INSTALL)
    else:
        yield from _lists(seen)
        yield from _tables(seen)
        yield from _classes(seen)
    if not seen.lmdb:
        text = "this Postfix cannot read lmdb tables"
        yield found("no-lmdb", "Postfix", text, "apt-get install postfix-lmdb")
    yield from networks(seen.host)


def _lists(seen: MailSystem) -> Iterator[Diagnosis]:
    """The lists of each service that strangers reach; one of main.cf is judged once."""
    said: set[Misplaced] = set()
    for service in seen.services:
        if service.role != "smtp":
            continue
        lists = {name: service.values.get(name, "") for name in LISTS}
        for one in judge(lists, seen.parameters):
            own = one.parameter in service.overridden
            if not own and one in said:
                continue
            said |= set() if own else {one}
            yield _misplaced(one, service, own=own)


def _misplaced(one: Misplaced, service: Service, *, own: bool) -> Diagnosis:
    where = f"master.cf: {service.name}" if own else "main.cf"
    if own and one.problem == "missing":
        text = f"-o {one.parameter} replaces main.cf's list: {one.text.partition(': ')[2]}"
        quoted = shlex.quote(f"{service.name}/{one.parameter}")
        return found("around-us", where, text, f"postconf -PX {quoted} && {INSTALL}")
    return found(_CODES[one.problem], where, one.text, INSTALL)


def _tables(seen: MailSystem) -> Iterator[Diagnosis]:
    kept = {_bare(source) for source in seen.wanted}
    named = {_bare(table.source) for table in seen.tables}
    for table in seen.tables:
        if _bare(table.source) not in kept:
            text = "main.cf names it; popgate keeps: " + (
                _like(table.source, seen) or "no such one"
            )
            yield found("table-not-ours", table.source, text, INSTALL)
        elif table.fault:
            path = table.source.partition(":")[2]
            mend = remake(path, table.fault, "popgate once && postfix reload")
            yield found("table-unreadable", table.source, table.fault, mend)
    for source in seen.wanted:
        if _bare(source) not in named:
            text = "neither main.cf nor master.cf names it"
            yield found("table-not-read", source, text, INSTALL)


def _bare(source: str) -> str:
    return source.removeprefix("proxy:")


def _like(source: str, seen: MailSystem) -> str:
    """The table that popgate keeps and that may be meant: of the same stem, another type."""
    return ", ".join(one for one in seen.wanted if _stem(one) == _stem(source))


def _stem(source: str) -> str:
    return source.rpartition("/")[2].partition(".")[0]


def _classes(seen: MailSystem) -> Iterator[Diagnosis]:
    """A class that is not among the classes is an unknown restriction where a table answers it."""
    set_ = seen.parameters.get(_CLASSES, "")
    listed = {item.name for item in items(set_)}
    missing = [name for name in seen.classes if name not in listed]
    if missing:
        # Not by install: it tries main.cf on a copy first, and refuses one that defers mail.
        value = ", ".join([*filter(None, [set_]), *missing])
        mend = f"postconf -e {shlex.quote(f'{_CLASSES} = {value}')} && postfix reload"
        text = f"{_CLASSES} lacks {', '.join(missing)}"
        yield found("classes-missing", "main.cf", text, mend)


def networks(host: MailHost) -> Iterator[Diagnosis]:
    """Whom mynetworks lets relay. In its order: the first that matches counts (postconf(5))."""
    mend = "postconf mynetworks mynetworks_style"
    spans = [(network(str(net)), net, wanted) for net, wanted in host.mynetworks]
    for place, (span, net, wanted) in enumerate(spans):
        if not wanted:
            for earlier, other, permits in spans[:place]:
                if permits and _holds(earlier, span):
                    text = f"!{net} stands behind {other}, which has let it relay already"
                    yield found("mynetworks-order", "mynetworks", text, mend)
                    break
        elif net.prefixlen <= 1:
            text = f"{net} is every address there is"
            yield found("mynetworks-everybody", "mynetworks", text, mend)
        elif net.prefixlen <= WIDE[span.version] and kind_of(span) is None:
            text = f"{net} is {net.num_addresses} public addresses"
            yield found("mynetworks-wide", "mynetworks", text, mend)
    for line in host.unlisted:
        if line.startswith("mynetworks"):
            yield found("mynetworks-unlisted", "mynetworks", line.partition(": ")[2], mend)


def _holds(outer: Span, inner: Span) -> bool:
    return (
        outer.version == inner.version and outer.first <= inner.first and inner.last <= outer.last
    )


def unasked(why: str) -> Diagnosis:
    """postconf itself cannot be run."""
    return found("postfix-silent", "Postfix", why, "postconf -n")

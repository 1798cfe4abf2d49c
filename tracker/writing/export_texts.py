"""The rights as other programs read them: pure text, from the templates.

Each program has a text for what no login changes and another for the addresses with a grant: who
ends grants without knowing the trusted list (`popgate expire`) then leaves the first as it is. One
that can read a single file only has both joined (`JOINED`).

An export that is off, or that is not given a kind of addresses, still has all its texts, without
entries: a text that is left over would go on granting, and one that is missing stops its reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tracker.addresses import order
from tracker.deciding.rights import Rights
from tracker.records import Table
from tracker.settings import ExportSettings
from tracker.writing.templates import fill

PROGRAMS = ("rspamd", "spamassassin", "opendkim", "fail2ban", "crowdsec")
"""Each has a setting and a folder of that name."""

JOINED = {"opendkim/InternalHosts": ("opendkim/trusted.txt", "opendkim/granted.txt")}
"""Texts that are others in a row."""

POSTSCREEN = {"trusted": "postscreen_trusted.cidr", "granted": "postscreen_granted.cidr"}
"""Postfix alone reads these: they stand among its tables."""

_ABOUT = {"trusted": "Addresses of the trusted list.", "granted": "Addresses with a grant."}
_LOOPBACK = ("127.0.0.1", "::1")


def standing_texts(
    settings: ExportSettings, programs: Iterable[str], rights: Rights, *, skips: bool
) -> Iterator[Table]:
    """What no login changes, for these programs. `skips`: the lists are not asked for a local
    sender that is not authorized."""
    for program in programs:
        if program == "rspamd":
            yield from _rspamd(settings, rights, skips=skips)
        elif program == "spamassassin":
            spares = settings.whitelist_trusted_and_authenticated
            yield _text("spamassassin/rules.cf", "spamassassin.rules.cf.j2", spares=spares)
            yield _spamassassin("trusted", settings, rights.trusted)
        elif program == "opendkim":
            # The file takes the place of OpenDKIM's own default, 127.0.0.1.
            hosts = (*_LOOPBACK, *_of(settings.opendkim, "trusted", rights.trusted))
            yield _addresses("opendkim/trusted.txt", f"The host itself. {_ABOUT['trusted']}", hosts)
        elif program == "fail2ban":
            yield _cidr("fail2ban/trusted.cidr", "trusted", "OK", settings.fail2ban, rights.trusted)
        elif program == "crowdsec":
            yield _crowdsec("trusted", settings, rights.trusted)


def granted_texts(
    settings: ExportSettings, programs: Iterable[str], granted: Iterable[str]
) -> Iterator[Table]:
    """What changes with the grants, for these programs. `granted`: addresses, or IPv6 networks."""
    found = sorted(granted, key=order)
    for program in programs:
        if program == "spamassassin":
            yield _spamassassin("granted", settings, found)
        elif program == "fail2ban":
            yield _cidr("fail2ban/granted.cidr", "granted", "OK", settings.fail2ban, found)
        elif program == "crowdsec":
            yield _crowdsec("granted", settings, found)
        elif program in ("rspamd", "opendkim"):
            name = "rspamd/granted.map" if program == "rspamd" else "opendkim/granted.txt"
            asked = _of(getattr(settings, program), "granted", found)
            yield _addresses(name, _ABOUT["granted"], asked)


def postscreen_text(settings: ExportSettings, kind: str, addresses: Sequence[str]) -> Table:
    """A table of postscreen(8), which knows `permit` and takes no number for OK."""
    return _cidr(POSTSCREEN[kind], kind, "permit", settings.postscreen, addresses)


def _rspamd(settings: ExportSettings, rights: Rights, *, skips: bool) -> Iterator[Table]:
    asked = settings.rspamd
    folder = settings.directory / "rspamd"
    yield _text("rspamd/rspamd.local.lua", "rspamd.local.lua.j2", directory=folder)
    yield _text("rspamd/multimap.conf", "rspamd.multimap.conf.j2", directory=folder, skips=skips)
    yield _text(
        "rspamd/settings.conf",
        "rspamd.settings.conf.j2",
        directory=folder,
        spares=settings.whitelist_trusted_and_authenticated,
    )
    yield _expressions("rspamd/marks.map", "Values of X-Popgate-Reason.", ["^H$"])
    yield _addresses("rspamd/trusted.map", _ABOUT["trusted"], _of(asked, "trusted", rights.trusted))
    for name, listed in (("whitelist", rights.whitelist), ("blacklist", rights.blacklist)):
        about = f"The {name.removesuffix('list')} list, by "
        clients, senders = _of(asked, name, listed.clients), _of(asked, name, listed.senders)
        yield _addresses(f"rspamd/{name}_clients.map", f"{about}client.", clients)
        yield _expressions(f"rspamd/{name}_senders.map", f"{about}envelope sender.", senders)


def _of(asked: Sequence[str], kind: str, found: Sequence[str]) -> Sequence[str]:
    """What was found, if that kind is asked for."""
    return found if kind in asked else ()


def _addresses(name: str, about: str, addresses: Sequence[str]) -> Table:
    return _text(name, "addresses.txt.j2", about=about, addresses=addresses)


def _expressions(name: str, about: str, expressions: Sequence[str]) -> Table:
    return _text(name, "expressions.map.j2", about=about, expressions=expressions)


def _cidr(name: str, kind: str, answer: str, asked: Sequence[str], found: Sequence[str]) -> Table:
    addresses = _of(asked, kind, found)
    text = fill("answers.cidr.j2", about=_ABOUT[kind], answer=answer, addresses=addresses)
    return Table(name, "cidr", text)


def _spamassassin(kind: str, settings: ExportSettings, found: Sequence[str]) -> Table:
    spares = settings.whitelist_trusted_and_authenticated != "off"
    addresses = _of(settings.spamassassin, kind, found) if spares else ()
    template = "spamassassin.networks.cf.j2"
    return _text(f"spamassassin/{kind}.cf", template, about=_ABOUT[kind], addresses=addresses)


def _crowdsec(kind: str, settings: ExportSettings, found: Sequence[str]) -> Table:
    addresses = _of(settings.crowdsec, kind, found)
    return _text(
        f"crowdsec/popgate-{kind}.yaml",
        "crowdsec.whitelist.yaml.j2",
        kind=kind,
        about=_ABOUT[kind],
        hosts=[address for address in addresses if "/" not in address],
        networks=[address for address in addresses if "/" in address],
    )


def _text(name: str, template: str, **values: object) -> Table:
    return Table(name, "text", fill(template, **values))

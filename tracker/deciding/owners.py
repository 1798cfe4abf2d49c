"""Which sender belongs to which login, for grants of scope "address"; pure.

A sender is looked at as Postfix resolves it, in any case (Postfix folds the keys of its tables, and
compares logins so: strcasecmp_utf8 in smtpd_check.c). It belongs to

- the login that is the same address,
- the login without a domain that is its local part, in a domain where such logins may send,
- both also when it bears an address extension (recipient_delimiter),
- the logins that smtpd_sender_login_maps names for it,
- the logins that `policy.senders` gives it to.

Whatever is doubtful belongs to nobody: the null sender, an address with a route inside, and a
login without a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from tracker.deciding.lists import spellings
from tracker.deciding.mailaddress import quote
from tracker.deciding.senders import fold, resolve, routed, without_extension
from tracker.records import MailHost
from tracker.settings import PolicySettings

NAMELESS = frozenset({"", "?", "-"})
"""Users of grants that name nobody: a log line that told none, `popgate allow` without one."""


class Owners:
    """Who owns which sender, under one configuration and Postfix."""

    def __init__(self, settings: PolicySettings, host: MailHost, domains: Iterable[str]) -> None:
        """`domains`: where a login without a domain may send, unless the settings say where."""
        self.host = host
        listed = settings.login_domains or tuple(domains)
        self._domains = frozenset(spelling for name in listed for spelling in spelled(name, host))
        self._given = _by_sender(settings.senders, host)
        # Postfix asks for the same sender in each list of each RCPT.
        self.logins = lru_cache(maxsize=4096)(self._logins)

    def _logins(self, sender: str, mapped: tuple[str, ...] = ()) -> Mapping[str, str]:
        """The logins, folded, to whom a sender in internal form belongs, and why to each. `mapped`:
        those that smtpd_sender_login_maps names."""
        address = owned(sender, self.host)
        if address is None:
            return {}
        found: dict[str, str] = {}
        for login, why in self._reasons(fold(address, self.host), mapped):
            if login not in NAMELESS:
                found.setdefault(login, why)
        return found

    def _reasons(self, whole: str, mapped: Iterable[str]) -> Iterator[tuple[str, str]]:
        bare = without_extension(whole, self.host.delimiters)
        for address, extended in ((whole, ""), *(((bare, ", with an extension"),) if bare else ())):
            local, _, domain = address.rpartition("@")
            yield address, f"the login is that address{extended}"
            if domain in self._domains:
                yield local, f"a login without a domain, in {domain}{extended}"
            for login in self._given.get(address, ()):
                yield login, f"policy.senders{extended}"
        for login in self._given.get(whole[whole.rindex("@") :], ()):
            yield login, "policy.senders"
        for login in mapped:
            yield fold(login, self.host), "smtpd_sender_login_maps"


def owned(sender: str, host: MailHost) -> str | None:
    """The address that Postfix makes of a sender; None for one that is doubtful, which belongs to
    nobody."""
    if not sender or not sender.isprintable():
        return None
    address, _ = resolve(sender, host)
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain or routed(address) or not address.isprintable():
        return None
    return address


def login_keys(sender: str, host: MailHost) -> tuple[str, ...]:
    """What smtpd_sender_login_maps is asked for, in order: mail_addr_find(3), Postfix 3.7. The
    first key is the whole address, the only one that tables of patterns are asked for."""
    address = owned(sender, host)
    if address is None:
        return ()
    _, local_domain = resolve(sender, host)
    bare = without_extension(address, host.delimiters)
    keys = [quote(address), *([quote(bare)] if bare else [])]
    domain = address.rpartition("@")[2]
    if local_domain or fold(domain, host) == fold(host.myorigin, host):
        keys += [key.rpartition("@")[0] for key in list(keys)]
    return tuple(dict.fromkeys([*keys, f"@{domain}"]))


def spelled(name: str, host: MailHost) -> tuple[str, ...]:
    """A domain in each spelling, folded as Postfix folds it."""
    return tuple(fold(one, host) for one in spellings(name))


def _by_sender(senders: Mapping[str, tuple[str, ...]], host: MailHost) -> dict[str, list[str]]:
    """For each address, or @domain, of `policy.senders` the logins that it is given to, folded."""
    found: dict[str, list[str]] = {}
    for login, given in senders.items():
        for address in given:
            local, _, domain = address.rpartition("@")
            for spelling in spelled(domain, host):
                key = f"{fold(local, host)}@{spelling}"
                found.setdefault(key, []).append(fold(login, host))
    return found

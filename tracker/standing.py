"""What holds whoever logs in, brought together: Postfix's own words, the domains, the lists.

`Standing` reads it all and knows when it has to be read again: when one of its files changed, and
every `postfix.reread_interval` for what Postfix says of itself, which leaves no file to watch.
"""

from __future__ import annotations

import logging
from pathlib import Path

from tracker.deciding import lists
from tracker.deciding.access import SenderPolicy
from tracker.deciding.owners import Owners
from tracker.errors import ListError
from tracker.host import own_addresses
from tracker.listfile import stamp
from tracker.reading import lists as files
from tracker.reading import mailhost
from tracker.records import ListEntry, MailHost
from tracker.settings import Settings
from tracker.writing.postfix import Postfix

log = logging.getLogger("popgate")


class Standing:
    """The sender rules of one configuration."""

    def __init__(self, settings: Settings, postfix: Postfix) -> None:
        self._settings = settings
        self._postfix = postfix
        self._seen: list[tuple[int, ...]] | None = None
        self._ask_at = 0.0
        self._lists: tuple[list[ListEntry], ...] = ()
        self._made: SenderPolicy | None = None

    def read(self, now: float = 0.0) -> SenderPolicy:
        """All of it, as it is; the same object as before when nothing changed. `now`: monotonic
        seconds.

        Raises ListError for a file that cannot be understood, PostfixError where postconf cannot be
        run.
        """
        self._ask_at = now + self._settings.postfix.reread_interval.total_seconds()
        seen = self._stamps()  # before reading: what changes meanwhile is read again
        if seen != self._seen:
            self._seen, self._made = seen, None
            self._lists = listed(self._settings)
        host = mailhost.ask(self._postfix, own_addresses())
        if self._made is None or host != self._made.host:
            self._made = self._policy(host)
        return self._made

    def _policy(self, host: MailHost) -> SenderPolicy:
        for line in host.unlisted:
            log.warning("event=unlisted what=%r action=%r", line, "not counted")
        domains, exceptions, whitelist, blacklist = self._lists
        local = self._settings.local_senders
        return SenderPolicy(
            host,
            local,
            domains=[*domains, *_from_postfix(host, local.domains_from)],
            exceptions=exceptions,
            whitelist=whitelist,
            blacklist=blacklist,
            owners=self._owners(host, domains),
        )

    def _owners(self, host: MailHost, domains: list[ListEntry]) -> Owners | None:
        """Mail for a relayed domain is delivered elsewhere, and its users are others than ours."""
        if self._settings.grants.scope == "ip":
            return None
        sources = tuple(
            name for name in self._settings.local_senders.domains_from if name != "relay_domains"
        )
        ours = [*domains, *_from_postfix(host, sources)]
        return Owners(self._settings.policy, host, [one.key for one in ours])

    def due(self, now: float) -> bool:
        """Whether it should be read again."""
        return now >= self._ask_at or self._stamps() != self._seen

    def _stamps(self) -> list[tuple[int, ...]]:
        return [stamp(file) for file in watched(self._settings)]


def listed(settings: Settings) -> tuple[list[ListEntry], ...]:
    """Domains, exceptions, white list and black list, as settings and files give them.

    Raises ListError.
    """
    local, white, black = settings.local_senders, settings.whitelist, settings.blacklist
    return (
        files.read("local_senders.domains", local.domains, local.domain_files, only_domains=True),
        files.read("local_senders.exceptions", local.exceptions, ()),
        files.read("whitelist.entries", white.entries, white.files),
        files.read("blacklist.entries", black.entries, black.files),
    )


def watched(settings: Settings) -> list[Path]:
    """The files that the sender rules are made from."""
    return [
        *settings.local_senders.domain_files,
        *settings.whitelist.files,
        *settings.blacklist.files,
    ]


def _from_postfix(host: MailHost, parameters: tuple[str, ...]) -> list[ListEntry]:
    """The host's own domains. A name that is no domain (a pattern, an address literal) is no
    sender's domain either."""
    found: list[ListEntry] = []
    for parameter in parameters:
        for name in sorted(host.domains.get(parameter, ())):
            try:
                found.append(lists.domain(name, f"Postfix's {parameter}"))
            except ListError:
                log.debug("event=no_domain name=%r where=%s", name, parameter)
    return found

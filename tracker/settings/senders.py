"""[local_senders], [whitelist], [blacklist]: who may use which sender."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

DomainSource = Literal[
    "mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains"
]


class LocalSenderSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Senders of the host's own domains."""

    domains: Annotated[
        tuple[str, ...],
        Meta(
            description="Domains whose senders are local: example.com, or .example.com with its "
            "subdomains (Postfix counts them for example.com too, unless "
            "parent_domain_matches_subdomains lacks smtpd_access_maps)."
        ),
    ] = ()
    domain_files: Annotated[
        tuple[Path, ...], Meta(description="Files of such domains, one a line; # begins a comment.")
    ] = ()
    domains_from: Annotated[
        tuple[DomainSource, ...],
        Meta(description="Parameters of Postfix whose domains are local too."),
    ] = ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains")
    reject: Annotated[
        bool,
        Meta(
            description="Whether a local sender is refused who is neither authenticated nor "
            "trusted and whose address has no grant. Off: mail gets the mark H."
        ),
    ] = False
    action: Annotated[
        Literal["reject", "warn"],
        Meta(
            description="What `reject` does: warn only logs whom it would refuse, as a first week "
            "may begin."
        ),
    ] = "reject"
    exceptions: Annotated[
        tuple[str, ...],
        Meta(
            description="Who may use local senders all the same: addresses and domains of senders, "
            "addresses and networks of clients, such as a forwarder or the host of a mailing list."
        ),
    ] = ()
    skip_lists_for_local_untrusted: Annotated[
        bool,
        Meta(
            description="White and black list are not asked for such a sender, so that a forged "
            "one gains nothing from the white list."
        ),
    ] = True


class WhiteListSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The white list: whom the black list does not stop."""

    entries: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses and domains of senders, addresses and networks of clients. None "
            "of them may relay by that."
        ),
    ] = ()
    files: Annotated[
        tuple[Path, ...], Meta(description="Files of such entries, one a line; # begins a comment.")
    ] = ()


class BlackListSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The black list: whose mail is refused."""

    entries: Annotated[
        tuple[str, ...],
        Meta(description="Addresses and domains of senders, addresses and networks of clients."),
    ] = ()
    files: Annotated[
        tuple[Path, ...], Meta(description="Files of such entries, one a line; # begins a comment.")
    ] = ()

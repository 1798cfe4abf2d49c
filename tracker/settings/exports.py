"""[exports]: the rights for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tracker.settings.duration import Duration

Shared = Literal["trusted", "granted"]
RspamdMap = Literal["trusted", "granted", "whitelist", "blacklist"]


class ExportSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The rights for other programs. All off by default; docs/exports.md has what goes where, and
    the risk of each."""

    directory: Annotated[
        Path,
        Meta(
            description="Folder of the files that other users' programs read. Made with mode 0755 "
            "where popgate may make it; whoever can write there commands those programs."
        ),
    ] = Path("/var/lib/popgate-exports")
    rspamd: Annotated[
        tuple[RspamdMap, ...],
        Meta(description="What rspamd is told, as maps and a configuration to include."),
    ] = ()
    spamassassin: Annotated[
        tuple[Shared, ...],
        Meta(
            description="Which addresses are trusted_networks and internal_networks of "
            "SpamAssassin, which reads them when it starts."
        ),
    ] = ()
    whitelist_trusted_and_authenticated: Annotated[
        Literal["off", "client", "all"],
        Meta(
            description="What rspamd and SpamAssassin spare trusted, authenticated and granted "
            "sessions: client, the checks of the client's address and name (blocklists, SPF, "
            "DMARC, greylisting, limits); all, any action for spam; off, nothing."
        ),
    ] = "client"
    opendkim: Annotated[
        tuple[Shared, ...],
        Meta(description="Whose mail OpenDKIM signs (InternalHosts), besides the host's own."),
    ] = ()
    postscreen: Annotated[
        tuple[Shared, ...],
        Meta(
            description="Whom postscreen permits, in cidr tables. With granted, each address that "
            "comes or goes costs a reload of Postfix."
        ),
    ] = ()
    fail2ban: Annotated[
        tuple[Shared, ...],
        Meta(
            description="Whom fail2ban does not ban. With granted, a user of one account can try "
            "the passwords of others unhindered."
        ),
    ] = ()
    crowdsec: Annotated[
        tuple[Shared, ...],
        Meta(description="Whose lines CrowdSec does not count. The risk of fail2ban's."),
    ] = ()
    nftables: Annotated[
        tuple[Shared, ...],
        Meta(
            description="Which addresses stand in sets of nftables. Needs CAP_NET_ADMIN. The risk "
            "is that of what your rules do with the sets."
        ),
    ] = ()
    nft_table: Annotated[
        str,
        Meta(
            pattern=r"^(inet|ip|ip6) [A-Za-z_][A-Za-z0-9_]*$",
            description="Family and name of the table that holds the sets; made when missing. "
            "Rules see the sets of their own table alone.",
        ),
    ] = "inet popgate"
    nft_command: Annotated[
        tuple[str, ...], Meta(min_length=1, description="How nft is run, a word an item.")
    ] = ("nft",)
    spamassassin_command: Annotated[
        tuple[str, ...],
        Meta(
            description="Run when the files of spamassassin changed, a word an item, as popgate's "
            "user and without a shell. Empty: nothing."
        ),
    ] = ()
    opendkim_command: Annotated[
        tuple[str, ...], Meta(description="The same for the file of opendkim.")
    ] = ()
    crowdsec_command: Annotated[
        tuple[str, ...], Meta(description="The same for the files of crowdsec.")
    ] = ()
    command_interval: Annotated[
        Duration,
        Meta(
            description="Such a command is run at once for the first change, then at most once in "
            "this time. Between 1s and 1h."
        ),
    ] = Duration(seconds=30)

"""The settings: every key with its type, default, bounds and a line of help; here and nowhere else.

`config.py` reads them from a file and makes the sample file and the reference from them.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

RefusedKind = Literal["loopback", "link-local", "own", "private"]
DomainSource = Literal[
    "mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains"
]


Shared = Literal["trusted", "granted"]
RspamdMap = Literal["trusted", "granted", "whitelist", "blacklist"]


class Duration(timedelta):
    """A length of time that the configuration writes as text with a unit."""

    __slots__ = ()


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where logins are logged."""

    files: Annotated[
        tuple[Path, ...],
        Meta(
            description="Log files to follow. A file that is missing yet is waited for; rotated "
            "neighbours (.1, .gz, -YYYYMMDD) are read where reading stopped in them. Stars are "
            "allowed: all files that match are followed, also those that come later. A lone - is "
            "standard input, for `popgate run`. Where `log.units` is set and this is not: none."
        ),
    ] = (Path("/var/log/mail.log"),)
    units: Annotated[
        tuple[str, ...],
        Meta(
            description="systemd units whose entries in the journal are read, such as "
            "dovecot.service; a .slice stands for all units in it. None: the journal is not read."
        ),
    ] = ()
    executables: Annotated[
        tuple[str, ...],
        Meta(
            description="Programs, by their path, whose entries of these units count alone: where "
            "units also run what users wrote. None: all."
        ),
    ] = ()
    journal_directory: Annotated[
        str,
        Meta(
            description="Folder of another journal than this host's: a container's, for one. "
            "Empty: this host's."
        ),
    ] = ""
    format: Annotated[
        str,
        Meta(
            description="Who writes the log: the name of a log format, or several with commas; "
            "`popgate formats` lists them. auto: those that understand what is logged already."
        ),
    ] = "dovecot"
    formats_directory: Annotated[
        Path, Meta(description="Folder of your own log formats, a TOML file each.")
    ] = Path("/etc/popgate/formats.d")
    accept_forgeable: Annotated[
        bool,
        Meta(
            description="Logins of formats that anyone can forge earn grants too. "
            "docs/formats.md says which they are, and what that means."
        ),
    ] = False
    dovecot: Annotated[
        str | dict[str, str],
        Meta(
            description="How Dovecot writes its lines. auto: as doveconf says, when it is on this "
            "host; a path: the dovecot.conf that doveconf is to read; or a table of its "
            "login_log_format_elements, login_log_format, mail_log_prefix and log_timestamp, "
            "{} for the defaults."
        ),
    ] = "auto"
    timezone: Annotated[
        str,
        Meta(
            description="The zone of stamps that name none, such as Europe/Berlin. "
            "Empty: the host's."
        ),
    ] = ""
    sessions_command: Annotated[
        tuple[str, ...],
        Meta(
            description="Lists the mail sessions that are open, as `doveadm -f tab who -1` does. "
            "The line that ends one can be lost: what was listed and is no more has ended."
        ),
    ] = ("doveadm", "-f", "tab", "who", "-1")
    sessions_interval: Annotated[
        Duration,
        Meta(
            description="How often it is run. Between 0 and 1d; 0: never. Root may run doveadm, "
            "and whom Dovecot lets into its anvil socket; where it fails, that is said once."
        ),
    ] = Duration(minutes=5)
    poll_interval: Annotated[
        Duration,
        Meta(
            description="How often the files are looked at when inotify reports nothing. "
            "Between 50ms and 60s."
        ),
    ] = Duration(seconds=2)


class GrantSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Who earns a grant, and for how long."""

    window: Annotated[
        Duration,
        Meta(
            description="How long an address may send after a login, and after the end of its last "
            "session. At most 7d; 0 turns POP before SMTP off."
        ),
    ] = Duration(minutes=30)
    while_connected: Annotated[
        bool, Meta(description="A grant stays while a session from its address is open.")
    ] = True
    max_session: Annotated[
        Duration,
        Meta(
            description="An open session counts no longer than this: its end may have been lost. "
            "Between 1m and 30d."
        ),
    ] = Duration(hours=24)
    scope: Annotated[
        Literal["ip"],
        Meta(description="What a grant opens: ip, every sender from the address."),
    ] = "ip"
    services: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1, description="Services whose logins earn a grant, as the log names them."
        ),
    ] = ("pop3", "imap")
    users: Annotated[
        tuple[str, ...],
        Meta(description="Users who can earn a grant: names with * and ?, in any case."),
    ] = ("*",)
    exclude_users: Annotated[
        tuple[str, ...], Meta(description="Users who cannot, though they are among `users`.")
    ] = ()
    exclude_networks: Annotated[
        tuple[str, ...],
        Meta(description="Networks that earn no grant: a NAT gateway, a webmail host."),
    ] = ()
    refuse: Annotated[
        tuple[RefusedKind, ...],
        Meta(
            description="Kinds of addresses that earn no grant. A gateway or container bridge seen "
            "as the client would open the relay to everyone behind it: take a kind out only when "
            "clients really have such addresses."
        ),
    ] = ("loopback", "link-local", "own", "private")
    ipv6_prefix: Annotated[
        int,
        Meta(
            ge=48,
            le=128,
            description="Bits of an IPv6 address that a grant is for; 64 grants the whole network "
            'of a home. Below 128 needs postfix.table = "cidr".',
        ),
    ] = 128


class TrustedSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The trusted list."""

    file: Annotated[
        Path,
        Meta(
            description="Addresses that may always relay: one a line, the first that matches "
            "counts, ! takes out. A missing file is an empty list."
        ),
    ] = Path("/etc/popgate/trusted.txt")
    stale: Annotated[
        Duration,
        Meta(
            description="How long the addresses of a host name stay trusted after their TTL while "
            "DNS does not answer. Between 0 and 30d."
        ),
    ] = Duration(hours=24)
    nameservers: Annotated[
        tuple[str, ...],
        Meta(
            description='Servers to ask for host names, such as "192.0.2.53", "127.0.0.1:5353", '
            '"[::1]:53". Empty: those of /etc/resolv.conf. Who answers for a name decides who '
            "relays: name servers on a network that you trust."
        ),
    ] = ()
    timeout: Annotated[
        Duration,
        Meta(
            description="A question to DNS is given up after this time, and asked again later. "
            "Between 100ms and 1m."
        ),
    ] = Duration(seconds=5)
    private_names: Annotated[
        bool,
        Meta(
            description="Host names may stand for private addresses (10.0.0.0/8 and the like), as "
            "in an office's own DNS. Loopback, link-local and multicast addresses never count."
        ),
    ] = False


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


class PostfixSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The Postfix that reads the tables."""

    config_directory: Annotated[
        str, Meta(description="Its configuration folder. Empty: Postfix's default, /etc/postfix.")
    ] = ""
    command_directory: Annotated[
        str,
        Meta(description="Where postconf, postmap and postfix are. Empty: PATH and /usr/sbin."),
    ] = ""
    table: Annotated[
        Literal["auto", "lmdb", "cidr"],
        Meta(
            description="Type of the grant table: lmdb is changed in place and seen at the next "
            "command; cidr costs a reload a change. auto: lmdb where Postfix has it, else cidr."
        ),
    ] = "auto"
    timeout: Annotated[
        Duration,
        Meta(
            description="A Postfix command that takes longer is killed and tried again. "
            "Between 1s and 5m."
        ),
    ] = Duration(seconds=10)
    min_reload_interval: Annotated[
        Duration,
        Meta(
            description="Postfix is reloaded at once for the first change of a cidr table, then at "
            "most once in this time. Between 0 and 1h."
        ),
    ] = Duration(seconds=5)
    reread_interval: Annotated[
        Duration,
        Meta(
            description="How often Postfix is asked anew for its domains; SIGHUP asks at once. "
            "Between 5s and 1d."
        ),
    ] = Duration(minutes=1)


class TableSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What popgate writes for Postfix."""

    directory: Annotated[
        Path,
        Meta(
            description="Folder of the tables, a git repository. Made with mode 0700; whoever can "
            "write there commands the mail."
        ),
    ] = Path("/var/lib/popgate/maps")


class StateSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What popgate remembers."""

    directory: Annotated[
        Path, Meta(description="Folder of the state database and of the locks.")
    ] = Path("/var/lib/popgate")


class AuditSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The history of the tables."""

    commit: Annotated[
        bool, Meta(description="Commit the texts of the tables to git, a commit a batch.")
    ] = True
    interval: Annotated[
        Duration,
        Meta(
            description="How long changes are gathered before the texts are written and committed "
            "and renewed expiries go to the table. Between 1s and 1h."
        ),
    ] = Duration(seconds=60)


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


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings, a struct a section."""

    log: LogSettings = LogSettings()
    grants: GrantSettings = GrantSettings()
    trusted: TrustedSettings = TrustedSettings()
    local_senders: LocalSenderSettings = LocalSenderSettings()
    whitelist: WhiteListSettings = WhiteListSettings()
    blacklist: BlackListSettings = BlackListSettings()
    postfix: PostfixSettings = PostfixSettings()
    tables: TableSettings = TableSettings()
    state: StateSettings = StateSettings()
    audit: AuditSettings = AuditSettings()
    exports: ExportSettings = ExportSettings()


BOUNDS: dict[str, tuple[timedelta, timedelta]] = {
    "log.poll_interval": (timedelta(milliseconds=50), timedelta(seconds=60)),
    "log.sessions_interval": (timedelta(0), timedelta(days=1)),
    "grants.window": (timedelta(0), timedelta(days=7)),
    "grants.max_session": (timedelta(minutes=1), timedelta(days=30)),
    "trusted.stale": (timedelta(0), timedelta(days=30)),
    "trusted.timeout": (timedelta(milliseconds=100), timedelta(minutes=1)),
    "postfix.timeout": (timedelta(seconds=1), timedelta(minutes=5)),
    "postfix.min_reload_interval": (timedelta(0), timedelta(hours=1)),
    "postfix.reread_interval": (timedelta(seconds=5), timedelta(days=1)),
    "audit.interval": (timedelta(seconds=1), timedelta(hours=1)),
    "exports.command_interval": (timedelta(seconds=1), timedelta(hours=1)),
}
"""The shortest and the longest time that a Duration may be, by `section.key`."""

"""The frozen records that cross a border between reading, deciding and writing; nothing else does.

Times are aware UTC datetimes everywhere. Addresses are canonical text: IPv4 dotted, IPv6 as
RFC 5952 writes it, IPv4-mapped IPv6 already turned into IPv4.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from tracker.addresses import IPNetwork

Verdict = Literal["relay", "reject", "pass"]
Outcome = Literal["taken", "local", "warned", "black", "relay", "submission", "other"]
"""What Postfix did with a message or recipient. `taken`: it is in the queue. `local`: rule H
refused, `warned`: would have. `black`: rule B. `relay`: nothing gave the client the right to relay.
`submission`: no AUTH on 587 or 465. `other`: refused by a rule of the admin's own."""
ChangeKind = Literal["added", "renewed", "removed"]

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Before everything: when a log was read that never was."""

MANUAL_SERVICE = "allow"
"""The service of a grant that an admin gave by hand (`popgate allow`)."""


class Event(Struct, frozen=True, gc=False):
    """What one log line says. A value the line does not tell is None.

    `host` wrote it, where the log is syslog's; `format` is the log format that read it.
    """

    time: datetime
    service: str | None
    user: str | None
    address: str | None
    session: str | None
    host: str | None = None
    format: str = ""


class Login(Event, frozen=True, gc=False, tag="login"):
    """A password was accepted from `address`."""


class Logout(Event, frozen=True, gc=False, tag="logout"):
    """A session ended; one without `session` may be any of the user's at that host.

    Dovecot's line has no address: it is joined on the session where known."""


class Failed(Event, frozen=True, gc=False, tag="failed"):
    """A password was refused."""


class Restart(Event, frozen=True, gc=False, tag="restart"):
    """A server began anew: every session at that host which that format told of has ended."""


class Origin(Struct, frozen=True):
    """The log line that an event comes from, and its checkpoint.

    `line`: printable, cut to a bound. `source`: the log's path as the settings name it, `journal`
    (with its folder), or `-` for standard input. `place`: where the line begins there: `DEVICE/
    INODE/OFFSET` of a file (an offset in bytes, of what is unpacked where the file is packed), the
    cursor of an entry of the journal; empty for standard input, to which nobody can go back.
    """

    line: str
    source: str
    place: str


class Session(Struct, frozen=True, gc=False):
    """A mail session that is open as far as the log tells."""

    id: str
    started: datetime
    host: str | None = None
    format: str = ""


class Grant(Struct, frozen=True, gc=False):
    """An address and one user that logged in from it; it may send until `expires`.

    `until` is where the window ends that the last login, or the end of the last session, opened.
    `expires` is the later of that and the bound of the open sessions.
    """

    address: str
    user: str
    services: tuple[str, ...]
    first_login: datetime
    last_login: datetime
    until: datetime
    expires: datetime
    sessions: tuple[Session, ...] = ()


class Change(Struct, frozen=True, gc=False):
    """One step of the ledger: the grant as it is now, or as it was when it was removed."""

    kind: ChangeKind
    grant: Grant
    why: str


class Ended(Struct, frozen=True, gc=False):
    """A logout whose login line has not been read yet; short sessions can be logged backwards."""

    session: str
    time: datetime


class Position(Struct, frozen=True):
    """Where reading stands in one file, so that it can go on there after any restart.

    `fingerprint` is a hash of the first `fingerprint_length` bytes of the file. `skipping`:
    `offset` lies inside a line that was too long to be read.
    """

    path: str
    device: int
    inode: int
    offset: int
    fingerprint_length: int
    fingerprint: bytes
    skipping: bool = False


class MailHost(Struct, frozen=True):
    """What Postfix says of itself, as far as the rules need it: postconf(5), a field a parameter.

    `domains`: for mydestination, virtual_alias_domains, virtual_mailbox_domains and relay_domains,
    each domain that can be listed, folded to lower case. `mynetworks`: in order, whether a network
    permits or (`!`) takes out. `unlisted`: what could not be listed, a line each. `parents`: an
    access table's key `d` counts for `x.d` too (parent_domain_matches_subdomains). `auth`: port 25
    offers SMTP AUTH. `login_maps`: the tables of smtpd_sender_login_maps. `files`: all
    that this was read from.
    """

    myhostname: str = "localhost"
    mydomain: str = "localdomain"
    myorigin: str = "localhost"
    domains: Mapping[str, frozenset[str]] = MappingProxyType({})
    relay_subdomains: bool = True
    mynetworks: tuple[tuple[IPNetwork, bool], ...] = ()
    own: frozenset[str] = frozenset()
    unlisted: tuple[str, ...] = ()
    delimiters: str = ""
    parents: bool = True
    smtputf8: bool = True
    append_at_myorigin: bool = True
    append_dot_mydomain: bool = False
    swap_bangpath: bool = True
    percent_hack: bool = True
    resolve_dequoted: bool = True
    untrusted_routing: bool = False
    auth: bool = True
    login_maps: tuple[str, ...] = ()
    access_code: str = "554"
    reject_code: str = "554"
    relay_code: str = "554"
    files: frozenset[str] = frozenset()


class MailService(Struct, frozen=True):
    """A service of master.cf (master(5)). `id`: NAME/TYPE, as postconf -P calls it. `options`: its
    `-o name=value`, as written."""

    name: str
    type: str
    chroot: str
    command: str
    options: Mapping[str, str]

    @property
    def id(self) -> str:
        return f"{self.name}/{self.type}"


class PostfixSetup(Struct, frozen=True):
    """What main.cf and master.cf say. `main`: the parameters that main.cf sets, as written, unused
    ones too. `values`: some parameters as main.cf and the defaults make them, expanded."""

    main: Mapping[str, str]
    services: tuple[MailService, ...]
    values: Mapping[str, str]
    sasl_types: frozenset[str] = frozenset()


class Edit(Struct, frozen=True):
    """One change of main.cf (`service` is empty) or of a service in master.cf.

    `name`: the parameter; empty: the service as a whole, and `value` is its line. None: away with
    it. `before`: what stood there; None: nothing.
    """

    service: str
    name: str
    value: str | None
    before: str | None = None


class SmtpAnswer(Struct, frozen=True):
    """What an smtpd said to RCPT, or to what came before it. 0: nothing. `offers`: the first words
    of its answer to EHLO."""

    code: int
    text: str
    offers: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.code} {self.text}" if self.code else self.text


class ListEntry(Struct, frozen=True):
    """A line of a list of senders and clients. `where`: FILE:LINE, or the setting it stands in.

    `key` is canonical: an address or domain folded to lower case, or a network. `subdomains`: the
    domain was written with a dot before it.
    """

    kind: Literal["address", "domain", "client"]
    key: str
    where: str
    subdomains: bool = False


class SmtpSession(Struct, frozen=True):
    """What Postfix knows when it asks whether a client may send.

    Sender and recipient are in internal form, without quotes, as Postfix holds them and tells them
    to a policy service; an empty sender is the null sender. `owners`: the logins to whom Postfix's
    smtpd_sender_login_maps gives the sender, as far as they were asked for.
    """

    client: str
    sender: str = ""
    recipient: str = ""
    port: int = 25
    login: str | None = None
    owners: tuple[str, ...] = ()


class Step(Struct, frozen=True):
    """One rule that `decide` asked, and what it answered."""

    code: str
    rule: str
    matched: bool
    on: str | None = None


class Decision(Struct, frozen=True):
    """The answer to a session: `relay` permits, `reject` refuses, `pass` leaves it to Postfix.

    `reply` is what Postfix will say to RCPT, as far as it can be known, and `refused` whether that
    is a refusal. `marked`: mail that comes through bears the mark H.
    """

    decision: Verdict
    code: str
    trace: tuple[Step, ...]
    reply: str = ""
    refused: bool = False
    marked: bool = False


class Row(Struct, frozen=True):
    """An entry of an access table: what Postfix does, and for whose sake it stands there.

    `exempts`: it stands there so that a wider entry does not count.
    """

    value: str
    entry: ListEntry | None = None
    exempts: bool = False


class SmtpLine(Struct, frozen=True, gc=False):
    """What Postfix logged of one message or recipient. `authenticated`: the client had logged in by
    SMTP AUTH (told of mail that was taken alone)."""

    time: datetime
    client: str
    outcome: Outcome
    authenticated: bool = False


class AccessTable(Struct, frozen=True):
    """An access(5) table. `sender`: an indexed table of addresses and domains; `client`: a cidr
    table, whose first network that holds the client counts."""

    name: str
    asks: Literal["sender", "client"]
    about: str
    rows: Mapping[str, Row]


class Table(Struct, frozen=True):
    """A text that popgate writes: a Postfix table, the text beside one, or a snippet.

    `kind` is what Postfix reads it as: `cidr`, `texthash`, or `text` for what it does not read.
    """

    name: str
    kind: Literal["cidr", "texthash", "text"]
    text: str


class Answer(Struct, frozen=True):
    """What DNS last said of a host name's addresses of one family.

    `expires`: when that should be asked anew; None: DNS has never answered. No address and a time:
    the name is not there, or has none of the family. `trouble`: why a later question was left
    without an answer.
    """

    addresses: tuple[str, ...] = ()
    expires: datetime | None = None
    trouble: str | None = None


class NameAnswers(Struct, frozen=True):
    """Both families of a host name (A and AAAA)."""

    v4: Answer = Answer()
    v6: Answer = Answer()

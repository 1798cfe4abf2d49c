"""What Postfix tells of itself: its networks, its domains, and how it reads an address.

postconf gives the parameters as smtpd on port 25 has them (its overrides in master.cf count), and
postmap the keys of the tables in them, where the type of the table can list its keys: hash, lmdb
and the like. What cannot be listed (SQL, LDAP, patterns) is named in `unlisted`, never guessed.
Lists are read as match_list(3) does: files are opened, `!` takes out, the first that fits counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tracker.addresses import IPNetwork, canonical, network
from tracker.errors import AddressError, PostfixError
from tracker.records import MailHost
from tracker.writing.postfix import Postfix

DOMAIN_PARAMETERS = (
    "mydestination",
    "virtual_alias_domains",
    "virtual_mailbox_domains",
    "relay_domains",
)
_PARAMETERS = (
    *DOMAIN_PARAMETERS,
    "mynetworks",
    "myhostname",
    "mydomain",
    "myorigin",
    "recipient_delimiter",
    "parent_domain_matches_subdomains",
    "smtputf8_enable",
    "append_at_myorigin",
    "append_dot_mydomain",
    "swap_bangpath",
    "allow_percent_hack",
    "resolve_dequoted_address",
    "allow_untrusted_routing",
    "smtpd_sasl_auth_enable",
    "access_map_reject_code",
    "reject_code",
    "relay_domains_reject_code",
    "inet_interfaces",
    "proxy_interfaces",
    "smtpd_sender_login_maps",
    "config_directory",
)
_LISTABLE: Mapping[str, Sequence[str]] = {
    "hash": [".db"],
    "btree": [".db"],
    "dbm": [".dir", ".pag"],
    "sdbm": [".dir", ".pag"],
    "cdb": [".cdb"],
    "lmdb": [".lmdb"],
    "texthash": [""],
    "inline": [],
}
"""Table types whose keys `postmap -s` lists (DATABASE_README), and how their files' names end."""
_DEEPEST = 8
"""Files within files that are opened before it is taken for a circle."""


class _Read:
    """Which files were read, and what could not be."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.unlisted: list[str] = []


def ask(postfix: Postfix, interfaces: Iterable[str]) -> MailHost:
    """The host as its Postfix tells. `interfaces`: what `inet_interfaces = all` means.

    Raises PostfixError when postconf cannot be run.
    """
    values = postfix.parameters(_PARAMETERS)
    read = _Read()
    folder = values["config_directory"]
    read.files |= {f"{folder}/main.cf", f"{folder}/master.cf"}
    patterns = {
        name: list(_patterns(postfix, name, values[name], read))
        for name in (*DOMAIN_PARAMETERS, "mynetworks")
    }
    parents = values["parent_domain_matches_subdomains"].replace(",", " ").split()
    listening = values["inet_interfaces"].replace(",", " ").split()
    own = {*(interfaces if "all" in listening else listening)}
    own |= {*values["proxy_interfaces"].replace(",", " ").split()}
    return MailHost(
        myhostname=values["myhostname"],
        mydomain=values["mydomain"],
        myorigin=values["myorigin"],
        domains={name: _names(patterns[name]) for name in DOMAIN_PARAMETERS},
        relay_subdomains="relay_domains" in parents,
        mynetworks=tuple(_networks(patterns["mynetworks"], read.unlisted)),
        own=frozenset(filter(None, map(canonical, own))),
        unlisted=tuple(read.unlisted),
        delimiters=values["recipient_delimiter"],
        parents="smtpd_access_maps" in parents,
        smtputf8=values["smtputf8_enable"] == "yes",
        append_at_myorigin=values["append_at_myorigin"] == "yes",
        append_dot_mydomain=values["append_dot_mydomain"] == "yes",
        swap_bangpath=values["swap_bangpath"] == "yes",
        percent_hack=values["allow_percent_hack"] == "yes",
        resolve_dequoted=values["resolve_dequoted_address"] == "yes",
        untrusted_routing=values["allow_untrusted_routing"] == "yes",
        auth=values["smtpd_sasl_auth_enable"] == "yes",
        login_maps=tuple(split(values["smtpd_sender_login_maps"])),
        access_code=values["access_map_reject_code"],
        reject_code=values["reject_code"],
        relay_code=values["relay_domains_reject_code"],
        files=frozenset(read.files),
    )


def _patterns(
    postfix: Postfix, name: str, text: str, read: _Read, depth: int = 0
) -> Iterator[tuple[str, bool]]:
    """The patterns of a list, files and tables opened, each with whether it is for or against."""
    for word in split(text):
        pattern = word.lstrip("!")
        wanted = (len(word) - len(pattern)) % 2 == 0
        if pattern.startswith("/"):
            for inner, inner_wanted in _file(postfix, name, pattern, read, depth):
                yield inner, inner_wanted == wanted
        elif _is_table(pattern):
            for key in _keys(postfix, name, pattern, read):
                yield key, wanted
        else:
            yield pattern, wanted


def split(text: str) -> Iterator[str]:
    """The words of a list: commas and blanks part them, but not within braces."""
    word, depth = "", 0
    for char in [*text, " "]:
        depth += (char == "{") - (char == "}")
        if depth <= 0 and char in ", \t\r\n":
            if word:
                yield word
            word = ""
        else:
            word += char


def _file(
    postfix: Postfix, name: str, path: str, read: _Read, depth: int
) -> Iterator[tuple[str, bool]]:
    read.files.add(path)
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        read.unlisted.append(f"{name}: {path}: {error}")
        return
    if depth == _DEEPEST:
        read.unlisted.append(f"{name}: {path}: files name each other in a circle")
        return
    for line in lines:
        if not line.lstrip().startswith("#"):
            yield from _patterns(postfix, name, line, read, depth + 1)


def _is_table(pattern: str) -> bool:
    """`type:name`, and no IPv6 network."""
    kind, colon, _ = pattern.partition(":")
    return bool(colon) and not pattern.startswith("[") and kind.isalpha() and len(kind) > 2


def _keys(postfix: Postfix, name: str, table: str, read: _Read) -> list[str]:
    plain = table.removeprefix("proxy:")
    kind, _, path = plain.partition(":")
    if kind not in _LISTABLE:
        read.unlisted.append(f"{name}: {table}: tables of type {kind} cannot be listed")
        return []
    read.files |= {path + end for end in _LISTABLE[kind]}
    try:
        return list(postfix.read(plain))
    except PostfixError as error:
        read.unlisted.append(f"{name}: {error}")
        return []


def _names(patterns: Iterable[tuple[str, bool]]) -> frozenset[str]:
    """The domains that are in a list. Keys of a table of addresses, such as virtual_alias_maps, are
    domains only where they have no @."""
    found: dict[str, bool] = {}
    for pattern, wanted in patterns:
        if "@" not in pattern and pattern:
            found.setdefault(pattern.casefold(), wanted)
    return frozenset(name for name, wanted in found.items() if wanted)


def _networks(
    patterns: Iterable[tuple[str, bool]], unlisted: list[str]
) -> Iterator[tuple[IPNetwork, bool]]:
    for pattern, wanted in patterns:
        text = pattern.replace("[", "").replace("]", "")
        if text.lower().startswith("::ffff:"):
            continue  # Debian's default lists it; no client has such an address to Postfix
        try:
            yield network(canonical(text) or text), wanted
        except AddressError as error:
            unlisted.append(f"mynetworks: {error}")

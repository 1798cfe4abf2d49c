"""The tables of the history, beside the state's own in the same database.

`address_key` orders addresses and networks as numbers, so that those of a network lie together.
"""

from __future__ import annotations

import ipaddress
from socket import AF_INET, AF_INET6, inet_pton

from tracker.addresses import IPNetwork

LIVES = "lives.id, address, user, services, why, began, first_login, checkpoint, line, logins, "
LIVES += "last_login, last_checkpoint, last_line, closed, expires, ended, how"

SCHEMA = """
CREATE TABLE lives (
    id INTEGER PRIMARY KEY, address TEXT NOT NULL, key BLOB NOT NULL, user TEXT NOT NULL,
    services TEXT NOT NULL, why TEXT NOT NULL, began REAL NOT NULL, first_login REAL NOT NULL,
    checkpoint TEXT, line TEXT, logins INTEGER NOT NULL, last_login REAL NOT NULL,
    last_checkpoint TEXT, last_line TEXT, kept REAL NOT NULL, closed REAL,
    expires REAL NOT NULL, ended REAL, how TEXT
);
CREATE UNIQUE INDEX lives_open ON lives (address, user) WHERE ended IS NULL;
CREATE INDEX lives_key ON lives (key, began);
CREATE INDEX lives_user ON lives (user, began);
CREATE INDEX lives_ended ON lives (ended, began);
CREATE TABLE kept (
    life INTEGER NOT NULL, time REAL NOT NULL, why TEXT NOT NULL, checkpoint TEXT, line TEXT
);
CREATE INDEX kept_life ON kept (life, time);
CREATE TABLE held (
    id INTEGER PRIMARY KEY, address TEXT NOT NULL, key BLOB NOT NULL, kind TEXT NOT NULL,
    since REAL NOT NULL, until REAL
);
CREATE UNIQUE INDEX held_open ON held (address) WHERE until IS NULL;
CREATE INDEX held_key ON held (key, since);
CREATE INDEX held_until ON held (until, since);
CREATE TABLE happened (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX happened_time ON happened (time);
CREATE TABLE bodies (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE snapshots (
    kind TEXT NOT NULL, time REAL NOT NULL, body INTEGER NOT NULL,
    PRIMARY KEY (kind, time)
) WITHOUT ROWID;
CREATE TABLE commits (id TEXT PRIMARY KEY, time REAL NOT NULL, subject TEXT NOT NULL);
CREATE INDEX commits_time ON commits (time);
CREATE TABLE counts (
    hour INTEGER NOT NULL, kind TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (hour, kind)
) WITHOUT ROWID;
INSERT INTO lives (address, key, user, services, why, began, first_login, logins, last_login, kept,
        expires)
    SELECT address, address_key(address), user, services, 'before the history began', first_login,
        first_login, 1, last_login, last_login, expires FROM grants;
"""
"""Version 3 of the database. Grants that are in force when it is made get a life without a line."""


def address_key(address: str) -> bytes:
    """The number of an address, or of a network's first one, behind a byte for its family."""
    text = address.partition("/")[0]
    if ":" in text:
        return b"6" + inet_pton(AF_INET6, text)
    return b"4" + inet_pton(AF_INET, text)


def key_range(network: IPNetwork) -> tuple[bytes, bytes]:
    """The first and the last key of the addresses in a network."""
    return address_key(str(network[0])), address_key(str(network[-1]))


def holding_keys(network: IPNetwork) -> list[bytes]:
    """The keys of all wider IPv6 networks that a grant can be for (48 bits and more) and that hold
    the given one."""
    if network.version == 4:
        return []
    return [
        address_key(str(ipaddress.ip_network((network.network_address, length), strict=False)[0]))
        for length in range(48, network.prefixlen)
    ]

"""The rules as they are now, read without a running popgate: for `render`, `explain`, `doctor`.

Nothing is written, and no log is read.
"""

from __future__ import annotations

import logging
from datetime import datetime

from msgspec import structs

from tracker.deciding.index import GrantIndex
from tracker.deciding.ledger import Ledger
from tracker.deciding.owners import login_keys
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.rights import rights
from tracker.deciding.rules import RuleSet
from tracker.deciding.trusted import TrustedList
from tracker.errors import PostfixError
from tracker.host import own_addresses, utc_now
from tracker.policy.loginmaps import LoginMaps
from tracker.pseudonyms import names
from tracker.records import NEVER, Grant, SmtpSession, Table
from tracker.settings import Settings
from tracker.standing import Standing
from tracker.store import Store
from tracker.trusting import Trusting
from tracker.writing import render
from tracker.writing.exports import wanted_exports
from tracker.writing.parameters import GrantTableType
from tracker.writing.postfix import Postfix
from tracker.writing.publish import table_type

log = logging.getLogger("popgate")


def rules_now(settings: Settings, *, published: bool = False) -> tuple[RuleSet, list[Grant]]:
    """The rules that the settings, the lists and the state make, and the grants; nothing is
    written. `published`: as the table stands when nobody follows the log, which ends an open
    session when the log was last read."""
    trusted_list = Trusting(settings).reread(utc_now()) or TrustedList()
    senders = Standing(settings, Postfix(settings.postfix)).read()
    policy = GrantPolicy(settings.grants, own_addresses())
    ledger = Ledger(policy)
    read_until: datetime | None = None
    if (settings.state.directory / "popgate.db").exists():
        store = Store.look(settings.state.directory)
        try:
            ledger = Ledger(policy, store.grants(), store.ended())
            if published and store.running() is None:
                read_until = store.read_until() or NEVER
        finally:
            store.close()
    ledger.reconfigure(policy, utc_now())
    ledger.expire(utc_now())
    grants = list(ledger.grants())
    rules = RuleSet(
        trusted_list,
        ledger.expiries() if read_until is None else ledger.expiries_unread(read_until),
        settings.grants.ipv6_prefix,
        senders,
        GrantIndex(grants),
        scope=settings.grants.scope,
        owners=senders.owners,
        unread=None if read_until is None else ledger.unread(read_until),
    )
    return rules, grants


def with_owners(settings: Settings, rules: RuleSet, session: SmtpSession) -> SmtpSession:
    """The session, with the logins to whom smtpd_sender_login_maps gives the sender, where that is
    asked. A table that cannot be read names nobody, as in the policy service."""
    host = rules.senders.host
    keys = login_keys(session.sender, host)
    if rules.owners is None or not host.login_maps or not keys:
        return session
    maps = LoginMaps(settings.postfix)
    try:
        return structs.replace(session, owners=maps.look_up(host.login_maps, keys))
    except PostfixError as error:
        log.warning("event=login_maps error=%r action=%r", str(error), "not granted by them")
        return session
    finally:
        maps.close()


def policy_texts(settings: Settings, rules: RuleSet, kind: GrantTableType) -> list[Table]:
    """What no login changes: the trusted list, and the tables of senders and lists."""
    return [
        render.trusted_table(rules.trusted, settings.trusted.file),
        *(render.access_text(table, kind) for table in rules.senders.tables.values()),
    ]


def wanted_tables(settings: Settings) -> list[Table]:
    """Every text that the settings, the lists and the state make; nothing is written."""
    kind = table_type(settings.postfix, Postfix(settings.postfix))
    rules, grants = rules_now(settings)
    shown = names(settings)
    return [
        *policy_texts(settings, rules, kind),
        *render.grant_texts(
            dict(rules.granted().items()), ((one.address, shown(one.user)) for one in grants), kind
        ),
        render.main_cf_snippet(settings, kind),
        render.master_cf_snippet(),
        *wanted_exports(
            settings.exports,
            rights(rules.trusted, rules.senders),
            rules.granted(),
            prefix=settings.grants.ipv6_prefix,
            skips=settings.local_senders.skip_lists_for_local_untrusted,
        ),
    ]

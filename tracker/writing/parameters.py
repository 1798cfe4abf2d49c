"""What main.cf and master.cf get: one source for the snippets and for `popgate install`.

The parameters make Postfix ask the tables in the order of the rules. The services are those that
SMTP AUTH alone opens; a bare `RCPT TO:<postmaster>` is accepted there whatever the other lists say
(smtpd_check.c), so the data list refuses too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tracker.deciding import access, restrictions
from tracker.deciding.rules import RULES
from tracker.settings import Settings

GrantTableType = Literal["lmdb", "cidr"]
GRANT_FILES: dict[GrantTableType, str] = {
    "lmdb": "pop_before_smtp",  # Postfix adds .lmdb by itself
    "cidr": "pop_before_smtp.cidr",
}
SENDER_TABLES = ("local_senders", "whitelist", "blacklist", "local_marks")
"""The indexed tables of senders. Where there is no lmdb they are texthash: a text that Postfix
reads into memory, and a reload when it changes."""
CLIENT_TABLES = ("local_clients", "whitelist_clients", "blacklist_clients", "mark_clients")

CLASSES = (
    access.SKIP_LISTS,
    access.WARN_LOCAL,
    access.LOCAL_SENDER,
    access.LOCAL_MARK,
    access.MARK_SENDER,
)
"""Names for smtpd_restriction_classes."""

KNOWN = f"permit_mynetworks, permit_sasl_authenticated, ${restrictions.CLIENTS}"
"""Everybody who may relay on port 25, as the lists of the snippet begin."""

_TLS: dict[str, dict[str, str]] = {
    "submission": {},
    "submissions": {"smtpd_tls_wrappermode": "yes"},
}
SUBMISSION_SERVICES = tuple(_TLS)


def tables(settings: Settings, kind: GrantTableType) -> dict[str, str]:
    """The check that asks each table, by the table's name; `${popgate_dir}` is the maps folder."""
    found = {
        "trusted": "check_client_access cidr:${popgate_dir}/trusted.cidr",
        "grants": grants_check(settings, kind),
    }
    for name in SENDER_TABLES:
        source = f"lmdb:${{popgate_dir}}/{name}"
        if kind != "lmdb":
            source = f"texthash:${{popgate_dir}}/{name}.txt"
        found[name] = f"check_sender_access {source}"
    for name in CLIENT_TABLES:
        found[name] = f"check_client_access cidr:${{popgate_dir}}/{name}.cidr"
    return found


def grants_check(settings: Settings, kind: GrantTableType) -> str:
    """How Postfix asks for grants: a table, or the policy service for addresses of senders.

    A dead, slow or full service is no grant, and its default of 100 s is cut to 3. `try_limit=1`
    leaves a connection that failed in place (attr_clnt(3), Postfix 3.7), so that all later requests
    would fail on it too: hence one request a connection, and none outlives its SMTP session for
    longer than a second.
    """
    if settings.grants.scope == "ip":
        return f"check_client_access {kind}:${{popgate_dir}}/{GRANT_FILES[kind]}"
    action = {"not-granted": "DUNNO", "defer": "DEFER_IF_REJECT"}[settings.policy.on_failure]
    limits = "timeout=3s, try_limit=1, request_limit=1, max_idle=1s, max_ttl=1s"
    service = f"{settings.policy.listen}, default_action={action}, {limits}"
    return f"check_policy_service {{ {service} }}"


def clients(settings: Settings, kind: GrantTableType) -> str:
    """`popgate_clients`: the checks that let a client relay, in the order of the rules T and P."""
    checks = tables(settings, kind)
    return ", ".join(checks[one] for rule in RULES if rule.code in "TP" for one in rule.checks)


def parameters(settings: Settings, kind: GrantTableType) -> dict[str, str]:
    """popgate's own parameters of main.cf, in the order in which they are written."""
    checks = tables(settings, kind)
    senders = [checks[one] for rule in RULES if rule.code in "HWB" for one in rule.checks]
    warn = f"check_sender_access static:{{WARN {access.WARN_TEXT}}}, permit"
    return {
        "popgate_dir": str(settings.tables.directory),
        restrictions.CLIENTS: clients(settings, kind),
        access.SKIP_LISTS: "permit",
        access.WARN_LOCAL: warn,
        access.LOCAL_SENDER: checks["local_senders"],
        access.LOCAL_MARK: "check_sender_access static:{PREPEND X-Popgate-Reason: H}",
        access.MARK_SENDER: checks["local_marks"],
        restrictions.SENDER_RULES: ", ".join(senders),
        restrictions.MARK: checks["mark_clients"],
    }


def submission_options(service: str, *, login_maps: bool = False) -> Mapping[str, str]:
    """The options of a submission service in master.cf. `login_maps`: the host has
    smtpd_sender_login_maps, so whoever is authenticated may use their own senders alone."""
    senders = "reject_authenticated_sender_login_mismatch" if login_maps else ""
    return {
        "syslog_name": f"postfix/{service}",
        **_TLS[service],
        "smtpd_tls_security_level": "encrypt",
        "smtpd_tls_auth_only": "yes",
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_client_restrictions": "permit_sasl_authenticated,reject",
        "smtpd_helo_restrictions": "",
        "smtpd_sender_restrictions": senders,
        "smtpd_relay_restrictions": "permit_sasl_authenticated,reject",
        "smtpd_recipient_restrictions": "",
        "smtpd_data_restrictions": "permit_sasl_authenticated,reject",
    }

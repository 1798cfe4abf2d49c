"""What Postfix will say to RCPT, as far as the rules and the host's domains tell; pure.

The forms are those of smtpd_check.c, Postfix 3.7; the codes are the host's (access_map_reject_code,
reject_code, relay_domains_reject_code). A client's name is not known here: it is shown as unknown.
"""

from __future__ import annotations

from tracker.addresses import canonical
from tracker.deciding.senders import fold, parents, resolve, routed
from tracker.records import MailHost, SmtpSession

OK = "250 2.1.5 Ok"


def bare_postmaster(session: SmtpSession) -> bool:
    """Whether mail is for `postmaster` without a domain: Postfix takes it whatever the lists of
    RCPT say (RFC 5321, 4.5.1); only DATA's still count."""
    return session.recipient.lower() == "postmaster"


def rejected(host: MailHost, session: SmtpSession, text: str, *, by_client: bool) -> str:
    """The reply to REJECT with a text, from a table of clients or of senders."""
    if by_client:
        return f"{host.access_code} 5.7.1 <{_client(session)}>: Client host rejected: {text}"
    return f"{host.access_code} 5.7.1 <{session.sender}>: Sender address rejected: {text}"


def not_logged_in(host: MailHost, session: SmtpSession) -> str:
    """The reply on a submission port without AUTH."""
    if bare_postmaster(session):
        refusal = f"{host.reject_code} 5.7.1 <DATA>: Data command rejected: Access denied"
        return f"{OK}; then to DATA: {refusal}"
    return f"{host.reject_code} 5.7.1 <{_client(session)}>: Client host rejected: Access denied"


def left_to_postfix(host: MailHost, session: SmtpSession) -> tuple[str, bool]:
    """The reply to a session of which the rules say nothing, and whether it is a refusal."""
    denied = f"{host.relay_code} 5.7.1 <{session.recipient}>: Relay access denied"
    if bare_postmaster(session) or _ours(host, session.recipient):
        return f"{OK}, unless Postfix's own rules refuse it", False
    if any(not line.startswith("mynetworks:") for line in host.unlisted):
        domain = session.recipient.rpartition("@")[2]
        return f"{OK} if {domain} is a domain of this host, else {denied}", False
    return denied, True


def _ours(host: MailHost, recipient: str) -> bool:
    """permit_auth_destination: a domain that is delivered or relayed for, and no route inside."""
    address, local = resolve(recipient, host)
    if routed(address) and not host.untrusted_routing:
        return False
    if local:
        return True
    domain = fold(address.rpartition("@")[2], host)
    if any(domain in host.domains.get(kind, ()) for kind in _FINAL):
        return True
    relayed = host.domains.get("relay_domains", frozenset())
    names = parents(domain, dotted=not host.relay_subdomains)
    return any(name in relayed for name in names)


_FINAL = ("virtual_alias_domains", "virtual_mailbox_domains")


def _client(session: SmtpSession) -> str:
    return f"unknown[{canonical(session.client) or session.client}]"

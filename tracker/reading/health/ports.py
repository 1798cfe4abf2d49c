"""What the mail ports of this host say to EHLO, over the network, as any client hears it (RFC 3207,
RFC 4954, RFC 8314). Nothing is sent but EHLO, STARTTLS and QUIT; certificates are not judged.

All ports are asked at the same time: one that hangs delays no other.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tracker.facts import Answers, Role

PATIENCE = 4.0
"""Seconds that a port may take for each answer."""

Endpoint = tuple[str, int, Role]
"""Address, port, and what the port is for."""


def ask(endpoints: Sequence[Endpoint]) -> list[Answers]:
    """What each port says."""
    if not endpoints:
        return []
    with ThreadPoolExecutor(len(endpoints)) as threads:
        return list(threads.map(_ask, endpoints))


def _ask(endpoint: Endpoint) -> Answers:
    address, port, role = endpoint
    try:
        return _wrapped(address, port) if role == "submissions" else _plain(address, port)
    except ConnectionRefusedError:
        return Answers("nobody listens", refused=True)
    except TimeoutError:
        return Answers(f"no answer in {PATIENCE:g} s")
    except (OSError, smtplib.SMTPException) as error:
        return Answers(str(error) or type(error).__name__)


def _plain(address: str, port: int) -> Answers:
    with smtplib.SMTP(address, port, local_hostname="localhost", timeout=PATIENCE) as session:
        session.ehlo_or_helo_if_needed()
        starttls, auth = session.has_extn("starttls"), session.has_extn("auth")
        if not starttls:
            return Answers(auth=auth)
        try:
            session.starttls(context=_trusting())
            session.ehlo()
        except (OSError, smtplib.SMTPException) as error:
            session.close()
            return Answers(starttls=True, auth=auth, tls_fault=str(error))
        return Answers(starttls=True, auth=auth, auth_within=session.has_extn("auth"))


def _wrapped(address: str, port: int) -> Answers:
    try:
        with smtplib.SMTP_SSL(
            address, port, local_hostname="localhost", timeout=PATIENCE, context=_trusting()
        ) as session:
            session.ehlo_or_helo_if_needed()
            return Answers(auth_within=session.has_extn("auth"))
    except (ssl.SSLError, ConnectionResetError, smtplib.SMTPServerDisconnected) as error:
        return Answers(tls_fault=str(error))


def _trusting() -> ssl.SSLContext:
    """Any certificate will do: the port is asked by its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

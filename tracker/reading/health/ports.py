"""What the mail ports of this host say to EHLO, over the network, as any client hears it (RFC 3207,
RFC 4954, RFC 8314). Nothing is sent but EHLO, STARTTLS and QUIT; certificates are not judged.

All ports are asked at the same time: one that hangs delays no other.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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


def ask_policy(place: tuple[str, int] | Path) -> str:
    """What keeps a policy service from answering Postfix, empty when it answers: it is asked for an
    address that nobody has (SMTPD_POLICY_README)."""
    family = socket.AF_UNIX
    if isinstance(place, tuple):
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as channel:
            channel.settimeout(PATIENCE)
            channel.connect(str(place) if isinstance(place, Path) else place)
            channel.sendall(b"request=smtpd_access_policy\nclient_address=192.0.2.1\n\n")
            said = channel.recv(64)
    except TimeoutError:
        return f"no answer in {PATIENCE:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return "" if said.startswith(b"action=") else "answers something else"


def _trusting() -> ssl.SSLContext:
    """Any certificate will do: the port is asked by its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

"""Clients that speak POP3 and SMTP from an address of one's choice."""

from __future__ import annotations

import poplib
import smtplib
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lab.network import Wire


class _Pop3(poplib.POP3):
    def __init__(self, channel: socket.socket) -> None:
        self._given = channel
        super().__init__("", 0, timeout=10)

    def _create_socket(self, timeout: float) -> socket.socket:
        return self._given


class _Smtp(smtplib.SMTP):
    def __init__(self, channel: socket.socket) -> None:
        super().__init__(local_hostname="client.example.org", timeout=10)
        self.sock = channel
        self.getreply()


@contextmanager
def pop3_session(wire: Wire, client: str, port: int, user: str, password: str) -> Iterator[None]:
    """A POP3 login that lasts as long as the context. Raises poplib.error_proto when refused."""
    session = _Pop3(wire.connect(client, port))
    try:
        session.user(user)
        session.pass_(password)
        yield
        session.quit()
    finally:
        session.close()


def pop3_login(wire: Wire, client: str, port: int, user: str, password: str) -> None:
    """Log in and out again."""
    with pop3_session(wire, client, port, user, password):
        pass


class SmtpSession:
    """An SMTP connection that asks whether it may relay, again and again."""

    def __init__(self, wire: Wire, client: str, port: int) -> None:
        self._smtp = _Smtp(wire.connect(client, port))
        self._smtp.ehlo()

    def rcpt(
        self, recipient: str = "someone@far.example.org", sender: str = "alice@example.com"
    ) -> tuple[int, str]:
        """The answer to RCPT, in a transaction of its own."""
        self._smtp.rset()
        self._smtp.mail(sender)
        code, text = self._smtp.rcpt(recipient)
        return code, text.decode("utf-8", "replace")

    def send(self, recipient: str, text: str, sender: str = "alice@example.com") -> int:
        """Send a mail; the answer to its end, or to what was refused before."""
        self._smtp.rset()
        for code, _ in (self._smtp.mail(sender), self._smtp.rcpt(recipient)):
            if code != 250:
                return code
        return self._smtp.data(text)[0]

    def close(self) -> None:
        """QUIT."""
        with suppress(smtplib.SMTPException, OSError):
            self._smtp.quit()


def rcpt(
    wire: Wire, client: str, port: int, recipient: str = "someone@far.example.org"
) -> tuple[int, str]:
    """The answer to one RCPT from a client's address."""
    session = SmtpSession(wire, client, port)
    try:
        return session.rcpt(recipient)
    finally:
        session.close()

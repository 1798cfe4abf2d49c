"""An SMTP connection that speaks for any client: XCLIENT (XCLIENT_README), again and again.

Postfix must name in smtpd_authorized_xclient_hosts us and whomever we have become. One connection
serves many sessions, each with its own address, login and greeting.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from typing import Self

from lab.network import Wire


class _Smtp(smtplib.SMTP):
    def __init__(self, channel: socket.socket) -> None:
        super().__init__(local_hostname="lab.example.org", timeout=20)
        self.sock = channel
        self._host = "mail.example.net"  # the name that STARTTLS asks for
        self.getreply()


class ForeignSession:
    """A connection to a port of Postfix; a context manager. 465 and 587 speak TLS."""

    def __init__(self, wire: Wire, port: int, service: int) -> None:
        """`port`: where that service (25, 587, 465) listens."""
        channel = wire.connect(wire.clients[0], port, 20)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if service == 465:
            channel = context.wrap_socket(channel)
        self._smtp = _Smtp(channel)
        self._smtp.ehlo()
        if service == 587:
            self._smtp.starttls(context=context)

    def become(self, client: str, helo: str, login: str | None = None) -> None:
        """Go on as that client, in a new session. Raises RuntimeError when Postfix forbids it."""
        address = f"IPV6:{client}" if ":" in client else client
        told = f"NAME=[UNAVAILABLE] ADDR={address} LOGIN={login or '[UNAVAILABLE]'}"
        self._expect(250, "RSET")
        self._expect(220, f"XCLIENT {told}")
        self._expect(250, f"EHLO {helo}")

    def again(self) -> Self:
        """Another transaction of the same session."""
        self._expect(250, "RSET")
        return self

    def rcpt(self, sender: str, recipient: str) -> tuple[int, str]:
        """The answer to RCPT, with addresses as they stand between angle brackets."""
        utf8 = "" if sender.isascii() else " SMTPUTF8"
        self._expect(250, f"MAIL FROM:<{sender}>{utf8}")
        return self._ask(f"RCPT TO:<{recipient}>")

    def data(self, subject: str) -> tuple[int, str]:
        """The answer to DATA or, where that is welcome, to a message."""
        answer = self._ask("DATA")
        if answer[0] != 354:
            return answer
        return self._ask(f"Subject: {subject}\r\n\r\nHello.\r\n.")

    def _expect(self, code: int, line: str) -> None:
        answer = self._ask(line)
        if answer[0] != code:
            raise RuntimeError(f"{line}: {answer[0]} {answer[1]}")

    def _ask(self, line: str) -> tuple[int, str]:
        self._smtp.send(f"{line}\r\n".encode())
        code, text = self._smtp.getreply()
        return code, text.decode("utf-8", "replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._smtp.close()

"""Mail clients that connect from the address of one's choice.

pop3_login, imap_login   log in and out again
pop3_session             stay logged in for the length of a with block
rcpt                     ask a mail server whether it would take a mail, and leave
SmtpSession              ask again and again on one connection
send                     hand over a whole mail

A refused login raises LoginRefusedError with the server's words. An SMTP refusal is no error: the
reply is what the caller came for. A server that speaks out of turn raises ReplyError, one
that hangs up ConnectionError, one that is silent TimeoutError.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from demo.network import Wire

TIMEOUT = 10.0

Reply = tuple[int, str]


class ReplyError(Exception):
    """The server did not give the answer that its protocol has for success."""


class LoginRefusedError(ReplyError):
    """The server said no to a user name and password."""


class Dialogue:
    """A connection on which both sides speak in lines."""

    def __init__(self, wire: Wire, client: str, port: int, timeout: float = TIMEOUT) -> None:
        self._peer = f"{wire.server_address(client)} port {port}"
        self._socket = wire.connect(client, port, timeout)
        # Small packets that wait for each other's ACK would cost 40 ms a command.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, *lines: str) -> None:
        """Send lines in one packet."""
        for line in lines:
            if "\r" in line or "\n" in line:
                raise ValueError(f"a line end within a line: {line!r}")
        self.send_bytes("".join(f"{line}\r\n" for line in lines).encode(errors="surrogateescape"))

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> str:
        """The next line, without its end."""
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError(f"{self._peer} closed the connection")
        return line.rstrip(b"\r\n").decode(errors="backslashreplace")

    def ask(self, line: str) -> str:
        """Send a line and return the line that answers it."""
        self.send(line)
        return self.receive()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@contextmanager
def pop3_session(
    wire: Wire, client: str, port: int, user: str, password: str
) -> Iterator[Dialogue]:
    """A POP3 session that is open for the length of a with block."""
    with Dialogue(wire, client, port) as session:
        greeting = session.receive()
        if not greeting.startswith("+OK"):
            raise ReplyError(f"POP3 greeting: {greeting}")
        for command in (f"USER {user}", f"PASS {password}"):
            answer = session.ask(command)
            if not answer.startswith("+OK"):
                raise LoginRefusedError(answer)
        yield session
        with suppress(OSError):
            session.ask("QUIT")


def pop3_login(wire: Wire, client: str, port: int, user: str, password: str) -> None:
    """Log in by POP3 and leave."""
    with pop3_session(wire, client, port, user, password):
        pass


def imap_login(wire: Wire, client: str, port: int, user: str, password: str) -> None:
    """Log in by IMAP and leave."""
    with Dialogue(wire, client, port) as session:
        greeting = session.receive()
        if not greeting.startswith("* OK"):
            raise ReplyError(f"IMAP greeting: {greeting}")
        # Literals, since they can carry any user name, and need no quoting rules.
        name, secret = (text.encode(errors="surrogateescape") for text in (user, password))
        session.send_bytes(
            b"a LOGIN {%d+}\r\n%b {%d+}\r\n%b\r\n" % (len(name), name, len(secret), secret)
        )
        answer = _tagged(session, "a")
        if not answer.startswith("a OK"):
            raise LoginRefusedError(answer.removeprefix("a "))
        session.send("b LOGOUT")
        _tagged(session, "b")


def _tagged(session: Dialogue, tag: str) -> str:
    while not (line := session.receive()).startswith(f"{tag} "):
        pass
    return line


class SmtpSession:
    """An SMTP connection that can be asked many times; a context manager.

    Commands of one question go in one packet (PIPELINING), so that a question costs one round
    trip: reaction times of a few milliseconds can be measured with it.
    """

    def __init__(self, wire: Wire, client: str, port: int, timeout: float = TIMEOUT) -> None:
        self._dialogue = Dialogue(wire, client, port, timeout)
        try:
            self._expect(220, "greeting")
            self._dialogue.send("EHLO client.test")
            self._expect(250, "EHLO")
        except BaseException:
            self._dialogue.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rcpt(self, sender: str, recipient: str) -> Reply:
        """Begin a mail anew: the reply to RCPT, or to MAIL when that was refused already."""
        self._dialogue.send("RSET", f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>")
        self._expect(250, "RSET")
        mail, answer = self._reply(), self._reply()
        return answer if mail[0] == 250 else mail

    def send(self, sender: str, recipient: str, body: str) -> Reply:
        """Send a mail: the reply at its end, or the first refusal."""
        answer = self.rcpt(sender, recipient)
        if answer[0] != 250:
            return answer
        self._dialogue.send("DATA")
        answer = self._reply()
        if answer[0] != 354:
            return answer
        lines = (f".{line}" if line.startswith(".") else line for line in body.splitlines())
        self._dialogue.send(*lines, ".")
        return self._reply()

    def close(self) -> None:
        with suppress(OSError):
            self._dialogue.send("QUIT")
            self._dialogue.receive()
        self._dialogue.close()

    def _expect(self, code: int, what: str) -> None:
        answer = self._reply()
        if answer[0] != code:
            raise ReplyError(f"SMTP {what}: {answer[0]} {answer[1]}")

    def _reply(self) -> Reply:
        texts = []
        while True:
            line = self._dialogue.receive()
            if not line[:3].isdigit():
                raise ReplyError(f"SMTP: {line}")
            texts.append(line[4:])
            if line[3:4] != "-":
                return int(line[:3]), "\n".join(texts)


def rcpt(wire: Wire, client: str, port: int, sender: str, recipient: str) -> Reply:
    """Would the server take a mail from this client? The reply to RCPT."""
    with SmtpSession(wire, client, port) as session:
        return session.rcpt(sender, recipient)


def send(  # noqa: PLR0917  # what rcpt takes, and the mail
    wire: Wire, client: str, port: int, sender: str, recipient: str, body: str
) -> Reply:
    """Send a mail (`body` with its headers): the reply at its end, or the first refusal."""
    with SmtpSession(wire, client, port) as session:
        return session.send(sender, recipient, body)

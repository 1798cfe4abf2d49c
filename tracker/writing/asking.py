"""What an smtpd answers: to a client of one's choice by XCLIENT, or to this host itself.

A question ends at RCPT: no message is ever sent. XCLIENT works where smtpd names this host in
smtpd_authorized_xclient_hosts (XCLIENT_README): a rehearsal's does, behind a socket that only root
and Postfix's own user can reach.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from tracker.records import SmtpAnswer

_PATIENCE = 100.0
"""Seconds for one answer: a blocklist or a policy service may be slow."""


class Question(Struct, frozen=True):
    """A recipient, asked for by a client. `service`: of the rehearsal. `tls`: by STARTTLS."""

    service: str
    client: str
    recipient: str
    tls: bool = False


def listens(path: Path) -> bool:
    """Whether anybody takes connections at a socket: master makes the file some time before."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(_PATIENCE)
        return channel.connect_ex(str(path)) == 0


def ask(path: Path, question: Question) -> SmtpAnswer:
    """Ask the smtpd behind a socket."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(_PATIENCE)
        try:
            channel.connect(str(path))
            return _Conversation(channel).ask(question)
        except OSError as error:
            return SmtpAnswer(0, f"no answer: {error}")


def ask_running(hosts: Iterable[str], port: int, recipient: str) -> SmtpAnswer:
    """Ask the smtpd that runs on this host, as this host."""
    answer = SmtpAnswer(0, f"nobody listens on port {port}")
    for host in hosts:
        try:
            with socket.create_connection((host, port), _PATIENCE) as channel:
                return _Conversation(channel).ask(Question("", "", recipient))
        except OSError as error:
            answer = SmtpAnswer(0, f"{host} port {port}: {error}")
    return answer


class _Conversation:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lines = channel.makefile("rb")

    def ask(self, question: Question) -> SmtpAnswer:
        answer = self._hear()
        steps = ["EHLO popgate.invalid"]
        if question.tls:
            steps += ["STARTTLS", "EHLO popgate.invalid"]
        if question.client:
            steps += [_xclient(question.client), "EHLO popgate.invalid"]
        offers: frozenset[str] = frozenset()
        for step in (*steps, "MAIL FROM:<>", f"RCPT TO:<{question.recipient}>"):
            if not 200 <= answer.code < 400:
                return SmtpAnswer(answer.code, answer.text, offers)
            answer = self._say(step)
            offers = answer.offers if step.startswith("EHLO") else offers
            if step == "STARTTLS" and answer.code == 220:
                self._encrypt()
        with suppress(OSError):
            self._say("QUIT")
        return SmtpAnswer(answer.code, answer.text, offers)

    def _encrypt(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._channel = context.wrap_socket(self._channel)
        self._lines = self._channel.makefile("rb")

    def _say(self, line: str) -> SmtpAnswer:
        self._channel.sendall(f"{line}\r\n".encode())
        return self._hear()

    def _hear(self) -> SmtpAnswer:
        offers: set[str] = set()
        while True:
            line = self._lines.readline(4096).decode("utf-8", "replace").rstrip()
            if not line[:3].isdigit():
                return SmtpAnswer(0, f"no answer: {line or 'the connection was closed'}")
            offers.add(line[4:].partition(" ")[0].upper())
            if line[3:4] != "-":
                return SmtpAnswer(int(line[:3]), line[4:], frozenset(offers))


def _xclient(client: str) -> str:
    address = f"IPV6:{client}" if ":" in client else client
    return f"XCLIENT NAME=[UNAVAILABLE] ADDR={address}"

"""A name server of one's own on loopback, UDP and TCP, that answers what it is told to.

It can be slow, silent, broken, or lie; tests change its answers while it runs.
"""

from __future__ import annotations

import socketserver
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset

Way = Callable[[dns.message.QueryMessage], dns.message.Message | bytes | None]
"""What is made of a question: a reply, other bytes, or silence."""


def servfail(query: dns.message.QueryMessage) -> dns.message.Message:
    """The server cannot tell."""
    reply = dns.message.make_response(query)
    reply.set_rcode(dns.rcode.SERVFAIL)
    return reply


def silence(_: dns.message.QueryMessage) -> None:
    """The server is dead."""


class NameServer:
    """One name server; a context manager.

    `records`: `(name, type)` to a TTL and texts of records. A name that has none of any type does
    not exist. `ways`: what is done for a name, or for all (""), instead. `address`: `host:port`, as
    `trusted.nameservers` has it.
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self.ways: dict[str, Way] = {}
        self.delay = 0.0
        self.truncate = False
        self.asked: list[tuple[str, str]] = []
        outer = self

        class _Udp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, channel = self.request
                if reply := outer._reply(data, udp=True):
                    channel.sendto(reply, self.client_address)

        class _Tcp(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                if head := self.rfile.read(2):
                    data = self.rfile.read(struct.unpack("!H", head)[0])
                    if reply := outer._reply(data, udp=False):
                        self.wfile.write(struct.pack("!H", len(reply)) + reply)

        self._servers, port = _bound(_Udp, _Tcp)
        self.address = f"127.0.0.1:{port}"

    def set(self, name: str, kind: str, *records: str, ttl: int = 60) -> None:
        """Have records of a type for a name from now on; with none, it has none of that type."""
        self.records[name, kind] = (ttl, list(records))

    def forget(self, name: str) -> None:
        """Have the name not exist."""
        for key in [key for key in self.records if key[0] == name]:
            del self.records[key]

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _reply(self, data: bytes, *, udp: bool) -> bytes | None:
        query = dns.message.from_wire(data)
        assert isinstance(query, dns.message.QueryMessage)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append((name, question.rdtype.name))
        if self.delay:
            time.sleep(self.delay)
        way = self.ways.get(name) or self.ways.get("") or self._honest
        made = way(query)
        if made is None or isinstance(made, bytes):
            return made
        if udp and self.truncate:
            made.flags |= dns.flags.TC
            made.answer.clear()
        return made.to_wire(max_size=65535)

    def _honest(self, query: dns.message.QueryMessage) -> dns.message.Message:
        reply = dns.message.make_response(query, recursion_available=True)
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        kind = query.question[0].rdtype.name
        for _ in range(10):
            if (name, "CNAME") not in self.records:
                break
            ttl, (target,) = self.records[name, "CNAME"]
            reply.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", "CNAME", f"{target}."))
            name = target
        ttl, texts = self.records.get((name, kind), (0, []))
        if texts:
            reply.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", kind, *texts))
        elif not any(known == name for known, _ in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply


def _bound(udp: Any, tcp: Any) -> tuple[list[socketserver.BaseServer], int]:
    """Both servers, on one port above 10000 of loopback."""
    while True:
        first = socketserver.ThreadingUDPServer(("127.0.0.1", 0), udp)
        first.daemon_threads = True
        port = first.socket.getsockname()[1]
        if port > 10000:
            try:
                second = socketserver.ThreadingTCPServer(("127.0.0.1", port), tcp)
            except OSError:
                pass
            else:
                second.daemon_threads = True
                return [first, second], port
        first.server_close()

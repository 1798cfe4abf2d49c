"""The policy service on its socket: many connections, many requests on each, one answer at a time.

Nothing that one connection sends or leaves unread can hold up another: a request that is none ends
its connection; so does one that is not finished in time, and one more than `max_connections` is
closed before it is heard. Each of these is "not granted" to Postfix. An answer that needs a table
is waited for beside the loop, and later requests of that connection wait in the kernel meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque

from tracker.errors import PolicyError
from tracker.policy.answering import Answering
from tracker.policy.listening import BACKLOG, Listener
from tracker.policy.protocol import Action, Request, Requests
from tracker.settings import PolicySettings

_UNFINISHED = 10.0
"""Seconds in which a request has to be whole, and an answer to be taken."""
_IDLE = 1200.0
"""Seconds without a request; Postfix keeps a connection for 1000 at most (max_ttl)."""
_LOOK = 5.0


class PolicyServer:
    """One listening socket and its connections."""

    def __init__(self, settings: PolicySettings, answering: Answering) -> None:
        self.settings = settings
        self.answering = answering
        self.connections: set[Connection] = set()
        self._listener: Listener | None = None
        self._server: asyncio.Server | None = None
        self._watching: asyncio.Task[None] | None = None

    async def serve(self, listener: Listener) -> None:
        """Answer there until `close`."""
        channel = listener.channel
        channel.setblocking(False)
        self._listener = listener
        loop = asyncio.get_running_loop()
        if channel.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(
                lambda: Connection(self), sock=channel, backlog=BACKLOG
            )
        else:
            self._server = await loop.create_server(
                lambda: Connection(self), sock=channel, backlog=BACKLOG
            )
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Answer nobody any more."""
        if self._watching is not None:
            self._watching.cancel()
        if self._listener is not None:
            self._listener.close()
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.end()

    async def _watch(self) -> None:
        """End connections that hold a place and do nothing with it."""
        while True:
            await asyncio.sleep(_LOOK)
            now = time.monotonic()
            for connection in list(self.connections):
                if now - connection.since > (_UNFINISHED if connection.owes() else _IDLE):
                    self.answering.metrics.closed.add("slow")
                    connection.end()


class Connection(asyncio.Protocol):
    """One of Postfix's processes, which asks."""

    def __init__(self, server: PolicyServer) -> None:
        self.since = time.monotonic()
        self._server = server
        self._answering = server.answering
        self._requests = Requests(server.settings.max_request)
        self._waiting: deque[tuple[Request, float]] = deque()
        self._looking_up: asyncio.Task[None] | None = None
        self._full = False
        self._transport: asyncio.Transport | None = None

    def owes(self) -> bool:
        """Whether the client has to go on: with the rest of a request, or by taking an answer."""
        return (self._requests.pending or self._full) and self._looking_up is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._server.connections) >= self._server.settings.max_connections:
            self._answering.metrics.closed.add("full")
            self._answering.sayings.closed("too many connections", self.since)
            transport.abort()
            return
        self._server.connections.add(self)
        self._answering.metrics.connections.value = len(self._server.connections)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._answering.metrics.connections.value = len(self._server.connections)
        if self._looking_up is not None:
            self._looking_up.cancel()

    def data_received(self, data: bytes) -> None:
        if not self._requests.pending:
            self.since = time.monotonic()
        began = time.monotonic()
        try:
            found = self._requests.feed(data)
        except PolicyError as error:
            self._answering.metrics.closed.add("malformed")
            self._answering.sayings.closed(str(error), time.monotonic())
            self.end()
            return
        self._waiting.extend((request, began) for request in found)
        self._go_on()

    def _go_on(self) -> None:
        """Answer what waits, in order, as far as it can be answered now."""
        while self._waiting and self._looking_up is None and not self._full:
            request, began = self._waiting.popleft()
            action = self._answering.at_once(request, began)
            if action is None:
                self._looking_up = asyncio.create_task(self._look_up(request, began))
            else:
                self._send(action)
        if self._transport is not None and not self._transport.is_closing():
            if self._waiting or self._looking_up is not None:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    async def _look_up(self, request: Request, began: float) -> None:
        action = await self._answering.later(request, began)
        self._looking_up = None
        self.since = time.monotonic()
        self._send(action)
        self._go_on()

    def _send(self, action: Action) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(action.value)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self.since = time.monotonic()
        self._go_on()

    def end(self) -> None:
        """Close it, whatever it still wants."""
        self._waiting.clear()
        if self._transport is not None:
            self._transport.abort()

"""The policy service on its socket: many connections, many requests on each, one answer at a time.

Nothing that one connection sends or leaves unread can hold up another: a request that is none ends
its connection; so does one that is not finished in time, and answers that are not taken. One more
than `max_connections` is closed before it is heard. Each of these is "not granted" to Postfix. An
answer that needs a table is waited for beside the loop, and later requests of that connection wait
in the kernel meanwhile.

Postfix makes a connection for each request, so what a connection costs counts: sockets are read and
written here as they are, which takes a third of what asyncio's transports take.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque

from tracker.errors import PolicyError
from tracker.policy.answering import Answering
from tracker.policy.listening import Listener
from tracker.policy.protocol import Action, Request, Requests
from tracker.settings import PolicySettings

log = logging.getLogger("popgate")

_UNFINISHED = 10.0
"""Seconds in which a request has to be whole."""
_IDLE = 1200.0
"""Seconds without a request; Postfix keeps a connection for 1000 by default (max_ttl)."""
_LOOK = 5.0
_AT_ONCE = 64
"""Connections that are taken before others are heard again."""
_PIECE = 65536
_PAUSE = 0.5


class PolicyServer:
    """One listening socket and its connections."""

    def __init__(self, settings: PolicySettings, answering: Answering) -> None:
        self.settings = settings
        self.answering = answering
        self.connections: set[Connection] = set()
        self._listener: Listener | None = None
        self._watching: asyncio.Task[None] | None = None
        self._paused: asyncio.TimerHandle | None = None

    async def serve(self, listener: Listener) -> None:
        """Answer there until `close`."""
        listener.channel.setblocking(False)
        self._listener = listener
        self._hear()
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Answer nobody any more."""
        if self._watching is not None:
            self._watching.cancel()
        if self._paused is not None:
            self._paused.cancel()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.channel)
            self._listener.close()
        for connection in list(self.connections):
            connection.end()

    def left(self, connection: Connection) -> None:
        """That connection is over."""
        self.connections.discard(connection)
        self.answering.metrics.connections.value = len(self.connections)

    def _hear(self) -> None:
        assert self._listener is not None
        asyncio.get_running_loop().add_reader(self._listener.channel, self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        for _ in range(_AT_ONCE):
            try:
                channel, _ = self._listener.channel.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # No file is left to be opened: the others go on, and this is tried again.
                log.warning("event=policy_full error=%r", str(error))
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._listener.channel)
                self._paused = loop.call_later(_PAUSE, self._hear)
                return
            if len(self.connections) >= self.settings.max_connections:
                self.answering.metrics.closed.add("full")
                self.answering.sayings.closed("too many connections", time.monotonic())
                channel.close()
                continue
            channel.setblocking(False)
            connection = Connection(self, channel)
            self.connections.add(connection)
            self.answering.metrics.connections.value = len(self.connections)
            connection.begin()

    async def _watch(self) -> None:
        """End connections that hold a place and do nothing with it."""
        while True:
            await asyncio.sleep(_LOOK)
            now = time.monotonic()
            for connection in list(self.connections):
                if now - connection.since > (_UNFINISHED if connection.owes() else _IDLE):
                    connection.end("slow", "a request was not finished, or none came")


class Connection:
    """One of Postfix's processes, which asks."""

    def __init__(self, server: PolicyServer, channel: socket.socket) -> None:
        self.since = time.monotonic()
        self._server = server
        self._answering = server.answering
        self._requests = Requests(server.settings.max_request)
        self._waiting: deque[tuple[Request, float]] = deque()
        self._looking_up: asyncio.Task[None] | None = None
        self._channel = channel
        self._heard = False
        self._over = False

    def owes(self) -> bool:
        """Whether the client has begun a request that it has not ended."""
        return self._requests.pending and self._looking_up is None

    def begin(self) -> None:
        """Hear what is there already, then what comes."""
        self._read()
        self._hear(wanted=not self._waiting and self._looking_up is None)

    def end(self, why: str = "", said: str = "") -> None:
        """Close it, whatever it still wants. `why`: what it is counted as."""
        if self._over:
            return
        self._hear(wanted=False)
        self._over = True
        self._waiting.clear()
        if self._looking_up is not None:
            self._looking_up.cancel()
        self._channel.close()
        self._server.left(self)
        if why:
            self._answering.metrics.closed.add(why)
            self._answering.sayings.closed(said, time.monotonic())

    def _hear(self, *, wanted: bool) -> None:
        if wanted == self._heard or self._over:
            return
        self._heard = wanted
        loop = asyncio.get_running_loop()
        if wanted:
            loop.add_reader(self._channel, self._read)
        else:
            loop.remove_reader(self._channel)

    def _read(self) -> None:
        try:
            data = self._channel.recv(_PIECE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.end()
            return
        began = time.monotonic()
        if not self._requests.pending:
            self.since = began
        try:
            found = self._requests.feed(data)
        except PolicyError as error:
            self.end("malformed", str(error))
            return
        self._waiting.extend((request, began) for request in found)
        self._go_on()

    def _go_on(self) -> None:
        """Answer what waits, in order, as far as it can be answered now."""
        answers: list[Action] = []
        while self._waiting and self._looking_up is None:
            request, began = self._waiting.popleft()
            action = self._answering.at_once(request, began)
            if action is None:
                self._hear(wanted=False)
                self._looking_up = asyncio.create_task(self._look_up(request, began))
            else:
                answers.append(action)
        self._send(answers)

    async def _look_up(self, request: Request, began: float) -> None:
        action = await self._answering.later(request, began)
        self._looking_up = None
        self.since = time.monotonic()
        self._send([action])
        self._go_on()
        self._hear(wanted=self._looking_up is None)

    def _send(self, answers: list[Action]) -> None:
        text = b"".join(action.value for action in answers)
        if not text or self._over:
            return
        try:
            whole = self._channel.send(text) == len(text)
        except (BlockingIOError, InterruptedError):
            whole = False
        except OSError:
            self.end()
            return
        if not whole:  # Postfix takes each answer before it asks again
            self.end("slow", "answers were not taken")

"""`popgate run`: the asyncio loop that times the engine's steps.

A step runs when a log file, the trusted list or a list of senders changed, when a grant is due to
end, when another popgate asks (SIGUSR1) and every `log.poll_interval` in any case. The texts and
the commit follow `audit.interval` after the first change; reloads are timed by the publisher. Steps
run one after another in a thread of their own, so signals are heard while Postfix is waited for.

SIGTERM and SIGINT: a last step, texts and commit, then the end; the tables are exact and the state
is saved. SIGHUP: settings, lists and Postfix's domains are read anew; bad ones are reported, the
old ones stay.
An error of a system part is said once and tried again, after 1 s, then ever longer, up to 60 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from tracker import config
from tracker.engine import Engine
from tracker.errors import (
    AuditError,
    ConfigError,
    ExportError,
    PopgateError,
    PostfixError,
    StoreError,
)
from tracker.host import utc_now
from tracker.reading.sources.watch import Watch
from tracker.standing import watched

log = logging.getLogger("popgate")

_T = TypeVar("_T")

_FIRST_RETRY = 1.0
_LAST_RETRY = 60.0


class Service:
    """One configuration file, kept at work until it is told to end."""

    def __init__(self, file: Path) -> None:
        """Raises ConfigError."""
        self._file = file
        self._settings = config.load(file)
        self._stopping = False
        self._rereading = False
        self._retry = 0.0
        self._said: set[str] = set()
        self._settle_at: float | None = None

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT. Raises a PopgateError when it cannot even begin."""
        loop = asyncio.get_running_loop()
        wake = asyncio.Event()
        with ThreadPoolExecutor(1, "step") as self._thread:
            engine = await self._begin()
            watch = self._watch(loop, wake)
            self._on_signals(loop, wake)
            _notify("READY=1")
            log.info("event=started pid=%d table=%s", os.getpid(), engine.publisher.kind)
            try:
                while not self._stopping:
                    if self._rereading:
                        self._rereading = False
                        new = await self._reconfigured(engine)
                        if new is not engine:
                            engine = new
                            watch.close()
                            watch = self._watch(loop, wake)
                    more = await self._do(partial(self._turn, engine))
                    watch.refresh()
                    if not more:
                        due = loop.call_later(self._pause(engine), wake.set)
                        await wake.wait()
                        due.cancel()
                    wake.clear()
                _notify("STOPPING=1")
                await self._end(engine)
            finally:
                watch.close()
                engine.close()
        log.info("event=stopped")

    async def _do(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _begin(self) -> Engine:
        engine = Engine(self._settings, follow=True)
        other = engine.store.claim()
        if other is not None:
            engine.close()
            raise StoreError(
                f"{self._settings.state.directory}: another popgate is at work there (pid {other})"
            )
        try:
            await self._do(engine.start)
        except BaseException:
            engine.close()
            raise
        return engine

    def _turn(self, engine: Engine) -> bool:
        """One step and what is due with it; True when there is more to read at once."""
        try:
            if self._retry:
                engine.recover()
            more = engine.step()
            engine.reread_trusted()
            engine.reread_senders()
            self._settle(engine)
        except PopgateError as error:
            self._retry = min(max(self._retry * 2, _FIRST_RETRY), _LAST_RETRY)
            self._say(error)
            self._export(engine)
            return False
        self._export(engine)
        self._reload(engine)
        if self._retry:
            self._retry = 0.0
            self._said.clear()
            log.info("event=recovered")
        return more

    def _settle(self, engine: Engine) -> None:
        """Texts and commit, when their time has come. A commit that fails stops nothing else."""
        now = time.monotonic()
        interval = self._settings.audit.interval.total_seconds()
        if engine.unsettled() and self._settle_at is None:
            self._settle_at = now + interval
        if self._settle_at is not None and now >= self._settle_at:
            self._settle_at = now + interval
            try:
                engine.settle()
                self._settle_at = None
            except AuditError as error:
                self._say(error)

    def _export(self, engine: Engine) -> None:
        """What other programs read. What fails there stops nothing else."""
        try:
            for fault in engine.last_export() if self._stopping else engine.export():
                self._say(ExportError(fault))
        except PopgateError as error:
            self._say(error)

    def _reload(self, engine: Engine) -> None:
        """Reload Postfix when its time has come. One that fails stops nothing else."""
        try:
            engine.reload()
        except PostfixError as error:
            self._say(error)

    def _say(self, error: PopgateError) -> None:
        """Report an error once, until all is well again."""
        if str(error) not in self._said:
            self._said.add(str(error))
            log.error("event=failed error=%r action=%r", str(error), "trying again")

    def _pause(self, engine: Engine) -> float:
        """Seconds until something is due."""
        if self._retry:
            return self._retry
        due = [self._settings.log.poll_interval.total_seconds()]
        if (expiry := engine.next_expiry()) is not None:
            due.append((expiry - utc_now()).total_seconds())
        if self._settle_at is not None:
            due.append(self._settle_at - time.monotonic())
        if (reload := engine.publisher.reload_due()) is not None:
            due.append(reload - time.monotonic())
        return max(min(due), 0.0)

    async def _reconfigured(self, engine: Engine) -> Engine:
        """The engine for the settings as they are now; the old one when those are bad."""
        try:
            settings = config.load(self._file)
            new = Engine(settings, follow=True)
        except PopgateError as error:
            for line in error.problems if isinstance(error, ConfigError) else [str(error)]:
                log.error("event=bad_configuration error=%r action=%r", line, "the old one stays")
            return engine
        if settings.state != self._settings.state:
            new.close()
            log.error("event=bad_configuration error=%r", "[state] changes only with a restart")
            return engine
        try:
            new.take_over(engine)
            await self._do(new.start)
        except PopgateError as error:
            engine.take_over(new)
            new.close()
            log.error("event=bad_configuration error=%r action=%r", str(error), "the old one stays")
            return engine
        engine.close()
        self._settings = settings
        self._settle_at = None
        log.info("event=reconfigured file=%s", self._file)
        return new

    async def _end(self, engine: Engine) -> None:
        """Leave everything exact; what fails now is said, and put right by the next start."""
        for work in (engine.step, partial(self._export, engine), engine.settle, engine.reload):
            try:
                await self._do(work)
            except PopgateError as error:
                log.error("event=failed error=%r action=%r", str(error), "left to the next start")

    def _watch(self, loop: asyncio.AbstractEventLoop, wake: asyncio.Event) -> Watch:
        settings = self._settings
        files = [*settings.log.files, settings.trusted.file, *watched(settings)]

        def wakes() -> None:
            # Events may still come in while the loop is being closed.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(wake.set)

        return Watch([str(file) for file in files], wakes)

    def _on_signals(self, loop: asyncio.AbstractEventLoop, wake: asyncio.Event) -> None:
        def stop() -> None:
            self._stopping = True
            wake.set()

        def reread() -> None:
            self._rereading = True
            wake.set()

        loop.add_signal_handler(signal.SIGTERM, stop)
        loop.add_signal_handler(signal.SIGINT, stop)
        loop.add_signal_handler(signal.SIGHUP, reread)
        loop.add_signal_handler(signal.SIGUSR1, wake.set)


def _notify(state: str) -> None:
    """Tell systemd, where it started us: sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel,
            contextlib.suppress(OSError),
        ):
            channel.connect(address.replace("@", "\0", 1))
            channel.send(state.encode())

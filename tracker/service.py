"""`popgate run`: the asyncio loop that times the engine's steps.

A step runs when a log file, the trusted list or a list of senders changed, when a pipe that is read
(the journal's, standard input) has something, when DNS has answered for a name in the trusted list,
when a grant is due to end, when another popgate asks (SIGUSR1) and every `log.poll_interval` in any
case. At its end systemd's watchdog is told: where a step hangs, it starts the service anew. The
texts and the commit follow `audit.interval` after the first change; reloads are timed by the
publisher. Steps run one after another in a thread of their own, so signals are heard while Postfix
is being waited for.

SIGTERM, SIGINT and the end of standard input, where that is read: a last step, texts and commit,
then the end; the tables are exact and the state is saved. SIGHUP: settings, lists and Postfix's
domains are read anew; bad ones are reported, the old ones stay. An error of a system part is said
once and tried again, after 1 s, then ever longer, up to 60 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from tracker import config, notify
from tracker.engine import Engine
from tracker.errors import (
    AuditError,
    ConfigError,
    ExportError,
    MetricsError,
    PolicyError,
    PopgateError,
    PostfixError,
    StoreError,
)
from tracker.host import utc_now
from tracker.metrics import Metrics, PolicyMetrics, Publication, RunMetrics, published
from tracker.policy.hosting import Hosting
from tracker.reading.sources.doveadm import who
from tracker.reading.sources.watch import Watch
from tracker.resolver import Resolver
from tracker.settings import Settings
from tracker.status import Status, tell

log = logging.getLogger("popgate")

_T = TypeVar("_T")

_FIRST_RETRY = 1.0
_LAST_RETRY = 60.0
_PATIENCE = 10.0
"""Seconds that the list of open sessions may take."""
_LOOK_AGAIN = 0.05
_TELL = 2.0


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
        self._status: str | None = None
        self._watchdog = notify.watchdog_interval()
        self._engine: Engine
        self._wakes: Callable[[], None] = lambda: None
        self.metrics = Metrics()
        self._figures = RunMetrics(self.metrics)
        self._hosting = Hosting(lambda: self._engine.answering, PolicyMetrics(self.metrics))
        self._began = utc_now()
        self._told: Status | None = None

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT. Raises a PopgateError when it cannot even begin."""
        loop = asyncio.get_running_loop()
        wake = asyncio.Event()
        with ThreadPoolExecutor(1, "step") as self._thread:
            self._wakes = partial(_wake, loop, wake)
            publication = published(self._settings.metrics, self.metrics)
            engine = self._engine = await self._begin()
            checking = asyncio.create_task(self._check_sessions())
            telling = asyncio.create_task(self._tell_status(publication))
            watch = self._watch(engine)
            self._on_signals(loop, wake)
            notify.tell("READY=1")
            log.info("event=started pid=%d table=%s", os.getpid(), engine.publisher.kind)
            try:
                while not self._stopping:
                    if self._rereading:
                        self._rereading = False
                        new = await self._reconfigured(engine)
                        if new is not engine:
                            engine = self._engine = new
                            watch.close()
                            watch = self._watch(engine)
                    await self._serve()
                    more = await self._do(partial(self._turn, engine))
                    if self._watchdog:  # a fault that was named is no reason to start anew
                        notify.tell("WATCHDOG=1")
                    watch.refresh(engine.watched())
                    self._tell(engine)
                    if engine.input_ended() and not self._retry:
                        self._stopping = True
                    elif not more:
                        await self._wait(engine, loop, wake)
                    wake.clear()
                notify.tell("STOPPING=1")
                await self._end(engine)
            finally:
                checking.cancel()
                telling.cancel()
                await self._hosting.close()
                publication.close()
                watch.close()
                engine.close()
        log.info("event=stopped")

    async def _do(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _check_sessions(self) -> None:
        """Have the mail server list its sessions now and then: the end of one can go unlogged."""
        while True:
            interval = self._settings.log.sessions_interval.total_seconds()
            await asyncio.sleep(interval or _LAST_RETRY)
            if not interval or self._retry or not self._engine.has_sessions():
                continue
            began = utc_now()
            try:
                listed = await who(self._settings.log.sessions_command, _PATIENCE)
                await self._do(partial(self._engine.compare_sessions, listed, began))
            except PopgateError as error:
                if str(error) not in self._said:
                    self._said.add(str(error))
                    log.warning("event=sessions_unchecked reason=%r", str(error))

    async def _wait(
        self, engine: Engine, loop: asyncio.AbstractEventLoop, wake: asyncio.Event
    ) -> None:
        """Until something is due, or there is something to read."""
        # After an error nothing is read before its time, so what is at hand must not wake us.
        files = [] if self._retry else engine.waits()
        due = loop.call_later(self._pause(engine), wake.set)
        try:
            for file in files:
                loop.add_reader(file, wake.set)
            await wake.wait()
        finally:
            due.cancel()
            for file in files:
                loop.remove_reader(file)

    def _tell(self, engine: Engine) -> None:
        """Tell systemd what keeps us, when it changed."""
        behind = [
            f"{source} {'' if percent is None else f'{percent} %'}".strip()
            for source, percent in engine.progress().items()
        ]
        status = "; ".join(
            [f"catching up: {one}" for one in behind]
            + [f"waiting for {one}" for one in engine.troubles()]
        )
        if status != self._status:
            self._status = status
            notify.tell(f"STATUS={status or 'reading'}")

    async def _begin(self) -> Engine:
        engine = self._make(self._settings)
        other = engine.store.claim()
        if other is not None:
            engine.close()
            raise StoreError(
                f"{self._settings.state.directory}: another popgate is at work there (pid {other})"
            )
        try:
            await self._do(engine.start)
            self._engine = engine
            await self._hosting.follow(self._settings, wanted=_served(self._settings))
        except BaseException:
            engine.close()
            raise
        return engine

    async def _serve(self) -> None:
        """The policy service, as the settings want it now."""
        try:
            await self._hosting.follow(self._settings, wanted=_served(self._settings))
        except PolicyError as error:
            self._say(error)

    async def _tell_status(self, publication: Publication) -> None:
        """Tell `popgate status` and Prometheus, every few seconds."""
        while True:
            await asyncio.sleep(_TELL)
            if self._told is not None:
                self._figures.see(self._told)
                self._figures.failing.value = float(bool(self._retry))
                with contextlib.suppress(FileNotFoundError):
                    self._figures.written.value = self._engine.publisher.table.stat().st_mtime
                snapshot = self.metrics.snapshot()
                status = structs.replace(self._told, told=utc_now(), metrics=snapshot)
                tell(self._settings.state.directory, "run", status)
            try:
                publication.write()
            except MetricsError as error:
                self._say(error)

    def _turn(self, engine: Engine) -> bool:
        """One step and what is due with it; True when there is more to read at once."""
        try:
            if self._retry:
                engine.recover()
            more = engine.step()
            engine.reread_trusted()
            engine.reread_senders()
            engine.check()
            self._settle(engine)
        except PopgateError as error:
            self._retry = min(max(self._retry * 2, _FIRST_RETRY), _LAST_RETRY)
            self._say(error)
            self._end_over(engine)
            self._export(engine)
            return False
        self._export(engine)
        self._reload(engine)
        self._told = engine.status(self._began)
        if self._retry:
            self._retry = 0.0
            self._said.clear()
            log.info("event=recovered")
        return more

    def _end_over(self, engine: Engine) -> None:
        """A right ends on time, whatever failed."""
        try:
            engine.end_over()
        except PopgateError as error:
            self._say(error)

    def _settle(self, engine: Engine) -> None:
        """Texts and commit, when their time has come; lists at once. A commit that fails stops
        nothing else."""
        try:
            engine.commit_lists()
        except AuditError as error:
            self._say(error)
        for fault in engine.tend_history():
            self._say(AuditError(fault))
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
            self._figures.reloads.add("failed")
            self._say(error)

    def _say(self, error: PopgateError) -> None:
        """Report an error once, until all is well again."""
        if str(error) not in self._said:
            self._said.add(str(error))
            log.error("event=failed error=%r action=%r", str(error), "trying again")

    def _pause(self, engine: Engine) -> float:
        """Seconds until something is due."""
        expiry = engine.next_expiry()
        if self._retry:
            soon = (expiry - utc_now()).total_seconds() if expiry else self._retry
            return min(self._retry, max(soon, _FIRST_RETRY), self._watchdog or self._retry)
        due = [self._settings.log.poll_interval.total_seconds()]
        if self._watchdog:
            due.append(self._watchdog)
        if expiry is not None:
            due.append((expiry - utc_now()).total_seconds())
        if self._settle_at is not None:
            due.append(self._settle_at - time.monotonic())
        if engine.list_unsettled():
            due.append(_LOOK_AGAIN)
        if (reload := engine.publisher.reload_due()) is not None:
            due.append(reload - time.monotonic())
        return max(min(due), 0.0)

    async def _reconfigured(self, engine: Engine) -> Engine:
        """The engine for the settings as they are now; the old one when those are bad."""
        try:
            settings = config.load(self._file)
            new = self._make(settings)
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
        for work in (
            partial(self._last_step, engine),
            partial(self._export, engine),
            engine.settle,
            engine.reload,
            engine.stopped,
            partial(engine.tend_history, _PATIENCE),
        ):
            try:
                await self._do(work)
            except PopgateError as error:
                log.error("event=failed error=%r action=%r", str(error), "left to the next start")

    def _last_step(self, engine: Engine) -> None:
        if self._retry:  # else positions would be saved without what the failed step read
            engine.recover()
        engine.step()

    def _make(self, settings: Settings) -> Engine:
        """The engine for some settings. Names are looked up beside its steps, never in them."""
        resolver = Resolver(settings.trusted, settings.state.directory, self._wakes)
        try:
            engine = Engine(settings, follow=True, resolver=resolver, figures=self._figures)
        except BaseException:
            resolver.close()
            raise
        resolver.start()
        return engine

    def _watch(self, engine: Engine) -> Watch:
        return Watch(engine.watched(), self._wakes)

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


def _served(settings: Settings) -> bool:
    """Whether `popgate run` answers Postfix by itself."""
    return settings.grants.scope == "address" and settings.policy.serve


def _wake(loop: asyncio.AbstractEventLoop, wake: asyncio.Event) -> None:
    """Have a step done soon; called from other threads, which may outlive the loop a little."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(wake.set)

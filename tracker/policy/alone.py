"""`popgate policy`: the policy service as a process of its own, beside the one that reads the log.

It changes nothing: grants come from the shared state, Postfix's words and the lists are read as the
settings say. SIGTERM and SIGINT end it; SIGHUP reads the settings anew, and bad ones are reported
while the old ones stay.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from tracker import __version__, config, notify
from tracker.errors import ConfigError, MetricsError, PopgateError
from tracker.host import utc_now
from tracker.metrics import Metrics, PolicyMetrics, Publication, published
from tracker.policy.hosting import Hosting
from tracker.policy.shared import SharedRules
from tracker.settings import Settings
from tracker.standing import Standing
from tracker.status import Status, tell
from tracker.store import Store
from tracker.writing.postfix import Postfix

log = logging.getLogger("popgate")

_LOOK = 1.0


class Alone:
    """One configuration file, served until it is told to end."""

    def __init__(self, file: Path) -> None:
        """Raises ConfigError."""
        self._file = file
        self._settings = _settings(file)
        self._metrics = Metrics()
        self._counted = PolicyMetrics(self._metrics)
        self._stopping = asyncio.Event()
        self._rereading = False
        self._fault = ""

    async def run(self) -> None:
        """Answer until SIGTERM or SIGINT. Raises a PopgateError when it cannot even begin."""
        loop = asyncio.get_running_loop()
        store = Store(self._settings.state.directory)
        publication = published(self._settings.metrics, self._metrics, policy=True)
        self._standing = _standing(self._settings)
        rules = SharedRules(self._settings, store, self._standing.read(time.monotonic()))
        hosting = Hosting(rules.now, self._counted)
        try:
            await hosting.follow(self._settings, wanted=True)
            loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
            loop.add_signal_handler(signal.SIGINT, self._stopping.set)
            loop.add_signal_handler(signal.SIGHUP, self._reread)
            # `popgate allow` wakes whoever follows the log; here each answer reads the state.
            loop.add_signal_handler(signal.SIGUSR1, lambda: None)
            notify.tell("READY=1")
            listen = self._settings.policy.listen
            log.info("event=policy_started pid=%d listen=%s", os.getpid(), listen)
            began = utc_now()
            follower: int | None = -1
            while not self._stopping.is_set():
                await self._look(rules, hosting)
                follower = _say_follower(rules.follower(), follower)
                tell(store.directory, "policy", self._status(began))
                self._publish(publication)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _LOOK)
            notify.tell("STOPPING=1")
        finally:
            await hosting.close()
            publication.close()
            store.close()
        log.info("event=policy_stopped")

    def _reread(self) -> None:
        self._rereading = True

    async def _look(self, rules: SharedRules, hosting: Hosting) -> None:
        """Take up what changed: settings after SIGHUP, and what Postfix and the lists say."""
        try:
            if self._rereading:
                self._rereading = False
                settings = _settings(self._file)
                if settings.state != self._settings.state:
                    raise ConfigError(["[state] changes only with a restart"])
                standing = _standing(settings)
                senders = await asyncio.to_thread(standing.read, time.monotonic())
                await hosting.follow(settings, wanted=True)
                rules.configure(settings, senders)
                self._settings, self._standing = settings, standing
                log.info("event=reconfigured file=%s", self._file)
            elif self._standing.due(time.monotonic()):
                senders = await asyncio.to_thread(self._standing.read, time.monotonic())
                rules.configure(self._settings, senders)
            await hosting.follow(self._settings, wanted=True)
        except PopgateError as error:
            if str(error) != self._fault:
                self._fault = str(error)
                log.error("event=failed error=%r action=%r", self._fault, "as it was")
            return
        self._fault = ""

    def _status(self, began: datetime) -> Status:
        return Status(
            pid=os.getpid(),
            version=__version__,
            started=began,
            told=utc_now(),
            scope=self._settings.grants.scope,
            metrics=self._metrics.snapshot(),
        )

    def _publish(self, publication: Publication) -> None:
        try:
            publication.write()
        except MetricsError as error:
            if str(error) != self._fault:
                self._fault = str(error)
                log.error("event=failed error=%r action=%r", self._fault, "trying again")


def _settings(file: Path) -> Settings:
    """The settings, if they ask for the service. Raises ConfigError."""
    settings = config.load(file)
    if settings.grants.scope != "address":
        raise ConfigError([f'{file}: grants.scope = "ip" needs no policy service: set "address"'])
    if settings.policy.serve:
        raise ConfigError(
            [f"{file}: policy.serve = true has popgate run serve by itself: set it to false"]
        )
    return settings


def _standing(settings: Settings) -> Standing:
    return Standing(settings, Postfix(settings.postfix))


def _say_follower(pid: int | None, before: int | None) -> int | None:
    """Say when nobody follows the log any more, and when somebody does again."""
    if pid is None and before is not None:
        log.warning(
            "event=log_unread action=%r", "open sessions end a window after it was last read"
        )
    elif pid is not None and before is None:
        log.info("event=log_read pid=%d", pid)
    return pid

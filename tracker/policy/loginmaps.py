"""smtpd_sender_login_maps, asked by postmap beside the event loop, and remembered for a while.

Postfix looks for the whole address in all tables, then for its parts in those tables that are no
patterns (mail_addr_find(3), maps(3), Postfix 3.7): postmap does the same, in two calls at most. It
opens the tables itself, so they need not be ours to read in any other way; a table behind `proxy:`
is opened without the proxy, whose socket is Postfix's alone.

A table that cannot be read names nobody, which is said once. So does one that takes longer than
Postfix waits for our answer, and so do questions beyond the few that wait already.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from msgspec import structs

from tracker.errors import PostfixError
from tracker.settings import Duration, PostfixSettings
from tracker.writing.postfix import Postfix

log = logging.getLogger("popgate")

_PATIENCE = 2.5
"""Seconds: the snippet has Postfix wait for 3."""
_KEPT = 30.0
"""Seconds that an answer is remembered."""
_KEPT_FAULT = 5.0
_REMEMBERED = 10_000
_WAITING = 64
_PATTERNS = re.compile(r"(?:^|[{,:\s])(?:regexp|pcre|cidr|tcp|randmap):")

_Question = tuple[tuple[str, ...], tuple[str, ...]]


class LoginMaps:
    """The tables, asked for who owns a sender."""

    def __init__(self, settings: PostfixSettings) -> None:
        patience = min(settings.timeout.total_seconds(), _PATIENCE)
        self._postfix = Postfix(structs.replace(settings, timeout=Duration(seconds=patience)))
        self._threads = ThreadPoolExecutor(2, "login-maps")
        self._asked: dict[_Question, asyncio.Future[tuple[str, ...]]] = {}
        self._known: OrderedDict[_Question, tuple[float, tuple[str, ...]]] = OrderedDict()
        self._said: set[str] = set()

    def known(
        self, maps: tuple[str, ...], keys: tuple[str, ...], now: float | None = None
    ) -> tuple[str, ...] | None:
        """The owners, if they were looked up lately. `now`: monotonic seconds."""
        found = self._known.get((maps, keys))
        at = time.monotonic() if now is None else now
        return found[1] if found is not None and at < found[0] else None

    async def owners(self, maps: tuple[str, ...], keys: tuple[str, ...]) -> tuple[str, ...]:
        """The logins that own the address with these keys (see `login_keys`); none where they
        cannot be known in time."""
        question = (maps, keys)
        known = self.known(maps, keys)
        if known is not None:
            return known
        asked = self._asked.get(question)
        if asked is None:
            if len(self._asked) >= _WAITING:
                return ()
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._threads, self._look_up, question)
            self._asked[question] = asked
            asked.add_done_callback(lambda _: self._asked.pop(question, None))
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(asked), _PATIENCE)
        return ()

    def look_up(self, maps: tuple[str, ...], keys: tuple[str, ...]) -> tuple[str, ...]:
        """The logins, asked for now. Raises PostfixError."""
        tables = [table.removeprefix("proxy:") for table in maps]
        plain = [table for table in tables if not _PATTERNS.search(table)]
        found = self._postfix.first(tables, keys[:1]) if tables and keys else None
        if found is None and plain and keys[1:]:
            found = self._postfix.first(plain, keys[1:])
        return tuple(filter(None, re.split(r"[\s,]+", found or "")))

    def close(self) -> None:
        """Wait for no answer any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _look_up(self, question: _Question) -> tuple[str, ...]:
        try:
            owners, kept = self.look_up(*question), _KEPT
        except PostfixError as error:
            owners, kept = (), _KEPT_FAULT
            if str(error) not in self._said and len(self._said) < _REMEMBERED:
                self._said.add(str(error))
                log.error("event=login_maps error=%r action=%r", str(error), "not granted by them")
        self._known[question] = (time.monotonic() + kept, owners)
        with suppress(KeyError):
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return owners

"""Host names of the trusted list, looked up in DNS: the only place that asks it (dnspython).

A and AAAA are asked each by itself, at the end of their TTL (never before 30 s, never after 1 h),
in a thread of its own, so that a DNS which is slow or dead delays nothing but itself. A question is
given up after `trusted.timeout`; what was last known stays in the answers with the trouble named,
and the question is asked again after 30 s. Answers outlive the process (`answers.py`).

An answer is what a server says on purpose: addresses, "no such name", "no such address". Everything
else (no reply, SERVFAIL, REFUSED, a reply that makes no sense or has more than 64 addresses) is
trouble. What an answer is worth is decided in `deciding/names.py`. CNAMEs are followed by the
server. dnspython believes a reply that comes from the server's address with the question and the
random number of the request; against who can forge these, a validating server on this host helps.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver
from msgspec.structs import replace

from tracker.addresses import canonical, endpoint
from tracker.answers import keep, remembered
from tracker.host import utc_now
from tracker.records import Answer, NameAnswers
from tracker.settings import TrustedSettings

MOST = 64
"""Addresses of one family that a name may have; more is taken for an error or an attack."""

_SHORTEST, _LONGEST = timedelta(seconds=30), timedelta(hours=1)
_NONE = timedelta(seconds=60)
_GATHERED = 0.05
_AT_ONCE = 32
_DNS_PORT = 53


class Resolver:
    """Keeps the answers for some names: by itself once `start`ed, or by `look_up` when told."""

    def __init__(
        self,
        settings: TrustedSettings,
        directory: Path,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`directory`: the state folder. `changed` is called after new answers, in the thread."""
        self._settings = settings
        self._directory = directory
        self._changed = changed
        self._answers = remembered(directory)
        self._names: frozenset[str] = frozenset()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._gathering = False
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None

    def answers(self) -> Mapping[str, NameAnswers]:
        """What is known now; what comes in later is not put into what was returned."""
        return self._answers

    def start(self) -> None:
        """Begin to look up what is due, until `close`."""
        self._thread = threading.Thread(target=self._run, name="names", daemon=True)
        self._thread.start()
        self.follow(self._names)

    def follow(self, names: Iterable[str]) -> None:
        """Look these names up from now on, and no others."""
        self._names = frozenset(names)
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._follow, self._names)

    def look_up(self) -> None:
        """Ask for the names whose answers are over, and wait for three times `trusted.timeout`; who
        has not answered then is asked the next time. Not to be used once started."""
        now = utc_now()
        due = [name for name in self._names if self._wait(name, now) <= timedelta(0)]
        self._loop.run_until_complete(self._ask_all(due, self._settings.timeout * 3))

    def look_all_up(self) -> None:
        """Ask for every name, however long it takes: `trusted.timeout` for each 32 of them."""
        self._loop.run_until_complete(self._ask_all(self._names))

    def keep(self) -> None:
        """Have the answers outlive the process."""
        self._answers = {name: self._answers[name] for name in self._names & self._answers.keys()}
        keep(self._directory, self._answers)

    def close(self) -> None:
        """End the thread; questions that are open are left alone."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._thread = None
        self._loop.close()

    # In the thread

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(_end(asyncio.all_tasks(self._loop)))

    def _follow(self, names: frozenset[str]) -> None:
        for name in self._asking.keys() - names:
            self._asking.pop(name).cancel()
        for name in names - self._asking.keys():
            self._asking[name] = self._loop.create_task(self._again_and_again(name))

    async def _again_and_again(self, name: str) -> None:
        wait = self._wait(name, utc_now())
        while True:
            await asyncio.sleep(wait.total_seconds())
            await self._ask(name)
            wait = max(self._wait(name, utc_now()), _SHORTEST)
            if not self._gathering:
                self._gathering = True
                self._loop.call_later(_GATHERED, self._take_up)

    def _wait(self, name: str, now: datetime) -> timedelta:
        """How long the answers for a name are good still, 0 when they are not."""
        known = self._answers.get(name, NameAnswers())
        left = min((answer.expires or now) - now for answer in (known.v4, known.v6))
        # More than any answer is good for: the clock was put back.
        return left if timedelta(0) < left <= _LONGEST else timedelta(0)

    async def _ask_all(self, names: Collection[str], patience: timedelta | None = None) -> None:
        if names:
            tasks = [self._loop.create_task(self._ask(name)) for name in names]
            seconds = patience.total_seconds() if patience else None
            done, pending = await asyncio.wait(tasks, timeout=seconds)
            await _end(pending)
            for task in done:
                task.result()

    async def _ask(self, name: str) -> None:
        async with self._at_once:
            known = self._answers.get(name, NameAnswers())
            v4, v6 = await asyncio.gather(
                self._question(name, "A", known.v4), self._question(name, "AAAA", known.v6)
            )
        self._answers = {**self._answers, name: NameAnswers(v4, v6)}

    async def _question(self, name: str, kind: str, old: Answer) -> Answer:
        """The answer to one question; the old one, and what is the matter, when there is none."""
        now = utc_now()
        try:
            resolver = self._asker()
            got = await resolver.resolve(f"{name}.", kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            return Answer((), now + _NONE)
        except dns.exception.DNSException as error:
            return replace(old, trouble=_words(error))
        except (OSError, ValueError) as error:
            return replace(old, trouble=f"{type(error).__name__}: {error}")
        if got.rrset is None:
            return Answer((), now + _NONE)
        if len(got.rrset) > MOST:
            trouble = f"{len(got.rrset)} addresses; more than {MOST} are taken for an error"
            return replace(old, trouble=trouble)
        ttl = timedelta(seconds=got.chaining_result.minimum_ttl)
        addresses = {canonical(record.address) or record.address for record in got.rrset}
        return Answer(tuple(sorted(addresses)), now + min(max(ttl, _SHORTEST), _LONGEST))

    def _asker(self) -> dns.asyncresolver.Resolver:
        """Made for each question, since resolv.conf may have changed."""
        servers = [endpoint(text, _DNS_PORT) for text in self._settings.nameservers]
        asker = dns.asyncresolver.Resolver(configure=not servers)
        if servers:
            asker.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in servers]
        asker.lifetime = self._settings.timeout.total_seconds()
        asker.timeout = asker.lifetime / 2.5  # two servers can be tried, and one of them again
        return asker

    def _take_up(self) -> None:
        self._gathering = False
        self.keep()
        self._changed()


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _words(error: dns.exception.DNSException) -> str:
    """What is the matter, in a few words."""
    if isinstance(error, dns.resolver.LifetimeTimeout):
        return "no server answered in time"
    if isinstance(error, dns.resolver.NoNameservers):
        said = [str(attempt[3]) for attempt in error.kwargs.get("errors", ())]
        return f"the servers answered: {', '.join(dict.fromkeys(filter(None, said)))[:200]}"
    return str(error)[:200] or type(error).__name__

"""Anything that can happen, in any order, against a brute-force model: nothing lost, nobody let in.

Logins, logouts, a clock that goes on or is put back, new starts, kills between reading and saving,
grants by hand, their end, and other settings: of the ledger with its store, and of the whole engine
with a log, a real table and its texts.
"""

from __future__ import annotations

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from msgspec import structs

from lab.postfix import Postfix
from tests.conftest import require
from tests.moments import NOW, login_line, logout_line
from tests.outcomes import Outcome
from tests.torture.model import Key, Model
from tracker import config
from tracker.deciding.ledger import Ledger
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.rules import RuleSet
from tracker.deciding.trusted import TrustedList
from tracker.engine import Engine
from tracker.records import Change, Ended, Event, Grant, Login, Logout
from tracker.settings import Duration, GrantSettings
from tracker.store import Store

pytestmark = pytest.mark.fault

KEYS = st.tuples(st.sampled_from(["203.0.113.1", "203.0.113.2", "203.0.113.3"]), st.just("alice"))
SETTINGS = st.builds(
    GrantSettings,
    window=st.sampled_from([0, 60, 300, 1800]).map(lambda one: Duration(seconds=one)),
    services=st.sampled_from([("pop3", "imap"), ("pop3",), ("imap",)]),
    exclude_networks=st.sampled_from([(), ("203.0.113.1/32",)]),
    while_connected=st.booleans(),
    max_session=st.sampled_from([600, 86400]).map(lambda one: Duration(seconds=one)),
)
SECONDS = st.sampled_from([0, 0, 0, 1, 30, 61, 400, 2000])
STEPS = st.sampled_from([1, 59, 60, 299, 300, 601, 1800, 3600, -2, -60, -3600])


class Books(ABC):
    """What is held against the model."""

    def __init__(self, folder: Path, under: GrantSettings) -> None:
        self.folder = folder
        self.now: datetime = NOW
        self.start(under)

    @abstractmethod
    def start(self, under: GrantSettings) -> None:
        """Begin, or begin again with other settings, from what was saved."""

    @abstractmethod
    def read(self, event: Event, *, killed: bool) -> None:
        """Take an event up; `killed`: once in vain before it is saved."""

    @abstractmethod
    def step(self) -> None:
        """The clock alone."""

    @abstractmethod
    def allow(self, key: Key, length: timedelta) -> None:
        """By hand."""

    @abstractmethod
    def revoke(self, address: str) -> None:
        """By hand."""

    @abstractmethod
    def grants(self) -> list[Grant]:
        """All grants."""

    @abstractmethod
    def table(self) -> dict[str, int]:
        """The addresses that the table holds, and until when."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""


class LedgerAndStore(Books):
    """As the engine uses them, without files beside the state."""

    store: Store | None = None

    def start(self, under: GrantSettings) -> None:
        self.close()
        self.policy = GrantPolicy(under)
        self.store = Store(self.folder)
        self._load()
        self.before = self.now
        self._save([*self.ledger.reconfigure(self.policy, self.now)])

    def _load(self) -> None:
        assert self.store is not None
        kept = self.store.kept()
        self.ledger = Ledger(self.policy, ended=self.store.ended(), kept=kept)

    def _save(self, changes: list[Change | Ended]) -> None:
        assert self.store is not None
        self.store.save([*changes, *self.ledger.expire(self.now)], self.now)
        self.ledger.saved()

    def read(self, event: Event, *, killed: bool) -> None:
        if killed:
            assert self.store is not None
            self.ledger.apply(event, self.now)
            self._load()
        self._save([*self.ledger.apply(event, self.now)])

    def step(self) -> None:
        back, self.before = self.before - self.now, self.now
        shrunk = (
            self.ledger.reconfigure(self.policy, self.now) if back > timedelta(seconds=1) else []
        )
        self._save([*shrunk])

    def allow(self, key: Key, length: timedelta) -> None:
        self._save([self.ledger.allow(*key, self.now, length)])

    def revoke(self, address: str) -> None:
        self._save([*self.ledger.revoke(address)])

    def grants(self) -> list[Grant]:
        assert self.store is not None
        held = sorted(self.ledger.grants(), key=lambda one: one.address)
        assert list(self.store.grants()) == held
        return held

    def table(self) -> dict[str, int]:
        return dict(RuleSet(TrustedList(), self.ledger.expiries()).granted())

    def close(self) -> None:
        if self.store is not None:
            self.store.close()


class WholeEngine(Books):
    """The engine, with its log, a cidr table that Postfix checks, and texts."""

    engine: Engine | None = None

    def start(self, under: GrantSettings) -> None:
        self.close()
        self.log = self.folder / "mail.log"
        self.log.touch()
        postfix = self.folder / "postfix"
        if not postfix.exists():
            Postfix.configuration(postfix)
        text = (
            f'[log]\nfiles = ["{self.log}"]\ndovecot = {{}}\n[trusted]\n'
            f'file = "{self.folder}/trusted.txt"\n[tables]\ndirectory = "{self.folder}/maps"\n'
            f'[state]\ndirectory = "{self.folder}"\n[audit]\ncommit = false\n'
            f'[postfix]\nconfig_directory = "{postfix}"\n'
        )
        read = config.parse(text, "popgate.toml")
        joined = structs.replace(read, grants=under)
        self.engine = Engine(joined, follow=True, clock=lambda: self.now)
        self.engine.start()
        self.step()

    def _at_work(self) -> Engine:
        assert self.engine is not None
        return self.engine

    def read(self, event: Event, *, killed: bool) -> None:
        assert event.service is not None
        make: Callable[[], str] = (
            (
                lambda: login_line(
                    event.address or "", event.user or "", event.session or "", event.time
                )
            )
            if isinstance(event, Login)
            else (lambda: logout_line(event.user or "", event.session or "", event.time))
        )
        with self.log.open("a") as file:
            file.write(make().replace("pop3", event.service))
        if killed:
            self._at_work().recover()
        self.step()

    def step(self) -> None:
        self._at_work().step()
        self._at_work().settle()

    def allow(self, key: Key, length: timedelta) -> None:
        self._at_work().allow(*key, length)
        self.step()

    def revoke(self, address: str) -> None:
        self._at_work().revoke(address, None)
        self.step()

    def grants(self) -> list[Grant]:
        return list(self._at_work().store.grants())

    def table(self) -> dict[str, int]:
        lines = (self.folder / "maps/pop_before_smtp.txt").read_text().splitlines()
        named = {line.split()[0] for line in lines if line and not line.startswith("#")}
        live = self._at_work().publisher._read() or {}
        assert named == live.keys()
        return live

    def close(self) -> None:
        if self.engine is not None:
            self.engine.close()


class Machine(RuleBasedStateMachine):
    """Drives both, and compares them after each step."""

    books: Callable[[Path, GrantSettings], Books]
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="popgate-test-"))
        under = GrantSettings()
        self.real = type(self).books(self.folder, under)
        self.model = Model(under, NOW)
        self.sessions: list[tuple[Key, str, str]] = []
        self.unknown: list[str] = []
        self.count = 0
        type(self).runs += 1

    def teardown(self) -> None:
        self.real.close()
        shutil.rmtree(self.folder)

    @rule(key=KEYS, service=st.sampled_from(["pop3", "imap"]), ago=SECONDS, killed=st.booleans())
    def login(self, key: Key, service: str, ago: int, killed: bool) -> None:
        self.count += 1
        session = f"s{self.count}"
        self.sessions.append((key, service, session))
        at = self.model.now - timedelta(seconds=ago)
        self.model.login(key, service, session, at)
        self.model.pass_by()
        self.real.read(Login(at, service, key[1], key[0], session, "mailhost"), killed=killed)

    @rule(data=st.data(), ago=SECONDS, killed=st.booleans())
    def logout(self, data: st.DataObject, ago: int, killed: bool) -> None:
        if not self.sessions:
            return
        key, service, session = data.draw(st.sampled_from(self.sessions))
        self.sessions.remove((key, service, session))
        at = self.model.now - timedelta(seconds=ago)
        self.model.logout(session, at)
        self.model.pass_by()
        self.real.read(Logout(at, service, key[1], None, session, "mailhost"), killed=killed)

    @rule(key=KEYS, service=st.sampled_from(["pop3", "imap"]), ago=SECONDS)
    def logged_backwards(self, key: Key, service: str, ago: int) -> None:
        """The logout of a short session stands before its login."""
        self.count += 1
        session = f"s{self.count}"
        at = self.model.now - timedelta(seconds=ago)
        self.model.logout(session, at)
        self.model.pass_by()
        self.real.read(Logout(at, service, key[1], None, session, "mailhost"), killed=False)
        self.model.login(key, service, session, at)
        self.model.pass_by()
        self.real.read(Login(at, service, key[1], key[0], session, "mailhost"), killed=False)
        # Where the logout was too old to wait, the session counts as open.
        if self.model.ended.get(session) is None:
            self.sessions.append((key, service, session))

    @rule(ago=SECONDS)
    def logout_of_nobody(self, ago: int) -> None:
        """Its login may come later."""
        self.count += 1
        session = f"s{self.count}"
        self.unknown.append(session)
        at = self.model.now - timedelta(seconds=ago)
        self.model.logout(session, at)
        self.model.pass_by()
        self.real.read(Logout(at, "pop3", "alice", None, session, "mailhost"), killed=False)

    @rule(data=st.data(), key=KEYS, ago=SECONDS)
    def login_at_last(self, data: st.DataObject, key: Key, ago: int) -> None:
        """Of a session whose end was logged before, whatever the clock did since."""
        if not self.unknown:
            return
        session = data.draw(st.sampled_from(self.unknown))
        self.unknown.remove(session)
        at = self.model.now - timedelta(seconds=ago)
        if self.model.ended.get(session) is None:
            self.sessions.append((key, "pop3", session))
        self.model.login(key, "pop3", session, at)
        self.model.pass_by()
        self.real.read(Login(at, "pop3", key[1], key[0], session, "mailhost"), killed=False)

    @rule(seconds=STEPS)
    def clock(self, seconds: int) -> None:
        self.model.now = self.real.now = self.model.now + timedelta(seconds=seconds)
        if seconds < -1:
            self.model.under(self.model.settings)
        self.model.pass_by()
        self.real.step()

    @rule()
    def restart(self) -> None:
        self.model.under(self.model.settings)
        self.model.pass_by()
        self.real.start(self.model.settings)

    @rule(other=SETTINGS)
    def other_settings(self, other: GrantSettings) -> None:
        self.model.under(other)
        self.model.pass_by()
        self.real.start(other)

    @rule(key=KEYS, length=st.sampled_from([60, 3600]))
    def allow(self, key: Key, length: int) -> None:
        self.model.allow(key, timedelta(seconds=length))
        self.model.pass_by()
        self.real.allow(key, timedelta(seconds=length))

    @rule(key=KEYS)
    def revoke(self, key: Key) -> None:
        self.model.revoke(key[0])
        self.model.pass_by()
        self.real.revoke(key[0])

    @invariant()
    def grants_are_the_models(self) -> None:
        held = {
            (one.address, one.user): (
                one.expires,
                frozenset(session.id for session in one.sessions),
            )
            for one in self.real.grants()
        }
        assert held == self.model.grants()

    @invariant()
    def the_table_is_the_models(self) -> None:
        wanted: dict[str, int] = {}
        for (address, _), (end, _) in self.model.grants().items():
            wanted[address] = max(int(end.timestamp()), wanted.get(address, 0))
        assert self.real.table() == wanted

    @invariant()
    def no_grant_outlives_its_window(self) -> None:
        now, under = self.model.now, self.model.settings
        for (address, user), (end, sessions) in self.model.grants().items():
            if not self.model.rights[address, user].by_hand:
                assert now < end <= now + (under.max_session if sessions else under.window) or (
                    sessions and end <= now + under.window
                )


class LedgerMachine(Machine):
    """The ledger and the store."""

    books = LedgerAndStore


class EngineMachine(Machine):
    """The whole engine."""

    books = WholeEngine


def run(machine: type[Machine], examples: int, steps: int) -> int:
    """So many sequences of so many steps; how many were run."""
    machine.runs = 0
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return machine.runs


def test_ledger_and_store_do_as_the_model(outcome: Outcome) -> None:
    outcome("model: ledger and store", runs=run(LedgerMachine, 60, 30))


@pytest.mark.torture
def test_ledger_and_store_do_as_the_model_for_long(outcome: Outcome) -> None:
    outcome("model: ledger and store", runs=run(LedgerMachine, 400, 50))


@pytest.mark.parametrize("examples", [6, pytest.param(60, marks=pytest.mark.torture)])
def test_the_whole_engine_does_as_the_model(examples: int, outcome: Outcome) -> None:
    missing = Postfix.missing()
    require(f"not installed: {' '.join(missing)}" if missing else None)
    outcome("model: engine", runs=run(EngineMachine, examples, 20))

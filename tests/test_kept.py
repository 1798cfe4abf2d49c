"""A ledger over grants that are saved decides as one does that holds them all itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from tests.moments import NOW, after
from tracker.deciding import book
from tracker.deciding.ledger import Ledger
from tracker.deciding.policy import GrantPolicy
from tracker.records import Change, Ended, Grant, Login, Logout, Restart
from tracker.settings import Duration, GrantSettings
from tracker.store import Store

UNDER = GrantSettings(
    window=Duration(minutes=10),
    max_session=Duration(minutes=30),
    max_grants=6,
    max_users_per_address=2,
    max_grants_per_user=2,
    refuse_beyond=("max_users_per_address", "max_grants_per_user"),
)
ADDRESSES = st.sampled_from([f"203.0.113.{number}" for number in range(1, 5)])
USERS = st.sampled_from(["alice", "bob", "carol", "?"])
SESSIONS = st.sampled_from(["a", "b", "c", "d", None])
Act = tuple[str, str, str, str | None, int, bool, bool]
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["login"] * 6 + ["logout"] * 3 + ["restart", "allow", "revoke", "gone"]),
        ADDRESSES,
        USERS,
        SESSIONS,
        st.integers(0, 400),
        st.booleans(),
        st.booleans(),
    ),
    max_size=60,
)
_DO: dict[str, Callable[[Ledger, str, str, str | None, float], list[Change | Ended]]] = {
    "login": lambda ledger, address, user, session, at: ledger.apply(
        Login(after(at), "imap", user, address, session, "host"), after(at)
    ),
    "logout": lambda ledger, _, user, session, at: ledger.apply(
        Logout(after(at), "imap", user, None, session, "host"), after(at)
    ),
    "restart": lambda ledger, *rest: ledger.apply(
        Restart(after(rest[-1]), None, None, None, None, "host"), after(rest[-1])
    ),
    "allow": lambda ledger, address, user, _, at: [
        ledger.allow(address, user, after(at), timedelta(minutes=5))
    ],
    "revoke": lambda ledger, address, user, session, _: [
        *ledger.revoke(address if session else None, user)
    ],
    "gone": lambda ledger, address, user, _, at: [
        *ledger.gone([(user, address)], "host", after(at - 5), after(at))
    ],
}


def outcome(changes: list[Change | Ended]) -> set[Change | Ended]:
    """The last change of each grant: sessions that end by one event do so in no order of theirs."""
    last: dict[object, Change | Ended] = {}
    for one in changes:
        key = (one.grant.address, one.grant.user) if isinstance(one, Change) else one.session
        last[key] = one
    return set(last.values())


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("of_user", [0, 2])
@given(acts=ACTS)
def test_is_the_same_as_one_in_memory(of_user: int, acts: list[Act]) -> None:
    """What an admin allowed counts for no user, and hides what counted at that address before; the
    history does not know what was hidden. So where users are limited, only others are allowed."""
    policy = GrantPolicy(structs.replace(UNDER, max_grants_per_user=of_user))
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        alone, over = Ledger(policy), Ledger(policy, kept=store.kept())
        unsaved: list[Change | Ended] = []
        at = 0
        for what, address, name, session, seconds, saved, expected in acts:
            at += seconds
            user = "dave" if of_user and what == "allow" else name
            if expected:
                over.expect([Login(after(at), "imap", user, address, session, "host")])
            changes = _DO[what](over, address, user, session, at)
            assert outcome(changes) == outcome(_DO[what](alone, address, user, session, at))
            ended = over.expire(after(at))
            assert outcome([*ended]) == outcome([*alone.expire(after(at))])
            unsaved += [*changes, *ended]
            if saved:
                store.save(unsaved, after(at))
                over.saved()
                unsaved = []
            _agree(over, alone, at)
        store.close()


def _agree(over: Ledger, alone: Ledger, at: float) -> None:
    assert set(over.grants()) == set(alone.grants())
    assert len(over) == len(alone)
    assert over.has_sessions() == alone.has_sessions() or not alone.has_sessions()
    assert dict(over.expiries()) == dict(alone.expiries())
    unread = over.expiries_unread(after(at - 300))
    assert dict(unread.items()) == dict(alone.expiries_unread(after(at - 300)))
    known = over.expiries_unread(after(at - 300), after(at))
    assert dict(known) == dict(alone.expiries_unread(after(at - 300), after(at)))


class TestTerms:
    """Whether grants have to be looked at as a whole."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return Store(tmp_path)

    def test_are_agreed_on_once(self, store: Store) -> None:
        terms = GrantPolicy(UNDER).terms
        assert not store.agreed(terms, NOW, follow=True)
        store.agree(terms, NOW)
        assert store.agreed(terms, NOW, follow=True)
        assert store.agreed(GrantPolicy(UNDER).terms, after(60), follow=True)

    def test_are_others_under_other_settings_addresses_or_formats(self, store: Store) -> None:
        store.agree(GrantPolicy(UNDER).terms, NOW)
        assert not store.agreed(GrantPolicy(GrantSettings()).terms, NOW, follow=False)
        assert not store.agreed(GrantPolicy(UNDER, ["203.0.113.1"]).terms, NOW, follow=False)
        doubtful = GrantPolicy(UNDER, forgeable={"dovecot": "anyone can"}).terms
        assert not store.agreed(doubtful, NOW, follow=True)
        assert store.agreed(doubtful, NOW, follow=False), "who reads no log knows no formats"

    def test_are_to_be_agreed_on_again_when_the_clock_was_put_back(self, store: Store) -> None:
        terms = GrantPolicy(UNDER).terms
        store.agree(terms, NOW)
        store.save([], after(100))
        assert not store.agreed(terms, after(99), follow=True)
        assert store.agreed(terms, after(100), follow=True)


def test_what_was_saved_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "_REMEMBERED", 10)
    store = Store(tmp_path)
    ledger = Ledger(GrantPolicy(UNDER), kept=store.kept())
    grants = [
        Grant(f"203.0.113.{n}", "alice", ("imap",), NOW, NOW, after(600), after(600))
        for n in range(1, 101)
    ]
    store.save([Change("added", one, "login") for one in grants], NOW)
    for one in grants:
        assert ledger.of(one.address) == [one]
    ledger.saved()
    assert ledger._book._users == {}
    assert set(ledger.grants()) == set(grants)
    store.close()

"""The history: what became of each grant, by which line, and what else changed."""

from __future__ import annotations

import ipaddress
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.moments import NOW, after, login, logout
from tracker.deciding.ledger import Ledger
from tracker.deciding.policy import GrantPolicy
from tracker.errors import StoreError
from tracker.history.lives import Told
from tracker.history.reading import Past
from tracker.history.records import Commit, Count, Held, KeptLogin, Life, PastChange
from tracker.records import Change, ChangeKind, Ended, Grant, Origin
from tracker.settings import Duration, GrantSettings
from tracker.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path)) as opened:
        yield opened


@pytest.fixture
def past(store: Store, tmp_path: Path) -> Iterator[Past]:
    with Past(tmp_path) as opened:
        yield opened


def grant(
    address: str = "203.0.113.5", user: str = "alice", *, first: float = 0, last: float = 0
) -> Grant:
    return Grant(
        address, user, ("pop3",), after(first), after(last), after(last + 1800), after(last + 1800)
    )


def change(kind: ChangeKind, one: Grant, why: str = "login") -> Change:
    return Change(kind, one, why)


def line(number: int) -> Origin:
    return Origin(f"line {number}", "/var/log/mail.log", f"1/2/{number}")


def told(*numbers: int | None) -> Told:
    made = Told(line)
    made.numbers = list(numbers)
    return made


def save(store: Store, at: float, *changes: Change, numbers: tuple[int | None, ...] = ()) -> None:
    store.save(changes, after(at), told=told(*numbers))


def only(lives: Iterator[Life]) -> Life:
    (life,) = lives
    return life


def test_a_life_begins_with_its_login_and_ends_with_its_reason(store: Store, past: Past) -> None:
    save(store, 1, change("added", grant()), numbers=(7,))
    life = only(past.lives())
    assert (life.address, life.user, life.services) == ("203.0.113.5", "alice", ("pop3",))
    assert (life.began, life.ended, life.how) == (after(1), None, None)
    assert life.first == life.last == KeptLogin(NOW, "login", line(7))
    save(store, 1800, change("removed", grant(), "window over"))
    life = only(past.lives())
    assert (life.ended, life.how, life.expires) == (after(1800), "window over", after(1800))


def test_each_login_counts_and_the_last_is_kept(store: Store, past: Past) -> None:
    save(store, 0, change("added", grant()), numbers=(1,))
    save(
        store,
        120,
        change("renewed", grant(last=60)),
        change("renewed", grant(last=120)),
        numbers=(2, 3),
    )
    life = only(past.lives())
    assert life.logins == 3
    assert life.first.origin == line(1)
    assert life.last == KeptLogin(after(120), "login", line(3))
    assert past.kept_logins(life.id) == []


def test_of_a_client_that_logs_in_every_minute_one_login_an_hour_is_kept(
    store: Store, past: Past
) -> None:
    save(store, 0, change("added", grant()), numbers=(0,))
    for minute in range(1, 301):
        save(store, minute * 60, change("renewed", grant(last=minute * 60)), numbers=(minute,))
    life = only(past.lives())
    assert life.logins == 301
    kept = past.kept_logins(life.id)
    assert [one.time for one in kept] == [after(3600 * hour) for hour in (5, 4, 3, 2, 1)]
    assert kept[-1].origin == line(60)
    assert past.kept_logins(life.id, until=after(7300), limit=1)[0].origin == line(120)


def test_a_grant_that_goes_and_comes_again_in_one_batch_has_two_lives(
    store: Store, past: Past
) -> None:
    save(
        store,
        0,
        change("added", grant()),
        change("removed", grant(), "revoked by an admin"),
        change("added", grant(first=1, last=1)),
        numbers=(1, None, 2),
    )
    first, second = past.lives()
    assert (first.ended, first.how) == (NOW, "revoked by an admin")
    assert (second.first.origin, second.ended) == (line(2), None)


def test_an_admin_s_word_is_kept_beside_the_logins(store: Store, past: Past) -> None:
    save(store, 0, change("added", grant()), numbers=(1,))
    save(store, 5, change("renewed", grant(), "allowed by an admin"))
    assert past.kept_logins(only(past.lives()).id) == [
        KeptLogin(after(5), "allowed by an admin", None)
    ]


def test_the_end_of_the_last_session_is_told_apart_from_the_login(store: Store, past: Past) -> None:
    save(store, 0, change("added", grant()), numbers=(1,))
    save(store, 600, change("renewed", grant(), "session ended"))
    life = only(past.lives())
    assert life.closed is not None
    assert life.logins == 1


@pytest.mark.parametrize(
    ("network", "found"),
    [
        ("203.0.113.5/32", ["203.0.113.5"]),
        ("203.0.113.0/24", ["203.0.113.5", "203.0.113.255"]),
        ("0.0.0.0/0", ["203.0.113.5", "203.0.113.255", "203.0.114.0"]),
        ("2001:db8::/32", ["2001:db8::7", "2001:db8:5::/64"]),
        ("2001:db8:5::77/128", ["2001:db8:5::/64"]),
        ("2001:db8::/128", []),
    ],
)
def test_lives_are_found_by_network(
    store: Store, past: Past, network: str, found: list[str]
) -> None:
    addresses = ("203.0.113.5", "203.0.113.255", "203.0.114.0", "2001:db8::7", "2001:db8:5::/64")
    save(store, 0, *[change("added", grant(address)) for address in addresses])
    assert [life.address for life in past.lives(network=ipaddress.ip_network(network))] == found


def test_lives_are_found_by_time_and_user(store: Store, past: Past) -> None:
    save(store, 0, change("added", grant(user="alice@a.test")))
    save(store, 100, change("added", grant(user="bob@a.test")))
    save(store, 200, change("removed", grant(user="alice@a.test"), "window over"))

    def users(since: float, until: float, user: str | None = None) -> list[str]:
        return [
            one.user.partition("@")[0] for one in past.lives(after(since), after(until), user=user)
        ]

    assert users(0, 50) == ["alice"]
    assert users(150, 150) == ["alice", "bob"]
    assert users(200, 200) == ["bob"]  # the moment of the end is no part of the life
    assert users(0, 300, "b*") == ["bob"]


def test_what_the_table_held_has_a_beginning_and_an_end(store: Store, past: Past) -> None:
    with store.history() as history:
        history.published("lmdb", ["203.0.113.5"], [], after(1))
    with store.history() as history:
        history.published("lmdb", ["203.0.113.6"], ["203.0.113.5"], after(9))
    assert list(past.held()) == [
        Held("203.0.113.5", "lmdb", after(1), after(9)),
        Held("203.0.113.6", "lmdb", after(9), None),
    ]


def test_what_a_killed_process_did_to_the_table_is_found_by_the_next(
    store: Store, past: Past
) -> None:
    save(store, 5, change("added", grant("203.0.113.5")))
    with store.history() as history:
        history.published("lmdb", ["203.0.113.7"], [], after(1))
    with store.history() as history:
        history.found_held("lmdb", ["203.0.113.5", "203.0.113.6"], after(50))
    held = {one.address: (one.since, one.until) for one in past.held()}
    assert held == {
        "203.0.113.5": (after(5), None),
        "203.0.113.6": (after(50), None),
        "203.0.113.7": (after(1), after(50)),
    }


def test_changes_commits_and_counts_are_read_by_time(store: Store, past: Past) -> None:
    changes = [
        PastChange(after(1), "trusted", "1 added", ("added 192.0.2.0/24 (line 1)",)),
        PastChange(after(2), "settings", "1 changed", ("grants.window: 30m -> 1h", "and another")),
    ]
    with store.history() as history:
        history.happened(changes)
        history.committed(Commit(after(3), "ab" * 20, "trusted list"))
    assert past.changes() == changes
    assert past.changes(after(2)) == changes[1:]
    assert past.changes(of=["trusted"]) == changes[:1]
    assert past.changes(newest_first=True, limit=1) == changes[1:]
    assert past.commits(until=after(2)) == []
    assert past.commits()[0].id == "ab" * 20
    counted = told()
    counted.counts.update({(int(NOW.timestamp()) // 3600, "login"): 3})
    store.save([], NOW, told=counted)
    store.save([], NOW, told=counted)
    assert past.counts() == [Count(NOW.replace(minute=0, second=0), "login", 6)]


def test_a_snapshot_is_what_was_in_force_then(store: Store, past: Past) -> None:
    for at, body in ((0, b"one"), (10, b"two"), (20, b"one")):
        with store.history() as history:
            history.snapshots({"trusted": body}, after(at))
    assert past.snapshot("trusted", after(-1)) is None
    assert past.snapshot("trusted", after(9)) == (NOW, b"one")
    assert past.snapshot("trusted", after(10)) == (after(10), b"two")
    assert past.snapshot("trusted", after(99)) == (after(20), b"one")
    assert past.snapshot("names", after(99)) is None


def test_what_is_too_old_goes_and_what_is_in_force_stays(store: Store, past: Past) -> None:
    day = 86400
    save(store, 0, change("added", grant("203.0.113.5")), change("added", grant("203.0.113.6")))
    save(store, 10, change("removed", grant("203.0.113.6"), "window over"))
    with store.history() as history:
        history.published("lmdb", ["203.0.113.5", "203.0.113.6"], [], NOW)
        history.published("lmdb", [], ["203.0.113.6"], after(10))
        history.snapshots({"trusted": b"old"}, NOW)
        history.snapshots({"trusted": b"in force"}, after(20))
        history.happened([PastChange(after(20), "trusted", "x")])
    assert not store.prune(after(10 * day), timedelta(days=5), 1000)
    assert only(past.lives()).address == "203.0.113.5"
    assert [one.address for one in past.held()] == ["203.0.113.5"]
    assert past.changes() == []
    assert past.snapshot("trusted", after(10 * day)) == (after(20), b"in force")
    assert past.snapshot("trusted", after(10)) is None
    assert past.began() == after(5 * day)


def test_the_oldest_lives_go_when_there_are_too_many(store: Store, past: Past) -> None:
    for number in range(2500):
        one = grant(f"203.0.{number // 250}.{number % 250}")
        save(store, number, change("added", one), change("removed", one, "window over"))
    rounds = 1
    while store.prune(after(3000), timedelta(days=5), 1000):
        rounds += 1
    assert rounds > 1  # a little at a time
    assert next(life.began for life in past.lives()) == after(1500)
    began = past.began()
    assert began is not None
    assert began > after(1499)


def test_no_history_yet_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="popgate has not run yet"):
        Past(tmp_path / "nothing")


EVENTS = st.lists(
    st.tuples(
        st.floats(0, 900, allow_nan=False),  # seconds that pass
        st.sampled_from(["login", "logout", "allow", "revoke", "nothing"]),
        st.integers(0, 2),  # whose
        st.integers(0, 2),  # from where
    ),
    max_size=40,
)


@given(EVENTS)
@hypothesis.settings(max_examples=60)
def test_at_any_moment_the_history_has_what_the_ledger_had(
    steps: list[tuple[float, str, int, int]],
) -> None:
    policy = GrantPolicy(GrantSettings(window=Duration(minutes=10)), ())
    ledger, now = Ledger(policy), 0.0
    had: list[tuple[datetime, set[tuple[str, str]]]] = []
    with tempfile.TemporaryDirectory() as folder, closing(Store(Path(folder))) as store:
        for number, (passed, what, who, where) in enumerate(steps):
            now += passed + 0.001
            user, address = f"user{who}", f"203.0.113.{where}"
            session = f"{who}{where}"
            changes: list[Change | Ended] = [*ledger.expire(after(now))]
            if what == "login":
                one = login(address, user, at=now, session=session if number % 2 else None)
                changes += ledger.apply(one, after(now))
            elif what == "logout":
                changes += ledger.apply(logout(session, at=now), after(now))
            elif what == "allow":
                changes.append(ledger.allow(address, user, after(now), timedelta(minutes=3)))
            elif what == "revoke":
                changes += ledger.revoke(address)
            store.save(changes, after(now))
            had.append((after(now), {(one.address, one.user) for one in ledger.grants()}))
        with Past(Path(folder)) as past:
            for moment, keys in had:
                lives = list(past.lives(moment, moment))
                assert {(life.address, life.user) for life in lives} == keys
                assert len(lives) == len(keys)

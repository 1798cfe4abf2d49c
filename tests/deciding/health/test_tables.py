"""What the doctor makes of tables, texts and reloads."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.moments import NOW, after
from tracker.deciding.health.tables import Keeper, doubtful, lasting, tables
from tracker.facts import Tables, TableState

GRANTS = TableState("pop_before_smtp", NOW)
TEXT = TableState("pop_before_smtp.txt", after(-3600))
SENDERS = TableState("local_senders.lmdb", NOW)
GOOD = Tables("lmdb", GRANTS, texts=(TEXT, SENDERS))
MAPS = "/var/lib/popgate/maps"
KEEPER = Keeper(MAPS, "popgate", 4711)


def codes(seen: Tables) -> list[str]:
    return [one.code for one in tables(seen, KEEPER, NOW)]


def test_tables_that_agree_are_fine() -> None:
    assert not doubtful(GOOD)
    assert codes(GOOD) == []


@pytest.mark.parametrize(
    ("seen", "code", "mend"),
    [
        (Tables("lmdb", GRANTS, there=False), "tables-missing", "kill -HUP 4711"),
        (
            replace(GOOD, grants=replace(GRANTS, lacks=("203.0.113.5",))),
            "grant-missing",
            "kill -HUP 4711",
        ),
        (
            replace(GOOD, grants=replace(GRANTS, extra=("203.0.113.5",))),
            "grant-extra",
            "popgate expire",
        ),
        (replace(GOOD, expired=("203.0.113.5",)), "grant-expired", "popgate expire"),
        (
            replace(GOOD, grants=replace(GRANTS, fault="is damaged")),
            "grants-unreadable",
            "kill -HUP 4711",
        ),
        (
            replace(GOOD, texts=(replace(SENDERS, differs=("example.com",)),)),
            "table-differs",
            "kill -HUP 4711",
        ),
        (
            replace(GOOD, texts=(replace(TEXT, extra=("203.0.113.5",)),)),
            "text-behind",
            "runuser -u popgate -- sh -c 'umask 077; git -C /var/lib/popgate/maps checkout -- "
            "pop_before_smtp.txt'",
        ),
        (
            replace(GOOD, reload_since=after(-121)),
            "reload-due",
            "postfix reload && kill -HUP 4711",
        ),
    ],
)
def test_each_fault_is_named_with_what_mends_it(seen: Tables, code: str, mend: str) -> None:
    (found,) = tables(seen, KEEPER, NOW)
    assert (found.code, found.mend) == (code, mend)


def test_without_a_popgate_that_runs_the_next_call_mends() -> None:
    seen = replace(GOOD, grants=replace(GRANTS, lacks=("203.0.113.5",)))
    (found,) = tables(seen, Keeper(MAPS), NOW)
    assert found.mend == "popgate once"


def test_a_text_that_waits_for_its_batch_is_no_fault() -> None:
    late = replace(TEXT, lacks=("203.0.113.5",), written=after(-149))
    assert codes(replace(GOOD, texts=(late,))) == []


def test_a_reload_that_was_just_asked_for_is_no_fault() -> None:
    assert codes(replace(GOOD, reload_since=after(-119))) == []


def test_what_is_wrong_at_one_look_alone_is_a_change_that_was_under_way() -> None:
    first = replace(
        GOOD,
        grants=replace(GRANTS, lacks=("203.0.113.5", "203.0.113.6"), extra=("203.0.113.7",)),
        expired=("203.0.113.8",),
        texts=(replace(SENDERS, fault="no such file"),),
    )
    second = replace(
        GOOD,
        grants=replace(GRANTS, lacks=("203.0.113.6", "203.0.113.9"), extra=("203.0.113.4",)),
        texts=(replace(SENDERS, differs=("example.com",)),),
    )
    assert doubtful(first)
    both = lasting(first, second)
    assert both.grants.lacks == ("203.0.113.6",)
    assert not both.grants.extra
    assert not both.expired
    assert codes(both) == ["grant-missing"]


def test_a_table_that_postfix_could_not_read_is_named_once() -> None:
    seen = replace(
        GOOD, grants=replace(GRANTS, fault="gone"), texts=(replace(SENDERS, fault="gone"),)
    )
    told = frozenset({f"lmdb:{MAPS}/pop_before_smtp", f"lmdb:{MAPS}/local_senders"})
    assert not list(tables(seen, KEEPER, NOW, told))

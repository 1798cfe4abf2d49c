"""Whether many changes of a table are made one by one or by writing it as a whole."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tracker.errors import PostfixError
from tracker.writing.pace import Pace


class Host:
    """A host where a change takes so long, in seconds, and a whole table so long an entry."""

    def __init__(self, change: float, entry: float = 0.000001) -> None:
        self.now = 0.0
        self._change, self._entry = change, entry
        self.pace = Pace(lambda: self.now)

    def change(self, number: int) -> None:
        with self.pace.changing(number):
            self.now += 0.005 + number * self._change

    def write(self, entries: int) -> None:
        with self.pace.writing(entries):
            self.now += 0.007 + entries * self._entry


def test_on_a_fast_disk_a_large_table_is_changed_in_place() -> None:
    host = Host(0.0002)
    for _ in range(20):
        host.change(10)
    assert not host.pace.whole_is_quicker(200, 100_000)
    assert host.pace.whole_is_quicker(200, 1000)


def test_on_a_slow_disk_it_is_written_as_a_whole_for_far_fewer_changes() -> None:
    host = Host(0.01)
    assert not host.pace.whole_is_quicker(40, 100_000)
    host.change(40)
    assert host.pace.whole_is_quicker(40, 100_000)


@pytest.mark.parametrize("change", [0.0002, 0.01, 1.0])
def test_a_few_changes_are_made_in_place_whatever_they_take(change: float) -> None:
    host = Host(change)
    for _ in range(50):
        host.change(1)
    assert not host.pace.whole_is_quicker(5, 10)


def test_one_change_that_hung_says_little_of_the_next() -> None:
    host = Host(0.0002)
    for _ in range(20):
        host.change(10)
    with host.pace.changing(1):
        host.now += 9.0
    assert not host.pace.whole_is_quicker(50, 100_000)


def test_where_writing_a_large_table_is_slow_more_changes_are_made_in_place() -> None:
    host = Host(0.0004, entry=0.00002)
    assert host.pace.whole_is_quicker(6000, 1_000_000)
    for _ in range(3):
        host.write(1_000_000)
    assert not host.pace.whole_is_quicker(6000, 1_000_000)


def test_what_failed_says_nothing() -> None:
    host = Host(0.0002)
    with suppress(PostfixError), host.pace.changing(100):
        host.now += 9.0
        raise PostfixError("postmap: killed")
    assert not host.pace.whole_is_quicker(50, 100_000)

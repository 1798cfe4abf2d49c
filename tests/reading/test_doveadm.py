"""The sessions that Dovecot lists, as doveadm prints them."""

from __future__ import annotations

import pytest

from tracker.errors import ReadingError
from tracker.reading.sources.doveadm import parse

HEAD = "username\tproto\tpid\tip\n"
"""doveadm of Dovecot 2.3.19, `-f tab who -1`; 2.4 has more columns."""


def test_each_user_and_address_is_listed_once() -> None:
    rows = "alice\timap\t812\t203.0.113.5\nalice\tpop3\t813\t203.0.113.5\nbob\timap\t9\t::1\n"
    assert parse(HEAD + rows) == {("alice", "203.0.113.5"), ("bob", "::1")}


def test_nobody_is_connected() -> None:
    assert parse(HEAD) == frozenset()


def test_columns_are_found_by_their_names() -> None:
    assert parse("ip\tsecured\tusername\n203.0.113.5\tTLS\talice\n") == {("alice", "203.0.113.5")}


def test_what_is_no_address_or_not_a_whole_row_is_left_out() -> None:
    assert parse(HEAD + "alice\timap\t812\t(none)\nbob\timap\n") == frozenset()


@pytest.mark.parametrize("table", ["", "Fatal: something\n", "username\tpid\n"])
def test_another_table_is_an_error(table: str) -> None:
    with pytest.raises(ReadingError, match="no columns username and ip in"):
        parse(table)

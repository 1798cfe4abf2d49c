"""Files of domains, senders and clients, beside the settings that name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracker.errors import ListError
from tracker.reading.lists import read


def test_settings_and_files_make_one_list_that_knows_where_each_entry_stands(
    tmp_path: Path,
) -> None:
    file = tmp_path / "black.txt"
    file.write_text("# spammers\nspam.test\n192.0.2.0/24 # a network\n")
    found = read("blacklist.entries", ["x@far.test"], [file])
    assert [(one.key, one.where) for one in found] == [
        ("x@far.test", "blacklist.entries"),
        ("spam.test", f"{file}:2"),
        ("192.0.2.0/24", f"{file}:3"),
    ]


def test_a_missing_file_is_an_empty_list(tmp_path: Path) -> None:
    assert read("blacklist.entries", [], [tmp_path / "none"]) == []


def test_the_faults_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    one.write_text("a..b\n")
    two.write_text("ok.test\n10.1\n")
    three.write_bytes(b"\xff\n")
    with pytest.raises(ListError) as raised:
        read("whitelist.entries", [], [one, two, three])
    lines = str(raised.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{one}:1", f"{two}:2", str(three)]


def test_a_file_of_domains_takes_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "domains"
    file.write_text("example.com\nx@example.com\n192.0.2.1\n")
    with pytest.raises(ListError) as raised:
        read("local_senders.domains", [], [file], only_domains=True)
    assert [line.split(": ")[0] for line in str(raised.value).splitlines()] == [
        f"{file}:2",
        f"{file}:3",
    ]

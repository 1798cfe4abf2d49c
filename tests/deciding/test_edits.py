"""Changes of the list's text: what is meant changes, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deciding.lists import Written, text_of, trusted_list
from tracker.deciding import edits
from tracker.deciding.trusted import parse
from tracker.errors import TrustedError

TEXT = """\
# The office
!198.51.100.128/25  # guests
198.51.100.0/24

# Others
mail.example.com   # their server
"""


def add(text: str, entry: str, note: str = "", at: int | None = None) -> str:
    return edits.add(text, parse(text, "t"), entry, note, at)


def move(text: str, number: int, to: int) -> str:
    return edits.move(text, parse(text, "t"), number, to)


def remove(text: str, which: str) -> str:
    return edits.remove(text, parse(text, "t"), which)[0]


class TestAdd:
    def test_puts_the_entry_behind_all_others(self) -> None:
        assert add(TEXT, "203.0.113.5") == TEXT + "203.0.113.5\n"
        assert add("", "203.0.113.5") == "203.0.113.5\n"

    def test_ends_a_last_line_that_has_no_end(self) -> None:
        assert add("198.51.100.1", "203.0.113.5") == "198.51.100.1\n203.0.113.5\n"

    def test_puts_it_before_the_entry_of_a_number_with_its_note(self) -> None:
        new = add(TEXT, "!203.0.113.5", "a scanner", at=3)
        assert new == TEXT.replace("mail.", "!203.0.113.5  # a scanner\nmail.")

    def test_one_place_behind_the_last_is_the_end(self) -> None:
        assert add(TEXT, "203.0.113.5", at=4) == TEXT + "203.0.113.5\n"

    def test_keeps_to_the_line_ends_of_the_file(self) -> None:
        assert add("198.51.100.1\r\n", "203.0.113.5") == "198.51.100.1\r\n203.0.113.5\r\n"

    @pytest.mark.parametrize(
        ("entry", "note", "at", "why"),
        [
            ("10.1", "", None, "'10.1': an IPv4 mask has four octets"),
            ("203.0.113.5 # x", "", None, "its note is given with --note"),
            ("203.0.113.5\n0.0.0.0/0", "", None, "an entry is one line"),
            ("203.0.113.5", "x\n0.0.0.0/0", None, "an entry is one line"),
            ("203.0.113.5", "", 5, "there is no entry 5: the list has 3"),
            ("203.0.113.5", "", 0, "there is no entry 0"),
        ],
    )
    def test_refuses_what_is_no_entry_or_no_place(
        self, entry: str, note: str, at: int | None, why: str
    ) -> None:
        with pytest.raises(TrustedError, match=why):
            add(TEXT, entry, note, at)


class TestRemove:
    def test_takes_an_entry_by_its_number_or_by_what_it_says(self) -> None:
        without = TEXT.replace("198.51.100.0/24\n", "")
        assert remove(TEXT, "2") == without
        assert remove(TEXT, "198.51.100.0/24") == without
        assert remove(TEXT, "198.51.100.*") == without
        assert "guests" not in remove(TEXT, "!198.51.100.128/25")

    @pytest.mark.parametrize(
        ("which", "why"),
        [
            ("4", "there is no entry 4: the list has 3"),
            ("203.0.113.5", "is not in the list"),
            ("!198.51.100.0/24", "is not in the list"),
            ("10.1", "'10.1': an IPv4 mask has four octets"),
        ],
    )
    def test_refuses_what_is_not_there(self, which: str, why: str) -> None:
        with pytest.raises(TrustedError, match=why):
            remove(TEXT, which)

    def test_asks_which_when_there_are_several(self) -> None:
        with pytest.raises(TrustedError, match=r"say its number, of \[1, 3\]"):
            remove("203.0.113.5\n203.0.113.6\n203.0.113.5\n", "203.0.113.5")


class TestMove:
    def test_moves_an_entry_and_its_note_past_comments_that_stay(self) -> None:
        assert move(TEXT, 3, 1) == (
            "# The office\n"
            "mail.example.com   # their server\n"
            "!198.51.100.128/25  # guests\n"
            "\n"
            "# Others\n"
            "198.51.100.0/24\n"
        )

    def test_and_back_gives_the_same_text(self) -> None:
        assert move(move(TEXT, 1, 3), 3, 1) == TEXT

    @pytest.mark.parametrize(("number", "to"), [(1, 0), (3, 4), (0, 1), (9, 1)])
    def test_refuses_places_that_are_not_there(self, number: int, to: int) -> None:
        with pytest.raises(TrustedError, match="there is no entry"):
            move(TEXT, number, to)

    @given(trusted_list, st.data())
    def test_gives_the_entries_in_the_other_order(
        self, entries: list[tuple[bool, Written]], data: st.DataObject
    ) -> None:
        places = st.integers(1, len(entries))
        number, to = data.draw(places), data.draw(places)
        moved = list(entries)
        moved.insert(to - 1, moved.pop(number - 1))
        new = parse(move(text_of(entries), number, to), "t")
        assert [entry.text for entry in new.entries] == [
            f"{'!' if out else ''}{one.text}" for out, one in moved
        ]

"""What `popgate top` makes of grants and keys, without a terminal."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.deciding.test_overview import grant
from tests.weeks import NOW
from tracker.deciding.board import EXTENSION, SORTS, Board, Order
from tracker.records import Grant

MINUTE = timedelta(minutes=1)
FIVE, SIX = "203.0.113.5", "203.0.113.6"


def board(*grants: Grant) -> Board:
    made = Board()
    made.see(grants, NOW)
    return made


def press(made: Board, *keys: str) -> Order | None:
    found = None
    for key in keys:
        found = made.press(key, NOW)
    return found


def shown(made: Board) -> list[tuple[str, str]]:
    return [(one.address, one.user.partition("@")[0]) for one in made.rows()]


@pytest.fixture
def three() -> Board:
    return board(
        grant(FIVE, 5 * MINUTE, "carol@example.com"),
        grant(SIX, 2 * MINUTE, "alice@example.com", last=NOW),
        grant("2001:db8::1", 9 * MINUTE, "bob@example.com", last=NOW - 9 * MINUTE),
    )


class TestEvents:
    def test_the_first_look_is_no_event(self, three: Board) -> None:
        assert list(three.events) == []

    def test_come_from_what_differs_between_two_looks(self) -> None:
        one, two = grant(FIVE, 5 * MINUTE), grant(SIX, 5 * MINUTE)
        made = board(one, two)
        made.see([replace(one, last_login=NOW), grant("203.0.113.7", MINUTE)], NOW)
        assert [(event.kind, event.grant.address) for event in made.events] == [
            ("renewed", FIVE),
            ("added", "203.0.113.7"),
            ("removed", SIX),
        ]

    def test_a_grant_that_is_over_is_gone_though_nobody_took_it_out(self) -> None:
        one = grant(FIVE, MINUTE)
        made = board(one)
        made.see([one], NOW + 2 * MINUTE)
        assert made.rows() == []
        assert [event.kind for event in made.events] == ["removed"]

    def test_are_kept_up_to_a_bound(self) -> None:
        made = board()
        made.see([grant(f"10.0.{n // 250}.{n % 250}", MINUTE) for n in range(1000)], NOW)
        assert len(made.events) == 200

    def test_logins_a_minute_are_those_of_the_last_minutes(self) -> None:
        made = board()
        assert made.rate(NOW) is None
        made.see([grant(f"203.0.113.{n}", MINUTE) for n in range(30)], NOW + MINUTE / 2)
        assert made.rate(NOW + 3 * MINUTE) == pytest.approx(10)
        assert made.rate(NOW + 20 * MINUTE) == 0


class TestSorting:
    @pytest.mark.parametrize(
        ("presses", "users"),
        [
            (0, ["alice", "carol", "bob"]),
            (1, ["alice", "carol", "bob"]),
            (2, ["carol", "alice", "bob"]),
            (3, ["alice", "bob", "carol"]),
        ],
    )
    def test_s_goes_through_all_ways(self, three: Board, presses: int, users: list[str]) -> None:
        press(three, *"s" * presses)
        assert three.sort == list(SORTS)[presses]
        assert [user for _, user in shown(three)] == users

    def test_s_comes_round(self, three: Board) -> None:
        press(three, *"s" * len(SORTS))
        assert three.sort == "left"

    def test_capital_s_turns_the_order(self, three: Board) -> None:
        before = shown(three)
        press(three, "S")
        assert shown(three) == before[::-1]


class TestFilter:
    def test_takes_a_part_of_address_or_user_in_any_case(self, three: Board) -> None:
        press(three, "/", *"CAROL", "enter")
        assert shown(three) == [(FIVE, "carol")]
        press(three, "/", *["backspace"] * 5, *"2001:", "enter")
        assert shown(three) == [("2001:db8::1", "bob")]

    def test_escape_takes_it_away_while_typing_and_later(self, three: Board) -> None:
        press(three, "/", "x", "escape")
        assert (three.filter, three.typing) == ("", False)
        press(three, "/", "x", "enter", "escape")
        assert three.filter == ""

    def test_keys_of_other_use_are_text_in_it(self, three: Board) -> None:
        assert press(three, "/", *"qr+ys?/") is None
        assert three.filter == "qr+ys?/"
        assert three.asked is None

    def test_does_not_grow_without_end(self, three: Board) -> None:
        press(three, "/", *"x" * 500)
        assert len(three.filter) == 60


class TestSelection:
    def test_stays_on_its_grant_when_others_come_before_it(self, three: Board) -> None:
        press(three, "down")
        before = three.rows()[three.selected(three.rows())]
        three.see([*three.rows(), grant("203.0.113.1", MINUTE)], NOW)
        assert three.rows()[three.selected(three.rows())] == before
        assert three.selected(three.rows()) == 2

    def test_stops_at_both_ends(self, three: Board) -> None:
        press(three, *["up"] * 5)
        assert three.selected(three.rows()) == 0
        press(three, *["down"] * 9)
        assert three.selected(three.rows()) == 2
        press(three, "g")
        assert three.selected(three.rows()) == 0
        press(three, "G")
        assert three.selected(three.rows()) == 2

    def test_of_many_the_selected_one_is_within_what_is_shown(self) -> None:
        made = board(*(grant(f"10.0.0.{n}", (n + 1) * MINUTE) for n in range(200)))
        for key in ["page down"] * 7 + ["page up"] * 2 + ["end", "home"]:
            made.press(key, NOW, 10)
            rows = made.rows()
            first, end = made.window(rows, 12)
            assert first <= made.selected(rows) < end
            assert end - first == 12

    def test_of_nothing_is_said(self) -> None:
        empty = board()
        assert press(empty, "down", "r") is None
        assert empty.said == "no grant is selected"


class TestOrders:
    def test_revoke_asks_and_does_it_on_y(self, three: Board) -> None:
        assert press(three, "r") is None
        assert three.asked == Order("revoke", SIX, "alice@example.com")
        assert press(three, "y") == Order("revoke", SIX, "alice@example.com")
        assert three.asked is None

    def test_extend_adds_to_the_time_that_is_left(self, three: Board) -> None:
        assert press(three, "+", "y") == Order(
            "extend", SIX, "alice@example.com", 2 * MINUTE + EXTENSION
        )

    def test_revoke_says_how_many_others_keep_the_address_open(self) -> None:
        made = board(*(grant(FIVE, MINUTE, f"{name}@example.com") for name in "abc"))
        press(made, "r")
        assert made.asked == Order("revoke", FIVE, "a@example.com", others=2)

    def test_capital_r_is_about_the_address(self, three: Board) -> None:
        assert press(three, "R", "y") == Order("revoke", SIX, None)

    @pytest.mark.parametrize("key", ["n", "r", "+", "enter", "escape", "q", " "])
    def test_any_other_key_changes_nothing(self, three: Board, key: str) -> None:
        assert press(three, "r", key) is None
        assert three.asked is None
        assert three.said == "nothing changed"

    def test_it_is_about_the_grant_that_was_asked_about_whatever_comes(self, three: Board) -> None:
        press(three, "r")
        three.see([grant("203.0.113.1", MINUTE / 2), *three.rows()], NOW)
        order = press(three, "y")
        assert order is not None
        assert order.address == SIX

    @given(
        st.lists(st.sampled_from([*"rRsS/jkgGnq?+", "escape", "enter", "up", "down"]), max_size=30)
    )
    def test_no_keys_without_y_give_an_order(self, keys: list[str]) -> None:
        made = board(grant(FIVE, MINUTE), grant(SIX, MINUTE))
        assert all(made.press(key, NOW) is None for key in keys)

"""What is doubtful about a list: each kind, and what is none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given

from tests.deciding.lists import Written, edges, text_of, trusted_list, trusts
from tests.moments import after
from tracker.deciding.findings import Finding, findings, too_wide
from tracker.deciding.names import UNKNOWN, Known, NamePolicy, known
from tracker.deciding.trusted import TrustedList, parse, parse_entry, parse_mynetworks
from tracker.records import Answer, NameAnswers

POLICY = NamePolicy(timedelta(hours=24), private=False)


def found(
    text: str, names: dict[str, Known] | None = None, mynetworks: str = ""
) -> list[tuple[int, str]]:
    """Line and kind of each finding."""
    return [(one.line, one.kind) for one in all_of(text, names or {}, mynetworks)]


def all_of(text: str, names: dict[str, Known], mynetworks: str = "") -> list[Finding]:
    listed = parse(text, "t").bound(names)
    return findings(listed, names, parse_mynetworks(mynetworks)[0])


def said(text: str, names: dict[str, Known] | None = None, mynetworks: str = "") -> str:
    (one,) = all_of(text, names or {}, mynetworks)
    return one.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "203.0.113.5\n2001:db8::/32\nmail.example.com\n",
        "!198.51.100.128/25\n198.51.100.0/24\n",
        # An exception to an exception, made on purpose.
        "198.51.100.200\n!198.51.100.128/25\n198.51.100.0/24\n",
        "198.51.100.0/24\n!0.0.0.0/0\n",
        "8.0.0.0/8\n",
    ],
)
def test_a_sound_list_has_no_findings(text: str) -> None:
    assert found(text) == []


class TestOrder:
    def test_the_same_however_it_is_written_is_a_duplicate(self) -> None:
        assert found("198.51.100.0/24\n198.51.100.*\n") == [(2, "duplicate")]
        assert found("mail.example.com\nMAIL.example.com.\n") == [(2, "duplicate")]
        assert said("198.51.100.0/24\n198.51.100.*\n") == (
            "says again what line 1 (198.51.100.0/24) says"
        )

    def test_the_opposite_of_an_earlier_entry_is_contradictory(self) -> None:
        assert found("198.51.100.7\n!198.51.100.7\n") == [(2, "contradictory")]
        assert found("!mail.example.com\nmail.example.com\n") == [(2, "contradictory")]

    def test_what_earlier_entries_hold_altogether_is_shadowed(self) -> None:
        assert found("198.51.100.0/24\n198.51.100.7\n") == [(2, "shadowed")]
        halves = "198.51.100.0/25\n198.51.100.128/25\n198.51.100.0/24\n"
        assert found(halves) == [(3, "shadowed")]
        assert said(halves) == (
            "trusts nothing: all of it is in line 1 (198.51.100.0/25) and "
            "line 2 (198.51.100.128/25), which comes first"
        )

    def test_an_exclusion_behind_what_it_should_cut_is_contradictory(self) -> None:
        assert said("198.51.100.0/24\n!198.51.100.7\n") == (
            "takes out nothing: all of it is in line 1 (198.51.100.0/24), which comes first"
        )
        assert found("198.51.100.0/24\n!198.51.100.7\n") == [(2, "contradictory")]

    def test_an_exclusion_that_an_earlier_entry_cuts_is_contradictory(self) -> None:
        text = "198.51.100.40-60\n!198.51.100.0-50\n"
        assert found(text) == [(2, "contradictory")]
        assert "a part alone: line 1 (198.51.100.40-60) trusts the rest" in said(text)

    def test_what_an_exclusion_takes_out_altogether_is_contradictory(self) -> None:
        assert found("!198.51.100.0/24\n198.51.100.7\n") == [(2, "contradictory")]

    @given(trusted_list)
    def test_an_entry_without_effect_can_be_left_out(
        self, entries: list[tuple[bool, Written]]
    ) -> None:
        listed = parse(text_of(entries), "t")
        idle = {
            one.number - 1
            for one in findings(listed, {})
            if one.kind in ("duplicate", "shadowed")
            or (one.kind == "contradictory" and "part alone" not in one.text)
        }
        rest = [entry for place, entry in enumerate(entries) if place not in idle]
        for address in edges(entries):
            assert trusts(rest, address) is listed.trusts(address)


class TestWidth:
    @pytest.mark.parametrize(
        "entry",
        [
            "0.0.0.0/0",
            "*.*.*.*",
            "8.0.0.0/7",
            "8-9.*.*.*",
            "8.0.0.0-9.0.0.0",
            "::/0",
            "2001:db8::/31",
        ],
    )
    def test_more_than_a_8_or_a_32_is_too_wide(self, entry: str) -> None:
        assert too_wide(parse_entry(entry))
        assert "wide" in {kind for _, kind in found(f"{entry}\n")}

    def test_an_exclusion_may_be_wide(self) -> None:
        assert found("!0.0.0.0/0\n!::/0\n") == []

    def test_small_parts_can_add_up_to_the_internet(self) -> None:
        parts = "".join(f"{n}.0.0.0/8\n" for n in range(1, 224) if n not in (10, 127))
        (whole,) = [one for one in all_of(parts, {}) if one.kind == "wide"]
        assert (whole.number, whole.line) == (0, 0)
        assert whole.text.startswith("the list as a whole trusts 86% of IPv4")

    def test_what_exclusions_take_out_does_not_count(self) -> None:
        assert found("!8.1.0.0/16\n8.0.0.0/8\n9.1.0.0/16\n") == []

    def test_private_networks_are_not_the_internet(self) -> None:
        kinds = {kind for _, kind in found("10.0.0.0/8\n172.16.0.0/12\n192.168.0.0/16\n")}
        assert kinds == {"private"}


class TestPrivacy:
    @pytest.mark.parametrize(
        "entry", ["10.1.2.3", "192.168.0.1-50", "100.64.0.0/10", "127.0.0.1", "::1", "fd00:1::/48",
                  "fe80::1", "224.0.0.1", "0.0.0.0"],
    )  # fmt: skip
    def test_an_address_behind_many_gateways_is_named(self, entry: str) -> None:
        assert found(f"{entry}\n") == [(1, "private")]
        assert found(f"!{entry}\n") == []


def answers(*addresses: str, trouble: str | None = None) -> NameAnswers:
    return NameAnswers(Answer(addresses, after(60), trouble), Answer((), after(60)))


class TestNames:
    NAME = "mail.example.com"

    @pytest.mark.parametrize(
        ("stands_for", "kinds", "words"),
        [
            (known(answers("203.0.113.5"), POLICY, after(0)), [], ""),
            (UNKNOWN, ["unresolved"], "trusts nothing: DNS does not answer (not looked up yet)"),
            (known(answers(), POLICY, after(0)), ["unresolved"], "the name has no address"),
            (
                known(answers("203.0.113.5", trouble="silent"), POLICY, after(100)),
                ["stale"],
                "DNS does not answer (A: silent): the last known addresses stay for now",
            ),
            (
                known(answers("203.0.113.5", "127.0.0.1"), POLICY, after(0)),
                ["refused"],
                "127.0.0.1: a loopback address",
            ),
        ],
        ids=["resolved", "unknown", "gone", "stale", "refused"],
    )
    def test_that_do_not_stand_for_an_address_are_named(
        self, stands_for: Known, kinds: list[str], words: str
    ) -> None:
        made = all_of(f"{self.NAME}\n", {self.NAME: stands_for})
        assert [one.kind for one in made] == kinds
        assert all(words in one.text for one in made)

    def test_that_take_out_everything_are_named(self) -> None:
        (one,) = [one for one in all_of(f"!{self.NAME}\n", {self.NAME: UNKNOWN}) if one.line == 1]
        assert one.kind == "unresolved"
        assert "are taken out of what comes behind it" in one.text

    def test_are_passed_over_where_nobody_looked_them_up(self) -> None:
        assert found(f"{self.NAME}\n") == []


class TestMynetworks:
    MYNETWORKS = "127.0.0.0/8 [::1]/128, 198.51.100.0/24 hash:/etc/postfix/networks"

    def test_an_exclusion_that_postfix_undoes_is_named(self) -> None:
        text = "!198.51.100.7\n203.0.113.0/24\n"
        assert found(text, mynetworks=self.MYNETWORKS) == [(1, "mynetworks")]
        assert said(text, mynetworks=self.MYNETWORKS) == (
            "198.51.100.7 relays anyway: Postfix's mynetworks has 198.51.100.0/24, and is asked "
            "first"
        )

    def test_other_exclusions_and_what_mynetworks_takes_out_itself_are_not(self) -> None:
        assert found("!198.51.101.7\n", mynetworks=self.MYNETWORKS) == []
        excluded = "!198.51.100.7 198.51.100.0/24"
        assert found("!198.51.100.7\n", mynetworks=excluded) == []

    def test_the_end_of_a_list_that_takes_all_else_out_is_not_meant(self) -> None:
        assert found("203.0.113.0/24\n!0.0.0.0/0\n!::/0\n", mynetworks=self.MYNETWORKS) == []

    def test_words_that_cannot_be_compared_are_given_back(self) -> None:
        listed, beyond = parse_mynetworks(self.MYNETWORKS)
        assert isinstance(listed, TrustedList)
        assert beyond == ["hash:/etc/postfix/networks"]
        assert listed.trusts("::1")

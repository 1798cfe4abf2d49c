"""The trusted list: order, exclusions, names, and the table that is made of it."""

from __future__ import annotations

import ipaddress
from datetime import timedelta

import netaddr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.deciding.lists import Written, edges, text_of, trusted_list, trusts
from tests.moments import NOW, after
from tracker.deciding.names import UNKNOWN, Known, NamePolicy, known
from tracker.deciding.spans import ALL, number
from tracker.deciding.trusted import TrustedList, parse
from tracker.errors import TrustedError
from tracker.records import Answer, NameAnswers


def from_table(listed: TrustedList, address: str) -> bool:
    """What a cidr table of the list answers: the first network that holds the address."""
    asked = ipaddress.ip_address(address)
    for group in listed.groups():
        for network in map(ipaddress.ip_network, group.networks):
            if network.version == asked.version and asked in network:
                return group.trusts
    return False


@given(trusted_list, st.data())
@settings(max_examples=300)
def test_list_and_table_hold_exactly_the_addresses_that_the_entries_say(
    entries: list[tuple[bool, Written]], data: st.DataObject
) -> None:
    listed = parse(text_of(entries), "trusted.txt")
    chance = st.integers(0, 2**32 - 1).map(lambda one: str(ipaddress.IPv4Address(one)))
    for address in [*edges(entries), data.draw(chance)]:
        wanted = trusts(entries, address)
        assert listed.trusts(address) is wanted, address
        assert from_table(listed, address) is wanted, address


@given(trusted_list)
def test_networks_of_one_sign_are_as_few_as_can_be(entries: list[tuple[bool, Written]]) -> None:
    listed = parse(text_of([(False, one) for _, one in entries]), "trusted.txt")
    made = [net for group in listed.groups() for net in group.networks]
    assert sorted(made) == sorted(map(str, netaddr.cidr_merge(made)))


def test_entries_of_one_sign_are_put_together_and_both_named() -> None:
    listed = parse("198.51.100.0/25 # old\n203.0.113.1\n198.51.100.128/25\n", "t")
    assert [([one.text for one in group.entries], group.networks) for group in listed.groups()] == [
        (["198.51.100.0/25", "198.51.100.128/25"], ("198.51.100.0/24",)),
        (["203.0.113.1"], ("203.0.113.1/32",)),
    ]


def test_an_exclusion_keeps_its_place_between_what_it_parts() -> None:
    listed = parse("198.51.100.0/25\n!198.51.100.128\n198.51.100.128/25\n", "t")
    assert [(group.trusts, group.networks) for group in listed.groups()] == [
        (True, ("198.51.100.0/25",)),
        (False, ("198.51.100.128/32",)),
        (True, ("198.51.100.128/25",)),
    ]


def test_the_first_entry_that_matches_counts_and_is_named() -> None:
    listed = parse("# ours\n!198.51.100.7\n198.51.100.0/24 # the office\n!198.51.100.8\n", "t")
    assert not listed.trusts("198.51.100.7")
    assert listed.trusts("198.51.100.8")
    assert not listed.trusts("203.0.113.1")
    match = listed.match("198.51.100.8")
    assert match is not None
    assert (match.line, match.text, match.note) == (3, "198.51.100.0/24", "the office")
    assert not TrustedList().trusts("203.0.113.1")


def test_ipv4_is_not_in_a_network_of_ipv6() -> None:
    assert not parse("::/0\n", "t").trusts("203.0.113.5")
    assert not parse("0.0.0.0/0\n", "t").trusts("2001:db8::1")


def test_all_bad_lines_are_reported_at_once() -> None:
    with pytest.raises(TrustedError) as raised:
        parse("x\n203.0.113.1\ny\n", "t")
    assert [line[:4] for line in str(raised.value).splitlines()] == ["t:1:", "t:3:"]


def test_a_file_of_another_system_is_read_too() -> None:
    listed = parse("\ufeff203.0.113.1\r\n\r\n!203.0.113.2 # no\r\n", "t")
    assert [(entry.line, entry.text, entry.note) for entry in listed.entries] == [
        (1, "203.0.113.1", ""),
        (3, "!203.0.113.2", "no"),
    ]


POLICY = NamePolicy(timedelta(hours=24), private=False)
NOTHING = Answer((), after(60))


def a(*addresses: str, expires: float = 60, trouble: str | None = None) -> Answer:
    return Answer(addresses, after(expires), trouble)


def stands_for(answers: NameAnswers, at: float = 0, policy: NamePolicy = POLICY) -> Known:
    return known(answers, policy, after(at))


class TestNames:
    def test_a_name_that_was_never_looked_up_trusts_nothing(self) -> None:
        listed = parse("mail.example.com\n", "t")
        assert listed.names == {"mail.example.com"}
        assert not listed.bound({}).trusts("203.0.113.5")

    def test_a_name_trusts_its_addresses_of_both_families(self) -> None:
        names = {"mail.example.com": stands_for(NameAnswers(a("203.0.113.5"), a("2001:db8::5")))}
        listed = parse("Mail.example.com # ours\n", "t").bound(names)
        assert listed.trusts("203.0.113.5")
        assert listed.trusts("2001:db8::5")
        assert not listed.trusts("203.0.113.6")
        match = listed.match("203.0.113.5")
        assert match is not None
        assert (match.line, match.name, match.note) == (1, "mail.example.com", "ours")

    def test_a_name_can_be_taken_out(self) -> None:
        names = {"guest.example.com": stands_for(NameAnswers(a("203.0.113.5"), NOTHING))}
        listed = parse("!guest.example.com\n203.0.113.0/24\n2001:db8::/32\n", "t").bound(names)
        assert not listed.trusts("203.0.113.5")
        assert listed.trusts("203.0.113.6")
        assert listed.trusts("2001:db8::1")

    def test_a_name_taken_out_that_nobody_knows_takes_out_all_that_comes_behind(self) -> None:
        listed = parse("198.51.100.1\n!guest.example.com\n203.0.113.0/24\n", "t")
        for names in ({}, {"guest.example.com": UNKNOWN}):
            assert listed.bound(names).trusts("198.51.100.1")
            assert not listed.bound(names).trusts("203.0.113.6")

    def test_one_family_that_nobody_knows_takes_out_that_family(self) -> None:
        names = {"guest.example.com": stands_for(NameAnswers(a("203.0.113.5"), Answer()))}
        listed = parse("!guest.example.com\n203.0.113.0/24\n2001:db8::/32\n", "t").bound(names)
        assert listed.trusts("203.0.113.6")
        assert not listed.trusts("2001:db8::1")

    def test_a_name_that_does_not_exist_any_more_trusts_and_takes_out_nothing(self) -> None:
        gone = stands_for(NameAnswers(NOTHING, NOTHING))
        assert (gone.state, gone.trusted, gone.excluded) == ("gone", (), ())

    def test_while_dns_is_silent_the_last_addresses_stay_for_the_time_set(self) -> None:
        answers = NameAnswers(a("203.0.113.5", trouble="silent"), NOTHING)
        assert stands_for(answers, 59).state == "resolved"
        late = stands_for(answers, 24 * 3600)
        assert (late.state, late.trouble) == ("stale", "A: silent")
        assert late.trusted == (number("203.0.113.5"),)
        assert late.ends == after(60 + 24 * 3600 + 60)
        over = stands_for(answers, 60 + 24 * 3600 + 60)
        assert (over.state, over.trusted) == ("unresolved", ())

    def test_what_a_name_took_out_stays_out_however_old(self) -> None:
        answers = NameAnswers(a("203.0.113.5", trouble="silent"), NOTHING)
        assert stands_for(answers, 10**7).excluded == (number("203.0.113.5"),)

    def test_a_stale_time_of_zero_leaves_a_minute_to_ask_again(self) -> None:
        policy = NamePolicy(timedelta(0), private=False)
        answers = NameAnswers(a("203.0.113.5", trouble="silent"), NOTHING)
        assert stands_for(answers, 119, policy).trusted
        assert not stands_for(answers, 120, policy).trusted

    @pytest.mark.parametrize(
        "address",
        ["127.0.0.1", "::1", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1",
         "169.254.169.254", "fe80::1", "240.0.0.1"],
    )  # fmt: skip
    def test_an_address_that_no_client_has_is_never_trusted(self, address: str) -> None:
        lenient = NamePolicy(timedelta(hours=24), private=True)
        answers = NameAnswers(a(address, "203.0.113.5"), NOTHING)
        found = stands_for(answers, policy=lenient)
        assert found.trusted == (number("203.0.113.5"),)
        assert found.refused[0].startswith(f"{address}: ")

    @pytest.mark.parametrize("address", ["10.1.2.3", "192.168.0.1", "100.64.0.1", "fd00::1"])
    def test_a_private_address_is_trusted_where_the_settings_say_so(self, address: str) -> None:
        answers = NameAnswers(a(address), NOTHING)
        strict = stands_for(answers)
        assert strict.trusted == ()
        assert "trusted.private_names" in strict.refused[0]
        lenient = NamePolicy(timedelta(hours=24), private=True)
        assert stands_for(answers, policy=lenient).trusted == (number(address),)

    def test_refused_addresses_are_taken_out_all_the_same(self) -> None:
        found = stands_for(NameAnswers(a("10.1.2.3"), NOTHING))
        assert found.excluded == (number("10.1.2.3"),)

    def test_until_dns_has_answered_the_whole_of_both_families_is_excluded(self) -> None:
        never = stands_for(NameAnswers(Answer(trouble="silent"), Answer(trouble="silent")))
        assert (never.state, never.trusted, never.excluded) == ("unresolved", (), ALL)
        assert never.trouble == "silent"


def test_now_is_what_the_caller_says() -> None:
    assert known(NameAnswers(a("203.0.113.5"), NOTHING), POLICY, NOW).state == "resolved"

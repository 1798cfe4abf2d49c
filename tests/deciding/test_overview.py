"""A stretch of time seen as a whole: what is counted, and what is listed of it."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.weeks import NOW, SINCE
from tracker.deciding.mailflow import merged, within
from tracker.deciding.overview import LISTED, STRIPS, Overview
from tracker.deciding.trusted import TrustedList, parse
from tracker.deciding.views import View
from tracker.history.records import KeptLogin, Life
from tracker.records import Grant, Outcome, Session, SmtpLine

HOUR = timedelta(hours=1)


def life(
    address: str = "203.0.113.5",
    user: str = "alice@example.com",
    began: datetime = NOW - 2 * HOUR,
    ended: datetime | None = NOW - HOUR,
    logins: int = 1,
) -> Life:
    first = KeptLogin(began, "login", None)
    return Life(
        0, address, user, ("imap",), began, first, logins, first, None, ended or NOW, ended, None
    )


def grant(
    address: str,
    left: timedelta,
    user: str = "alice@example.com",
    last: datetime = NOW - timedelta(minutes=1),
    sessions: tuple[Session, ...] = (),
) -> Grant:
    return Grant(address, user, ("imap",), last, last, NOW + left, NOW + left, sessions)


def line(client: str, outcome: Outcome, ago: timedelta = timedelta(minutes=90)) -> SmtpLine:
    return SmtpLine(NOW - ago, client, outcome)


def overview(*lives: Life, trusted: str = "", ipv6_prefix: int = 128, most: int = 4) -> Overview:
    listed = parse(trusted, "list") if trusted else TrustedList()
    made = Overview(SINCE, NOW, listed, ipv6_prefix, most)
    for one in lives:
        made.life(one)
    return made


def test_grants_in_force_are_listed_an_address_a_row_the_last_login_first() -> None:
    seen = overview()
    seen.grant(grant("203.0.113.5", HOUR))
    seen.grant(grant("203.0.113.5", 2 * HOUR, "bob@example.com"))
    seen.grant(grant("2001:db8::5", HOUR, last=NOW))
    seen.grant(grant("203.0.113.6", timedelta(0)))
    view = seen.view()
    assert [(row.address, row.users) for row in view.listed] == [
        ("2001:db8::5", ("alice@example.com",)),
        ("203.0.113.5", ("alice@example.com", "bob@example.com")),
    ]
    assert view.listed[1].expires == NOW + 2 * HOUR
    assert (view.addresses, view.grants, view.users) == (2, 3, 2)


def test_open_sessions_of_an_address_are_counted_together() -> None:
    seen = overview()
    seen.grant(grant("203.0.113.5", HOUR, sessions=(Session("a", NOW), Session("b", NOW))))
    seen.grant(grant("203.0.113.5", HOUR, "bob@example.com", sessions=(Session("c", NOW),)))
    assert seen.view().listed[0].sessions == 3


def test_a_life_that_touches_the_period_counts_there_and_one_before_does_not() -> None:
    view = overview(
        life(began=SINCE - HOUR, ended=SINCE + HOUR),
        life("203.0.113.6", began=SINCE - 2 * HOUR, ended=SINCE - HOUR),
        life("203.0.113.7", began=NOW + HOUR, ended=None),
    ).view()
    (strip,) = view.strips
    assert (strip.address, strip.stretches) == ("203.0.113.5", ((SINCE, SINCE + HOUR),))
    assert (view.earned, strip.grants) == (0, 0), "it was earned before"


def test_grants_of_several_users_of_an_address_are_one_stretch_where_they_meet() -> None:
    view = overview(
        life(began=NOW - 5 * HOUR, ended=NOW - 3 * HOUR),
        life(user="bob@example.com", began=NOW - 4 * HOUR, ended=NOW - 2 * HOUR),
        life(began=NOW - HOUR, ended=None),
    ).view()
    (strip,) = view.strips
    assert strip.stretches == ((NOW - 5 * HOUR, NOW - 2 * HOUR), (NOW - HOUR, NOW))
    assert (strip.total, strip.grants) == (4 * HOUR, 3)


def test_an_address_of_many_users_stands_out_as_a_gateway() -> None:
    office = [life("198.51.100.20", f"user{n}@example.com") for n in range(5)]
    pair = [life("198.51.100.30", f"user{n}@example.com") for n in range(2)]
    for most, stands_out in ((4, True), (5, False), (0, False)):
        view = overview(*pair, *office, life(), most=most).view()
        assert [(row.address, len(row.users), row.gateway) for row in view.shared] == [
            ("198.51.100.20", 5, stands_out),
            ("198.51.100.30", 2, False),
        ]


def test_users_and_addresses_are_ranked_by_logins_then_by_name() -> None:
    view = overview(
        life("203.0.113.10", "b@example.com", logins=5),
        life("203.0.113.9", "a@example.com", logins=5),
        life("203.0.113.9", "c@example.com", logins=9),
    ).view()
    assert [row.name for row in view.top_users] == [
        "c@example.com",
        "a@example.com",
        "b@example.com",
    ]
    assert [(row.name, row.others) for row in view.top_addresses] == [
        ("203.0.113.9", 2),
        ("203.0.113.10", 1),
    ]


def test_bars_cover_the_whole_period_and_add_up() -> None:
    seen = overview(life(), life("203.0.113.6", began=SINCE, ended=None))
    seen.counted("login", NOW - 3 * HOUR, 7)
    seen.counted("failed", NOW - 3 * HOUR, 2)
    seen.counted("logout", NOW - 3 * HOUR, 99)
    seen.counted("login", SINCE.replace(minute=0), 1)
    seen.counted("login", SINCE - 2 * HOUR, 50)
    view = seen.view()
    assert len(view.bars) == 7 * 24 + 1
    assert view.bars[0].start <= SINCE < view.bars[1].start
    assert view.bars[-1].start <= NOW < view.bars[-1].start + view.step
    assert (view.logins, view.failed, view.earned) == (8, 2, 2)
    assert sum(bar.logins for bar in view.bars) == view.logins


def test_a_long_period_has_longer_bars() -> None:
    for days, step in ((1, HOUR), (8, HOUR), (30, 6 * HOUR), (365, 24 * HOUR)):
        assert Overview(NOW - timedelta(days=days), NOW).view().step == step


class TestMail:
    def test_in_the_second_in_which_a_grant_began_came_by_it(self) -> None:
        seen = overview(life(began=NOW - timedelta(hours=1, milliseconds=-700), ended=None))
        seen.mail([line("203.0.113.5", "taken", HOUR), line("203.0.113.5", "taken", 2 * HOUR)])
        assert seen.view().top_addresses[0].mails == 1

    def test_is_counted_by_what_gave_the_right(self) -> None:
        seen = overview(life(), trusted="192.0.2.0/24\n")
        seen.mail(
            [
                line("203.0.113.5", "taken"),  # within its grant
                line("203.0.113.5", "taken", timedelta(minutes=30)),  # the grant was over
                line("192.0.2.7", "taken"),
                SmtpLine(NOW - HOUR, "192.0.2.8", "taken", authenticated=True),
                line("203.0.113.99", "taken"),
                line("203.0.113.5", "taken", timedelta(days=30)),  # before the period
            ]
        )
        view = seen.view()
        assert view.postfix is not None
        assert {row.code: row.count for row in view.postfix.sent} == {
            "T": 1,
            "A": 1,
            "P": 1,
            "-": 2,
        }
        assert view.top_addresses[0].mails == 1

    def test_of_an_ipv6_network_with_a_grant_counts_as_by_grant(self) -> None:
        seen = overview(life("2001:db8:7::/64"), ipv6_prefix=64)
        seen.mail([line("2001:db8:7::99", "taken")])
        view = seen.view().postfix
        assert view is not None
        assert [row.count for row in view.sent if row.code == "P"] == [1]

    def test_a_refused_client_that_had_a_grant_is_marked(self) -> None:
        seen = overview(life())
        seen.mail(
            [line("203.0.113.5", "relay")] * 3
            + [line("203.0.113.9", "relay"), line("203.0.113.9", "local")]
        )
        view = seen.view().postfix
        assert view is not None
        assert [(row.address, row.count, row.had_grant) for row in view.refused] == [
            ("203.0.113.5", 3, True),
            ("203.0.113.9", 2, False),
        ]
        assert view.refused[1].by == (("Relay access denied", 1), ("Local sender, refused", 1))

    def test_a_warning_is_no_refusal(self) -> None:
        seen = overview()
        seen.mail([line("203.0.113.9", "warned")])
        view = seen.view()
        assert view.postfix is not None
        assert (view.refused, view.postfix.refused) == (0, ())
        assert [row.count for row in view.postfix.refusals if "warning" in row.about] == [1]

    def test_a_trusted_entry_mattered_when_mail_came_in_by_it(self) -> None:
        seen = overview(trusted="!192.0.2.128/25\n192.0.2.0/24\n198.51.100.1\n")
        seen.mail(
            [
                line("192.0.2.7", "taken", 3 * HOUR),
                line("192.0.2.7", "taken", 2 * HOUR),
                line("192.0.2.200", "taken", HOUR),  # taken out, and mail for this host
                line("192.0.2.200", "relay", HOUR),
            ]
        )
        view = seen.view().postfix
        assert view is not None
        assert {number: (one.count, one.last) for number, one in view.mattered.items()} == {
            1: (1, NOW - HOUR),
            2: (2, NOW - 2 * HOUR),
        }


def test_lists_are_bounded_and_say_how_many_there_are() -> None:
    seen = overview()
    for place in range(3 * LISTED):
        address = f"10.0.{place // 250}.{place % 250}"
        seen.grant(grant(address, HOUR))
        seen.life(life(address, ended=None))
    view = seen.view()
    assert (len(view.listed), view.addresses) == (LISTED, 3 * LISTED)
    assert (len(view.strips), view.strips_all) == (STRIPS, 3 * LISTED)


_TIMES = st.integers(0, 1000).map(lambda minutes: SINCE + timedelta(minutes=minutes))
_SPANS = st.lists(st.tuples(_TIMES, _TIMES).map(lambda two: (min(two), max(two))), max_size=8)


@given(_SPANS, _TIMES)
def test_merged_stretches_hold_the_same_moments_and_do_not_touch(
    spans: list[tuple[datetime, datetime]], time: datetime
) -> None:
    stretches = merged(spans)
    assert within(stretches, time) == any(begin <= time <= end for begin, end in spans)
    for (_, end), (begin, _) in pairwise(stretches):
        assert end < begin


@given(st.randoms(use_true_random=False))
def test_the_order_in_which_it_is_told_changes_nothing(dice: random.Random) -> None:
    lives = [
        life(f"203.0.113.{n % 5}", f"u{n % 7}@example.com", NOW - n * HOUR) for n in range(2, 20)
    ]
    lines = [line(f"203.0.113.{n % 6}", "relay" if n % 2 else "taken", n * HOUR) for n in range(20)]

    def told(shuffled: bool) -> View:
        seen = overview()
        for one in dice.sample(lives, len(lives)) if shuffled else lives:
            seen.life(one)
        seen.mail(dice.sample(lines, len(lines)) if shuffled else lines)
        return seen.view()

    assert told(shuffled=True) == told(shuffled=False)

"""What the doctor makes of the log: where logins are looked for, understood, and refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.moments import NOW, after, login
from tracker.deciding.health.log import gateways, log
from tracker.deciding.policy import GrantPolicy
from tracker.facts import Format, LogSeen, Source
from tracker.records import Login
from tracker.settings import GrantSettings, LogSettings

POLICY = GrantPolicy(GrantSettings(), ["192.0.2.1"])
FILE = "/var/log/mail.log"
READ = Source(FILE, lines=100, last=after(-60), written=after(-60))
DOVECOT = Format("dovecot", logins=1)
GOOD = LogSeen((READ,), (DOVECOT,), (login(),))


def codes(seen: LogSeen, settings: LogSettings | None = None) -> list[str]:
    found = log(seen, settings or LogSettings(), POLICY, "popgate", NOW)
    return [one.code for one in found]


def source(**changed: object) -> LogSeen:
    values = {"name": FILE, "lines": 100, "last": after(-60), "written": after(-60)} | changed
    return LogSeen((Source(**values),), (DOVECOT,), (login(),))  # type: ignore[arg-type]


def test_a_log_that_shows_logins_is_fine() -> None:
    assert codes(GOOD) == []


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (LogSeen((Source(FILE, missing=True),), (DOVECOT,)), "log-missing"),
        (LogSeen((Source(FILE, "Permission denied"),), (DOVECOT,)), "log-unreadable"),
        (source(last=NOW - timedelta(hours=73), written=NOW - timedelta(hours=73)), "log-stale"),
        (LogSeen((READ,), (DOVECOT,)), "log-without-logins"),
        (LogSeen((READ,), (Format("dovecot", 0, 3, ("x Login: y",)),)), "log-not-understood"),
        (LogSeen((READ,), fault="unknown log format 'x'"), "log-format-bad"),
        (LogSeen((READ,), (Format("popa3d", 1, doubt="Anyone."),), (login(),)), "log-forgeable"),
        (LogSeen((READ,), (DOVECOT,), (login(),), dovecot_unread="may not"), "dovecot-unread"),
        (source(last=after(600)), "clock-ahead"),
        (source(last=after(7200), written=NOW, zoned=False), "log-timezone"),
        (source(last=after(-7200), written=after(2), zoned=False), "log-timezone"),
        (source(last=after(-19800), written=NOW, zoned=False), "log-timezone"),
    ],
)
def test_each_fault_is_named(seen: LogSeen, code: str) -> None:
    assert codes(seen) == [code]


@pytest.mark.parametrize(
    "seen",
    [
        source(last=after(59)),  # a clock may be a little off
        source(last=after(-7200), written=after(-7199)),
        source(last=after(-7200), written=NOW),  # it names its zone, and is just old
        source(last=after(-7200), written=after(-300), zoned=False),  # no zone explains that
        source(last=None),
    ],
)
def test_what_looks_alike_is_no_fault(seen: LogSeen) -> None:
    assert codes(seen) == []


def test_one_silent_source_of_several_is_no_fault() -> None:
    old = Source("/var/log/other.log", lines=5, last=NOW - timedelta(days=9))
    assert codes(LogSeen((old, READ), (DOVECOT,), (login(),))) == []


def test_why_nobody_earns_a_grant_is_told_with_kind_and_addresses() -> None:
    logins = tuple(login(f"10.0.0.{host}", user="bob") for host in range(9))
    (found,) = log(LogSeen((READ,), (DOVECOT,), logins), LogSettings(), POLICY, "popgate", NOW)
    assert (found.code, found.severity) == ("logins-refused", "warning")
    assert found.what.startswith(
        "9 of the last 9 logins earn no grant: private address (10.0.0.0, 10.0.0.1, 10.0.0.2, ..; "
        "the last is bob's)"
    )
    assert found.mend == 'popgate config set grants.refuse \'["loopback", "link-local", "own"]\''


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.1.1", "192.0.2.1", "100.64.0.9"])
def test_where_others_earn_one_it_is_a_note(address: str) -> None:
    seen = LogSeen((READ,), (DOVECOT,), (login(), login(address)))
    (found,) = log(seen, LogSettings(), POLICY, "popgate", NOW)
    assert (found.code, found.severity) == ("logins-some-refused", "note")


def test_what_the_admin_excluded_is_no_fault() -> None:
    policy = GrantPolicy(GrantSettings(exclude_networks=("203.0.113.0/24",)))
    assert not list(log(GOOD, LogSettings(), policy, "popgate", NOW))


def test_while_nothing_is_logged_auto_names_the_format_that_may_be_meant_alone() -> None:
    """All formats are tried then, also those that anyone can forge."""
    doubtful = Format("popa3d", doubt="Anyone.")
    auto = LogSettings(format="auto")
    nothing = LogSeen((READ,), (Format("dovecot"), doubtful))
    assert codes(nothing, auto) == ["log-without-logins"]
    some, more = Format("uw", 0, 1, ("a",)), Format("dovecot", 0, 5, ("b",))
    found = list(log(LogSeen((READ,), (some, more, doubtful)), auto, POLICY, "popgate", NOW))
    assert [(one.code, one.where) for one in found] == [("log-not-understood", "format dovecot")]


def test_a_users_name_cannot_break_the_line() -> None:
    seen = LogSeen((READ,), (DOVECOT,), (login("10.0.0.1", user="x\n\x1b[2Jerror: y"),))
    (found,) = log(seen, LogSettings(), POLICY, "popgate", NOW)
    assert found.what.isprintable()


def at(address: str, users: int) -> tuple[Login, ...]:
    return tuple(login(address, user=f"user{number}") for number in range(users))


def test_ten_users_at_one_address_are_a_gateway_whoever_knows_of_them() -> None:
    known = {"203.0.113.5": tuple(f"user{number}" for number in range(5, 10))}
    (found,) = gateways(known, at("203.0.113.5", 5), POLICY, ("198.51.100.0/24",))
    assert (found.code, found.where) == ("gateway", "203.0.113.5")
    assert found.mend == (
        "popgate config set grants.exclude_networks "
        """'["198.51.100.0/24", "203.0.113.5/32"]' && popgate revoke 203.0.113.5"""
    )


def test_nine_users_are_a_household_and_refused_addresses_open_nothing() -> None:
    assert not list(gateways({}, at("203.0.113.5", 9), POLICY, ()))
    assert not list(gateways({}, at("10.0.0.1", 50), POLICY, ()))

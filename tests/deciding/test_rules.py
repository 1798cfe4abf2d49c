"""The rules in their order, as `decide` walks them and as the grant table is made from them."""

from __future__ import annotations

from tests.moments import NOW, after
from tracker.deciding.rules import RuleSet, decide
from tracker.deciding.trusted import parse
from tracker.records import SmtpSession

RULES = RuleSet(
    parse("!198.51.100.7\n198.51.100.0/24\n", "t"),
    {"203.0.113.5": after(60), "198.51.100.7": after(60), "198.51.100.8": after(60)},
)


def decided(
    client: str, *, login: str | None = None, port: int = 25, at: float = 0
) -> tuple[str, str]:
    decision = decide(RULES, SmtpSession(client, login=login, port=port), after(at))
    return decision.decision, decision.code


def test_an_authenticated_session_may_relay() -> None:
    assert decided("192.0.2.1", login="alice") == ("relay", "A")


def test_a_trusted_client_may_relay() -> None:
    assert decided("198.51.100.9") == ("relay", "T")


def test_a_granted_client_may_relay_until_its_grant_ends() -> None:
    assert decided("203.0.113.5") == ("relay", "P")
    assert decided("203.0.113.5", at=60) == ("pass", "-")


def test_an_address_taken_out_of_the_trusted_list_can_still_earn_a_grant() -> None:
    assert decided("198.51.100.7") == ("relay", "P")


def test_a_mapped_client_is_its_ipv4_address() -> None:
    assert decided("::ffff:203.0.113.5") == ("relay", "P")


def test_a_stranger_is_left_to_postfix() -> None:
    assert decided("192.0.2.1") == ("pass", "-")
    assert decided("unknown") == ("pass", "-")


def test_on_the_submission_ports_only_smtp_auth_counts() -> None:
    for port in (587, 465):
        assert decided("198.51.100.9", port=port) == ("reject", "A")
        assert decided("203.0.113.5", port=port) == ("reject", "A")
        assert decided("203.0.113.5", port=port, login="alice") == ("relay", "A")


def test_the_trace_names_what_matched() -> None:
    trace = decide(RULES, SmtpSession("203.0.113.5"), NOW).trace
    assert [(step.code, step.matched) for step in trace] == [
        ("N", False),
        ("T", False),
        ("A", False),
        ("P", True),
    ]
    assert trace[3].on == "grant until 2026-11-24T08:46:29+00:00"


def test_the_grant_table_holds_every_grant_and_when_it_ends() -> None:
    end = int(after(60).timestamp())
    assert RULES.granted() == {"203.0.113.5": end, "198.51.100.7": end, "198.51.100.8": end}
    assert RULES.granted(["198.51.100.8", "192.0.2.1"]) == {"198.51.100.8": end}


def test_a_grant_for_a_network_serves_each_of_its_addresses() -> None:
    rules = RuleSet(parse("", "t"), {"2001:db8:1:2::/64": after(60)}, ipv6_prefix=64)
    assert decide(rules, SmtpSession("2001:db8:1:2::99"), NOW).code == "P"
    assert decide(rules, SmtpSession("2001:db8:1:3::99"), NOW).code == "-"

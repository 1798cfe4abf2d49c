"""The texts that popgate writes, held against golden files.

`pytest tests/writing/test_render.py --accept` takes the present texts as the new golden files.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.moments import after, login
from tracker.deciding import lists
from tracker.deciding.access import SenderPolicy
from tracker.deciding.ledger import Ledger
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.rules import RuleSet
from tracker.deciding.trusted import parse
from tracker.records import Table
from tracker.settings import GrantSettings, LocalSenderSettings
from tracker.writing import render
from tracker.writing.render import GrantTableType

GOLDEN = Path(__file__).with_name("golden")
TRUSTED = """\
# The office, but for its guest network
!198.51.100.128/25
198.51.100.0/24   # fibre
192.168.0.1-50
2001:db8:5::/48
"""


def rules() -> tuple[RuleSet, Ledger]:
    ledger = Ledger(GrantPolicy(GrantSettings()))
    for event in (
        login("203.0.113.20", session=None),
        login("203.0.113.5", "bob", session=None),
        login("203.0.113.5", "eve # 198.51.100.66 9999999999\n", session=None),
        login("2001:db8::5", "zoë", session=None),
        login("198.51.100.9", "trusted anyway", session=None),
        login("198.51.100.200", "guest", session=None),
    ):
        ledger.apply(event, after(0))
    senders = SenderPolicy(
        settings=LocalSenderSettings(reject=True),
        domains=lists.parse("example.com\n.example.net\nbücher.test\n", "domains.txt"),
        exceptions=lists.parse("bounce@example.com\nnews.example.com\n192.0.2.25\n", "e.txt"),
        whitelist=lists.parse("white.example.org\nfriend@far.test\n2001:db8:f::/48\n", "w.txt"),
        blacklist=lists.parse("203.0.113.0/24\nblack.example.org\n192.0.2.128/25\n", "b.txt"),
    )
    return RuleSet(parse(TRUSTED, "trusted.txt"), ledger.expiries(), senders=senders), ledger


def tables(kind: GrantTableType) -> list[Table]:
    made, ledger = rules()
    return [
        render.trusted_table(made.trusted, Path("/etc/popgate/trusted.txt")),
        *render.grant_texts(made, ledger.grants(), kind),
        *(render.access_text(table, kind) for table in made.senders.tables.values()),
        render.main_cf_snippet(Path("/var/lib/popgate/maps"), kind),
        render.master_cf_snippet(),
    ]


@pytest.mark.parametrize("kind", ["lmdb", "cidr"])
def test_each_text_is_as_its_golden_file(
    kind: GrantTableType, request: pytest.FixtureRequest
) -> None:
    for table in tables(kind):
        golden = GOLDEN / kind / table.name
        if request.config.getoption("--accept"):
            golden.parent.mkdir(parents=True, exist_ok=True)
            golden.write_text(table.text, encoding="utf-8")
        assert table.text == golden.read_text(encoding="utf-8"), table.name


def test_a_user_name_cannot_make_up_an_entry() -> None:
    text = next(table.text for table in tables("lmdb") if table.name == "pop_before_smtp.txt")
    entries = [line.split()[0] for line in text.splitlines() if not line.startswith("#")]
    assert entries == [
        "198.51.100.9",
        "198.51.100.200",
        "203.0.113.5",
        "203.0.113.20",
        "2001:db8::5",
    ]


def test_the_same_rules_in_another_order_give_the_same_text() -> None:
    made, ledger = rules()
    again = RuleSet(made.trusted, dict(reversed(list(ledger.expiries().items()))))
    assert render.grant_table(again.granted()) == render.grant_table(made.granted())

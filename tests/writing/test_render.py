"""The texts that popgate writes, held against golden files.

`pytest tests/writing/test_render.py --accept` takes the present texts as the new golden files.
"""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.deciding.lists import Written, edges, text_of, trusted_list, trusts
from tests.moments import NOW, after, login
from tracker.deciding import lists
from tracker.deciding.access import SenderPolicy
from tracker.deciding.ledger import Ledger
from tracker.deciding.names import Known, NamePolicy, known
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.rules import RuleSet
from tracker.deciding.trusted import TrustedList, parse
from tracker.records import Answer, NameAnswers, Table
from tracker.settings import GrantSettings, LocalSenderSettings, Settings
from tracker.writing import render
from tracker.writing.parameters import GrantTableType

GOLDEN = Path(__file__).with_name("golden")
TRUSTED = """\
# The office, but for its guest network
!198.51.100.128/25
198.51.100.0/24   # fibre
192.168.0.1-50
2001:db8:5::/48
# Two halves and a host between them become one network
192.0.2.0/25
mail.example.com   # their server
gone.example.com
192.0.2.128/25
!guest.example.com # takes out whoever that is
10.0-9.0.1
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
    return RuleSet(trusted(), ledger.expiries(), senders=senders), ledger


def trusted() -> TrustedList:
    policy = NamePolicy(timedelta(hours=24), private=False)

    def answers(*addresses: str) -> Known:
        return known(NameAnswers(Answer(addresses, after(60)), Answer((), after(60))), policy, NOW)

    return parse(TRUSTED, "trusted.txt").bound(
        {
            "mail.example.com": answers("192.0.2.77", "203.0.113.77"),
            "gone.example.com": answers(),
            "guest.example.com": answers("10.7.0.1"),
        }
    )


def tables(kind: GrantTableType) -> list[Table]:
    made, ledger = rules()
    return [
        render.trusted_table(made.trusted, Path("/etc/popgate/trusted.txt")),
        *render.grant_texts(made.granted(), ledger.holders(), kind),
        *(render.access_text(table, kind) for table in made.senders.tables.values()),
        render.main_cf_snippet(Settings(), kind),
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


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=trusted_list)
def test_postfix_reads_from_the_table_what_the_list_says(
    entries: list[tuple[bool, Written]], postfix_config: Path
) -> None:
    """Postfix's own cidr_table(5), asked at every edge of every entry."""
    listed = parse(text_of(entries), "trusted.txt")
    file = postfix_config / "trusted.cidr"
    file.write_text(render.trusted_table(listed, Path("/etc/popgate/trusted.txt")).text)
    asked = edges(entries)
    done = subprocess.run(
        ["/usr/sbin/postmap", "-c", postfix_config, "-q", "-", f"cidr:{file}"],
        input="".join(f"{address}\n" for address in asked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    answers = dict(line.split("\t") for line in done.stdout.splitlines())
    assert set(answers.values()) <= {"OK", "DUNNO"}
    for address in asked:
        assert (answers.get(address) == "OK") is trusts(entries, address), address


def test_a_note_cannot_make_up_an_entry() -> None:
    listed = parse("203.0.113.5 # \r0.0.0.0/0 OK\x0b\u20280.0.0.0/0 OK\n", "t")
    text = render.trusted_table(listed, Path("t")).text
    assert [line for line in text.splitlines() if not line.startswith("#")] == ["203.0.113.5/32 OK"]
    assert text.isascii()


def test_of_many_entries_in_one_network_a_few_are_named() -> None:
    listed = parse("".join(f"203.0.113.{n}\n" for n in range(256)), "t")
    text = render.trusted_table(listed, Path("t")).text
    assert text.splitlines()[-2:] == [
        "# and 248 more, the last of them 203.0.113.255",
        "203.0.113.0/24 OK",
    ]

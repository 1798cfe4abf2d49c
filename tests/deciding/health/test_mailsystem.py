"""What the doctor makes of main.cf, master.cf and mynetworks."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tracker.addresses import network
from tracker.deciding.health.mailsystem import mailsystem, networks
from tracker.facts import MailSystem, Service, TableSeen
from tracker.records import MailHost

TABLES = ("cidr:/maps/trusted.cidr", "lmdb:/maps/pop_before_smtp")
KNOWN = "permit_mynetworks, permit_sasl_authenticated, $popgate_clients"
AUTH, RULES = "permit_sasl_authenticated", f"{KNOWN}, $popgate_sender_rules"
BAD = TableSeen(TABLES[0], "no such file")
LISTS = {
    "smtpd_relay_restrictions": f"{KNOWN}, reject_unauth_destination",
    "smtpd_sender_restrictions": f"{KNOWN}, $popgate_sender_rules",
    "smtpd_data_restrictions": f"{KNOWN}, $popgate_mark",
}
SMTP = Service("smtp/inet", "smtp", 25, LISTS)
GOOD = MailSystem(
    names_us=True,
    parameters={"smtpd_restriction_classes": "mine popgate_skip_lists"},
    host=MailHost(),
    services=(SMTP,),
    tables=tuple(map(TableSeen, TABLES)),
    wanted=TABLES,
    classes=("popgate_skip_lists",),
    running=True,
)


def codes(seen: MailSystem) -> list[str]:
    return [one.code for one in mailsystem(seen)]


def lists(**changed: str) -> MailSystem:
    names = {f"smtpd_{name}_restrictions": value for name, value in changed.items()}
    return replace(GOOD, services=(replace(SMTP, values=LISTS | names),))


def test_a_postfix_that_asks_the_tables_is_fine() -> None:
    assert codes(GOOD) == []


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (replace(GOOD, running=False), "postfix-stopped"),
        (replace(GOOD, running=None), "not-checked"),
        (replace(GOOD, names_us=False), "not-installed"),
        (replace(GOOD, warnings=("warning: main.cf: undefined parameter: x",)), "postfix-warns"),
        (replace(GOOD, tables=(BAD, TableSeen(TABLES[1]))), "table-unreadable"),
        (replace(GOOD, tables=(TableSeen(TABLES[0]),)), "table-not-read"),
        (replace(GOOD, parameters={}), "classes-missing"),
        (replace(GOOD, lmdb=False), "no-lmdb"),
        (replace(GOOD, old_readers={"trusted.cidr": 3}), "old-readers"),
        (replace(GOOD, policy="Connection refused"), "policy-silent"),
        (lists(relay="permit_mynetworks, reject_unauth_destination"), "clients-missing"),
        (lists(helo=f"{AUTH}, reject_rbl_client a, $popgate_clients"), "clients-late"),
        (lists(helo=f"reject_rbl_client a, {KNOWN}"), "refused-before"),
        (lists(recipient=f"{KNOWN}, $popgate_sender_rules"), "open-relay"),
        (lists(sender=f"{RULES}, reject_unlisted_sender, reject_rbl_client a"), "rules-early"),
        (lists(data=KNOWN), "rules-missing"),
    ],
)  # fmt: skip
def test_each_fault_is_named(seen: MailSystem, code: str) -> None:
    assert codes(seen) == [code]


@pytest.mark.parametrize(
    "seen",
    [
        replace(GOOD, warnings=("warning: main.cf: unused parameter: mine=1",)),
        replace(GOOD, tables=tuple(TableSeen(f"proxy:{one}") for one in TABLES)),
        replace(GOOD, policy=""),
        replace(GOOD, services=(SMTP, replace(SMTP, role="submission", values={}))),
    ],
)
def test_what_looks_alike_is_no_fault(seen: MailSystem) -> None:
    assert codes(seen) == []


def test_a_table_of_another_type_is_named_with_the_one_that_is_meant() -> None:
    seen = replace(GOOD, tables=(TableSeen(TABLES[0]), TableSeen("hash:/maps/pop_before_smtp")))
    other, unread = mailsystem(seen)
    assert (other.code, other.where) == ("table-not-ours", "hash:/maps/pop_before_smtp")
    assert other.what.endswith("popgate keeps: lmdb:/maps/pop_before_smtp")
    assert unread.code == "table-not-read"


def test_a_list_of_main_cf_is_judged_once_and_one_of_master_cf_for_itself() -> None:
    bare = {"smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination"}
    second = replace(SMTP, name="2525/inet", values=LISTS | bare)
    own = replace(second, name="26/inet", overridden=frozenset(bare), values=second.values)
    seen = replace(GOOD, services=(replace(SMTP, values=LISTS | bare), second, own))
    found = [(one.code, one.where, one.mend) for one in mailsystem(seen)]
    assert found == [
        ("clients-missing", "main.cf", "popgate install"),
        (
            "around-us",
            "master.cf: 26/inet",
            "postconf -PX 26/inet/smtpd_relay_restrictions && popgate install",
        ),
    ]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("127.0.0.0/8 ::1/128 10.0.0.0/8 192.168.0.0/16 fc00::/7 203.0.113.0/24 2001:db8::/48", []),
        ("0.0.0.0/0", ["mynetworks-everybody"]),
        ("::/0", ["mynetworks-everybody"]),
        ("0.0.0.0/1 128.0.0.0/1", ["mynetworks-everybody", "mynetworks-everybody"]),
        ("203.0.0.0/16", ["mynetworks-wide"]),
        ("203.0.0.0/17", []),
        ("2001:db8::/32", ["mynetworks-wide"]),
        ("10.0.0.0/7", ["mynetworks-wide"]),  # half of it is nobody's own
        ("192.168.0.0/16 !192.168.1.0/24", ["mynetworks-order"]),
        ("!192.168.1.0/24 192.168.0.0/16", []),
        ("!0.0.0.0/0", []),
    ],
)
def test_whom_mynetworks_trusts(listed: str, expected: list[str]) -> None:
    pairs = tuple((network(word.lstrip("!")), word[0] != "!") for word in listed.split())
    assert [one.code for one in networks(MailHost(mynetworks=pairs))] == expected


def test_what_of_mynetworks_cannot_be_listed_is_said_and_nothing_else() -> None:
    host = MailHost(unlisted=("mynetworks: pgsql:/x: cannot be listed", "mydestination: y: no"))
    (found,) = networks(host)
    assert (found.code, found.what) == ("mynetworks-unlisted", "pgsql:/x: cannot be listed")

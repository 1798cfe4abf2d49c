"""Addresses as Postfix takes them: the forms it rewrites, and the keys it asks tables for.

tests/e2e/test_agreement.py holds the same against a real Postfix.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.deciding.mailaddress import internal, is_one, join, quote, scan
from tracker.deciding.senders import lookups, parents, resolve, routed
from tracker.records import MailHost

HOST = MailHost(
    myhostname="mail.example.net",
    mydomain="example.net",
    myorigin="example.com",
    domains={"mydestination": frozenset({"example.net"})},
    own=frozenset({"192.0.2.1", "2001:db8::1"}),
    delimiters="+",
)
TEXTS = st.text(st.sampled_from('ab.@%!:"\\[]()<>, +\té1'), max_size=24)


def resolved(sent: str, host: MailHost = HOST) -> str:
    return resolve(internal(sent), host)[0]


@pytest.mark.parametrize(
    ("sent", "address"),
    [
        ("x@d.test", "x@d.test"),
        ("x@d.test.", "x@d.test"),
        ('"x"@d.test', "x@d.test"),
        ('"x@d.test"', "x@d.test"),
        ("x%d.test", "x@d.test"),
        ("d.test!x", "x@d.test"),
        ("@a.test:x@d.test", "x@d.test"),
        ("@a.test,@b.test:x@d.test", "x@d.test"),
        ("x", "x@example.com"),
        ("x%d.test@example.net", "x@d.test"),
        ("d.test!x@example.net", "x@d.test"),
        ('"x@d.test"@example.net', "x@d.test"),
        ("x%d.test@[192.0.2.1]", "x@d.test"),
        ("x%d.test@[IPv6:2001:db8::1]", "x@d.test"),
        ("x%d.test@[192.0.2.2]", "x%d.test@[192.0.2.2]"),
        ('"x@f.test"@d.test', "x@f.test@d.test"),
        ("x%f.test@d.test", "x%f.test@d.test"),
        ("x@example.net", "x@example.net"),
        ("@example.net", "MAILER-DAEMON@example.net"),
        ("x@(a comment)d.test", "x@d.test"),
    ],
)
def test_an_address_becomes_what_postfix_makes_of_it(sent: str, address: str) -> None:
    assert resolved(sent) == address


def test_a_list_is_not_taken_for_an_address() -> None:
    assert is_one('"a,b;<c>"@d.test')
    assert is_one("@a.test,@b.test:x@d.test")
    assert not is_one("a@d.test, b@d.test")
    assert not is_one("group: a@d.test;")


def test_what_postfix_is_told_not_to_rewrite_stays() -> None:
    host = MailHost(percent_hack=False, swap_bangpath=False, append_at_myorigin=False)
    assert resolved("x%d.test", host) == "x%d.test@localhost"
    assert resolved("d.test!x", host) == "d.test!x@localhost"
    closed = MailHost(domains=HOST.domains, resolve_dequoted=False)
    assert resolved('"x@d.test"@example.net', closed) == "x@d.test@example.net"
    assert (
        resolved("x@sub", MailHost(append_dot_mydomain=True, mydomain="d.test")) == "x@sub.d.test"
    )


def test_the_keys_are_asked_from_the_whole_address_to_its_local_part() -> None:
    assert lookups("Alice+News@A.b.test", HOST) == (
        "alice+news@a.b.test",
        "alice@a.b.test",
        "a.b.test",
        "b.test",
        "test",
        "alice+news@",
        "alice@",
    )


def test_without_parent_matching_the_parents_have_a_dot_before_them() -> None:
    assert parents("a.b.test", dotted=True) == ["a.b.test", ".b.test", ".test"]


def test_the_null_sender_is_asked_for_as_a_key_that_no_entry_is() -> None:
    assert lookups("", HOST) == ("<>",)


@pytest.mark.parametrize("local", ["postmaster", "+x", "mailer-daemon", "plain"])
def test_some_addresses_have_no_extension(local: str) -> None:
    assert lookups(f"{local}@d.test", HOST)[1] == "d.test"


def test_lists_keep_their_owner_and_request_addresses() -> None:
    host = MailHost(delimiters="-")
    assert lookups("owner-news@d.test", host)[1] == "d.test"
    assert lookups("news-request@d.test", host)[1] == "d.test"
    assert lookups("news-1@d.test", host)[1] == "news@d.test"


def test_letters_are_folded_by_unicode_only_where_postfix_knows_utf8() -> None:
    assert lookups("x@BÜCHER.test", HOST)[0] == "x@bücher.test"
    assert lookups("x@BÜCHER.test", MailHost(smtputf8=False))[0] == "x@bÜcher.test"


@pytest.mark.parametrize(
    ("address", "holds"),
    [("x@d.test", False), ("x@f.test@d.test", True), ("x%f.test@d.test", True)],
)
def test_a_route_is_seen(address: str, holds: bool) -> None:
    assert routed(address) == holds


@given(TEXTS)
def test_whatever_a_client_sends_has_one_domain_and_keys(text: str) -> None:
    for address in (text, internal(text)):
        keys = lookups(address, HOST)
        assert keys
        assert not address or "@" in keys[0]


@given(TEXTS)
def test_quoting_and_taking_apart_give_the_address_back(local: str) -> None:
    # Blanks are one kind to Postfix, and a route before an address is no part of it.
    address = f"{local.replace(chr(9), ' ')}@d.test"
    if not address.startswith("@"):
        assert join(scan(quote(address))) == address

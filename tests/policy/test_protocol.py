"""Postfix's policy protocol, as Postfix speaks it and as nobody should."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.errors import PolicyError
from tracker.policy.protocol import Action, Request, Requests, parse
from tracker.records import SmtpSession

RECORDED = b"""\
request=smtpd_access_policy
protocol_state=RCPT
protocol_name=ESMTP
helo_name=client.example.org
queue_id=
sender=alice@example.com
recipient=bob@far.example.org
recipient_count=0
client_address=198.51.100.7
client_name=unknown
reverse_client_name=unknown
instance=1b2c.6743.0
sasl_method=
sasl_username=
sasl_sender=
size=0
ccert_subject=
ccert_issuer=
ccert_fingerprint=
ccert_pubkey_fingerprint=
encryption_protocol=
encryption_cipher=
encryption_keysize=0
etrn_domain=
stress=
client_port=40122
policy_context=
server_address=192.0.2.1
server_port=25

"""
"""What Postfix 3.7 sends."""

REQUEST = Request(
    SmtpSession("198.51.100.7", "alice@example.com", "bob@far.example.org", 25), "1b2c.6743.0"
)


def test_what_postfix_sends_is_understood() -> None:
    assert Requests(16384).feed(RECORDED) == [REQUEST]


@given(st.lists(st.integers(0, 3 * len(RECORDED)), max_size=8))
def test_it_may_come_in_any_pieces(cuts: list[int]) -> None:
    text = RECORDED * 3
    requests, found = Requests(16384), []
    edges = sorted({0, *cuts, len(text)})
    for first, last in pairwise(edges):
        found += requests.feed(text[first:last])
    assert found == [REQUEST] * 3
    assert not requests.pending


def test_thousands_may_come_at_once() -> None:
    assert len(Requests(16384).feed(RECORDED * 5000)) == 5000


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"\n\n", "a line of a request is no name=value"),
        (b"request=smtpd_access_policy\nsender\n\n", "a line of a request is no name=value"),
        (b"request=smtpd_access_policy\n=x\n\n", "a line of a request is no name=value"),
        (b"sender=a@b.test\n\n", "a request is no smtpd_access_policy"),
        (b"request=junk\n\n", "a request is no smtpd_access_policy"),
        (b"request=smtpd_access_policy\r\n\r\n\n\n", "a line of a request is no name=value"),
        (b"request=smtpd_access_policy\r\n\n", "a request is no smtpd_access_policy"),
        (b"request=smtpd_access_policy\nsender=a\0b\n\n", "a request has a NUL byte"),
        (
            b"request=smtpd_access_policy\nsender=a@b.test\nsender=c@d.test\n\n",
            "a request has sender twice",
        ),
        (b"request=smtpd_access_policy\nx=" + b"y" * 2000, "a request is longer than 1024 bytes"),
        (
            b"request=smtpd_access_policy\nx=" + b"y" * 2000 + b"\n\n",
            "a request is longer than 1024 bytes",
        ),
    ],
)
def test_what_is_no_request_is_an_error(text: bytes, fault: str) -> None:
    with pytest.raises(PolicyError, match=fault):
        Requests(1024).feed(text)


def test_what_is_not_known_or_not_there_does_no_harm() -> None:
    bare = parse(b"request=smtpd_access_policy\nfuture=x=y\nserver_port=http")
    assert bare == Request(SmtpSession(""))


def test_a_sender_that_is_no_utf8_is_not_readable() -> None:
    assert not parse(b"request=smtpd_access_policy\nsender=\xff@b.test").readable
    assert parse("request=smtpd_access_policy\nsender=é@b.test".encode()).readable


@given(st.binary(max_size=300))
def test_no_bytes_are_anything_but_requests_or_an_error(text: bytes) -> None:
    requests = Requests(256)
    try:
        found = requests.feed(text)
    except PolicyError:
        return
    assert all(isinstance(one, Request) for one in found)


def test_there_are_two_actions_and_none_is_empty() -> None:
    assert [action.value for action in Action] == [b"action=OK\n\n", b"action=DUNNO\n\n"]

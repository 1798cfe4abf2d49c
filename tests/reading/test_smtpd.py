"""What smtpd's own log tells of mail: lines recorded from a real Postfix, and forgeries."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.deciding.access import BLACK_TEXT, LOCAL_TEXT
from tracker.reading.smtpd import smtp_lines
from tracker.reading.timestamps import StampReader
from tracker.records import SmtpLine

RECORDED = Path(__file__).parent / "recorded/smtpd-rules.log"
NOW = datetime(2026, 11, 24, 17, 0, tzinfo=UTC)
HEAD = "2026-11-24T16:38:04.100000+00:00 mail postfix/smtpd[6088]: NOQUEUE: reject: RCPT from "


def read(text: str | bytes) -> list[SmtpLine]:
    data = text.encode() if isinstance(text, str) else text
    return list(smtp_lines(data, StampReader(NOW, UTC)))


def refusal(what: str, words: str, *, sender: str, recipient: str) -> str:
    return (
        f"{HEAD}unknown[203.0.113.9]: 554 5.7.1 <{what}>: {words}; from=<{sender}> "
        f"to=<{recipient}> proto=ESMTP helo=<h.example>\n"
    )


def test_a_recorded_log_tells_who_was_refused_by_which_rule() -> None:
    found = read(RECORDED.read_bytes())
    assert Counter((one.client, one.outcome) for one in found) == {
        ("203.0.113.9", "relay"): 3,
        ("2001:db8::5", "relay"): 1,
        ("203.0.113.9", "local"): 1,
        ("203.0.113.9", "warned"): 1,
        ("203.0.113.9", "black"): 1,
        ("203.0.113.66", "black"): 1,
        ("203.0.113.5", "taken"): 1,
        ("198.51.100.7", "taken"): 1,
        ("203.0.113.9", "taken"): 1,
    }
    assert found[0].time == datetime(2026, 11, 24, 16, 38, 4, tzinfo=UTC)


@pytest.mark.parametrize("data", ["-", '[origin ip="192.0.2.1"][x@1 a="\\]"]'])
def test_the_whole_head_of_rfc_5424_is_read(data: str) -> None:
    plain = RECORDED.read_text()
    heads = re.compile(r"^(\w+ \d+ \S+ \S+ postfix/[\w/-]+)\[(\d+)\]:", re.MULTILINE)
    head = rf"<22>1 \1 \2 - {data.replace(chr(92), chr(92) * 2)}"
    assert heads.search(plain)
    assert read(heads.sub(head, plain)) == read(plain)


@pytest.mark.parametrize(
    "stamp",
    [
        "Nov 24 16:38:04",
        "2026-11-24T16:38:04.123456+00:00",
        "2026-11-24T17:38:04+0100",  # journalctl -o short-iso
        "2026-11-24T16:38:04Z",
    ],
)
def test_each_stamp_of_syslog_and_journalctl_is_read(stamp: str) -> None:
    (found,) = read(f"{stamp} mail postfix/smtpd[1]: DB62A228962: client=unknown[203.0.113.5]\n")
    assert found.time.replace(microsecond=0) == datetime(2026, 11, 24, 16, 38, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        (
            "Nov 24 16:00:00 mail postfix/submission/smtpd[1]: NOQUEUE: reject: RCPT from "
            "host.example[203.0.113.9]: 554 5.7.1 <host.example[203.0.113.9]>: Client host "
            "rejected: Access denied; from=<a@b.test> to=<c@d.test> proto=ESMTP helo=<h>\n",
            "submission",
        ),
        (
            "Nov 24 16:00:00 mail postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown"
            "[203.0.113.9]: 550 5.1.1 <no@example.net>: Recipient address rejected: User unknown "
            "in local recipient table; from=<a@b.test> to=<no@example.net> proto=SMTP helo=<h>\n",
            "other",
        ),
        (
            "Nov 24 16:00:00 mail postfix/postscreen[1]: NOQUEUE: reject: RCPT from "
            "[203.0.113.9]:4242: 550 5.7.1 Service unavailable; client [203.0.113.9] blocked "
            "using zen.spamhaus.org; from=<a@b.test>, to=<c@d.test>, proto=ESMTP, helo=<h>\n",
            "other",
        ),
        (
            "Nov 24 16:00:00 mail postfix/smtpd[1]: 4XyZ1B2c3DzQ: client=unknown[203.0.113.9], "
            "sasl_method=PLAIN, sasl_username=alice@example.com\n",
            "taken",
        ),
    ],
)
def test_each_form_is_told_apart(line: str, outcome: str) -> None:
    (found,) = read(line)
    assert (found.client, found.outcome) == ("203.0.113.9", outcome)
    assert found.authenticated == ("sasl_username" in line)


@pytest.mark.parametrize(
    "line",
    [
        "Nov 24 16:00:00 mail dovecot: imap-login: Login: user=<a: reject: RCPT from x[1.2.3.4]>\n",
        "Nov 24 16:00:00 mail postfix/cleanup[1]: A1: reject: header From: x from y[203.0.113.9]\n",
        "Nov 24 16:00:00 mail postfix/smtpd[1]: NOQUEUE: warn: RCPT from x[203.0.113.9]: other; "
        "from=<local sender, would be refused: not logged in; from=<> to=<> proto=ESMTP\n",
        "Nov 24 16:00:00 mail postfix/smtpd[1]: NOQUEUE: reject: RCPT from x[999.1.1.1]: 554 n\n",
        "no stamp postfix/smtpd[1]: A1: client=unknown[203.0.113.9]\n",
        "",
    ],
)
def test_what_tells_nothing_is_left_out(line: str) -> None:
    assert read(line) == []


def test_a_recipient_that_holds_another_refusal_does_not_pass_for_it() -> None:
    forged = f'"x>: Sender address rejected: {BLACK_TEXT}; from=<y"@far.test'
    (found,) = read(refusal(forged, "Relay access denied", sender="a@b.test", recipient=forged))
    assert found.outcome == "other"


_WORDS = ["Relay access denied", f"Sender address rejected: {LOCAL_TEXT}", "; from=<", "> to=<"]


@given(st.lists(st.sampled_from([*_WORDS, ">: ", "<", "x", '"', "@d.test"]), max_size=8))
def test_no_sender_makes_a_refusal_to_relay_pass_for_one_of_the_sender(parts: list[str]) -> None:
    sender = "".join(parts)
    (found,) = read(
        refusal("b@far.test", "Relay access denied", sender=sender, recipient="b@far.test")
    )
    assert found.outcome in ("relay", "other")
    assert found.client == "203.0.113.9"

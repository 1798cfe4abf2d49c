"""The trusted list's doubts as findings of the doctor."""

from __future__ import annotations

from typing import get_args

import pytest

from tracker.addresses import network
from tracker.deciding.findings import Kind
from tracker.deciding.health.catalogue import CATALOGUE
from tracker.deciding.health.lists import bad, trusted
from tracker.deciding.names import UNKNOWN
from tracker.deciding.trusted import parse
from tracker.records import MailHost

FILE = "/etc/popgate/trusted.txt"
HOST = MailHost(mynetworks=((network("192.0.2.0/24"), True),))


@pytest.mark.parametrize(
    ("text", "code", "severity", "mend"),
    [
        ("203.0.113.5\n203.0.113.5\n", "trusted-duplicate", "note", "popgate trust remove 2"),
        ("203.0.113.0/24\n203.0.113.5\n", "trusted-shadowed", "note", "popgate trust remove 2"),
        ("8.8.8.0/24\n!8.8.8.5\n", "trusted-contradictory", "warning", "popgate trust edit"),
        ("10.0.0.0/8\n", "trusted-private", "note", "popgate trust edit"),
        ("mail.example.com\n", "trusted-unresolved", "warning", "popgate trust check"),
        ("!192.0.2.9\n", "trusted-mynetworks", "warning", "postconf mynetworks"),
    ],
)  # fmt: skip
def test_each_doubt_is_a_finding(text: str, code: str, severity: str, mend: str) -> None:
    listed = parse(text, FILE)
    names = dict.fromkeys(listed.names, UNKNOWN)
    (found,) = trusted(listed.bound(names), names, HOST, FILE)
    assert (found.code, found.severity, found.mend) == (code, severity, mend)
    assert found.where.startswith(f"{FILE}:")


def test_every_kind_of_doubt_has_its_name() -> None:
    assert {f"trusted-{kind}" for kind in get_args(Kind)} <= CATALOGUE.keys()


def test_each_line_of_an_error_is_a_finding() -> None:
    lines = [f"{FILE}:3: '10.1': expected four parts", f"{FILE}:4: 'x': no such"]
    found = list(bad("trusted-bad", lines, "popgate trust edit"))
    assert [one.where for one in found] == [f"{FILE}:3", f"{FILE}:4"]
    assert found[0].what == "'10.1': expected four parts"

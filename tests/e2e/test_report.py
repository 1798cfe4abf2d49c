"""A host on which spam went out through a granted address: the report shows who, when and how."""

from __future__ import annotations

import re
import smtplib
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.clients import pop3_login, rcpt
from lab.dovecot import Dovecot
from lab.network import Wire
from lab.popgate import Popgate
from lab.postfix import Postfix
from lab.processes import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers_allowed")]


def send(wire: Wire, client: str, port: int) -> None:
    """A message from that client to a stranger."""
    with smtplib.SMTP(local_hostname="client.example.org", timeout=10) as smtp:
        smtp.sock = wire.connect(client, port)
        smtp.getreply()
        smtp.sendmail("alice@example.com", ["victim@far.example.org"], "Subject: x\r\n\r\nBuy.\r\n")


def row(page: str, section: str, address: str) -> list[str]:
    """The texts of an address's row in a section."""
    part = page.partition(f'<section id="{section}"')[2].partition("</section>")[0]
    for found in re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL):
        cells = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", found)]
        if cells and cells[0] == address:
            return cells
    return []


def test_the_report_shows_whose_grant_let_the_mail_in(
    folder: Path, wire: Wire, stack: ExitStack
) -> None:
    log = folder / "dovecot/dovecot.log"
    popgate = Popgate(folder / "popgate", log, folder / "postfix/config")
    popgate.command("once")
    dovecot = stack.enter_context(
        Dovecot(folder / "dovecot", wire, {"alice@example.com": "secret"})
    )
    postfix = stack.enter_context(Postfix(folder / "postfix", wire, popgate.snippet()))
    stack.enter_context(popgate)
    spammer, stranger = wire.clients[:2]

    pop3_login(wire, spammer, dovecot.pop3_port, "alice@example.com", "secret")
    wait_for("the grant", lambda: rcpt(wire, spammer, postfix.port)[0] == 250)
    for _ in range(3):
        send(wire, spammer, postfix.port)
    assert rcpt(wire, stranger, postfix.port)[0] == 554
    wait_for("the log", lambda: b"Relay access denied" in postfix.log.read_bytes())

    page = popgate.command(
        "report", "-o", "-", "--no-doctor", f"--postfix-log={postfix.log}"
    ).stdout
    assert "alice@example.com" in row(page, "grants", spammer)[1]
    assert row(page, "timeline", spammer)[1] == "alice@example.com"
    assert row(page, "top", spammer)[-1] == "4", "three messages and the probe"
    refused = row(page, "postfix", stranger)
    assert refused[2:] == ["Relay access denied", "none"]
    assert row(page, "grants", stranger) == []

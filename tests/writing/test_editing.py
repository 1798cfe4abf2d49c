"""Edits made by a real postconf come to what they were planned to come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.postfix import age
from tests.deciding.setups import wanted
from tracker.deciding.installing import applied, plan
from tracker.deciding.uninstalling import unplan
from tracker.records import Edit
from tracker.settings import PostfixSettings
from tracker.writing.editing import commands
from tracker.writing.parameters import CLASSES
from tracker.writing.postfix import Postfix

MAIN = """\
compatibility_level = 3.6
smtpd_sasl_auth_enable = yes
# users first
smtpd_recipient_restrictions =
    permit_mynetworks,
    permit_sasl_authenticated,
    reject_unauth_destination
smtpd_restriction_classes = greylist
unused_by_anything = 5
"""
MASTER = """\
smtp inet n - y - - smtpd
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject_unknown_client_hostname
  -o { smtpd_banner = $myhostname is ready }
smtps inet n - y - - smtpd
  -o smtpd_tls_wrappermode=yes
"""


@pytest.fixture
def postfix(postfix_config: Path) -> Postfix:
    for name, text in (("main.cf", MAIN), ("master.cf", MASTER)):
        (postfix_config / name).write_text(text)
        age(postfix_config / name)
    return Postfix(PostfixSettings(config_directory=str(postfix_config)))


def make(postfix: Postfix, edits: list[Edit]) -> None:
    for arguments in commands(edits):
        postfix.edit(arguments)


def test_the_setup_is_what_stands_in_the_files(postfix: Postfix, postfix_config: Path) -> None:
    found = postfix.setup()
    assert found.main["smtpd_recipient_restrictions"] == (
        "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"
    )
    assert found.main["unused_by_anything"] == "5"
    assert found.values["smtpd_relay_restrictions"].startswith("permit_mynetworks")
    assert postfix.folder() == postfix_config
    smtp, smtps = found.services
    assert (smtp.id, smtp.chroot, smtp.command) == ("smtp/inet", "y", "smtpd")
    assert smtp.options["smtpd_banner"] == "$myhostname is ready"
    assert smtps.options == {"smtpd_tls_wrappermode": "yes"}


def test_in_and_out_again(postfix: Postfix) -> None:
    before = postfix.setup()
    services = wanted("submission", "submissions")
    edits = plan(before, services)
    make(postfix, edits)
    after = postfix.setup()
    planned = applied(before, edits)
    assert after.main == planned.main
    assert {one.id: one.options for one in after.services} == {
        one.id: one.options for one in planned.services
    }
    assert plan(after, services, edits) == []
    make(postfix, unplan(after, edits, CLASSES))
    out = postfix.setup()
    assert out.main == before.main
    assert out.services == before.services


def test_a_command_is_shown_as_a_shell_takes_it(postfix: Postfix, postfix_config: Path) -> None:
    shown = postfix.shown("postconf", "-e", "a = $b, {c d}")
    assert shown == f"postconf -c {postfix_config} -e 'a = $b, {{c d}}'"

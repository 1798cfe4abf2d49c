"""The services of a real master.cf, as the doctor takes them; a policy service, really asked."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from lab.network import Loopback
from lab.popgate import Popgate
from tracker.facts import Role
from tracker.reading.health.mailsystem import _services
from tracker.settings import PostfixSettings
from tracker.writing.postfix import Postfix

MASTER = """\
smtp inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
  -o smtpd_helo_restrictions=reject_invalid_helo_hostname
127.0.0.1:10025 inet n - n - - smtpd
[::1]:10026 inet n - n - - smtpd
192.0.2.1:26 inet n - n - - smtpd
2525 inet n - n - - smtpd
  -o syslog_name=postfix/submission
465 inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
10465 inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
submission inet n - n - - smtpd
qmgr unix n - n 300 1 qmgr
"""


def test_what_strangers_and_users_reach_is_known_by_name_port_and_words(
    postfix_config: Path,
) -> None:
    master = postfix_config / "master.cf"
    master.write_text(MASTER)
    past = time.time() - 10
    os.utime(master, (past, past))
    setup = Postfix(PostfixSettings(config_directory=str(postfix_config))).setup()
    found = list(_services(setup))
    expected: list[tuple[str, Role, int]] = [
        ("smtpd/pass", "smtp", 25),
        ("192.0.2.1:26/inet", "smtp", 26),
        ("2525/inet", "submission", 2525),
        ("465/inet", "submissions", 465),
        ("10465/inet", "submissions", 10465),
        ("submission/inet", "submission", 587),
    ]
    assert [(one.name, one.role, one.port) for one in found] == expected
    behind, bound = found[:2]
    assert behind.overridden == {"smtpd_helo_restrictions"}
    assert behind.values["smtpd_helo_restrictions"] == "reject_invalid_helo_hostname"
    assert "permit_mynetworks" in behind.values["smtpd_relay_restrictions"]  # set by nobody
    assert bound.host == "192.0.2.1"


@pytest.mark.parametrize("place", ["unix:{folder}/policy/socket", "inet:127.0.0.1:{port}"])
def test_a_policy_service_that_answers_and_one_that_is_gone(
    tmp_path: Path, postfix_config: Path, place: str
) -> None:
    listen = place.format(folder=tmp_path, port=Loopback().free_port())
    settings = f'[grants]\nscope = "address"\n[policy]\nlisten = "{listen}"\n'
    log = tmp_path / "mail.log"
    log.touch()
    popgate = Popgate(tmp_path / "popgate", log, postfix_config, settings)

    def silent() -> bool:
        found = json.loads(popgate.command("doctor", "--json").stdout)
        return "policy-silent" in [one["code"] for one in found]

    with popgate:
        assert not silent()
    assert silent()

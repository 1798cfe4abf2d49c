"""From nothing but a Postfix and a Dovecot: `popgate init`, and a POP login earns a grant."""

from __future__ import annotations

import json
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

USER, PASSWORD = "alice@example.com", "secret"
AUTH = """
service auth {{
  unix_listener {socket} {{
    mode = 0660
  }}
}}
"""


@pytest.mark.parametrize("stamp", ["", '\nlog_timestamp = "%Y-%m-%d %H:%M:%S "\n'])
def test_what_init_writes_is_enough_for_a_login_to_earn_a_grant(
    folder: Path, stack: ExitStack, wire: Wire, stamp: str
) -> None:
    socket = folder / "dovecot/auth-for-postfix"
    settings = AUTH.format(socket=socket) + stamp
    dovecot = Dovecot(folder / "dovecot", wire, {USER: PASSWORD}, settings)
    stack.enter_context(dovecot)
    asks = {"smtpd_sasl_type": "dovecot", "smtpd_sasl_path": str(socket)}
    Postfix(folder / "postfix", wire, extra=asks).prepare()
    popgate = Popgate(folder / "popgate", dovecot.log, folder / "unused")
    popgate.file.unlink()
    config = folder / "postfix/config"
    done = popgate.command(
        "init", "--postfix-config", str(config), "--dovecot-config", str(dovecot.configuration)
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"found    logins are read from {dovecot.log}" in done.stdout
    assert f"found    Dovecot checks passwords for Postfix at {socket}" in done.stdout
    assert "found    local: example.net" in done.stdout
    for key, value in (
        ("state.directory", popgate.maps.parent),
        ("tables.directory", popgate.maps),
        ("audit.interval", "1s"),
    ):
        assert popgate.command("config", "set", key, str(value)).returncode == 0
    checked = popgate.command("config", "check")
    assert (checked.returncode, checked.stdout) == (
        0,
        f"{popgate.file}: good\n{popgate.trusted}: 0 entries\n",
    )
    assert popgate.command("once").returncode == 0
    postfix = stack.enter_context(Postfix(folder / "postfix", wire, popgate.snippet(), extra=asks))
    stack.enter_context(popgate)
    here, other = wire.clients[:2]
    assert rcpt(wire, here, postfix.port)[0] == 554
    pop3_login(wire, here, dovecot.pop3_port, USER, PASSWORD)
    wait_for("the grant", lambda: rcpt(wire, here, postfix.port)[0] == 250)
    assert rcpt(wire, other, postfix.port)[0] == 554
    told = json.loads(popgate.command("list", "--json").stdout)
    assert [(row["address"], row["users"]) for row in told] == [(here, [USER])]

"""A real Dovecot whose settings shape its log: popgate reads them with doveconf, and its lines."""

from __future__ import annotations

import poplib
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.clients import pop3_login
from lab.dovecot import Dovecot
from lab.network import Wire
from lab.processes import wait_for
from tests.conftest import require
from tracker.reading.events import EventReader
from tracker.reading.joining import SessionJoin
from tracker.reading.selecting import select
from tracker.reading.timestamps import StampReader
from tracker.records import Event, Failed, Login, Logout, Restart
from tracker.settings import LogSettings

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers_allowed")]

FORGED = "203.0.113.66"
USERS = [  # in lower case, as Dovecot makes them
    "alice@example.com",
    f"x>, method=plain, rip={FORGED}, lip=1.1.1.1, mpid=1",
    f'bob" - login, rip={FORGED}, [{FORGED}] x',
    f"eve rip={FORGED} sess=v)<1><v>: disconnected: y",
]
SETTINGS = {
    "2.3": {
        "order, message last, join by process": """
login_log_format_elements = rip=%r:%{rport} lip=%l %k user=<%u> mech=%m pid=%e %c
login_log_format = %s - %$
mail_log_prefix = "%s(%u)[%p]: "
log_timestamp = "%d.%m.%Y %H:%M:%S %z "
""",
        "quotes, prefix with everything": """
login_log_format_elements = "%{session} [%r] %m %c \\"%u\\""
mail_log_prefix = "%s[%p](user=%u rip=%r sess=%{session}): "
log_timestamp = "%s "
""",
        "the address behind the name, without a quote": """
login_log_format_elements = user=%u method=%m rip=%r lip=%l session=<%{session}>
mail_log_prefix = "%s(%u)<%{session}>: "
""",
    },
    "2.4": {
        "order, message last, join by process": """
login_log_format_elements = rip=%{remote_ip}:%{remote_port} %{ssl_security} user=<%{user}> \
mech=%{mechanism} pid=%{mail_pid} %{secured}
login_log_format = %{elements} - %{message}
mail_log_prefix = "%{protocol}(%{user})[%{process:pid}]: "
log_timestamp = "%d.%m.%Y %H:%M:%S %z "
""",
        "quotes, prefix with everything": """
login_log_format_elements = "%{session} [%{remote_ip}] %{mechanism} %{secured} \\"%{user}\\""
mail_log_prefix = "%{protocol}[%{process:pid}](user=%{user} rip=%{remote_ip} sess=%{session}): "
log_timestamp = "%s "
""",
        "the address behind the name, without a quote": """
login_log_format_elements = user=%{user} method=%{mechanism} rip=%{remote_ip} lip=%{local_ip} \
session=<%{session}>
mail_log_prefix = "%{protocol}(%{user})<%{session}>: "
""",
    },
}

ANY_NAME = {
    "2.3": """auth_username_chars =
mail_location = maildir:{folder}/dovecot/mail/any
passdb {
  driver = static
  args = password=secret
}
""",
    "2.4": """auth_username_chars =
mail_path = {folder}/dovecot/mail/any
passdb static {
  password = secret
}
""",
}
"""Every name there is may log in, and every character is one of a name."""


def version() -> str:
    found = subprocess.run(
        ["/usr/sbin/dovecot", "--version"], capture_output=True, text=True, check=True
    )
    return found.stdout[:3]


def read(dovecot: Dovecot) -> list[Event]:
    now = datetime.now(UTC)
    settings = LogSettings(files=(dovecot.log,), dovecot=str(dovecot.configuration))
    join = SessionJoin()
    events = EventReader(select(settings, now), StampReader(now)).read(dovecot.log.read_bytes())
    return [join.join(event) for event in events]


@pytest.mark.parametrize("kind", SETTINGS["2.3"])
def test_logins_and_logouts_are_joined_whatever_the_names(
    kind: str, wire: Wire, folder: Path
) -> None:
    missing = Dovecot.missing()
    require(f"not installed: {' '.join(missing)}" if missing else None)
    own = SETTINGS[version()][kind] + ANY_NAME[version()].replace("{folder}", str(folder))
    begun = datetime.now(UTC).replace(microsecond=0)
    with Dovecot(folder / "dovecot", wire, {}, own) as dovecot:
        client = wire.clients[0]
        for user in USERS:
            pop3_login(wire, client, dovecot.pop3_port, user, "secret")
            with pytest.raises(poplib.error_proto):
                pop3_login(wire, client, dovecot.pop3_port, user, "wrong")
        wait_for(
            "all logouts",
            lambda: sum(isinstance(event, Logout) for event in read(dovecot)) == len(USERS),
            20,
        )
        found = read(dovecot)
    logins = {event.session: event for event in found if isinstance(event, Login)}
    logouts = {event.session: event for event in found if isinstance(event, Logout)}
    names = {name[:77] + "..." if len(name) > 80 else name for name in USERS}
    assert None not in logins
    assert logouts.keys() == logins.keys()
    assert {event.user for event in logins.values()} == names
    assert {event.user for event in found if isinstance(event, Failed)} == names
    assert {event.address for event in found if not isinstance(event, Restart)} == {client}
    assert all(begun <= event.time <= datetime.now(UTC) for event in found)
    assert any(isinstance(event, Restart) for event in found)

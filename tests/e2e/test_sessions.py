"""A mail session whose end was not logged, on a real Dovecot."""

from __future__ import annotations

import json
import os
import poplib
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from lab.clients import pop3_session
from lab.network import Wire
from lab.processes import wait_for
from tests.e2e.test_main_job import PASSWORD, USER, Host

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers_allowed")]

SETTINGS = """[log]
files = ["{folder}/dovecot/dovecot.log"]
sessions_command = ["doveadm", "-c", "{folder}/dovecot/dovecot.conf", "-f", "tab", "who", "-1"]
sessions_interval = "1s"
[grants]
window = "3s"
"""


def sessions(host: Host) -> int:
    rows = json.loads(host.popgate.command("list", "--json").stdout)
    return sum(row["sessions"] for row in rows)


@contextmanager
def cut_short(host: Host, client: str) -> Iterator[None]:
    """A mail session that is open for the length of the context, and then killed."""
    with (
        suppress(OSError, poplib.error_proto),
        pop3_session(host.wire, client, host.dovecot.pop3_port, USER, PASSWORD),
    ):
        yield
        pid = re.findall(rb"mpid=([0-9]+)", host.dovecot.log.read_bytes())[-1]
        os.kill(int(pid), signal.SIGKILL)


def test_ends_when_dovecot_lists_it_no_more(folder: Path, wire: Wire, stack: ExitStack) -> None:
    host = Host(folder, wire, stack, SETTINGS.format(folder=folder))
    client = "198.51.100.7"
    with cut_short(host, client):
        host.becomes(client, 250)
        time.sleep(2.5)  # until it was listed
        assert sessions(host) == 1
    wait_for("the end of the session", lambda: sessions(host) == 0)
    assert b"Disconnected: Logged out" not in host.dovecot.log.read_bytes()
    host.becomes(client, 554)
    assert b"sessions_unchecked" not in host.popgate.said.read_bytes()

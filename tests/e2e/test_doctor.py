"""`popgate doctor` on a real Postfix, Dovecot and popgate: each fault is really made.

What it names is that fault and nothing else, and where a command of its own mends it, that command
is run and the next look finds nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.clients import pop3_login
from lab.dovecot import Dovecot
from lab.network import Wire
from lab.popgate import Popgate
from lab.postfix import Postfix, certificate
from lab.processes import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers_allowed")]

USER, PASSWORD = "alice@example.com", "secret"
CLIENT = "198.51.100.7"


class Site:
    """A healthy installation, with the submission ports; its crontab is its own too."""

    def __init__(self, folder: Path, wire: Wire, stack: ExitStack) -> None:
        self.folder, self.wire = folder, wire
        self.crontabs = folder / "cron.d"
        self.crontabs.mkdir()
        (self.crontabs / "popgate").write_text("* * * * * root /usr/bin/popgate expire\n")
        log = folder / "dovecot/dovecot.log"
        self.popgate = Popgate(folder / "popgate", log, folder / "postfix/config")
        self.popgate.command("once")
        self.dovecot = stack.enter_context(Dovecot(folder / "dovecot", wire, {USER: PASSWORD}))
        extra = {
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": str(self.dovecot.smtp_auth),
            **certificate(folder),
        }
        services = (self.popgate.maps / "master.cf.snippet").read_text()
        self.postfix = stack.enter_context(
            Postfix(folder / "postfix", wire, self.popgate.snippet(), extra, services)
        )
        stack.enter_context(self.popgate)
        pop3_login(wire, CLIENT, self.dovecot.pop3_port, USER, PASSWORD)
        wait_for("the grant", lambda: CLIENT in self.popgate.command("list").stdout)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """A command on the mail host, where the site's crontabs are the host's."""
        own = 'mount --bind "$0" /etc/cron.d && exec "$@"'
        return subprocess.run(
            self.wire.command(["unshare", "--mount", "sh", "-c", own, str(self.crontabs), *argv]),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "MAIL_CONFIG": str(self.postfix.config)},
        )

    def doctor(self, *options: str) -> subprocess.CompletedProcess[str]:
        config = ("--config", str(self.popgate.file))
        return self.run(sys.executable, "-m", "tracker", "doctor", *config, *options)

    def findings(self) -> list[dict[str, str]]:
        """All but the notes."""
        done = self.doctor("--json")
        assert done.stderr == ""
        return [one for one in json.loads(done.stdout) if one["severity"] != "note"]


@pytest.fixture(scope="module")
def site(wire: Wire) -> Iterator[Site]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-test-")))
        folder.chmod(0o755)
        yield Site(folder, wire, stack)


def test_a_healthy_host_has_no_findings(site: Site) -> None:
    began = time.monotonic()
    done = site.doctor()
    print(time.monotonic() - began)
    print(done.stdout, done.stderr)
    assert site.findings() == []
    assert done.returncode == 0

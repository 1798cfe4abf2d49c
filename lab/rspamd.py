"""An rspamd of one's own: Debian's configuration, with a local folder and a port of its own.

`local` has the files of local.d, and rspamd.local.lua, as an admin writes them. It asks no DNS and
no maps of the internet: what it says rests on what popgate exported.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from lab.network import Loopback
from lab.processes import alive, run, stop, wait_for

_OWN = {
    # Files are looked at ten times a second, not twice a minute.
    "options.inc": "map_file_watch_multiplier = 0.0003;\ndisable_hyperscan = true;\n"
    # The full list of suffixes is compiled for a quarter of a minute.
    'url_tld = "$LOCAL_CONFDIR/suffixes.dat";\ndns { nameserver = ["127.0.0.1:9"]; '
    "timeout = 0.1s; retransmits = 1; }\n",
    "logging.inc": 'type = "console";\n',
    "worker-proxy.inc": "enabled = false;\n",
    "worker-fuzzy.inc": "enabled = false;\n",
    "rbl.conf": "enabled = false;\n",
    "fuzzy_check.conf": "enabled = false;\n",
    "phishing.conf": "openphish_enabled = false;\n",
}


class Rspamd:
    """One instance; a context manager."""

    def __init__(self, folder: Path, local: Mapping[str, str]) -> None:
        self._folder = folder
        self.port = Loopback().free_port()
        self._controller = Loopback().free_port()
        self._local = dict(local)
        self._process: subprocess.Popen[bytes] | None = None
        self.said = folder / "rspamd.log"

    @staticmethod
    def missing() -> list[str]:
        """The Debian packages that are not there."""
        return [] if shutil.which("rspamd") and shutil.which("rspamc") else ["rspamd"]

    def _variables(self) -> list[str]:
        places = {
            "LOCAL_CONFDIR": self._folder / "etc",
            "DBDIR": self._folder / "db",
            "RUNDIR": self._folder / "run",
            "LOGDIR": self._folder / "log",
        }
        return [f"--var={name}={place}" for name, place in places.items()]

    def prepare(self) -> None:
        """Write its configuration."""
        for name in ("db", "run", "log", "etc/local.d", "etc/override.d"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("db", "run", "log"):
            shutil.chown(self._folder / name, "_rspamd", "_rspamd")
        ports = {
            "worker-normal.inc": f'bind_socket = "127.0.0.1:{self.port}";\ncount = 1;\n',
            "worker-controller.inc": f'bind_socket = "127.0.0.1:{self._controller}";\n',
        }
        for name, text in {**_OWN, **ports}.items():
            (self._folder / "etc/override.d" / name).write_text(text)
        (self._folder / "etc/suffixes.dat").write_text("com\nnet\norg\ntest\n")
        for name, text in self._local.items():
            place = "etc" if name.endswith(".lua") else "etc/local.d"
            (self._folder / place / name).write_text(text)

    def configtest(self) -> str:
        """`rspamadm configtest`; what it says. Raises RuntimeError."""
        return run(["rspamadm", *self._variables(), "configtest"])

    def __enter__(self) -> Self:
        self.prepare()
        with self.said.open("wb") as said:
            self._process = subprocess.Popen(
                ["rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd", *self._variables()],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        try:
            wait_for("rspamd", self._answers)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and alive(self._process.pid):
            stop(self._process.pid)
        if self._process is not None:
            self._process.wait(5)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2):
            return True
        return False

    def scan(self, message: str, client: str, sender: str, user: str = "") -> dict[str, Any]:
        """What rspamd says of a message, as a milter hands it over: its reply to a scan."""
        asked = ["-i", client, "-F", sender, "-r", "bob@example.net"]
        login = ["--user", user] if user else []
        place = ["-h", f"127.0.0.1:{self.port}", "-t", "10"]
        done = subprocess.run(
            ["rspamc", "--json", *place, *asked, *login, "symbols"],
            input=message,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        reply: dict[str, Any] = json.loads(done.stdout)
        return reply

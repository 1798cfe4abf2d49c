"""A Postfix of one's own: it accepts mail and discards it, on a port above 10000.

`snippet` goes into main.cf as it stands: what popgate generated is what is tested. Root is needed.

in_flow_delay is off: a client that asks RCPT and then gives up takes a token each time without
giving one back, and would wait a second now and then.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from lab.network import Wire
from lab.processes import Server, run

_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
myhostname = mail.example.net
mydestination = example.net
mynetworks = 127.255.255.254/32
inet_interfaces = all
inet_protocols = {protocols}
alias_maps =
local_recipient_maps =
default_transport = discard
local_transport = discard
relay_transport = discard
smtpd_peername_lookup = no
in_flow_delay = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 100000
smtpd_hard_error_limit = 100000
smtpd_junk_command_limit = 100000
"""
_MASTER = """
{port} inet n - n - {limit} {command}
{options}pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix(Server):
    """One instance; a context manager."""

    name = "Postfix"

    def __init__(
        self,
        folder: Path,
        wire: Wire,
        snippet: str = "",
        extra: Mapping[str, str] | None = None,
        services: str = "",
        *,
        port: int | None = None,
        options: str = "",
        command: Literal["smtpd", "postscreen"] = "smtpd",
    ) -> None:
        """`extra` goes into main.cf behind the snippet. `services` goes into master.cf; those named
        in it as submission and submissions listen on `ports`, not on 587 and 465, unless `port` is
        25: then everything is where it is on a mail host. `command`: what listens there; `options`:
        lines of its own."""
        self._folder = folder
        self._wire = wire
        self._snippet = snippet
        self._extra = dict(extra or {})
        self.config = folder / "config"
        self.log = folder / "postfix.log"
        self.port = port or wire.free_port()
        self._options = options
        self._command = command
        self._services = services
        self.ports = {25: self.port}
        for service, name in ((587, "submission"), (465, "submissions")):
            if re.search(rf"^{name} inet", services, re.MULTILINE):
                self.ports[service] = service if self.port == 25 else wire.free_port()

    @staticmethod
    def missing() -> list[str]:
        """The Debian packages that are not there."""
        postconf = shutil.which("postconf", path="/usr/sbin:/usr/bin")
        if postconf is None:
            return ["postfix", "postfix-lmdb"]
        return [] if "lmdb" in run([postconf, "-m"]).split() else ["postfix-lmdb"]

    @staticmethod
    def configuration(folder: Path) -> Path:
        """A configuration folder that Postfix's commands can use before any server runs."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (("main.cf", "compatibility_level = 3.6\n"), ("master.cf", "")):
            (folder / name).write_text(text)
            age(folder / name)
        return folder

    def prepare(self) -> None:
        """Write its configuration, which its commands can be asked for before it is started."""
        self._write()

    def _launch(self) -> Path:
        self._write()
        try:
            run(self._wire.command(["/usr/sbin/postfix", "-c", str(self.config), "start"]))
        except RuntimeError as error:  # what is wrong stands in its log alone
            said = self.log.read_text() if self.log.exists() else ""
            raise RuntimeError(f"{error} {said[-2000:]}") from error
        return self._folder / "queue/pid/master.pid"

    def reload(self) -> None:
        """`postfix reload`."""
        run(self._wire.command(["/usr/sbin/postfix", "-c", str(self.config), "reload"]))

    def take(self, snippet: str) -> None:
        """Put another snippet in the place of the one in main.cf, and reload."""
        self._snippet = snippet
        self._write()
        self.reload()

    def _write(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o755)
        self.config.mkdir(exist_ok=True)
        protocols = "all" if any(":" in client for client in self._wire.clients) else "ipv4"
        main = _MAIN.format(folder=self._folder, protocols=protocols) + self._snippet
        (self.config / "main.cf").write_text(_with(main, self._extra))
        services = self._services
        for service, name in ((587, "submission"), (465, "submissions")):
            if self.port != 25:
                services = re.sub(
                    rf"^{name} inet n - y",
                    f"{self.ports.get(service)} inet n - n",
                    services,
                    flags=re.M,
                )
        master = _MASTER.format(
            port="smtp" if self.port == 25 else self.port,
            limit="1" if self._command == "postscreen" else "-",
            command=self._command,
            options=self._options,
        )
        (self.config / "master.cf").write_text(master + services)
        for file in (self.config / "main.cf", self.config / "master.cf"):
            age(file)
        (self._folder / "queue").mkdir(exist_ok=True)
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        shutil.chown(data, "postfix")

    def _answers(self) -> bool:
        with suppress(OSError), self._wire.connect(self._wire.clients[0], self.port, 2) as channel:
            return channel.recv(64).startswith(b"220")
        return False


def certificate(folder: Path) -> dict[str, str]:
    """A certificate of one's own, and what main.cf says of it."""
    key, made = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    run([*command, "-subj", "/CN=mail.example.net", "-keyout", str(key), "-out", str(made)])
    return {"smtpd_tls_cert_file": str(made), "smtpd_tls_key_file": str(key)}


def _with(main: str, extra: Mapping[str, str]) -> str:
    """main.cf with other values for some parameters, each written once: master would log what is
    overridden before anybody reads its log, and hang."""
    kept = [line for line in main.splitlines() if line.partition(" = ")[0] not in extra]
    return "\n".join([*kept, *(f"{key} = {value}" for key, value in extra.items()), ""])


def age(file: Path) -> None:
    """Postfix's commands wait while a configuration file is younger than two seconds."""
    past = time.time() - 10
    os.utime(file, (past, past))

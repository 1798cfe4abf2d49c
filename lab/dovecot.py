"""A Dovecot of one's own: POP3 and IMAP, plain text, logging to a file of its own.

Both configuration dialects are known: 2.3 (Debian 12) and 2.4 (Debian 13). Root is needed, since
Dovecot drops its privileges by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lab.network import Wire
from lab.processes import Server, run

_COMMON = """
protocols = pop3 imap
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {log}
ssl = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_max_userip_connections = 10000
default_process_limit = 1000
default_client_limit = 4000
service anvil {{
  client_limit = 8000
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  client_limit = 8000
  unix_listener {folder}/smtp-auth {{
    mode = 0666
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
service pop3-login {{
  {no_restart}
  process_min_avail = 1
  process_limit = 2
  inet_listener pop3 {{
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service imap-login {{
  {no_restart}
  process_limit = 2
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""
_OLD = """
listen = *, ::
disable_plaintext_auth = no
mail_location = maildir:{folder}/mail/%u
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={folder}/mail/%u
}}
"""
_NEW_HEAD = """
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
"""
_NEW = """
listen = *, ::
auth_allow_cleartext = yes
mail_driver = maildir
mail_path = {folder}/mail/%{{user}}
first_valid_uid = 1
passdb passwd-file {{
  passwd_file_path = {folder}/users
}}
userdb static {{
  fields {{
    uid = mail
    gid = mail
    home = {folder}/mail/%{{user}}
  }}
}}
"""


class Dovecot(Server):
    """One instance; a context manager."""

    name = "Dovecot"

    def __init__(
        self, folder: Path, wire: Wire, users: Mapping[str, str], settings: str = ""
    ) -> None:
        """`folder` is its own; `users`: name to password; `settings`: more lines for its
        configuration, in the dialect of its version."""
        self._folder = folder
        self._settings = settings
        self.configuration = folder / "dovecot.conf"
        self._wire = wire
        self._users = users
        self.log = folder / "dovecot.log"
        self.smtp_auth = folder / "smtp-auth"
        self.pop3_port = wire.free_port()
        self.imap_port = wire.free_port()

    @staticmethod
    def missing() -> list[str]:
        """The Debian packages that are not there."""
        parts = {"dovecot-pop3d": "pop3", "dovecot-imapd": "imap"}
        have = shutil.which("dovecot", path="/usr/sbin:/usr/bin") is not None
        return [
            package
            for package, part in parts.items()
            if not have or not Path("/usr/lib/dovecot", part).exists()
        ]

    def _launch(self) -> Path:
        self._write(run(["/usr/sbin/dovecot", "--version"]).split()[0])
        run(self._wire.command(["/usr/sbin/dovecot", "-c", str(self.configuration)]))
        return self._folder / "run/master.pid"

    def _write(self, version: str) -> None:
        for folder in (self._folder, self._folder / "mail"):
            folder.mkdir(exist_ok=True, parents=True)
            folder.chmod(0o755)
        shutil.chown(self._folder / "mail", "mail", "mail")
        users = "".join(
            f"{name}:{{PLAIN}}{password}::::::\n" for name, password in self._users.items()
        )
        (self._folder / "users").write_text(users)
        old = version.startswith("2.3")
        form = _COMMON + _OLD if old else _NEW_HEAD + _COMMON + _NEW
        self.configuration.write_text(
            form.format(
                folder=self._folder,
                log=self.log,
                no_restart="service_count = 0" if old else "restart_request_count = unlimited",
                pop3_port=self.pop3_port,
                imap_port=self.imap_port,
            )
            + self._settings
        )

    def _answers(self) -> bool:
        return all(self._greets(port) for port in (self.pop3_port, self.imap_port))

    def _greets(self, port: int) -> bool:
        with suppress(OSError), self._wire.connect(self._wire.clients[0], port, 1) as channel:
            return channel.recv(64)[:1] in (b"+", b"*")
        return False

"""Dovecot and Postfix, each a private instance that lives in one folder.

    with Postfix(folder, wire, snippet) as postfix:
        print(rcpt(wire, client, postfix.port, "a@home.test", "b@far.test"))

An instance has its own configuration, queue, state, log and ports, and shares with the machine's
own mail servers nothing but the programs. `start` returns once the server can be used, `stop` once
the last of its processes is gone; both are called by the with block. The folder is made if need be
and is the caller's to delete. All its parents must be open to other users (0755), since servers
give up root: a folder made by tempfile.mkdtemp has to be opened with chmod first.

Dovecot    POP3 and IMAP, no TLS, plain-text passwords, no delay after failures, no limits that a
           test could meet. The dialect of its configuration (2.3 or 2.4) follows the program.
           Runs as root, or as any user, who then owns everything.
Postfix    An smtpd that discards what it accepts: for local.test from everybody, for elsewhere
           from those whom the given configuration lets through (554 to others). No DNS, no delay,
           no rate limits. Only root can start it.

What fails raises SetupError with one line: what, and the last that the server said. A server
outlives a Python that is killed; in a Network the next run ends it, on Loopback nobody does.

Two waits are Dovecot 2.3's own and cannot be configured away (2.4 has neither): a refused login is
answered at the next tick of a 500 ms clock, and stopping takes 1 s.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from string import Template
from typing import IO, NamedTuple, Self

from demo.clients import Dialogue
from demo.network import SetupError, Wire

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
DOVECOT_PROGRAMS = Path("/usr/lib/dovecot")

START_SECONDS = 15.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.01

# sockaddr_un holds 107 bytes; the longest socket that Dovecot makes below its base_dir is
# "login/ssl-params" in 2.3 and "anvil-auth-penalty" in 2.4, with room to spare.
LONGEST_BASE_DIR = 107 - 28


def find_missing() -> list[str]:
    """The Debian packages that have to be installed before servers can start."""
    missing = []
    if _program("postfix") is None or _program("postconf") is None:
        missing += ["postfix", "postfix-lmdb"]
    elif "lmdb" not in _postfix_table_types():
        missing.append("postfix-lmdb")
    for service, package in (("pop3", "dovecot-pop3d"), ("imap", "dovecot-imapd")):
        if _program("dovecot") is None or not (DOVECOT_PROGRAMS / service).exists():
            missing.append(package)
    return missing


def _postfix_table_types() -> list[str]:
    # With an empty configuration: the machine's own main.cf may be absent or broken.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "main.cf").touch()
        return _output("postconf", "-c", folder, "-m").split()


class Process(NamedTuple):
    """A process as proc(5) shows it."""

    pid: int
    name: str
    state: str
    parent: int
    group: int


class TcpSocket(NamedTuple):
    """A TCP socket as proc(5) shows it."""

    port: int
    listens: bool
    inode: str


class Server(ABC):
    """A server process in the foreground, and the processes that it starts."""

    name: str

    def __init__(self, folder: Path, wire: Wire) -> None:
        self._folder = folder.absolute()
        self._wire = wire
        self._output = self._folder / "output"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the master process."""
        if self._process is None:
            raise SetupError(f"{self.name} is not running")
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and return when the server can be used."""
        if self._process is not None:
            raise SetupError(f"{self.name} is running already")
        _make_open_folder(self._folder)
        argv = self._prepare()
        with self._output.open("wb") as output:
            self._process = self._spawn(argv, output)
        try:
            _wait_until(self._is_ready_or_failed, START_SECONDS, self._failed)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop, and return when no process is left; a server that is not running is left alone."""
        process = self._process
        if process is None:
            return
        self._process = None
        with suppress(ProcessLookupError):
            process.terminate()

        def is_gone() -> bool:
            process.poll()
            return not _has_processes(process.pid)

        def kill() -> None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        _wait_until(is_gone, STOP_SECONDS, kill)
        process.wait()

    def _spawn(self, argv: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        # The caller's MAIL_CONFIG or LD_PRELOAD is not the server's business; the time zone is,
        # since the log is in local time. A session of its own keeps the terminal's ^C away.
        environment = {"PATH": PATH}
        if "TZ" in os.environ:
            environment["TZ"] = os.environ["TZ"]
        return subprocess.Popen(
            self._wire.command(argv),
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def _is_ready_or_failed(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            self._failed()
        return self._is_ready()

    def _failed(self) -> None:
        raise SetupError(f"{self.name} did not start: {self._last_words()}")

    def _last_words(self) -> str:
        lines = [line for path in self._logs() for line in _read(path).splitlines() if line.strip()]
        grave = [line for line in lines if re.search(r"\b(fatal|panic|error):", line, re.I)]
        status = self._process.poll() if self._process is not None else None
        silent = f"exit status {status}" if status is not None else "it gives no sign of life"
        return (grave or lines or [silent])[-1].strip()

    def _logs(self) -> list[Path]:
        return [self._output]

    @abstractmethod
    def _prepare(self) -> list[str]:
        """Write the configuration; the argv that runs the server in the foreground."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Can it be used? Asked again and again after the start."""


class Dovecot(Server):
    """POP3 and IMAP for the given users; every login goes to the log, as Dovecot writes it.

    `log` is a file, or None for syslog. Its lines are those of the clients alone: readiness is
    seen from outside, by the ports, without a connection.
    """

    name = "dovecot"

    def __init__(
        self, folder: Path, wire: Wire, users: Mapping[str, str], log: Path | None
    ) -> None:
        super().__init__(folder, wire)
        self.users = dict(users)
        self.log = log.absolute() if log is not None else None
        self.pop3_port = wire.free_port()
        self.imap_port = wire.free_port()

    def _prepare(self) -> list[str]:
        program = _program("dovecot")
        if program is None:
            raise SetupError("Dovecot is missing: apt-get install dovecot-pop3d dovecot-imapd")
        base = self._folder / "run"
        if len(os.fsencode(base)) > LONGEST_BASE_DIR:
            raise SetupError(f"{base} is too long a name for sockets: choose a shorter folder")
        self._write_users()
        if self.log is not None:
            self.log.parent.mkdir(parents=True, exist_ok=True)
        # A pid file of an earlier run would look like readiness.
        (base / "master.pid").unlink(missing_ok=True)
        config = self._folder / "dovecot.conf"
        config.write_text(self._config())
        return [program, "-F", "-c", str(config)]

    def _write_users(self) -> None:
        owner = _mail_user()
        mail = self._folder / "mail"
        mail.mkdir(exist_ok=True)
        os.chown(mail, owner.pw_uid, owner.pw_gid)
        for user, password in self.users.items():
            if re.search(r"[:\s/]", user) or re.search(r"[:\s]", password):
                raise SetupError(f"user {user!r}: colons, slashes and spaces cannot be used")
        lines = [f"{user}:{{PLAIN}}{password}\n" for user, password in self.users.items()]
        path = self._folder / "users"
        path.write_text("".join(lines))
        path.chmod(0o644)

    def _config(self) -> str:
        owner = _mail_user()
        old = _dovecot_version() < (2, 4)
        parts = [DOVECOT_23 if old else DOVECOT_24, DOVECOT_BOTH]
        if self.log is not None:
            parts.append(f"log_path = {self.log}\n")
        if os.geteuid() != 0:
            parts.append(DOVECOT_ROOTLESS_23 if old else DOVECOT_ROOTLESS_24)
        return Template("".join(parts)).substitute(
            folder=self._folder,
            listen="*, ::" if self._wire.private else self._wire.host,
            no_restart="service_count = 0" if old else "restart_request_count = unlimited",
            pop3_port=self.pop3_port,
            imap_port=self.imap_port,
            uid=owner.pw_uid,
            gid=owner.pw_gid,
            user=owner.pw_name,
            group=grp.getgrgid(owner.pw_gid).gr_name,
        )

    def _is_ready(self) -> bool:
        if not (self._folder / "run/master.pid").exists():
            return False
        return {self.pop3_port, self.imap_port} <= _listening_ports(self.pid)

    def _logs(self) -> list[Path]:
        return [*([self.log] if self.log is not None else []), self._output]


class Postfix(Server):
    """An smtpd on `port`; `snippet` ends its main.cf exactly as given.

    `extra` adds parameters or replaces those that are set here; parameters that the snippet sets
    are left to the snippet. Each of `smtpd_options` is a `name=value` for master.cf.
    """

    name = "postfix"

    def __init__(
        self,
        folder: Path,
        wire: Wire,
        snippet: str = "",
        extra: Mapping[str, str] | None = None,
        smtpd_options: Sequence[str] = (),
    ) -> None:
        super().__init__(folder, wire)
        self.port = wire.free_port()
        self.config_dir = self._folder / "etc"
        self.log = self._folder / "mail.log"
        self._snippet = snippet
        self._extra = dict(extra or {})
        self._smtpd_options = tuple(smtpd_options)

    def reload(self) -> None:
        """Run `postfix reload`, and return when every new connection gets the new configuration.

        Neither the command's end nor the line in the log says so: an idle smtpd may take one more
        client before it hears of the reload. One that has a client ends that session as it began.
        """
        argv = ["postfix", "-c", str(self.config_dir), "reload"]
        reloads = self._reloads()
        former = [process for process in _processes() if self._is_smtpd(process)]
        done = subprocess.run(
            self._wire.command(argv),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": PATH},
        )
        if done.returncode != 0:
            raise SetupError(f"postfix reload: {' '.join(done.stderr.split())}")

        def is_done() -> bool:
            alive = {process.pid for process in _processes() if self._is_smtpd(process)}
            idle = [it for it in former if it.pid in alive and not _has_connection(it.pid)]
            return self._reloads() > reloads and not idle

        def give_up() -> None:
            raise SetupError(f"postfix reload: not done after {START_SECONDS:.0f} s")

        _wait_until(is_done, START_SECONDS, give_up)

    def _is_smtpd(self, process: Process) -> bool:
        return process.parent == self.pid and process.name == "smtpd" and process.state != "Z"

    def _reloads(self) -> int:
        return len(re.findall(r"/master\[\d+\]: reload -- ", _read(self.log)))

    def _prepare(self) -> list[str]:
        if os.geteuid() != 0:
            raise SetupError("only root can start Postfix")
        if _program("postfix") is None:
            raise SetupError("Postfix is missing: apt-get install postfix postfix-lmdb")
        self._make_queue()
        self.config_dir.mkdir(exist_ok=True)
        self.config_dir.chmod(0o755)
        self._write("main.cf", self._main())
        self._write("master.cf", self._master())
        # The log of an earlier run would tell its errors again.
        self.log.unlink(missing_ok=True)
        return [str(_postfix_programs() / "master"), "-c", str(self.config_dir)]

    def _write(self, name: str, text: str) -> None:
        path = self.config_dir / name
        path.write_text(text)
        path.chmod(0o644)
        # Postfix commands wait while a configuration file is younger than two seconds.
        past = time.time() - 10
        os.utime(path, (past, past))

    def _make_queue(self) -> None:
        """By hand what `post-install create-missing` would do in a second."""
        owner = pwd.getpwnam("postfix").pw_uid
        group = grp.getgrnam("postdrop").gr_gid
        queue = self._folder / "queue"
        for path, mode in ((queue, 0o755), (queue / "pid", 0o755)):
            path.mkdir(exist_ok=True)
            path.chmod(mode)
        owned = dict.fromkeys(POSTFIX_QUEUES, 0o700) | {"maildrop": 0o730, "public": 0o710}
        folders = [(queue / name, mode) for name, mode in owned.items()]
        for path, mode in [*folders, (self._folder / "data", 0o700)]:
            path.mkdir(exist_ok=True)
            os.chown(path, owner, -1 if mode == 0o700 else group)
            path.chmod(mode)

    def _main(self) -> str:
        settings = POSTFIX_MAIN | {
            "queue_directory": f"{self._folder}/queue",
            "data_directory": f"{self._folder}/data",
            "maillog_file": str(self.log),
            "maillog_file_prefixes": str(self._folder),
        }
        if not self._wire.private:
            # On loopback 127.0.0.1 may be a client too, so it must not be trusted.
            settings["inet_interfaces"] = "loopback-only"
            settings["mynetworks"] = "127.255.255.254/32"
        settings |= self._extra
        # Postfix warns of a parameter that is set twice, and the tests read its warnings.
        for name in re.findall(r"^(\w+)[ \t]*=", self._snippet, re.M):
            settings.pop(name, None)
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        return "".join([*lines, self._snippet])

    def _master(self) -> str:
        address = "" if self._wire.private else f"{self._wire.host}:"
        # Braces, since a value may have spaces.
        options = "".join(f"  -o {{ {option} }}\n" for option in self._smtpd_options)
        return f"{address}{self.port} inet n - n - - smtpd\n{options}{POSTFIX_MASTER}"

    def _is_ready(self) -> bool:
        # The ports alone would not do: a configuration that smtpd rejects shows at the greeting.
        if self.port not in _listening_ports(self.pid):
            return False
        try:
            with Dialogue(self._wire, self._wire.host, self.port, timeout=1.0) as client:
                greeting = client.receive()
                client.ask("QUIT")
        except OSError:
            if re.search(r"/smtpd\[\d+\]: fatal: ", _read(self.log)):
                self._failed()
            return False
        return greeting.startswith("220")

    def _logs(self) -> list[Path]:
        return [self._output, self.log]


def _make_open_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for parent in folder.parents:
        mode = parent.stat().st_mode
        if os.geteuid() == 0 and not mode & 0o001:
            raise SetupError(f"{parent} is closed to other users: chmod o+x it, or go elsewhere")


def _wait_until(is_true: Callable[[], bool], seconds: float, give_up: Callable[[], None]) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            give_up()
            return
        time.sleep(POLL_SECONDS)


def _processes() -> Iterator[Process]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name, in parentheses, may hold anything.
            before, _, after = path.read_text(errors="replace").rpartition(")")
            state, parent, group = after.split()[:3]
            pid, _, name = before.partition(" (")
            yield Process(int(pid), name, state, int(parent), int(group))


def _has_processes(group: int) -> bool:
    """Is there a process in this group? Zombies do not count: nobody may be there to reap them."""
    return any(process.group == group and process.state != "Z" for process in _processes())


def _tcp_sockets(pid: int) -> list[TcpSocket]:
    """The TCP sockets of the network that a process sees: proc(5), net/tcp."""
    sockets = []
    for name in ("tcp", "tcp6"):
        for line in _read(Path(f"/proc/{pid}/net/{name}")).splitlines()[1:]:
            fields = line.split()
            port = int(fields[1].rpartition(":")[2], 16)
            sockets.append(TcpSocket(port, fields[3] == "0A", fields[9]))
    return sockets


def _listening_ports(pid: int) -> set[int]:
    return {it.port for it in _tcp_sockets(pid) if it.listens}


def _has_connection(pid: int) -> bool:
    connections = {f"socket:[{it.inode}]" for it in _tcp_sockets(pid) if not it.listens}
    # Descriptors and the process itself may go while they are looked at.
    with suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") in connections:
                    return True
    return False


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="backslashreplace")
    except OSError:
        return ""


def _program(name: str) -> str | None:
    return shutil.which(name, path=PATH)


def _output(*argv: str) -> str:
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=True, env={**os.environ, "PATH": PATH}
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(f"{' '.join(argv)}: {error}") from error
    return done.stdout


@cache
def _dovecot_version() -> tuple[int, ...]:
    text = _output("dovecot", "--version")
    return tuple(int(part) for part in re.findall(r"\d+", text.split()[0]))


@cache
def _postfix_programs() -> Path:
    return Path(_output("postconf", "-d", "-h", "daemon_directory").strip())


def _mail_user() -> pwd.struct_passwd:
    """Whom mail belongs to: Dovecot refuses to let that be root."""
    return pwd.getpwnam("mail") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


DOVECOT_23 = """\
disable_plaintext_auth = no
mail_location = maildir:$folder/mail/%u
passdb {
  driver = passwd-file
  args = $folder/users
}
userdb {
  driver = static
  args = uid=$uid gid=$gid home=$folder/mail/%u allow_all_users=yes
}
"""

DOVECOT_24 = """\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
auth_allow_cleartext = yes
mail_driver = maildir
mail_path = $folder/mail/%{user}
passdb passwd-file {
  passwd_file_path = $folder/users
}
userdb static {
  fields {
    uid = $uid
    gid = $gid
    home = $folder/mail/%{user}
  }
}
"""

# Login processes serve many clients each; the limits of auth and anvil follow from theirs, else
# Dovecot warns in the log. Penalties for failures are kept by anvil: without its socket, none.
DOVECOT_BOTH = """\
protocols = pop3 imap
listen = $listen
base_dir = $folder/run
state_dir = $folder/state
ssl = no
first_valid_uid = 1
auth_failure_delay = 0
mail_max_userip_connections = 100000
service pop3-login {
  $no_restart
  client_limit = 1000
  process_limit = 4
  inet_listener pop3 {
    port = $pop3_port
  }
  inet_listener pop3s {
    port = 0
  }
}
service imap-login {
  $no_restart
  client_limit = 1000
  process_limit = 4
  inet_listener imap {
    port = $imap_port
  }
  inet_listener imaps {
    port = 0
  }
}
service pop3 {
  process_limit = 4096
}
service imap {
  process_limit = 4096
}
service auth {
  client_limit = 20000
}
service anvil {
  client_limit = 20000
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
"""

DOVECOT_ROOTLESS_23 = """\
default_internal_user = $user
default_internal_group = $group
default_login_user = $user
service anvil {
  chroot =
}
service stats {
  chroot =
}
service pop3-login {
  chroot =
}
service imap-login {
  chroot =
}
"""

DOVECOT_ROOTLESS_24 = DOVECOT_ROOTLESS_23

POSTFIX_QUEUES = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming"),
    *("maildrop", "private", "public", "saved", "trace"),
)

POSTFIX_MAIN = {
    "compatibility_level": "3.6",
    "myhostname": "mail.local.test",
    "mydestination": "local.test",
    "mynetworks": "127.0.0.1/32",
    "inet_interfaces": "all",
    "inet_protocols": "all",
    "smtpd_peername_lookup": "no",
    "smtpd_relay_restrictions": (
        "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"
    ),
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "default_transport": "discard:",
    "local_transport": "discard:",
    "relay_transport": "discard:",
    "virtual_transport": "discard:",
    "default_process_limit": "1000",
    # A client that asks again and again, and is refused each time, is what tests are made of.
    "smtpd_error_sleep_time": "0",
    "smtpd_soft_error_limit": "1000000",
    "smtpd_hard_error_limit": "1000000",
    "smtpd_junk_command_limit": "1000000",
    "smtpd_client_connection_count_limit": "0",
    "smtpd_client_connection_rate_limit": "0",
    "smtpd_client_message_rate_limit": "0",
    "smtpd_client_recipient_rate_limit": "0",
}

POSTFIX_MASTER = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""

"""Postfix's own commands: postconf, postmap, postfix. The only place that runs them.

Facts (Postfix 3.7, postmap(1)): `postmap -i` keeps the old value of a key that exists and still
exits 0, so entries are written with `-ir`. Bad input lines are only warned of, so any word on
stderr is a failure. `-d` exits 1 when no key existed, which is no failure here. A reader of an LMDB
file can hold a lock that blocks writers for ever, so every command has a time-out and is killed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tracker.deciding.services import met, port_25
from tracker.errors import PostfixError, PostfixTimeoutError
from tracker.records import MailService, PostfixSetup
from tracker.regular import stage
from tracker.settings import PostfixSettings
from tracker.writing.request import ask

_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"
_CHANGE = 0.02
"""Seconds that a change of an entry may take: postmap waits for the disk each time."""

_RATE = 2_000_000
"""Bytes a second of a table as a whole, at the least; it is fifty times as much on an idle host."""

# Postfix says this of the admin's own main.cf to every command; the table is not touched by it.
_HARMLESS = re.compile(
    r"^\S+: warning: (?:\S+main\.cf, line \d+: overriding|\S+: unused parameter)"
)
_PART = 65536
"""Characters of a listing that are parted into lines at a time."""
_UNUSED = re.compile(r"main\.cf: unused parameter: (\S+?=.*)")
_VALUES = (
    "smtpd_relay_restrictions",
    "smtpd_sasl_auth_enable",
    "smtpd_sasl_type",
    "smtpd_sasl_path",
    "smtpd_sender_login_maps",
    "smtpd_tls_cert_file",
    "smtpd_tls_key_file",
    "smtpd_tls_chain_files",
    "inet_interfaces",
    "config_directory",
    "queue_directory",
    "mail_owner",
)


class Postfix:
    """One Postfix instance, by its configuration folder."""

    def __init__(self, settings: PostfixSettings) -> None:
        self._timeout = settings.timeout.total_seconds()
        self._path = settings.command_directory or f"{os.environ.get('PATH', '')}:{_SBIN}"
        self._reload_request = settings.reload_request
        self._config = ["-c", settings.config_directory] if settings.config_directory else []

    def table_types(self) -> frozenset[str]:
        """The table types that this Postfix can read (`postconf -m`)."""
        return frozenset(self._run(["postconf", *self._config, "-m"], strict=False).split())

    def parameters(self, names: Iterable[str]) -> dict[str, str]:
        """The values of main.cf parameters, expanded, as the smtpd that strangers come to has them:
        what master.cf says for that service counts; of several, the first."""
        values = self._in_main(names)
        return next((_own(values, one) for one in port_25(self._master("-xP"))), values)

    def services(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """The services on the network where clients meet an smtpd, by name (`smtp`, `submission`,
        `127.0.0.1:10025`), each with the values that these parameters have for it."""
        main, services = self._in_main(names), self._master("-xP")
        found = {one.name: met(one, services) for one in services}
        return {name: _own(main, smtpd) for name, smtpd in found.items() if smtpd is not None}

    def _in_main(self, names: Iterable[str]) -> dict[str, str]:
        wanted = tuple(names)
        lines = self._run(["postconf", *self._config, "-xh", *wanted], strict=False).splitlines()
        if len(lines) != len(wanted):
            raise PostfixError(f"postconf -xh: {len(lines)} values for {len(wanted)} parameters")
        return dict(zip(wanted, lines, strict=True))

    def _master(self, options: str) -> tuple[MailService, ...]:
        """What master.cf says. `options`: how postconf is asked for those of the services, -P as
        written or -xP expanded."""
        own: dict[str, dict[str, str]] = {}
        for line in self._ask(options)[0].splitlines():
            place, _, value = line.partition(" =")
            service, _, name = place.rpartition("/")
            own.setdefault(service, {})[name] = value.strip()
        services = []
        for line in self._ask("-M")[0].splitlines():
            name, kind, _, _, chroot, _, _, command = line.split()[:8]
            services.append(MailService(name, kind, chroot, command, own.get(f"{name}/{kind}", {})))
        return tuple(services)

    def folder(self) -> Path:
        """Where its main.cf and master.cf are."""
        return Path(self._ask("-xh", "config_directory")[0].strip())

    def postconf(self, *options: str) -> tuple[list[str], list[str]]:
        """The lines that postconf prints, and those in which it complains of main.cf or master.cf.
        Such a complaint is no failure."""
        printed, said = self._ask(*options)
        return printed.splitlines(), said.splitlines()

    def setup(self) -> PostfixSetup:
        """What main.cf and master.cf say. Raises PostfixError when postconf cannot be run."""
        listed, said = self._ask("-n")
        # A parameter that nothing uses is warned of, with its value, and not listed.
        lines = [
            *listed.splitlines(),
            *(one.replace("=", " = ", 1) for one in _UNUSED.findall(said)),
        ]
        main = {name: value for name, _, value in (line.partition(" =") for line in lines)}
        values = self._ask("-xh", *_VALUES)[0].splitlines()
        return PostfixSetup(
            {name: value.strip() for name, value in main.items()},
            self._master("-P"),
            dict(zip(_VALUES, values, strict=True)),
            frozenset(self._ask("-a")[0].split()),
        )

    def complaints(self) -> list[str]:
        """What postconf and `postfix check` say against the configuration, a line each."""
        said = [self._ask("-n")[1], self._ask("-M")[1]]
        program = self._program("postfix")
        check = self._execute([program, *self._config, "check"], None)
        return [line for text in (*said, check.stderr) for line in text.splitlines()]

    def edit(self, arguments: Sequence[str]) -> None:
        """Run postconf with the arguments of an edit: `editing.commands`."""
        self._run(["postconf", *self._config, *arguments], strict=False)

    def shown(self, program: str, *arguments: str) -> str:
        """A command as it can be pasted into a shell."""
        return shlex.join([program, *self._config, *arguments])

    def master(self, seconds: int) -> subprocess.Popen[bytes]:
        """Start this instance's master in the foreground; it ends by itself after that time."""
        folder = self._ask("-xh", "daemon_directory")[0].strip()
        argv = [f"{folder}/master", *self._config, "-d", "-e", str(seconds)]
        try:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise PostfixError(f"{argv[0]}: cannot be run: {error}") from error

    def _ask(self, *arguments: str) -> tuple[str, str]:
        """What a postconf prints, and what it says on stderr."""
        argv = ["postconf", *self._config, *arguments]
        done = self._execute([self._program("postconf"), *argv[1:]], None)
        if done.returncode != 0:
            raise PostfixError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
        return done.stdout, done.stderr

    def put(self, table: str, entries: Mapping[str, str]) -> None:
        """Add or replace entries of an indexed table in place; an absent table is made."""
        if entries:
            lines = "".join(f"{key} {value}\n" for key, value in entries.items())
            more = len(entries) * _CHANGE
            self._run(["postmap", *self._config, "-ir", table], lines, more=more)

    def replace(self, table: str, entries: Mapping[str, str]) -> None:
        """Give an lmdb table other contents in one transaction, in place.

        Readers see the old entries or the new ones, never a part; and a thousand entries cost as
        little as one, where `-ir` is a transaction for each. postmap reads the source from the
        table's own stem only, so the source stands there for that moment, and looks older than the
        table: smtpd warns of a newer one.
        """
        source = Path(table.partition(":")[2])
        try:
            lines = "".join(f"{key} {value}\n" for key, value in entries.items())
            stage(source, lines.encode(), 0o600, synced=False)
            os.utime(source, (0, 0))
            self._run(["postmap", *self._config, table], more=len(lines) / _RATE)
        except OSError as error:
            raise PostfixError(f"{source}: cannot be written: {error.strerror}") from error
        finally:
            source.unlink(missing_ok=True)

    def delete(self, table: str, keys: Iterable[str]) -> None:
        """Take keys out of an indexed table in place; keys it lacks do no harm."""
        lines = "".join(f"{key}\n" for key in keys)
        if lines:
            more = lines.count("\n") * _CHANGE
            self._run(["postmap", *self._config, "-d", "-", table], lines, absent=1, more=more)

    def read(self, table: str) -> dict[str, str]:
        """All entries of an indexed table."""
        entries: dict[str, str] = {}
        for keys, values in self.entries(table):
            entries.update(zip(keys, values, strict=True))
        return entries

    def entries(self, table: str) -> Iterator[tuple[list[str], list[str]]]:
        """The same, some thousand keys and their values at a time (`postmap -s`): of a million, a
        list of all lines would take three times as much."""
        size = 0
        with suppress(OSError):  # postmap says better what is wrong with it
            size = Path(f"{table.partition(':')[2]}.lmdb").stat().st_size
        listing = self._run(["postmap", *self._config, "-s", table], more=size / _RATE)
        place = 0
        while place < len(listing):
            end = listing.find("\n", place + _PART) + 1 or len(listing)
            lines = listing[place:end].removesuffix("\n").split("\n")
            parted = [line.partition("\t") for line in lines]
            yield [one[0] for one in parted], [one[2] for one in parted]
            place = end

    def query(self, table: str, key: str) -> str | None:
        """What the table answers for a key. Raises PostfixError if Postfix cannot read it."""
        answer = self._run(["postmap", *self._config, "-q", key, table], absent=1)
        return answer.rstrip("\n") or None

    def first(self, tables: Sequence[str], keys: Iterable[str]) -> str | None:
        """The first answer of any of the tables to the first of the keys that has one; tables that
        fold keys do so. Raises PostfixError if Postfix cannot read them."""
        lines = "".join(f"{key}\n" for key in keys)
        answers = self._run(["postmap", *self._config, "-q", "-", *tables], lines, absent=1)
        return answers.partition("\n")[0].partition("\t")[2].strip() or None

    def value(self, parameter: str) -> str:
        """The value of one main.cf parameter, expanded."""
        return self._run(["postconf", *self._config, "-xh", parameter], strict=False).strip()

    def running(self) -> bool:
        """Whether this instance's master process is there, by its pid file. Only root can tell."""
        return self.master_pid() is not None

    def master_pid(self) -> int | None:
        """The pid of this instance's master process. Only root can tell."""
        queue = self._run(["postconf", *self._config, "-h", "queue_directory"], strict=False)
        try:
            pid = Path(queue.strip(), "pid/master.pid").read_text(encoding="ascii").strip()
            stat = Path("/proc", pid, "stat").read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return None
        # One that has ended keeps its name until its parent asks for it: proc_pid_stat(5).
        there = stat.startswith(f"{pid} (master) ") and stat.split(") ")[1][0] not in "ZX"
        return int(pid) if there else None

    def names(self, folder: Path) -> bool:
        """Whether main.cf or master.cf of this instance name a folder."""
        set_ = self._run(["postconf", *self._config, "-n"], strict=False)
        overridden = self._run(["postconf", *self._config, "-P"], strict=False)
        return str(folder) in set_ + overridden

    def mynetworks(self) -> str:
        """What mynetworks says, the parameters in it expanded: clients that relay before any table
        is asked."""
        return self._run(["postconf", *self._config, "-xh", "mynetworks"], strict=False).strip()

    def reload(self) -> bool:
        """Have all Postfix processes read their tables anew; False when Postfix is not running.

        Only root may; others ask systemd for it, and do not hear whether Postfix is running.
        `postfix reload` returns before it has taken effect.
        """
        if os.geteuid() != 0:
            ask(self._reload_request)
            return True
        if not self.running():
            return False
        self._run(["postfix", *self._config, "reload"], strict=False)
        return True

    def _run(
        self,
        argv: list[str],
        text: str | None = None,
        *,
        strict: bool = True,
        absent: int = 0,
        more: float = 0,
    ) -> str:
        """Run a command. `absent`: an exit code that means no key was found, with nothing said.
        `more`: seconds that it may take beside the time-out, since it has so much to do."""
        done = self._execute([self._program(argv[0]), *argv[1:]], text, more)
        shown = " ".join(argv)
        said = [line for line in done.stderr.splitlines() if not _HARMLESS.match(line)]
        if (strict and said) or done.returncode not in (0, absent):
            words = "; ".join(said[:3]) or f"exit code {done.returncode}"
            raise PostfixError(f"{shown}: {words}")
        return done.stdout

    def _program(self, name: str) -> str:
        program = shutil.which(name, path=self._path)
        if program is None:
            raise PostfixError(
                f"{name} is not in {self._path}: install Postfix, or set postfix.command_directory"
            )
        return program

    def _execute(
        self, argv: list[str], text: str | None, more: float = 0
    ) -> subprocess.CompletedProcess[str]:
        patience = self._timeout + more
        shown = " ".join([Path(argv[0]).name, *argv[1:]])
        try:
            return subprocess.run(
                argv,
                input=text if text is not None else None,
                stdin=subprocess.DEVNULL if text is None else None,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="backslashreplace",
                timeout=patience,
                check=False,
                umask=0o077,
                close_fds=False,  # the state lock is theirs too, as `store` says
                env={**os.environ, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired as error:
            raise PostfixTimeoutError(
                f"{shown}: killed after {round(patience, 1):g} s without an end; "
                "a process may hold a lock on the table (fuser names it)"
            ) from error
        except OSError as error:
            raise PostfixError(f"{shown}: cannot be run: {error}") from error


def _own(main: Mapping[str, str], smtpd: MailService) -> dict[str, str]:
    """The values of main.cf as this service has them."""
    return {name: smtpd.options.get(name, value) for name, value in main.items()}

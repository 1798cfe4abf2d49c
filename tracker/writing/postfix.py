"""Postfix's own commands: postconf, postmap, postfix. The only place that runs them.

Facts (Postfix 3.7, postmap(1)): `postmap -i` keeps the old value of a key that exists and still
exits 0, so entries are written with `-ir`. Bad input lines are only warned of, so any word on
stderr is a failure. `-d` exits 1 when no key existed, which is no failure here. A reader of an LMDB
file can hold a lock that blocks writers for ever, so every command has a time-out and is killed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from tracker.errors import PostfixError, PostfixTimeoutError
from tracker.settings import PostfixSettings

_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"
# Postfix says this of the admin's own main.cf to every command; the table is not touched by it.
_HARMLESS = re.compile(
    r"^\S+: warning: (?:\S+main\.cf, line \d+: overriding|\S+: unused parameter)"
)


class Postfix:
    """One Postfix instance, by its configuration folder."""

    def __init__(self, settings: PostfixSettings) -> None:
        self._timeout = settings.timeout.total_seconds()
        self._path = settings.command_directory or f"{os.environ.get('PATH', '')}:{_SBIN}"
        self._config = ["-c", settings.config_directory] if settings.config_directory else []

    def table_types(self) -> frozenset[str]:
        """The table types that this Postfix can read (`postconf -m`)."""
        return frozenset(self._run(["postconf", *self._config, "-m"], strict=False).split())

    def parameters(self, names: Iterable[str]) -> dict[str, str]:
        """The values of main.cf parameters, expanded, as smtpd on port 25 has them: what master.cf
        says for that service counts."""
        wanted = tuple(names)
        lines = self._run(["postconf", *self._config, "-xh", *wanted], strict=False).splitlines()
        if len(lines) != len(wanted):
            raise PostfixError(f"postconf -xh: {len(lines)} values for {len(wanted)} parameters")
        values = dict(zip(wanted, lines, strict=True))
        for line in self._run(["postconf", *self._config, "-xP"], strict=False).splitlines():
            service, _, value = line.partition(" = ")
            name, kind, parameter = (*service.split("/"), "", "")[:3]
            if kind == "inet" and name.rpartition(":")[2] in ("smtp", "25") and parameter in values:
                values[parameter] = value.strip()
        return values

    def put(self, table: str, entries: Mapping[str, str]) -> None:
        """Add or replace entries of an indexed table in place; an absent table is made."""
        if entries:
            lines = "".join(f"{key} {value}\n" for key, value in entries.items())
            self._run(["postmap", *self._config, "-ir", table], lines)

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
            source.write_text(lines, encoding="utf-8")
            os.utime(source, (0, 0))
            self._run(["postmap", *self._config, table])
        except OSError as error:
            raise PostfixError(f"{source}: cannot be written: {error.strerror}") from error
        finally:
            source.unlink(missing_ok=True)

    def delete(self, table: str, keys: Iterable[str]) -> None:
        """Take keys out of an indexed table in place; keys it lacks do no harm."""
        lines = "".join(f"{key}\n" for key in keys)
        if lines:
            self._run(["postmap", *self._config, "-d", "-", table], lines, absent=1)

    def read(self, table: str) -> dict[str, str]:
        """All entries of an indexed table (`postmap -s`)."""
        listing = self._run(["postmap", *self._config, "-s", table])
        entries: dict[str, str] = {}
        for line in listing.splitlines():
            key, _, value = line.partition("\t")
            entries[key] = value
        return entries

    def query(self, table: str, key: str) -> str | None:
        """What the table answers for a key. Raises PostfixError if Postfix cannot read it."""
        answer = self._run(["postmap", *self._config, "-q", key, table], absent=1)
        return answer.rstrip("\n") or None

    def running(self) -> bool:
        """Whether this instance's master process is there, by its pid file. Only root can tell."""
        queue = self._run(["postconf", *self._config, "-h", "queue_directory"], strict=False)
        try:
            pid = Path(queue.strip(), "pid/master.pid").read_text(encoding="ascii").strip()
            return Path("/proc", pid, "comm").read_text(encoding="ascii").strip() == "master"
        except (OSError, UnicodeDecodeError):
            return False

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

        Only root may. `postfix reload` returns before it has taken effect.
        """
        if os.geteuid() != 0:
            raise PostfixError("only root may reload Postfix: run `postfix reload` as root")
        if not self.running():
            return False
        self._run(["postfix", *self._config, "reload"], strict=False)
        return True

    def _run(
        self, argv: list[str], text: str | None = None, *, strict: bool = True, absent: int = 0
    ) -> str:
        """Run a command. `absent`: an exit code that means no key was found, with nothing said."""
        program = shutil.which(argv[0], path=self._path)
        if program is None:
            raise PostfixError(
                f"{argv[0]} is not in {self._path}: install Postfix, "
                "or set postfix.command_directory"
            )
        shown = " ".join(argv)
        try:
            done = subprocess.run(
                [program, *argv[1:]],
                input=text if text is not None else None,
                stdin=subprocess.DEVNULL if text is None else None,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="backslashreplace",
                timeout=self._timeout,
                check=False,
                umask=0o077,
                close_fds=False,  # the state lock is theirs too, as `store` says
                env={**os.environ, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired as error:
            raise PostfixTimeoutError(
                f"{shown}: killed after {self._timeout:g} s without an end; "
                "a process may hold a lock on the table (fuser names it)"
            ) from error
        except OSError as error:
            raise PostfixError(f"{shown}: cannot be run: {error}") from error
        said = [line for line in done.stderr.splitlines() if not _HARMLESS.match(line)]
        if (strict and said) or done.returncode not in (0, absent):
            words = "; ".join(said[:3]) or f"exit code {done.returncode}"
            raise PostfixError(f"{shown}: {words}")
        return done.stdout

"""A Postfix of its own with a copy of the configuration: edits are tried on it, and it is asked.

It answers as the real one would: the same main.cf, tables, and sockets of other programs, and the
options that master.cf gives the smtpd of port 25. It can harm nobody, also when popgate is killed:
its smtpd listens on a socket in `private`, which Postfix's own user alone can enter, so nobody else
can use its XCLIENT; it has no service that delivers; and its master ends by itself (`-e`).

What is left out: milters and before-queue filters, which see mail that never was; TLS on port 25.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import msgspec

from tracker.errors import InstallError
from tracker.records import SmtpAnswer
from tracker.settings import PostfixSettings
from tracker.writing.asking import Question, ask, listens
from tracker.writing.parameters import GRANT_FILES, GrantTableType
from tracker.writing.postfix import Postfix
from tracker.writing.saved import FILES, FOLDER, digest

_LIFE = 240
"""Seconds after which its master ends."""
_PREFIX = "popgate-rehearsal-"
_START = 15.0
_SERVICES = """\
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
verify unix - - n - 1 verify
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
_QUEUE = {
    "private": 0o700,
    "public": 0o755,
    "pid": 0o755,
    **dict.fromkeys(("incoming", "active", "deferred", "hold", "maildrop"), 0o700),
}
_OURS = frozenset(
    {
        *_QUEUE,
        *("bounce", "corrupt", "defer", "flush", "saved", "trace"),
        *(line.split()[0] for line in _SERVICES.splitlines()),
    }
)
"""What it has of its own in its queue; all else is that of the real one."""
_APART = {
    "smtpd_authorized_xclient_hosts": "127.0.0.1",
    "smtpd_milters": "",
    "smtpd_proxy_filter": "",
    "smtpd_upstream_proxy_protocol": "",
    "smtpd_tls_wrappermode": "no",
    "smtpd_error_sleep_time": "0",
}
_NO_TLS = {"smtpd_tls_security_level": "none", "smtpd_enforce_tls": "no"}
_COMPLAINT = re.compile(r"(?:warning|error|fatal|panic): .*")


class Rehearsal:
    """A copy of main.cf and master.cf; a context manager."""

    def __init__(self, settings: PostfixSettings, values: Mapping[str, str]) -> None:
        """`values`: config_directory, queue_directory and mail_owner of the real one."""
        self._settings = settings
        self._real = Path(values["config_directory"])
        self._queue = Path(values["queue_directory"])
        self._owner = values["mail_owner"]

    def __enter__(self) -> Self:
        _remove_stale()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        try:
            self.folder.chmod(0o711)
            self._config = self.folder / "config"
            self._copy(self._real, self._config)
        except OSError as error:
            self.__exit__()
            raise InstallError(
                f"{error.filename}: no copy can be made: {error.strerror}"
            ) from error
        self.postfix = self._of(self._config)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def edit(self, arguments: Sequence[str]) -> dict[str, str]:
        """Run an edit on the copy; the digest of each file's lines then."""
        self.postfix.edit(arguments)
        _age(self._config)
        return self.state()

    def state(self) -> dict[str, str]:
        """The digest of each file's lines."""
        return {name: digest((self._config / name).read_bytes(), ordered=False) for name in FILES}

    def tables(self, real: Path, kind: GrantTableType, trusted: str, granted: str) -> Path:
        """A maps folder like the real one, in which one address is trusted and one has a grant."""
        made = self.folder / "maps"
        made.mkdir()
        own = ("trusted.cidr", GRANT_FILES[kind], f"{GRANT_FILES[kind]}.lmdb")
        for entry in real.iterdir():
            if entry.name not in own and not entry.name.startswith("."):
                (made / entry.name).symlink_to(entry)
        (made / "trusted.cidr").write_text(f"{trusted} OK\n", encoding="ascii")
        if kind == "lmdb":
            self.postfix.replace(f"lmdb:{made / GRANT_FILES[kind]}", {granted: "9999999999"})
        else:
            (made / GRANT_FILES[kind]).write_text(f"{granted} 9999999999\n", encoding="ascii")
        return made

    def ask(
        self, smtpds: Mapping[str, Mapping[str, str]], questions: Sequence[Question]
    ) -> tuple[list[SmtpAnswer], list[str]]:
        """The answers of smtpds with these options, by service name, and what they complained of.

        One that keeps its TLS has smtpd_tls_security_level among its options.
        """
        run = Path(tempfile.mkdtemp(prefix="run-", dir=self.folder))
        run.chmod(0o711)
        self._prepare(run, smtpds)
        process = self._of(run / "config").master(_LIFE)
        try:
            self._wait(run, smtpds)
            with ThreadPoolExecutor(len(questions)) as pool:
                answers = list(
                    pool.map(lambda one: ask(run / "queue/private" / one.service, one), questions)
                )
        finally:
            process.terminate()
            try:
                process.wait(_START)
            except subprocess.TimeoutExpired:
                process.kill()
        return answers, _complaints(run / "log")

    def _prepare(self, run: Path, smtpds: Mapping[str, Mapping[str, str]]) -> None:
        self._copy(self._config, run / "config")
        overrides = {
            "queue_directory": run / "queue",
            "data_directory": run / "data",
            "maillog_file": run / "log",
            "maillog_file_prefixes": run,
            "syslog_name": "popgate-rehearsal",
        }
        self._of(run / "config").edit(["-e", *(f"{key} = {one}" for key, one in overrides.items())])
        lines = [_SERVICES]
        for name, options in smtpds.items():
            lines.append(f"{name} unix - - n - - smtpd\n")
            own = {**options, **_APART}
            lines += [f"  -o {{ {key} = {value} }}\n" for key, value in own.items()]
        (run / "config/master.cf").write_text("".join(lines), encoding="utf-8")
        _age(run / "config")
        (run / "data").mkdir()
        shutil.chown(run / "data", self._owner)
        (run / "queue").mkdir()
        for name, mode in _QUEUE.items():
            (run / "queue" / name).mkdir()
            (run / "queue" / name).chmod(mode)
            shutil.chown(run / "queue" / name, self._owner)
        for inside in ("", "private", "public"):
            self._link(self._queue / inside, run / "queue" / inside, smtpds)

    def _link(self, real: Path, own: Path, smtpds: Mapping[str, object]) -> None:
        """Have the real one's sockets, and folders of other programs, under the same names."""
        if not real.is_dir():
            return
        for entry in real.iterdir():
            if entry.name not in _OURS and entry.name not in smtpds:
                (own / entry.name).symlink_to(entry)

    def _wait(self, run: Path, smtpds: Mapping[str, object]) -> None:
        end = time.monotonic() + _START
        while not all(listens(run / "queue/private" / name) for name in smtpds):
            if time.monotonic() > end:
                said = "; ".join(_complaints(run / "log")[-3:]) or "its log says nothing"
                raise InstallError(f"a Postfix with a copy of main.cf does not start: {said}")
            time.sleep(0.02)

    def _copy(self, source: Path, target: Path) -> None:
        target.mkdir(mode=0o700)  # main.cf may hold what others shall not read
        for entry in source.iterdir():
            if entry.name in FILES:
                shutil.copy(entry, target / entry.name)
            elif entry.name != FOLDER:
                (target / entry.name).symlink_to(entry.resolve())
        _age(target)

    def _of(self, config: Path) -> Postfix:
        return Postfix(msgspec.structs.replace(self._settings, config_directory=str(config)))


def plain(options: Mapping[str, str]) -> dict[str, str]:
    """The options of the smtpd of port 25, without its TLS."""
    return {**options, **_NO_TLS}


def _complaints(log: Path) -> list[str]:
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return list(dict.fromkeys(_COMPLAINT.findall(text)))


def _age(folder: Path) -> None:
    """Postfix's commands wait while main.cf is younger than two seconds."""
    past = time.time() - 10
    for name in FILES:
        os.utime(folder / name, (past, past))


def _remove_stale() -> None:
    """Folders of those that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", pid).exists() and folder.lstat().st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)

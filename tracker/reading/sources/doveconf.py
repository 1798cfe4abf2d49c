"""doveconf, which tells how Dovecot on this host writes its log: the only place that runs it.

`doveconf KEY..` prints `KEY = VALUE` in a line for each (doveconf(1)): 2.3 as it is, 2.4 in quotes
where it begins or ends with a blank, as the default prefix of mail processes does. With -h, which
would leave the key out, 2.4.1 takes several keys, and some single ones, for a mistake.
`doveconf -n` prints all that is not as it was packaged, the version in its first line. A host
without it has no Dovecot, and its log is another host's: nothing is known then, and the packaged
format is read. That is also so where doveconf fails, which is said: customised lines are not
understood then, but never taken for others.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from tracker.errors import ReadingError
from tracker.reading.dovecot import SETTINGS, TIMESTAMP, fit
from tracker.reading.patterns import Format

log = logging.getLogger("popgate")

AUTO = "auto"
_PLACES = "/usr/bin:/usr/local/bin:/usr/sbin:/usr/local/sbin"
_SECONDS = 10
_LOG = ("log_path", "info_log_path")
_AS_LOG_PATH = {"", "%{log_path}"}


def fitted(one: Format, wanted: str | Mapping[str, str]) -> Format:
    """The format as the setting `dovecot` wants it; other servers' formats as they are.

    Raises FormatError when the settings cannot be read safely.
    """
    if one.custom is None:
        return one
    if not isinstance(wanted, str):
        return fit(one, wanted)
    try:
        settings = read("" if wanted == AUTO else wanted)
    except ReadingError as error:
        log.warning("event=doveconf error=%r action=%r", str(error), "the defaults are assumed")
        return one
    fit_one = fit(one, settings)
    if fit_one is not one:
        log.info("event=doveconf settings=%r", settings)
    return fit_one


def read(config: str = "", *, path: str | None = None) -> dict[str, str]:
    """The settings that shape Dovecot's log lines; none where there is no doveconf.

    `config`: the dovecot.conf, empty for Dovecot's own. `log_timestamp` is only in a log file of
    Dovecot's own. Raises ReadingError in one line.
    """
    keys = (*SETTINGS, *_LOG)
    if (command := _command(config, path)) is None:
        return {}
    told = _values(command, keys)
    if _logged_to(told)[1] == "syslog":
        del told[TIMESTAMP]
    return {key: value for key, value in told.items() if key in SETTINGS}


def log_path(config: str = "", *, path: str | None = None) -> tuple[str, str] | None:
    """Where Dovecot logs logins: the setting that says so, and its value (`syslog`, or a file).
    None where there is no doveconf. Raises ReadingError in one line."""
    command = _command(config, path)
    return None if command is None else _logged_to(_values(command, _LOG))


def changed(config: str = "", *, path: str | None = None) -> str:
    """What `doveconf -n` prints; nothing where there is no doveconf. Raises ReadingError."""
    command = _command(config, path)
    return "" if command is None else _run([*command, "-n"])[0]


def _command(config: str, path: str | None) -> list[str] | None:
    command = shutil.which("doveconf", path=path or f"{os.environ.get('PATH', '')}:{_PLACES}")
    if command is None and config:
        raise ReadingError(f"{config}: there is no doveconf to read it")
    return None if command is None else [command, *(["-c", config] if config else [])]


def _values(command: list[str], keys: Sequence[str]) -> dict[str, str]:
    output, said = _run([*command, *keys])
    told: dict[str, str] = {}
    for line in output.split("\n"):
        key, _, value = line.partition(" = ")
        told.setdefault(key, _unquoted(value))
    for key in keys:
        if key not in told:
            raise ReadingError(f"doveconf does not tell {key}{said and f': {said}'}")
    return {key: told[key] for key in keys}


def _run(arguments: list[str]) -> tuple[str, str]:
    """What it prints, and its last word on stderr."""
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise ReadingError(f"doveconf did not end in {_SECONDS} s") from error
    except OSError as error:
        raise ReadingError(f"{arguments[0]}: {error.strerror}") from error
    said = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
    if done.returncode:
        raise ReadingError(f"doveconf failed: {said or f'exit code {done.returncode}'}")
    return done.stdout.decode("utf-8", "replace"), said


def _logged_to(told: Mapping[str, str]) -> tuple[str, str]:
    """2.3 leaves info_log_path empty to say that it is log_path, 2.4 writes %{log_path}."""
    own = told["info_log_path"]
    return ("log_path", told["log_path"]) if own in _AS_LOG_PATH else ("info_log_path", own)


def _unquoted(value: str) -> str:
    """The value without the quotes that 2.4 (seen with 2.4.1) prints around a blank at its ends."""
    if len(value) < 3 or value[0] != '"' or value[-1] != '"':
        return value
    inner = value[1:-1]
    if inner.strip() == inner:
        return value
    return re.sub(r"\\(.)", r"\1", inner)

"""doveconf, which tells how Dovecot on this host writes its log: the only place that runs it.

`doveconf -h KEY..` prints the value of each key in a line (doveconf(1)): 2.3 as it is, 2.4 in
quotes where it begins or ends with a blank, as the default prefix of mail processes does. A host
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
from collections.abc import Mapping

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
    command = shutil.which("doveconf", path=path or f"{os.environ.get('PATH', '')}:{_PLACES}")
    if command is None:
        if config:
            raise ReadingError(f"{config}: there is no doveconf to read it")
        return {}
    keys = (*SETTINGS, *_LOG)
    arguments = [command, *(["-c", config] if config else []), "-h", *keys]
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
        raise ReadingError(f"{command}: {error.strerror}") from error
    values = done.stdout.decode("utf-8", "replace").split("\n")
    said = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
    if done.returncode:
        raise ReadingError(f"doveconf failed: {said or f'exit code {done.returncode}'}")
    if len(values) != len(keys) + 1:
        raise ReadingError(f"doveconf told {len(values) - 1} settings and not {len(keys)}: {said}")
    told = {key: _unquoted(value) for key, value in zip(keys, values, strict=False)}
    own = told["info_log_path"]
    if (told["log_path"] if own in _AS_LOG_PATH else own) == "syslog":
        del told[TIMESTAMP]
    return {key: value for key, value in told.items() if key in SETTINGS}


def _unquoted(value: str) -> str:
    """The value without the quotes that 2.4 (seen with 2.4.1) prints around a blank at its ends."""
    if len(value) < 3 or value[0] != '"' or value[-1] != '"':
        return value
    inner = value[1:-1]
    if inner.strip() == inner:
        return value
    return re.sub(r"\\(.)", r"\1", inner)

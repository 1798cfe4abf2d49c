"""Commands of other programs, which an export needs to be taken up; the only place that runs them.

They run as popgate's user, without a shell, and are killed when they take too long.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from tracker.errors import ExportError
from tracker.texts import without_secrets

_TIMEOUT = 30.0
_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"


def run(argv: Sequence[str], text: str = "") -> str:
    """Run a command with a text as its input; what it printed. Raises ExportError, which names the
    program alone: behind it may stand a password."""
    shown = argv[0]
    program = shutil.which(argv[0], path=f"{os.environ.get('PATH', '')}:{_SBIN}")
    if program is None:
        raise ExportError(f"{shown} is not there: install it, or name it with its path")
    try:
        done = subprocess.run(
            [program, *argv[1:]],
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=_TIMEOUT,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise ExportError(f"{shown}: killed after {_TIMEOUT:g} s without an end") from error
    except OSError as error:
        raise ExportError(f"{shown}: cannot be run: {error}") from error
    if done.returncode != 0:
        words = "; ".join((done.stderr or done.stdout).split("\n")[:2]).strip("; ")
        words = without_secrets(words)
        raise ExportError(f"{shown}: {words or f'exit code {done.returncode}'}")
    return done.stdout

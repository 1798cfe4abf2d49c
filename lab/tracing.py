"""A running process, killed at the entry of its N-th system call of some kinds: by strace.

So a test can kill at every point at which something on disk changes, one after another.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Sequence

from lab.preloaded import Forked

CHANGING = (
    "write,pwrite64,pwritev,ftruncate,fsync,fdatasync,rename,renameat2,unlink,unlinkat,mkdir,"
    "chmod,fchmod,utimensat,flock,vfork,wait4,poll"
)
"""The calls that change something on disk, start a command, or wait for one."""


def missing() -> list[str]:
    """The Debian packages that are not there."""
    return [] if shutil.which("strace") else ["strace"]


def killed_at(process: Forked, number: int, calls: str = CHANGING) -> int:
    """Let a held process go on to the entry of that call of its main thread; its exit code."""
    with _attached(process, ["-e", f"inject={calls}:signal=KILL:when={number}"], calls) as strace:
        process.signal(signal.SIGCONT)
        code = process.wait()
        strace.communicate()
    return code


def _attached(process: Forked, options: Sequence[str], calls: str) -> subprocess.Popen[str]:
    strace = subprocess.Popen(
        ["strace", "-p", str(process.pid), "-o", "/dev/null", "-e", f"trace={calls}", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert strace.stderr is not None
    said = strace.stderr.readline()
    if "attached" not in said:
        raise RuntimeError(f"strace: {said}")
    return strace

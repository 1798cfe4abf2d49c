"""A machine that boots with systemd: a container of systemd-nspawn above a root file system.

It has a layer of its own above the file system, a control group of its own, and the network
namespace of a mail host in `lab/network.py`, so clients reach it from another one. Everything it
mounts lies in a mount namespace that ends with it; it dies with the process that started it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from lab.processes import alive, wait_for

_DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
_PROCESSES = ["--pid", "--fork", "--kill-child", "--mount-proc"]
_NAMESPACES = ["unshare", "--mount", "--propagation=private"]
# In a mount namespace of its own: the groups of version 2, whatever the host uses; the layer;
# and what systemd-nspawn keeps of its own, which it removes only from memory.
_START = """
set -eu
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$1"
echo $$ > "/sys/fs/cgroup/$1/cgroup.procs"
mkdir -p /run/systemd/nspawn
mount -t tmpfs none /run/systemd/nspawn
mount -t overlay overlay -o "lowerdir=$2,upperdir=$3/upper,workdir=$3/work" "$3/root"
exec systemd-nspawn --quiet --boot --register=no --keep-unit --link-journal=no \\
    --resolv-conf=off --timezone=off --console=pipe --machine="$4" \\
    --network-namespace-path="$5" --directory="$3/root"
"""
# systemd-nspawn mounts a boot id of its own, which services with a /proc of their own do not see:
# journalctl in them looks for another boot than journald writes of. A host has one.
_ONE_BOOT_ID = """\
[Unit]
DefaultDependencies=no
Before=systemd-journald.service systemd-journald.socket

[Service]
Type=oneshot
StandardOutput=null
StandardError=null
ExecStart=sh -c "while umount /proc/sys/kernel/random/boot_id; do :; done"
"""
_PROBE = """
set -e
mount -t cgroup2 none /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$1"
"""
_SWEEP = """
mount -t cgroup2 none /sys/fs/cgroup
find "/sys/fs/cgroup/$1" -depth -type d -exec rmdir {} +
"""
_BOOT = 90.0
_REBOOT = 133
"""What systemd-nspawn exits with when the machine wants to be started again (--keep-unit)."""


class Machine:
    """A context manager: booted inside it, gone without a trace after it."""

    def __init__(self, root: Path, network: str, name: str) -> None:
        """`root`: the file system to start from, which stays as it is. `network`: the name of a
        network namespace."""
        self._below = root
        self._network = f"/run/netns/{network}"
        self._name = name
        self._group = f"popgate-{os.getpid()}-{name}"
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        self._layers = tempfile.TemporaryDirectory(prefix="popgate-machine-")
        self._folder = Path(self._layers.name)
        self._folder.chmod(0o755)
        for name in ("upper", "work", "root"):
            (self._folder / name).mkdir()
        units = self._folder / "upper/etc/systemd/system"
        (units / "sysinit.target.wants").mkdir(parents=True)
        (units / "one-boot-id.service").write_text(_ONE_BOOT_ID)
        (units / "sysinit.target.wants/one-boot-id.service").symlink_to("../one-boot-id.service")
        try:
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        _private(_SWEEP, self._group)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._layers.cleanup()

    def boot(self, *, wait: bool = True) -> None:
        """Switch it on; `wait` until all that starts with it has started."""
        words = (self._folder / "console").open("ab")
        arguments = [self._group, str(self._below), str(self._folder), self._name, self._network]
        self._process = subprocess.Popen(
            [*_DIES_WITH_US, *_NAMESPACES, *_PROCESSES, *_shell(_START, *arguments)],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
        )
        words.close()
        wait_for("systemd of the machine", self._find_leader, _BOOT)
        if wait:
            self.wait_until_up()

    def wait_until_up(self) -> None:
        """Until everything that starts with the machine has started."""
        wait_for("the end of the boot", lambda: self.state() in ("running", "degraded"), _BOOT)

    def state(self) -> str:
        """What `systemctl is-system-running` says."""
        return self.command("systemctl", "is-system-running").stdout.strip()

    def reboot(self) -> None:
        """As an admin does it: services end in order; until all has started again."""
        assert self._process is not None
        self.command("systemctl", "reboot", "--no-block")
        code = self._process.wait(_BOOT)
        if code != _REBOOT:
            raise RuntimeError(f"systemd-nspawn: exit code {code}: {self.console()}")
        self.boot()

    def cut(self) -> None:
        """Cut the power: no service ends in order."""
        if self._process is not None:
            leader = self._leader
            self._process.kill()
            self._process.wait()
            self._process = None
            if leader:
                wait_for("the machine to be gone", lambda: not alive(leader))
            self._leader = 0

    def _find_leader(self) -> bool:
        """systemd in it is process 1 of its own namespace, two below that of systemd-nspawn."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"systemd-nspawn: {self.console()}")
        for nspawn in _children(self._process.pid):
            for child in _children(nspawn):
                if _is_systemd(child):
                    self._leader = child
                    return self.state() not in ("", "offline")
        return False

    def console(self) -> str:
        """The last words of the machine."""
        return "\n".join((self._folder / "console").read_text(errors="replace").splitlines()[-20:])

    def command(
        self, *argv: str, text: str = "", timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as root, to its end."""
        return subprocess.run(
            ["nsenter", "-t", str(self._leader), "--all", *argv],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/root",
                "LC_ALL": "C.UTF-8",
                "DEBIAN_FRONTEND": "noninteractive",
            },
        )

    def run(self, *argv: str, text: str = "", timeout: float = 120) -> str:
        """Run a command in it; what it printed. Raises RuntimeError with its words when it
        fails."""
        done = self.command(*argv, text=text, timeout=timeout)
        if done.returncode != 0:
            words = f"{done.stdout}{done.stderr}".strip()
            raise RuntimeError(f"{' '.join(argv)}: exit code {done.returncode}: {words}")
        return done.stdout

    def file(self, name: str) -> Path:
        """Where a file of the machine is to be found from outside while it runs."""
        return Path(f"/proc/{self._leader}/root") / name.lstrip("/")

    def property(self, unit: str, name: str) -> str:
        """What systemd says of a unit: systemctl show."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()


def unavailable() -> str | None:
    """Why no machine can be booted here; None when it can."""
    if os.geteuid() != 0:
        return "only root can boot a container"
    group = f"popgate-{os.getpid()}-probe"
    tried = _private(_PROBE, group)
    _private(_SWEEP, group)
    return f"no control groups of version 2: {tried.stderr.strip()}" if tried.returncode else None


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in text.split()]


def _is_systemd(pid: int) -> bool:
    """Not one of systemd-nspawn's own processes, which becomes systemd a moment later."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == "systemd"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _shell(script: str, *arguments: str) -> list[str]:
    return ["sh", "-c", script, "sh", *arguments]


def _private(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a mount namespace of its own."""
    argv = [*_NAMESPACES, *_shell(script, *arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)

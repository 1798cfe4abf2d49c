"""Root file systems of Debian, made once by debootstrap and kept in a cache.

A mail host as an admin has it before popgate comes: Debian's Postfix and Dovecot with their own
configuration, systemd with the journal and no syslog. What is tested runs in a layer above it, so
the cache stays as it was made. Root is needed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

RELEASES = {"bookworm": "12", "trixie": "13"}
"""By the name that their archives have: their number."""

MIRROR = "http://deb.debian.org/debian"
_BASE = "systemd,systemd-sysv,ca-certificates"
_PACKAGES = [
    *("postfix", "postfix-lmdb", "dovecot-core", "dovecot-pop3d", "dovecot-imapd"),
    *("git", "python3", "libpcre2-8-0", "openssl", "ssl-cert", "procps"),
]
_ANSWERS = """\
postfix postfix/main_mailer_type select Internet Site
postfix postfix/mailname string mail.example.com
"""
# invoke-rc.d asks it before a package starts its service (invoke-rc.d(8)).
_POLICY = "#!/bin/sh\nexit 101\n"
_PATIENCE = 900.0


def cache() -> Path:
    """Where they are kept: `POPGATE_CACHE`, else /var/cache/popgate."""
    return Path(os.environ.get("POPGATE_CACHE", "/var/cache/popgate"))


def missing() -> list[str]:
    """Debian packages that have to be installed on this machine."""
    tools = {"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container"}
    return [package for tool, package in tools.items() if shutil.which(tool) is None]


def root_file_system(release: str) -> Path:
    """The folder of one, made when it is not there. Raises RuntimeError with the words of what
    failed."""
    folder = cache() / f"debian-{RELEASES[release]}"
    done = folder.with_suffix(".made")
    wanted = " ".join([_BASE, *_PACKAGES])
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (done.exists() and done.read_text() == wanted):
            done.unlink(missing_ok=True)
            made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            try:
                _make(release, made)
                shutil.rmtree(folder, ignore_errors=True)
                made.rename(folder)
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
            done.write_text(wanted)
    return folder


def _make(release: str, folder: Path) -> None:
    _run(["debootstrap", "--variant=minbase", f"--include={_BASE}", release, str(folder), MIRROR])
    policy = folder / "usr/sbin/policy-rc.d"
    policy.write_text(_POLICY)
    policy.chmod(0o755)
    _run(["chroot", str(folder), "debconf-set-selections"], _ANSWERS)
    install = ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *_PACKAGES]
    # Scripts of packages want /proc; mounted in a namespace of its own, it goes with the command.
    inside = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    _run(["unshare", "-m", "--propagation=private", "sh", "-c", inside, str(folder), *install])
    _run(["chroot", str(folder), "apt-get", "clean"])
    policy.unlink()
    for name in ("etc/machine-id", "var/lib/dbus/machine-id"):
        with suppress(FileNotFoundError):
            (folder / name).unlink()
    (folder / "etc/machine-id").touch()  # each machine that starts from it is another
    (folder / "etc/hostname").write_text("mail\n")
    (folder / "etc/hosts").write_text("127.0.0.1 localhost\n192.0.2.1 mail.example.com mail\n")
    # As an admin sees to it, so that DNS has no part in what is shown.
    (folder / "etc/resolv.conf").unlink(missing_ok=True)
    (folder / "etc/resolv.conf").touch()


def _run(argv: list[str], text: str = "") -> None:
    done = subprocess.run(
        argv,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        timeout=_PATIENCE,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
    )
    if done.returncode != 0:
        last = "\n".join(done.stdout.splitlines()[-15:])
        raise RuntimeError(f"{' '.join(argv)}: exit code {done.returncode}\n{last}")

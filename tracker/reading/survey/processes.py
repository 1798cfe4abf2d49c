"""Which mail servers and syslog daemons run, and in which systemd unit, by proc(5).

The unit is the one that the kernel's control groups name, whatever it is called: journald writes
the same into each entry (`_SYSTEMD_UNIT`). A process with more than one pid (NSpid) lives in a
container: what it logs is not in this host's journal under a unit of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tracker.surveyed import Process

SERVERS = {
    "dovecot": "dovecot",
    "couriertcpd": "courier",
    "cyrmaster": "cyrus",
    "perdition.imap4": "perdition",
    "perdition.pop3": "perdition",
    "popa3d": "popa3d",
    "solid-pop3d": "solid-pop3d",
    "tpop3d": "tpop3d",
    "teapop": "teapop",
    "mailutils-pop3d": "mailutils",
    "mailutils-imap4": "mailutils",
    "vm-pop3d": "vm-pop3d",
}
"""The log format of each POP and IMAP server, by its process's name (15 characters at most)."""
DAEMONS = frozenset({"rsyslogd", "syslog-ng", "syslogd", "metalog"})


def servers(proc: Path) -> list[Process]:
    """The POP and IMAP servers that run, each unit once."""
    found: dict[tuple[str, str, bool], Process] = {}
    for pid, name in _names(proc):
        if name in SERVERS:
            one = _process(proc, pid, SERVERS[name])
            found.setdefault((one.server, one.unit, one.contained), one)
    return list(found.values())


def syslog_daemon(proc: Path) -> Process | None:
    """The syslog daemon of this host; None when none runs."""
    for pid, name in _names(proc):
        if name in DAEMONS:
            one = _process(proc, pid, name)
            if not one.contained:
                return one
    return None


def _names(proc: Path) -> Iterator[tuple[int, str]]:
    pids = sorted(int(one.name) for one in proc.iterdir() if one.name.isdigit())
    for pid in pids:
        yield pid, _read(proc / str(pid) / "comm").strip()


def _process(proc: Path, pid: int, server: str) -> Process:
    status = _read(proc / str(pid) / "status").splitlines()
    pids = [line.split()[1:] for line in status if line.startswith("NSpid:")]
    contained = any(len(one) > 1 for one in pids)
    return Process(server, pid, "" if contained else _unit(proc / str(pid) / "cgroup"), contained)


def _unit(file: Path) -> str:
    """The service that the process runs in; one of a template stands for its instances."""
    for line in _read(file).splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" or controllers == "name=systemd":
            parts = [part for part in path.split("/") if part.endswith(".service")]
            if parts and not path.startswith("/user.slice"):
                return parts[-1]
    return ""


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended meanwhile, or is not for us to see
        return ""

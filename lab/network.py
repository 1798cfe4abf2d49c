"""Addresses to connect from: network namespaces with documentation addresses, or loopback.

`Namespaces` makes one namespace for the mail host and one for all clients, joined by a veth pair;
each client address is an address of the clients' namespace, so a connection really comes from it.
It needs root and iproute2. `Loopback` has the same calls on 127.0.0.0/8, for everybody else.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self, TypeVar

_T = TypeVar("_T")
_CLONE_NEWNET = 0x40000000
_NAMES = Path("/run/netns")


class Wire(Protocol):
    """What connects clients with the mail host."""

    host: str
    """The mail host's IPv4 address."""

    clients: tuple[str, ...]
    """Addresses that clients can connect from."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv`, made to run where the mail host is."""

    def connect(self, client: str, port: int, timeout: float = 10) -> socket.socket:
        """A TCP connection from a client's address to a port of the mail host."""

    def free_port(self) -> int:
        """A port of the mail host that nobody listens on."""


class Loopback:
    """Clients and mail host are addresses of 127.0.0.0/8."""

    host = "127.0.0.1"
    clients: tuple[str, ...] = ("127.0.0.7", "127.0.0.9", "127.0.0.11")

    def command(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def connect(self, client: str, port: int, timeout: float = 10) -> socket.socket:
        return socket.create_connection((self.host, port), timeout, source_address=(client, 0))

    def free_port(self) -> int:
        return _free_port()


class Namespaces:
    """A mail host at 192.0.2.1 and 2001:db8::1, and clients with addresses of their own."""

    host = "192.0.2.1"
    host6 = "2001:db8::1"
    clients: tuple[str, ...] = ("198.51.100.7", "203.0.113.9", "203.0.113.20", "2001:db8:1::7")

    def __init__(self, clients: Sequence[str] = ()) -> None:
        self.clients = tuple(clients) or self.clients
        self._mail = f"popgate-{os.getpid()}-mail"
        self._far = f"popgate-{os.getpid()}-far"

    @staticmethod
    def unavailable() -> str | None:
        """Why namespaces cannot be used here; None when they can."""
        if os.geteuid() != 0:
            return "only root can make network namespaces"
        if shutil.which("ip") is None:
            return "ip is missing: apt-get install iproute2"
        made = _run(["ip", "netns", "add", f"popgate-{os.getpid()}-probe"], check=False)
        if made.returncode != 0:
            return f"ip netns add: {made.stderr.strip()}"
        _run(["ip", "netns", "del", f"popgate-{os.getpid()}-probe"])
        return None

    def __enter__(self) -> Self:
        _remove_stale()
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def _make(self) -> None:
        mail, far = self._mail, self._far
        for name in (mail, far):
            _run(["ip", "netns", "add", name])
            _run(["ip", "-n", name, "link", "set", "lo", "up"])
        _run(
            ["ip", "-n", mail, "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", far]
        )
        for name in (mail, far):
            _run(["ip", "-n", name, "link", "set", "eth0", "up"])
        _run(["ip", "-n", mail, "addr", "add", f"{self.host}/32", "dev", "eth0"])
        _run(["ip", "-n", mail, "addr", "add", f"{self.host6}/128", "dev", "eth0", "nodad"])
        _run(["ip", "-n", mail, "route", "add", "default", "dev", "eth0"])
        _run(["ip", "-n", mail, "-6", "route", "add", "default", "dev", "eth0"])
        for client in self.clients:
            length = ["/128", "nodad"] if ":" in client else ["/32"]
            address = [f"{client}{length[0]}", "dev", "eth0", *length[1:]]
            _run(["ip", "-n", far, "addr", "add", *address])
        _run(["ip", "-n", far, "route", "add", f"{self.host}/32", "dev", "eth0"])
        _run(["ip", "-n", far, "-6", "route", "add", f"{self.host6}/128", "dev", "eth0"])

    def _remove(self) -> None:
        for name in (self._mail, self._far):
            _run(["ip", "netns", "del", name], check=False)

    @property
    def mail_namespace(self) -> str:
        """The name of the mail host's namespace, for `ip netns`."""
        return self._mail

    def command(self, argv: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self._mail, *argv]

    def connect(self, client: str, port: int, timeout: float = 10) -> socket.socket:
        host = self.host6 if ":" in client else self.host
        return _within(
            self._far,
            lambda: socket.create_connection((host, port), timeout, source_address=(client, 0)),
        )

    def free_port(self) -> int:
        return _within(self._mail, _free_port)


def _within(name: str, work: Callable[[], _T]) -> _T:
    """Do some work in a namespace: in a thread, since setns(2) moves one thread alone."""
    done: list[_T] = []
    failed: list[BaseException] = []

    def inside() -> None:
        try:
            file = os.open(_NAMES / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(file, _CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            finally:
                os.close(file)
            done.append(work())
        except BaseException as error:  # handed to the caller below
            failed.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def _free_port() -> int:
    """A port that the kernel gives to no connection by itself: one of those might be taken by the
    time that the server listens (ip_local_port_range, ip(7))."""
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(10001, max(ephemeral, 20000))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port


def _remove_stale() -> None:
    """Namespaces of runs that were killed."""
    with suppress(FileNotFoundError):
        for name in os.listdir(_NAMES):
            parts = name.split("-")
            if parts[0] == "popgate" and len(parts) == 3 and not Path("/proc", parts[1]).exists():
                _run(["ip", "netns", "del", name], check=False)


def _run(argv: list[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done


def best() -> Namespaces | Loopback:
    """Namespaces where they can be had, else loopback."""
    return Namespaces() if Namespaces.unavailable() is None else Loopback()

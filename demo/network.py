"""Where the mail servers run, and the addresses that clients come from.

Network    A mail host at 192.0.2.1 and 2001:db8::1 and any number of clients, each in a network
           namespace of its own and joined to the mail host by a routed veth pair. A connection
           really comes from the client's address; clients cannot reach each other or the outside,
           and nobody outside can reach the mail host. Needs root, iproute2 and a kernel with
           network namespaces: `Network.available()` tells.
Loopback   The same calls for everybody else: the mail host is 127.0.0.1 and clients are other
           addresses of 127.0.0.0/8. Other users of the machine can reach the servers.
Wire       What both have in common; servers and clients ask for nothing more.

The namespaces are named popgate-demo-<pid>-<number>-<role>. They go when the context ends, together
with what still runs in them. A run that was killed leaves them behind; the next one on the same
machine removes every such namespace whose pid is gone. Names of any other form are never touched.

What cannot be set up raises SetupError with one line of text. `connect` raises what
socket.create_connection raises, and LookupError for a client that was not added.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import Protocol, Self, TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
NAMES = Path("/run/netns")
OURS = re.compile(r"popgate-demo-(?P<pid>\d+)-(?P<number>\d+)-\w+")

# Below the range that Linux gives to outgoing connections, which would take a port that was free.
PORTS = range(10001, 32768)

_numbers = itertools.count()


class SetupError(Exception):
    """A network or a server could not be set up; the text is one line for people."""


class Wire(Protocol):
    """What connects clients with the mail host."""

    @property
    def host(self) -> str:
        """The mail host's IPv4 address. It may also be used as a client."""

    @property
    def private(self) -> bool:
        """True when nobody but the clients can reach the mail host."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def add_client(self, address: str) -> None:
        """Let clients connect from this address; adding it again changes nothing."""

    def server_address(self, client: str) -> str:
        """The address at which this client sees the mail host."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv`, made to run where the mail host is."""

    def connect(self, client: str, port: int, timeout: float = 10) -> socket.socket:
        """A TCP connection from the client's address to a port of the mail host."""

    def free_port(self) -> int:
        """A port of the mail host that is free, above 10000 and not handed out before."""


class Network:
    """Clients and mail host in network namespaces, with documentation addresses."""

    host = "192.0.2.1"
    host6 = "2001:db8::1"
    private = True

    def __init__(self, *clients: str) -> None:
        self._wanted = clients
        self._prefix = ""
        self._made: list[str] = []
        self._places: dict[str, str] = {}
        self._ports: set[int] = set()

    @classmethod
    def available(cls) -> str | None:
        """None where a Network can be made, else the reason: found out by making one."""
        try:
            with cls("198.51.100.7"):
                return None
        except SetupError as error:
            return str(error)

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise SetupError("only root can make network namespaces")
        if shutil.which("ip") is None:
            raise SetupError("the command ip is missing: apt-get install iproute2")
        number = next(_numbers)
        _remove_stale(number)
        self._prefix = f"popgate-demo-{os.getpid()}-{number}"
        try:
            self._make_mail_host()
            for client in self._wanted:
                self.add_client(client)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def _make_mail_host(self) -> None:
        name = self._make_namespace("mail")
        addresses = [f"addr add {self.host}/32 dev lo"]
        if _has_ipv6():
            addresses.append(f"addr add {self.host6}/128 dev lo nodad")
        _ip("-n", name, script=["link set lo up", *addresses])
        self._places[self.host] = name

    def add_client(self, address: str) -> None:
        client = ip_address(address)
        if str(client) in self._places:
            return
        if client.version == 6 and not _has_ipv6():
            raise SetupError(f"{address} needs IPv6, which this kernel has switched off")
        mail = self._places[self.host]
        name = self._make_namespace(f"client{len(self._made)}")
        link = f"veth{len(self._made)}"
        host = self.server_address(address)
        length = client.max_prefixlen
        _ip(
            "-n",
            mail,
            script=[
                f"link add {link} type veth peer name eth0 netns {name}",
                *_at_once(link),
                # Neighbour discovery asks for an address of the link itself, ARP for any.
                *([f"addr add {host}/128 dev {link} nodad"] if client.version == 6 else []),
                f"link set {link} up",
                f"route add {client}/{length} dev {link}",
            ],
        )
        _ip(
            "-n",
            name,
            script=[
                "link set lo up",
                *_at_once("eth0"),
                f"addr add {client}/{length} dev eth0" + (" nodad" if client.version == 6 else ""),
                "link set eth0 up",
                f"route add {host}/{length} dev eth0",
            ],
        )
        self._places[str(client)] = name

    def _make_namespace(self, role: str) -> str:
        name = f"{self._prefix}-{role}"
        _ip("netns", "add", name)
        self._made.append(name)
        return name

    def _remove(self) -> None:
        for name in reversed(self._made):
            _remove_namespace(name)
        self._made.clear()
        self._places.clear()

    def server_address(self, client: str) -> str:
        return self.host6 if ip_address(client).version == 6 else self.host

    def command(self, argv: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self._places[self.host], *argv]

    def connect(self, client: str, port: int, timeout: float = 10) -> socket.socket:
        place = self._places.get(str(ip_address(client)))
        if place is None:
            raise LookupError(f"{client} is not a client of this network: add_client first")
        target = (self.server_address(client), port)
        return _inside(place, lambda: socket.create_connection(target, timeout))

    def free_port(self) -> int:
        return _inside(self._places[self.host], lambda: _pick_port("", self._ports))


class Loopback:
    """Clients and mail host on 127.0.0.0/8 of this machine."""

    host = "127.0.0.1"
    private = False

    def __init__(self, *clients: str) -> None:
        self._wanted = clients
        self._ports: set[int] = set()

    def __enter__(self) -> Self:
        for client in self._wanted:
            self.add_client(client)
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add_client(self, address: str) -> None:
        if ip_address(address) not in IPv4Network("127.0.0.0/8"):
            raise SetupError(f"{address} is not in 127.0.0.0/8, the clients that Loopback has")

    def server_address(self, client: str) -> str:
        return self.host

    def command(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def connect(self, client: str, port: int, timeout: float = 10) -> socket.socket:
        return socket.create_connection((self.host, port), timeout, source_address=(client, 0))

    def free_port(self) -> int:
        return _pick_port(self.host, self._ports)


def _pick_port(address: str, taken: set[int]) -> int:
    for port in random.sample(PORTS, 1000):
        if port not in taken:
            with socket.socket() as probe, suppress(OSError):
                probe.bind((address, port))
                taken.add(port)
                return port
    raise SetupError(f"no free port between {PORTS.start} and {PORTS.stop - 1}")


def _inside(name: str, work: Callable[[], T]) -> T:
    """Do some work in a namespace: in a thread that ends with it, as setns moves one thread."""

    def enter_and_work() -> T:
        with (NAMES / name).open("rb") as namespace:
            _setns(namespace.fileno())
        return work()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(enter_and_work).result()


def _setns(descriptor: int) -> None:
    setns = getattr(os, "setns", None)  # Python 3.12
    if setns is not None:
        setns(descriptor, CLONE_NEWNET)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def _ip(*arguments: str, script: Sequence[str] = ()) -> None:
    """Run ip(8), with a script in one process: an exec for each line would be felt in tests."""
    argv = ["ip", *arguments, *(["-batch", "-"] if script else [])]
    text = "".join(f"{line}\n" for line in script)
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise SetupError(f"{' '.join(argv)}: {reason}")


def _at_once(link: str) -> list[str]:
    """No link-local address: its duplicate detection would keep the link busy for a second."""
    return [f"link set {link} addrgenmode none"] if _has_ipv6() else []


def _has_ipv6() -> bool:
    return Path("/proc/net/if_inet6").exists()


def _remove_stale(number: int) -> None:
    """Remove the namespaces of killed runs; `number` is the one that this process is about to use.

    Our own pid with a number not yet used is of an earlier process that had the same pid.
    """
    for name in os.listdir(NAMES) if NAMES.exists() else []:
        match = OURS.fullmatch(name)
        if match is None:
            continue
        pid = int(match["pid"])
        earlier = pid == os.getpid() and int(match["number"]) >= number
        if earlier or not Path("/proc", str(pid)).exists():
            _remove_namespace(name)


def _remove_namespace(name: str) -> None:
    """Remove a namespace and end what runs in it: only servers that were started here can."""
    listing = subprocess.run(
        ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
    )
    for pid in listing.stdout.split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    # Another run may remove the same stale namespace at this very moment.
    with suppress(SetupError):
        _ip("netns", "del", name)

"""Where the policy service listens: a socket in Postfix's queue folder, or TCP on loopback.

A chrooted smtpd sees its queue folder alone, and calls a socket in it by its name from there. The
socket's folder is popgate's and Postfix's group may pass through it (2750: what is made in it gets
that group, which popgate need not be in); the socket is 0660. It is made beside and renamed, so
that at no moment there is none, and none that all may write to.

A socket that nobody listens on, such as a killed process leaves, is replaced. One that answers
belongs to somebody, and is left alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tracker.addresses import listen_place
from tracker.errors import PolicyError, PostfixError
from tracker.writing.postfix import Postfix

BACKLOG = 512
_PATIENCE = 2.0


class Listener:
    """A socket that listens, and its name in the file system."""

    def __init__(self, channel: socket.socket, path: Path | None = None) -> None:
        self.channel = channel
        self._path = path
        self._inode = path.lstat().st_ino if path is not None else 0

    def close(self) -> None:
        """Stop listening; the name goes along, if it is still this socket's."""
        with suppress(OSError):
            if self._path is not None and self._path.lstat().st_ino == self._inode:
                self._path.unlink()
        self.channel.close()


def listening(listen: str, postfix: Postfix) -> Listener:
    """A socket that listens there. Raises PolicyError that says what to do."""
    place = listen_place(listen)
    if isinstance(place, tuple):
        return Listener(_tcp(listen, place))
    try:
        if not place.is_absolute():
            place = Path(postfix.value("queue_directory")) / place
        group = _group(postfix)
    except PostfixError as error:
        raise PolicyError(f"policy.listen = {listen}: {error}") from error
    _prepare_folder(place.parent, group)
    with _alone(place.parent):
        _make_way(place)
        return Listener(_unix(place), place)


def _tcp(listen: str, place: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PolicyError(
            f"policy.listen = {listen}: {error.strerror}: name another port, or end what holds it"
        ) from error
    return listener


def _group(postfix: Postfix) -> int:
    """The group that smtpd runs in."""
    owner = postfix.value("mail_owner")
    try:
        return pwd.getpwnam(owner).pw_gid
    except KeyError as error:
        raise PolicyError(f"Postfix's mail_owner = {owner} is no user of this host") from error


def _prepare_folder(folder: Path, group: int) -> None:
    """Make the folder, where we may; or make sure that smtpd can pass through it and that nobody
    else can put another socket there."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    what_to_do = f"run as root: install -d -m 2750 -o {user} -g postfix {folder}"
    try:
        if not folder.exists():
            folder.mkdir(mode=0o750)
            os.chown(folder, os.geteuid(), group)
            folder.chmod(0o2750)
        found = folder.lstat()
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()  # it was made, and cannot be given to Postfix
        raise PolicyError(f"{folder}: {error.strerror}: {what_to_do}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise PolicyError(f"{folder}: is no folder (a link is not followed): {what_to_do}")
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o022:
        raise PolicyError(f"{folder}: others than popgate may write there: {what_to_do}")
    if found.st_gid != group and not found.st_mode & 0o001:
        raise PolicyError(f"{folder}: is not of Postfix's group, so shut to smtpd: {what_to_do}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep another popgate from making a socket there at the same moment."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    end = time.monotonic() + _PATIENCE
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise PolicyError(f"{folder}: another process holds a lock on it") from error
                time.sleep(0.01)
        yield
    finally:
        os.close(file)


def _make_way(path: Path) -> None:
    """Make sure that no living process listens there."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise PolicyError(f"{path}: is no socket: move it away, or change policy.listen")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError as error:
            # Only this is a sure sign; a living one that is full would block, or be too slow.
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                return
    raise PolicyError(f"{path}: another process answers there: end it, or change policy.listen")


def _unix(path: Path) -> socket.socket:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        beside.unlink(missing_ok=True)
        old = os.umask(0o177)
        try:
            listener.bind(str(beside))
        finally:
            os.umask(old)
        group = path.parent.stat().st_gid
        if beside.stat().st_gid != group:
            os.chown(beside, -1, group)
        beside.chmod(0o660)
        listener.listen(BACKLOG)
        beside.rename(path)
    except OSError as error:
        listener.close()
        with suppress(OSError):
            beside.unlink()
        text = "a path may have 107 bytes" if "too long" in str(error) else error.strerror
        raise PolicyError(f"{path}: cannot be made a socket: {text}") from error
    return listener

"""Users named by tokens, where `privacy.hash_users` is on: in popgate's log, in git, in the report.

A token is HMAC-SHA-256 of the name (RFC 2104), cut to 64 bits. The key lies in the state folder,
for popgate's user alone: who has a token and not the key can neither find the name nor try names. A
key that is lost is made anew, and all users get other tokens.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import structs

from tracker.errors import StoreError
from tracker.records import Change
from tracker.regular import read_bytes
from tracker.settings import Settings

KEY_FILE = "users.key"
_BYTES = 32
_DIGITS = 16


class Names:
    """What users are called outside of the state."""

    def __init__(self, key: bytes | None = None) -> None:
        """None: by their names."""
        self._key = key

    @property
    def hidden(self) -> bool:
        """Whether names are hidden."""
        return self._key is not None

    def __call__(self, user: str) -> str:
        if self._key is None:
            return user
        digest = hmac.digest(self._key, user.encode("utf-8", "surrogatepass"), "sha256")
        return f"u-{digest.hex()[:_DIGITS]}"

    def changes(self, changes: Iterable[Change]) -> Iterator[Change]:
        """Changes, to be shown."""
        if self._key is None:
            return iter(changes)
        return (
            structs.replace(one, grant=structs.replace(one.grant, user=self(one.grant.user)))
            for one in changes
        )


def names(settings: Settings, *, make: bool = False) -> Names:
    """As the settings want it. `make`: with a new key where there is none; else the tokens are good
    for nothing but this once. Raises StoreError where the key cannot be read or written."""
    if not settings.privacy.hash_users:
        return Names()
    file = settings.state.directory / KEY_FILE
    try:
        if make:
            _make(file)
        key = read_bytes(file)
    except FileNotFoundError:
        return Names(secrets.token_bytes(_BYTES))
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror} (the key of privacy.hash_users)") from error
    if len(key) != _BYTES:
        raise StoreError(
            f"{file}: is no key of {_BYTES} bytes: move it away, and popgate makes another "
            "(users get other tokens then)"
        )
    return Names(key)


def _make(file: Path) -> None:
    """A new key in its place, whole or not at all; one that is there stays."""
    if file.exists():
        return
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, flags, 0o600), "wb") as out:
        out.write(secrets.token_bytes(_BYTES))
        out.flush()
        os.fsync(out.fileno())
    with suppress(FileExistsError):  # another process was first
        os.link(beside, file)
    beside.unlink()

"""Each Debian is booted once, and the whole story is told on it, test after test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from lab import debian
from lab.machine import Machine, unavailable
from lab.network import Namespaces
from tests.acceptance.mailhost import Mailhost
from tests.conftest import require


@pytest.fixture(scope="session", autouse=True)
def _end_in_order() -> Iterator[None]:
    """SIGTERM ends the machines and takes the networks away, as ^C does."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def package() -> Path:
    """The Debian package: `POPGATE_DEB`, which make acceptance builds."""
    named = os.environ.get("POPGATE_DEB")
    require(None if named else "POPGATE_DEB is not set: run make acceptance")
    return Path(named or "")


@pytest.fixture(scope="module", params=sorted(debian.RELEASES))
def host(request: pytest.FixtureRequest, package: Path) -> Iterator[Mailhost]:
    missing = debian.missing()
    require(f"not installed: {' '.join(missing)}" if missing else None)
    require(unavailable() or Namespaces.unavailable())
    release: str = request.param
    root = debian.root_file_system(release)
    with Namespaces() as wire, Machine(root, wire.mail_namespace, release) as machine:
        made = Mailhost(machine, wire, release)
        made.prepare(package)
        yield made

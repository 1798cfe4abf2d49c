"""What the torture tests share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.preloaded import Preloaded
from tests.torture.faults import Host


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own: Postfix's and Dovecot's users must be able to pass through it."""
    with tempfile.TemporaryDirectory(prefix="popgate-test-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module")
def forks() -> Iterator[Preloaded]:
    with Preloaded() as made:
        yield made


@pytest.fixture
def host(
    folder: Path, forks: Preloaded, request: pytest.FixtureRequest, servers_allowed: None
) -> Host:
    """A popgate that a part of the system fails; its settings are the test's parameter."""
    return Host(folder, forks, getattr(request, "param", ""))

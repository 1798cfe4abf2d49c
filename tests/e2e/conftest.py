"""What the end-to-end tests share: a network of their own, and a folder that servers can enter."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.network import Namespaces, Wire
from tests.conftest import require


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    require(Namespaces.unavailable())
    with Namespaces() as made:
        yield made


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture
def folder(stack: ExitStack) -> Path:
    """Not pytest's own: Postfix's and Dovecot's users must be able to pass through it."""
    made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-test-")))
    made.chmod(0o755)
    return made

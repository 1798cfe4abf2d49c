"""What the torture tests share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own: Postfix's and Dovecot's users must be able to pass through it."""
    with tempfile.TemporaryDirectory(prefix="popgate-test-") as made:
        Path(made).chmod(0o755)
        yield Path(made)

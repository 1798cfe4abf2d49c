"""What all tests share: hypothesis's profile, and real parts of Postfix and Dovecot.

A test that needs a server which is not there is skipped with a reason; on CI it fails.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from lab.dovecot import Dovecot
from lab.journal import Journal
from lab.postfix import Postfix
from tests.outcomes import outcome, pytest_terminal_summary

__all__ = ["outcome", "pytest_terminal_summary"]

# The machine that runs the tests may be busy: an example that takes long is no failure. Where CI
# runs, the same examples run each time; elsewhere new ones are tried.
settings.register_profile("popgate", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "popgate")


def require(reason: str | None) -> None:
    """Skip the test for that reason; on CI, where nothing may be left out, fail."""
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def usual_umask() -> None:
    """A command that ran in this process may have set its own; servers start with the usual one."""
    os.umask(0o022)


@pytest.fixture
def postfix_config(tmp_path: Path) -> Path:
    """A configuration folder for Postfix's commands; no server runs."""
    missing = Postfix.missing()
    require(f"not installed: {' '.join(missing)}" if missing else None)
    return Postfix.configuration(tmp_path / "postfix/config")


@pytest.fixture(scope="session")
def servers_allowed() -> None:
    """Real Dovecot and Postfix can be started here."""
    missing = [*Postfix.missing(), *Dovecot.missing()]
    require(f"not installed: {' '.join(missing)}" if missing else None)
    require("Postfix and Dovecot are started by root alone" if os.geteuid() != 0 else None)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal of systemd in a folder, and journalctl that reads it."""
    missing = Journal.missing()
    require(f"not installed: {' '.join(missing)}" if missing else None)
    return Journal(tmp_path / "journal")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--accept`: write golden files anew."""
    parser.addoption("--accept", action="store_true", help="take present texts as golden files")

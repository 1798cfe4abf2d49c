"""git cannot commit: said once, the tables go on, and the history is made up for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.outcomes import Outcome
from tests.torture.faults import Host

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

FIRST, SECOND, THIRD = "203.0.113.1", "203.0.113.2", "203.0.113.3"
Undo = Callable[[], object]


def locked(host: Host) -> Undo:
    """A git that was killed left its locks."""
    for name in ("index.lock", "HEAD.lock"):
        (host.maps / ".git" / name).touch()
    return lambda: None


def rejecting(host: Host) -> Undo:
    hook = host.maps / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho not on a Sunday >&2\nexit 1\n")
    hook.chmod(0o755)
    return hook.unlink


def without_head(host: Host) -> Undo:
    head = host.maps / ".git/HEAD"
    text = head.read_bytes()
    head.write_bytes(b"\0" * 20)
    return lambda: head.write_bytes(text)


def bad_index(host: Host) -> Undo:
    index = host.maps / ".git/index"
    index.write_bytes(b"rubbish" * 100)
    return index.unlink


def without_objects(host: Host) -> Undo:
    objects = host.maps / ".git/objects"
    aside = objects.rename(host.folder / "objects")

    def undo() -> None:
        subprocess.run(["rm", "-rf", objects], check=True)
        aside.rename(objects)

    return undo


FAULTS = [
    ("locked", locked, None),
    ("a hook rejects", rejecting, "not on a Sunday"),
    ("HEAD damaged", without_head, "git -C"),
    ("index damaged", bad_index, "bad signature"),
    ("objects lost", without_objects, "git -C"),
]


@pytest.mark.parametrize(("name", "spoil", "words"), FAULTS, ids=[one[0] for one in FAULTS])
def test_a_repository_that_takes_no_commit(
    host: Host, name: str, spoil: Callable[[Host], Undo], words: str | None, outcome: Outcome
) -> None:
    host.login(FIRST)
    assert host.command("once")[0] == 0
    undo = spoil(host)
    with host.at_work():
        host.login(SECOND)
        host.holds(FIRST, SECOND)
        if words is not None:
            assert words in host.says("event=failed")
            host.login(THIRD)
            host.holds(FIRST, SECOND, THIRD)
        undo()
        recovery = host.wait_for("the commit", lambda: committed(host) >= {FIRST, SECOND})
        assert host.said().count("event=failed") == (words is not None)
    assert "\n" not in host.says("event=started")
    outcome(f"git: {name}", recovery=recovery)


def committed(host: Host) -> set[str]:
    """The addresses in the last commit's text."""
    text = subprocess.run(
        ["git", "-C", host.maps, "show", "HEAD:pop_before_smtp.txt"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return {line.split()[0] for line in text.splitlines() if line and not line.startswith("#")}

"""A Postfix command that outlives its killed popgate does nothing behind the next one's back."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab.processes import alive, wait_for
from tests.outcomes import Outcome
from tests.torture.site import CrashSite

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.fault,
    pytest.mark.usefixtures("servers_allowed"),
]

SLOW = """#!/bin/sh
case "$*" in
*" -ir "*)
    echo $$ > {folder}/pid
    mv {folder}/pid {folder}/waiting
    while ! test -e {folder}/go; do sleep 0.01; done
esac
exec /usr/sbin/postmap "$@"
"""


def test_what_a_killed_popgates_postmap_writes_late_is_not_left_in_the_table(
    folder: Path, outcome: Outcome
) -> None:
    with CrashSite(folder, 1) as site:
        postmap = site.commands / "postmap"
        postmap.unlink()
        postmap.write_text(SLOW.format(folder=folder))
        postmap.chmod(0o755)
        site.logins(1)
        killed = site.start("once")
        wait_for("postmap", (folder / "waiting").exists)
        killed.kill(group=False)
        address = next(iter(site.oracle.visits))[0]
        site.oracle.revoke(address)
        revoking = site.start("revoke", address)
        time.sleep(0.3)  # it must not get ahead of what is still to be written
        (folder / "go").touch()
        began = time.monotonic()
        orphan = int((folder / "waiting").read_text())
        wait_for("the orphan's end", lambda: not alive(orphan))
        assert revoking.wait() == 0
        recovery = time.monotonic() - began
        wrong = site.table()
        assert wrong == {}
    outcome("kill -9 while postmap lives on", wrong=len(wrong), recovery=recovery)

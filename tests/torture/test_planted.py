"""Somebody who came into popgate's own folders plants links, second names and pipes there, while
popgate is at work: it looks by itself, puts all of it right, and nobody else gets in."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.outcomes import Outcome
from tests.plants import PLANTED, Plant
from tests.torture.faults import Host

pytestmark = [pytest.mark.e2e, pytest.mark.fault]

GRANTED, LATER = "203.0.113.1", "203.0.113.2"
OFTEN = '[audit]\ninterval = "1s"\ncheck_interval = "1s"\n'
NAMES = ("pop_before_smtp.lmdb", "pop_before_smtp.txt", "trusted.cidr", "local_senders.lmdb")


@pytest.mark.parametrize("host", [OFTEN], ids=["often"], indirect=True)
@PLANTED
@pytest.mark.parametrize("name", NAMES)
def test_in_place_of_a_table_it_is_found_and_replaced(
    host: Host, plant: Plant, name: str, outcome: Outcome
) -> None:
    """The other file says what the table should; whoever owns it could change it at any time."""
    place, victim = host.maps / name, host.folder / "victim"
    with host.at_work():
        host.login(GRANTED)
        host.holds(GRANTED)
        text = host.maps / "pop_before_smtp.txt"
        host.wait_for("the texts", lambda: text.exists() and GRANTED in text.read_text())
        content = place.read_bytes()
        victim.write_bytes(content)
        place.unlink()
        plant(place, victim)
        recovery = host.wait_for("a file of its own", lambda: is_ours(place))
        host.holds(GRANTED)
        host.login(LATER)
        host.holds(GRANTED, LATER)
        assert victim.read_bytes() == content, "it was written to"
    outcome(f"{plant.__name__.replace('_', ' ')} in place of a table", recovery=recovery)


def is_ours(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1

"""What the doctor makes of owners, modes, room and history."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.moments import NOW, after
from tracker.deciding.health.files import files
from tracker.facts import Files, History, Place, Room

POPGATE, SOMEBODY = 990, 1000
STATE = Place("/var/lib/popgate", folder=True, mode=0o40700, owner=POPGATE, group=990)
MAPS = replace(STATE, path="/var/lib/popgate/maps")
TABLE = Place("/var/lib/popgate/maps/trusted.cidr", mode=0o100600, owner=POPGATE, group=990)
LIB = Place("/var/lib", folder=True, mode=0o40755)
TMP = Place("/tmp", folder=True, mode=0o41777)
TRUSTED = Place("/etc/popgate/trusted.txt", mode=0o100644)
GOOD = Files(POPGATE, "popgate", STATE, MAPS, (TABLE,), (LIB, TMP), (TRUSTED,))
MIB = 1 << 20


def codes(seen: Files) -> list[str]:
    return [one.code for one in files(seen, timedelta(minutes=2), NOW)]


def test_what_root_and_popgate_alone_can_change_is_fine() -> None:
    assert codes(GOOD) == []
    assert codes(replace(GOOD, config=(replace(TRUSTED, owner=POPGATE),))) == []
    assert codes(replace(GOOD, config=(replace(TRUSTED, mode=0o100664),))) == []  # root's group
    assert codes(replace(GOOD, logs=(Place("/var/log/mail.log", mode=0o100660, owner=104),))) == []
    assert codes(replace(GOOD, config=(Place("/etc/popgate/formats.d", exists=False),))) == []


@pytest.mark.parametrize(
    ("seen", "code", "mend"),
    [
        (
            replace(GOOD, maps=replace(MAPS, mode=0o40750)),
            "open-to-others",
            "chmod 700 /var/lib/popgate/maps",
        ),
        (
            replace(GOOD, inside=(replace(TABLE, mode=0o100640),)),
            "open-to-others",
            "chmod 600 /var/lib/popgate/maps/trusted.cidr",
        ),
        (
            replace(GOOD, logs=(Place("/var/log/mail.log", mode=0o100646, owner=SOMEBODY),)),
            "open-to-others",
            "chmod o-w /var/log/mail.log",
        ),
        (replace(GOOD, logs=(TMP,)), "open-to-others", "chmod o-w /tmp"),
        (
            replace(GOOD, inside=(replace(TABLE, owner=0),)),
            "wrong-owner",
            "chown popgate: /var/lib/popgate/maps/trusted.cidr",
        ),
        (
            replace(GOOD, above=(replace(LIB, mode=0o40777),)),
            "open-to-others",
            "chmod go-w /var/lib",
        ),
        (
            replace(GOOD, above=(replace(LIB, owner=SOMEBODY),)),
            "wrong-owner",
            "chown root /var/lib",
        ),
        (
            replace(GOOD, config=(replace(TRUSTED, mode=0o100664, group=SOMEBODY),)),
            "open-to-others",
            "chmod go-w /etc/popgate/trusted.txt",
        ),
        (
            replace(GOOD, config=(replace(TRUSTED, mode=0o101646),)),  # sticky means nothing here
            "open-to-others",
            "chmod go-w /etc/popgate/trusted.txt",
        ),
        (
            replace(GOOD, config=(replace(TRUSTED, readable=False),)),
            "config-unreadable",
            "chgrp popgate /etc/popgate/trusted.txt && chmod g+r /etc/popgate/trusted.txt",
        ),
        (
            replace(GOOD, rooms=(Room("/var", 500 * MIB, 0.5, 0.003),)),
            "disk-full",
            "df -h /var; df -i /var",
        ),
        (
            replace(GOOD, rooms=(Room("/var", 50 * MIB, 0.2, 0.9),)),
            "disk-low",
            "df -h /var; df -i /var",
        ),
        (
            replace(GOOD, state=Place("/var/lib/popgate", fault="Permission denied")),
            "not-checked",
            "sudo popgate doctor",
        ),
        (
            replace(GOOD, history=History({"trusted.cidr": after(-121)})),
            "uncommitted",
            "runuser -u popgate -- sh -c 'umask 077; git -C /var/lib/popgate/maps add --all && "
            "git -C /var/lib/popgate/maps commit --quiet --message '\"'\"'changed by hand'\"'\"''",
        ),
        (
            replace(GOOD, history=History({}, after(-301))),
            "git-locked",
            "rm /var/lib/popgate/maps/.git/index.lock",
        ),
    ],
)
def test_each_fault_is_named_with_what_mends_it(seen: Files, code: str, mend: str) -> None:
    (found,) = files(seen, timedelta(minutes=2), NOW)
    assert (found.code, found.mend) == (code, mend)


def test_a_large_disk_that_is_full_by_share_has_room() -> None:
    assert codes(replace(GOOD, rooms=(Room("/", 4096 * MIB, 0.001, 0.5),))) == []


def test_a_batch_that_waits_for_its_commit_is_no_fault() -> None:
    history = History({"trusted.cidr": after(-119)}, locked_since=after(-10))
    assert codes(replace(GOOD, history=history)) == []

"""A log at 5,000 lines a second, rotated without pause in every way there is: each line once.

The suite does some dozens of rotations of each kind; `make torture` does 1,000 of each.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.reading.rotating import KINDS, NAMELESS
from tracker.reading.sources.files import FileSource


def read_while_it_is_rotated(log: Path, kind: str, rotations: int) -> None:
    dice = random.Random(kind)
    since = time.time() - 60
    reader = str(os.getpid())
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.reading.rotating", kind, log, str(rotations), "0.02", reader],
        stdout=subprocess.PIPE,
        text=True,
    )
    source = FileSource(log, [], since)
    found: Counter[str] = Counter()
    ending = False
    while True:
        blocks = source.blocks()
        # A restart now and then, in the middle of it too. Not where a file is left without a name:
        # what is still written to it while nobody has it open could be known to nobody.
        restart = kind not in NAMELESS and dice.random() < 0.02
        block = next(blocks, b"") if restart else b"".join(blocks)
        found.update(line.split()[1].decode() for line in block.splitlines())
        if restart:
            positions = source.positions()
            source.close()
            source = FileSource(log, positions, since)
        elif ending and not block:
            break
        ending = process.poll() is not None
        time.sleep(dice.choice([0, 0.001, 0.01]))
    source.close()
    said, _ = process.communicate()
    assert process.returncode == 0
    written = {str(number) for number in range(int(said))}
    assert {number: times for number, times in found.items() if times > 1} == {}
    assert written - found.keys() == set()


@pytest.mark.parametrize("kind", KINDS)
def test_rotations_under_load_lose_and_double_nothing(tmp_path: Path, kind: str) -> None:
    read_while_it_is_rotated(tmp_path / "mail.log", kind, 40)


@pytest.mark.torture
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_rotations_under_load_lose_and_double_nothing(tmp_path: Path, kind: str) -> None:
    read_while_it_is_rotated(tmp_path / "mail.log", kind, 1000)

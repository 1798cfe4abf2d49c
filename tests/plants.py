"""What somebody who came into a folder of popgate's may put in place of a file there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Plant = Callable[[Path, Path], None]
"""Is given the place, and a file of somebody else's."""


def link(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


def second_name(place: Path, victim: Path) -> None:
    os.link(victim, place)


def pipe(place: Path, _: Path) -> None:
    os.mkfifo(place)


PLANTED = pytest.mark.parametrize("plant", [link, second_name, pipe])

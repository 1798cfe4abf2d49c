"""The inputs that fuzzing began with or found go through their targets again, without atheris."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
KEPT = sorted(file for file in CORPUS.rglob("*") if file.is_file())


def test_every_target_has_a_corpus_and_a_dictionary() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == TARGETS.keys()
    assert {file.stem for file in CORPUS.parent.glob("*.dict")} == TARGETS.keys()


@pytest.mark.parametrize("file", KEPT, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_kept_input_holds(file: Path) -> None:
    TARGETS[file.parent.name](file.read_bytes())

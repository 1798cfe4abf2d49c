"""Looks for bytes that a target does not hold against: `python -m tests.fuzz TARGET SECONDS`.

atheris (libFuzzer) watches which lines of popgate an input reaches, and changes the inputs that
reached new ones. It begins with the kept corpus and does not write to it; an input at which a
target fails is left in `crash-*` in the working folder. Give it a name that says what it was, put
it into `tests/fuzz/corpus/TARGET`, and mend what it shows.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

_HERE = Path(__file__).parent
_LONGEST = 4096


def main(name: str, seconds: str) -> None:
    """Fuzz one target; ends the process."""
    with atheris.instrument_imports(include=["tracker"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 (what is imported is instrumented)
    target = TARGETS[name]
    found = tempfile.mkdtemp(prefix="popgate-fuzz-")
    limits = [
        f"-max_total_time={seconds}",
        f"-max_len={_LONGEST}",
        "-timeout=10",
        "-rss_limit_mb=2048",
    ]
    words = _HERE / f"{name}.dict"
    folders = [found, str(_HERE / "corpus" / name)]
    atheris.Setup(
        [sys.argv[0], *limits, f"-dict={words}", "-print_final_stats=1", *folders], target
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:3])

"""The commands of docs/privacy.md do what it says of them."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tracker.pseudonyms import Names

MANUAL = Path(__file__).parents[1] / "docs/privacy.md"


def commands(heading: str) -> list[list[str]]:
    """The blocks of commands of a section."""
    section = MANUAL.read_text(encoding="utf-8").split(f"## {heading}")[1].split("\n## ")[0]
    blocks = re.findall(r"(?m)(?:^    .*\n)+", section)
    return [[line.strip() for line in block.splitlines()] for block in blocks]


def git(folder: Path, *words: str, days: float = 0) -> str:
    moment = f"{(datetime.now(UTC) - timedelta(days=days)).timestamp():.0f} +0000"
    parts = [f"{one}_{what}" for one in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    who = {f"GIT_{part}": "x" for part in parts}
    dates = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
    return subprocess.run(
        ["git", "-C", folder, *words],
        env={**os.environ, **who, **dates},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_history_is_cut_and_what_stays_keeps_its_name(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    for days in (200, 91, 89, 1, 0):
        (tmp_path / "text").write_text(f"user{days}\n")
        git(tmp_path, "add", "text")
        git(tmp_path, "commit", "--quiet", "-m", f"{days} days ago", days=days)
    before = git(tmp_path, "log", "--format=%H").split()
    old = git(tmp_path, "rev-parse", f"{before[-1]}:text").strip()
    stamp = (tmp_path / "text").stat().st_mtime_ns
    ((place, *cut),) = commands("The git history cut")
    assert place == "cd /var/lib/popgate/maps"
    subprocess.run(["sh", "-ec", "\n".join(cut)], cwd=tmp_path, check=True, timeout=60)
    assert git(tmp_path, "log", "--format=%H").split() == before[:3]
    objects = git(tmp_path, "cat-file", "--batch-all-objects", "--batch-check")
    assert old not in objects
    assert before[-1] not in objects
    git(tmp_path, "fsck", "--strict")
    assert (tmp_path / "text").stat().st_mtime_ns == stamp
    (tmp_path / "text").write_text("new\n")
    git(tmp_path, "commit", "--quiet", "-a", "-m", "new")
    assert len(git(tmp_path, "log", "--format=%H").split()) == 4


def test_a_token_is_found_again_by_the_command_shown(tmp_path: Path) -> None:
    key = bytes(range(32))
    (tmp_path / "users.key").write_bytes(key)
    _, block = commands("Names hidden: privacy.hash_users")
    text = "\n".join(block).replace("/var/lib/popgate", str(tmp_path))
    done = subprocess.run(["sh", "-ec", text], capture_output=True, text=True, check=True)
    digits = done.stdout.split()[-1][:16]
    assert f"u-{digits}" == Names(key)("alice@example.com")

"""Documentation, commands and settings held against each other."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from lab import manual
from tests.conftest import require
from tracker.cli import popgate
from tracker.config import settings_table
from tracker.deciding.health.catalogue import CATALOGUE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = sorted((ROOT / "tracker").rglob("*.py"))


def test_every_command_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"^ {4}(?:\S+/)?popgate ([a-z]+)", README, re.MULTILINE))
    assert named
    assert named <= set(popgate.list_commands(None))  # type: ignore[arg-type]


@pytest.mark.parametrize("document", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_links_lead_to_files_that_are_there(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def test_every_setting_that_is_named_anywhere_exists() -> None:
    settings = {setting.name for setting in settings_table()}
    sections = {name.partition(".")[0] for name in settings}
    texts = [README, *(file.read_text(encoding="utf-8") for file in (ROOT / "docs").glob("*.md"))]
    texts += [file.read_text(encoding="utf-8") for file in SOURCES]
    for text in texts:
        for section, key in re.findall(r"`([a-z_]+)\.([a-z_][a-z_0-9]*)`", text):
            if section in sections and key not in ("py", "txt", "cidr", "lmdb", "toml", "log"):
                assert f"{section}.{key}" in settings


def test_the_manual_pages_say_what_commands_and_settings_are() -> None:
    """`make docs` writes them."""
    pages = ROOT / "docs/man"
    assert (pages / "popgate.8").read_text(encoding="utf-8") == manual.commands()
    assert (pages / "popgate.toml.5").read_text(encoding="utf-8") == manual.settings()


@pytest.mark.parametrize("page", ["popgate.8", "popgate.toml.5"])
def test_a_manual_page_has_no_word_that_man_stumbles_over(page: str) -> None:
    require(None if shutil.which("man") else "not installed: man-db")
    done = subprocess.run(
        ["man", "--warnings", "--encoding=utf8", "--local-file", ROOT / "docs/man" / page],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
    )
    assert done.stderr == ""
    assert "NAME" in done.stdout


def test_every_dependency_has_its_sentence() -> None:
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    for requirement in PROJECT["dependencies"]:
        assert f"| [{re.split('[>=<]', requirement)[0]}](" in text


def test_every_module_of_the_map_exists_and_every_module_is_on_it() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for file in SOURCES:
        if file.name not in ("__init__.py", "__main__.py") and "cli" not in file.parts:
            assert f"{file.name}`" in text or f"`{file.name}" in text, file.name
    for name in re.findall(r"`(?:[a-z]+/)*([a-z]+\.py)`", text):
        assert any(file.name == name for file in SOURCES), name


def test_every_test_that_the_threats_name_exists() -> None:
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[a-z0-9_/]+\.py)::([A-Za-z0-9_:]+)`", text)
    assert len(named) > 30
    for file, test in named:
        within: ast.Module | ast.stmt = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        for name in test.split("::"):
            assert isinstance(within, (ast.Module, ast.ClassDef)), f"{file}::{test}"
            found = [one for one in within.body if getattr(one, "name", None) == name]
            assert found, f"{file}::{test}"
            within = found[0]
    rows = [line for line in text.splitlines() if line.startswith("| ") and line[2] != "-"]
    for row in rows:
        assert "::" in row or row.endswith("| test |"), row


def test_deciding_does_no_io_and_knows_neither_of_the_others() -> None:
    pure = {"reading", "writing", "os", "subprocess", "pathlib", "sqlite3", "time", "logging", "io"}
    for file in (ROOT / "tracker/deciding").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                assert not pure & set(name.split(".")), f"{file.name} imports {name}"
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("now", "utcnow", "today"), f"{file.name} asks the clock"


def test_every_module_begins_with_its_manual_page() -> None:
    for file in [*SOURCES, *(ROOT / "lab").glob("*.py"), *(ROOT / "bench").glob("*.py")]:
        assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))), file


def test_every_finding_of_the_doctor_is_told_with_its_severity_and_no_other() -> None:
    text = (ROOT / "docs/doctor.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `([a-z0-9-]+)` \| ([a-z]+) \|", text, re.MULTILINE)
    assert dict(told) == {code: kind.severity for code, kind in CATALOGUE.items()}
    assert len(told) == len(CATALOGUE)

"""`popgate formats`: what there is, what fits, what is sound."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.reading.test_formats import SOUND, write
from tests.test_cli import BASIC, popgate

CUSTOM = BASIC.with_name("syslog-customorder-k.iso.log")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "formats.d"
    made.mkdir()
    write(made / "small.toml")
    return made


def test_lists_its_own_formats_and_those_of_the_admin(folder: Path) -> None:
    rows = json.loads(popgate("formats", "--json", "--folder", folder).stdout)
    files = {row["name"]: row["file"] for row in rows}
    assert files["small"] == str(folder / "small.toml")
    assert files["dovecot"].endswith("/formats/dovecot.toml")
    shown = popgate("formats", "--folder", folder).stdout.decode()
    assert f"small A small server ({folder}/small.toml)" in " ".join(shown.split())


def test_a_broken_file_is_reported_and_the_others_are_listed(folder: Path) -> None:
    (folder / "broken.toml").write_text("name = \n")
    done = popgate("formats", "--folder", folder)
    assert done.returncode == 2
    assert done.stderr.startswith(f"popgate: {folder}/broken.toml: Invalid value".encode())
    assert b"small" in done.stdout
    assert b"Traceback" not in done.stderr


def test_an_admins_file_of_the_same_name_wins(folder: Path) -> None:
    write(folder / "dovecot.toml", head=SOUND["head"].replace('"small"', '"dovecot"', 1))
    rows = json.loads(popgate("formats", "--json", "--folder", folder).stdout)
    assert [row["title"] for row in rows if row["name"] == "dovecot"] == ["A small server"]


def test_a_file_whose_name_is_not_that_of_its_format_is_refused(folder: Path) -> None:
    write(folder / "other.toml")
    done = popgate("formats", "--folder", folder)
    assert done.stderr == (
        f"popgate: {folder}/other.toml: name = 'small': must be that of the file\n".encode()
    )


def test_tells_which_format_fits_a_log(folder: Path) -> None:
    done = popgate("formats", "test", "--json", "--folder", folder, BASIC)
    said = json.loads(done.stdout)
    assert said["fits"] == ["dovecot"]
    (row,) = said["formats"]
    assert (row["login"], row["logout"], row["failed"], row["not_understood"]) == (27, 27, 16, 0)
    assert b"fits: dovecot\n" in popgate("formats", "test", "--folder", folder, BASIC).stdout


def test_says_when_none_fits_and_exits_1(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_text("Nov 24 08:45:29 mailhost kernel: hello\n")
    done = popgate("formats", "test", log)
    assert (done.returncode, done.stdout) == (1, b"no known format fits\n")


def test_a_log_that_cannot_be_read_is_one_line_and_exit_3(tmp_path: Path) -> None:
    done = popgate("formats", "test", tmp_path / "gone.log")
    assert done.returncode == 3
    assert done.stderr == f"popgate: {tmp_path}/gone.log: cannot be read: ".encode() + (
        b"No such file or directory\n"
    )


def test_checks_a_file_that_is_being_written(folder: Path) -> None:
    done = popgate("formats", "check", folder / "small.toml")
    assert done.stdout == f"{folder}/small.toml: good: 1 patterns, proved by 2 examples\n".encode()
    example = SOUND["example"].replace('"203.0.113.5"', '"203.0.113.6"')
    write(folder / "small.toml", example=example)
    done = popgate("formats", "check", folder / "small.toml")
    assert done.returncode == 2
    assert b"this example gives (" in done.stderr

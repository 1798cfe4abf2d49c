"""A password that an admin wrote where it does not belong is in no log, commit, history or report.

No setting holds one: `audit.push` takes a remote's name alone. The remote's URL, in git's own
configuration, may have one.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.popgate import Popgate

PASSWORD = "hunter2-0f3a"
URL = f"https://bob:{PASSWORD}@127.0.0.1:1/tables.git"


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Popgate:
    log = tmp_path / "mail.log"
    log.touch()
    return Popgate(tmp_path / "popgate", log, postfix_config, '[audit]\npush = "origin"\n')


def test_a_url_with_a_password_is_refused_as_a_setting_and_not_repeated(site: Popgate) -> None:
    site.file.write_text(site.file.read_text().replace('"origin"', f'"{URL}"'))
    done = site.command("once")
    assert done.returncode == 2
    assert "audit.push" in done.stderr
    assert PASSWORD not in done.stderr


def test_what_git_says_of_a_remote_is_told_without_its_password(
    site: Popgate, tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "--quiet", site.maps], check=True)
    site.maps.chmod(0o700)
    subprocess.run(["git", "-C", site.maps, "remote", "add", "origin", URL], check=True)
    page = tmp_path / "page.html"
    said = [
        site.command("once"),
        site.command("audit"),
        site.command("doctor"),
        site.command("config", "show"),
        site.command("report", "-o", str(page)),
    ]
    assert "push --quiet origin HEAD" in said[0].stderr, "it failed, and is told of"
    for one in said:
        assert PASSWORD not in one.stdout + one.stderr, one.args
    kept = [file for file in site.maps.parent.rglob("*") if file.is_file()]
    for file in [page, *kept]:
        if file != site.maps / ".git/config":
            assert PASSWORD.encode() not in file.read_bytes(), file

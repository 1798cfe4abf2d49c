"""A password that an admin wrote where it does not belong is in no log, commit, history or report.

No setting is for one: `audit.push` takes a remote's name alone. The remote's URL, in git's own
configuration, may have one, and so may a command that the settings name.
"""

from __future__ import annotations

import json
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
    assert_not_kept(site, page)


def test_what_a_command_of_the_settings_is_called_with_is_told_and_kept_nowhere(
    site: Popgate, tmp_path: Path
) -> None:
    """Neither when it fails, nor where the history tells that the setting is another now."""
    command = ["false", "--password", PASSWORD, "-u", f"bob:{PASSWORD}", URL]
    loud = ["sh", "-c", f"echo {URL} is not there >&2; exit 1", PASSWORD]
    site.command("once")
    for words in (command, loud):
        exports = f'[exports]\ndirectory = "{tmp_path}/exports"\nopendkim = ["trusted"]\n'
        site.configure(tmp_path / "mail.log", f"{exports}opendkim_command = {json.dumps(words)}\n")
        site.trusted.write_text(f"192.0.2.{len(words)}\n")
        page = tmp_path / "page.html"
        said = [
            site.command("once"),
            site.command("audit"),
            site.command("audit", "--json"),
            site.command("doctor"),
            site.command("report", "-o", str(page)),
        ]
        assert f"exports.opendkim_command: {words[0]}: " in said[0].stderr, "it failed, and is told"
        assert "exports.opendkim_command" in said[1].stdout, "that it is another is told"
        for one in said:
            assert PASSWORD not in one.stdout + one.stderr, one.args
        assert_not_kept(site, page)


def assert_not_kept(site: Popgate, page: Path) -> None:
    """In no file of popgate's, nor in the report. git's own configuration is the admin's."""
    kept = [file for file in site.maps.parent.rglob("*") if file.is_file()]
    for file in [page, *kept]:
        if file != site.maps / ".git/config":
            assert PASSWORD.encode() not in file.read_bytes(), file

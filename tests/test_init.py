"""`popgate init` as an admin runs it: what it writes, what it leaves alone, what it says."""

from __future__ import annotations

import grp
import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import require
from tests.moments import login_line
from tracker import config
from tracker.deciding.trusted import parse
from tracker.surveyed import Chosen
from tracker.writing import setup

NEW = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n"


class Host:
    """Configurations of a Postfix and a Dovecot, and a folder for popgate's."""

    def __init__(self, folder: Path, postfix: Path) -> None:
        self.file = folder / "etc/popgate.toml"
        self.trusted = folder / "etc/trusted.txt"
        self.log = folder / "dovecot.log"
        self.postfix = postfix
        self.dovecot = folder / "dovecot.conf"
        version = subprocess.run(
            ["/usr/sbin/dovecot", "--version"], capture_output=True, text=True, check=True
        ).stdout
        self.head = ("" if version.startswith("2.3") else NEW) + "ssl = no\n"
        self.dovecot.write_text(f"{self.head}log_path = {self.log}\n")

    def init(self, *more: str) -> subprocess.CompletedProcess[str]:
        return self.popgate(
            "init",
            "--postfix-config",
            str(self.postfix),
            "--dovecot-config",
            str(self.dovecot),
            *more,
        )

    def popgate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tracker", *arguments, "--config", str(self.file)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def host(tmp_path: Path, postfix_config: Path) -> Host:
    require(None if Path("/usr/bin/doveconf").exists() else "doveconf is not installed")
    return Host(tmp_path, postfix_config)


def test_what_it_writes_is_good_and_says_why(host: Host) -> None:
    host.log.write_text(login_line("203.0.113.5"))
    done = host.init()
    assert (done.returncode, done.stderr) == (0, "")
    text = host.file.read_text()
    found = config.parse(text, "popgate.toml")
    assert found.log.files == (host.log,)
    assert found.log.dovecot == str(host.dovecot)
    assert found.postfix.config_directory == str(host.postfix)
    assert (found.postfix.table, found.trusted.file) == ("lmdb", host.trusted)
    words = " ".join(text.replace("\n# ", " ").split())
    assert f"Found: doveconf: log_path = {host.log}; 1 login in its last lines" in words
    assert f"found    logins are read from {host.log}" in done.stdout
    assert done.stdout.splitlines()[-3:] == [
        f"{host.trusted}: written",
        f"{host.file}: written",
        "now: popgate config check, then popgate install",
    ]
    checked = host.popgate("config", "check")
    assert (checked.returncode, checked.stdout.splitlines()) == (
        0,
        [f"{host.file}: good", f"{host.trusted}: 0 entries"],
    )


def test_every_other_setting_stands_there_commented_out(host: Host) -> None:
    host.init()
    lines = host.file.read_text().splitlines()
    for setting in config.settings_table():
        assert any(line.startswith(f"#{setting.key} = ") for line in lines), setting.name


def test_a_file_that_is_there_is_left_as_it_is(host: Host) -> None:
    host.file.parent.mkdir()
    host.file.write_text("[grants]\n")
    done = host.init()
    assert done.returncode == 1
    assert done.stderr == (
        f"popgate: {host.file}: is there already, and left as it is "
        "(popgate init --print shows what would be written)\n"
    )
    assert host.file.read_text() == "[grants]\n"
    assert f"{host.trusted}: written" in done.stdout


def test_a_trusted_list_that_is_there_is_used(host: Host) -> None:
    host.file.parent.mkdir()
    host.trusted.write_text("203.0.113.9\n")
    assert host.init().returncode == 0
    assert host.trusted.read_text() == "203.0.113.9\n"
    assert "1 entries" in host.popgate("config", "check").stdout


def test_a_link_that_leads_nowhere_is_a_name_that_is_taken(host: Host, tmp_path: Path) -> None:
    host.file.parent.mkdir()
    host.file.symlink_to(tmp_path / "elsewhere")
    assert host.init().returncode == 1
    assert not (tmp_path / "elsewhere").exists()


def test_print_writes_nothing_and_what_it_prints_is_the_file(host: Host) -> None:
    done = host.init("--print")
    assert done.returncode == 0
    assert not host.file.parent.exists()
    assert "found    Dovecot" in done.stderr
    assert config.parse(done.stdout, "printed").log.files == (host.log,)
    assert host.init("--dry-run").stdout == done.stdout
    assert not host.file.parent.exists()
    host.init()
    assert host.file.read_text() == done.stdout


def test_json_has_settings_with_their_reasons_remarks_and_files(host: Host) -> None:
    told = json.loads(host.init("--json").stdout)
    assert told["settings"]["postfix.table"] == {
        "value": "lmdb",
        "why": "postconf -m has lmdb",
        "weight": "found",
    }
    assert {"weight", "text", "evidence"} == told["remarks"][0].keys()
    assert told["files"] == [
        {"file": str(host.trusted), "written": True},
        {"file": str(host.file), "written": True},
    ]


def test_a_dovecot_that_cannot_be_read_safely_is_said(host: Host) -> None:
    setting = "login_log_format_elements = user=<%u>\n"
    if "2.4" in host.head:
        setting = "login_log_format_elements = user=<%{user}>\n"
    host.dovecot.write_text(f"{host.head}log_path = {host.log}\n{setting}")
    done = host.init()
    assert done.returncode == 0
    assert "missing  Dovecot's log cannot be read as it is set: login_log_format_e" in done.stdout


def test_a_doveconf_that_fails_is_one_line_and_the_file_is_good_all_the_same(host: Host) -> None:
    host.dovecot.write_text("nonsense\n")
    done = host.init()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("missing  doveconf failed: ") == 1
    assert host.popgate("config", "check").returncode == 0


def test_no_postfix_in_the_folder_is_one_line_and_the_file_is_good_all_the_same(
    host: Host,
) -> None:
    (host.postfix / "main.cf").unlink()
    done = host.init()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("missing  no Postfix to be asked: ") == 1
    assert host.popgate("config", "check").returncode == 0


def test_a_folder_that_cannot_be_written_to_is_one_line_and_exit_3(host: Host) -> None:
    host.file.parent.parent.joinpath("etc").write_text("no folder")
    done = host.init()
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert done.stderr.startswith(f"popgate: {host.trusted}: cannot be written: ")


def test_without_postfix_and_dovecot_the_file_is_there_and_good(tmp_path: Path) -> None:
    """PATH alone does not hide them: popgate looks in /usr/sbin too. So the text is made here."""
    text = setup.configuration({"log.files": Chosen(("/var/log/mail.log",), "x\ny")}.items())
    assert config.parse(text, "made").postfix.table == "auto"
    assert "# Found: x?y\n" in text


class TestTheFiles:
    def test_are_for_root_and_popgates_group_where_there_is_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(setup, "_GROUP", grp.getgrgid(os.getegid()).gr_name)
        assert setup.create(tmp_path / "a/b.toml", "x")
        status = (tmp_path / "a/b.toml").stat()
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o640, os.getegid())
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) & 0o755 == 0o755 & ~_umask()

    def test_are_for_everybody_to_read_where_there_is_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(setup, "_GROUP", "no-such-group")
        assert setup.create(tmp_path / "b.toml", "x")
        assert stat.S_IMODE((tmp_path / "b.toml").stat().st_mode) == 0o644
        assert not setup.create(tmp_path / "b.toml", "y")
        assert [file.name for file in tmp_path.iterdir()] == ["b.toml"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_examples_of_the_trusted_list_are_commented_out_and_all_are_sound() -> None:
    text = setup.trusted_list()
    assert parse(text, "trusted.txt").entries == ()
    live = [line[1:] for line in text.splitlines() if line[:1] == "#" and line[1:2] not in " \n"]
    entries = parse("\n".join(filter(None, live)), "trusted.txt").entries
    assert len(entries) == 11
    assert tomllib.loads(config.sample()) == {section: {} for section in _sections()}


def _sections() -> set[str]:
    return {setting.section for setting in config.settings_table()}

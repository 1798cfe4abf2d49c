"""`popgate install` and `uninstall` without a running Postfix: what needs no root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lab.postfix import age
from tracker import config
from tracker.cli import popgate
from tracker.errors import InstallError, RefusedError
from tracker.settings import PostfixSettings, Settings

MAIN = """\
compatibility_level = 3.6
smtpd_client_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_rbl_client a.test
"""
MASTER = "smtp inet n - y - - smtpd\n"


@pytest.fixture
def file(tmp_path: Path, postfix_config: Path) -> Path:
    for name, text in (("main.cf", MAIN), ("master.cf", MASTER)):
        (postfix_config / name).write_text(text)
        age(postfix_config / name)
    made = tmp_path / "popgate.toml"
    made.write_text(f'[postfix]\nconfig_directory = "{postfix_config}"\n')
    return made


def run(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(popgate, [*arguments, "--config", str(file)])


def test_a_dry_run_prints_the_commands_and_touches_nothing(
    file: Path, postfix_config: Path
) -> None:
    before = {one.name: one.read_bytes() for one in postfix_config.iterdir()}
    lines = run(file, "install", "--dry-run").stdout.splitlines()
    assert lines[0] == f"popgate once --config {file}"
    assert lines[1:3] == [
        f"install -d -m 700 {postfix_config}/popgate.saved",
        f"cp -p {postfix_config}/main.cf {postfix_config}/master.cf {postfix_config}/popgate.saved",
    ]
    assert (
        "'smtpd_client_restrictions = permit_mynetworks, permit_sasl_authenticated, "
        "$popgate_clients, reject_rbl_client a.test'" in lines[3]
    )
    assert lines[4:] == [f"postfix -c {postfix_config} reload"]
    assert {one.name: one.read_bytes() for one in postfix_config.iterdir()} == before
    assert run(file, "uninstall", "--dry-run").stdout == "# nothing to do\n"


def test_a_dry_run_refuses_what_install_would(file: Path, postfix_config: Path) -> None:
    with (postfix_config / "main.cf").open("a") as main:
        main.write("smtpd_relay_restrictions = permit, permit_sasl_authenticated, reject\n")
    done = run(file, "install", "--dry-run")
    assert isinstance(done.exception, RefusedError)
    assert "everybody may relay already" in str(done.exception)


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_only_root_may(file: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = run(file, command)
    assert isinstance(done.exception, InstallError)
    assert "only root may change main.cf and master.cf; --dry-run shows how" in str(done.exception)


@pytest.mark.parametrize("bad", ["[nonsense]\n", "[grants]\nwindow = 5\n"])
def test_a_bad_configuration_keeps_nobody_from_taking_popgate_out(
    file: Path, postfix_config: Path, bad: str
) -> None:
    with (postfix_config / "main.cf").open("a") as main:
        main.write("popgate_dir = /var/lib/popgate/maps\n")
    age(postfix_config / "main.cf")
    file.write_text(file.read_text() + bad)
    done = run(file, "uninstall", "--dry-run")
    assert done.exit_code == 0
    assert f"going on with the Postfix of {postfix_config}" in done.stderr
    assert f"postconf -c {postfix_config} -X popgate_dir\n" in done.stdout


def test_what_can_be_read_of_a_bad_configuration(tmp_path: Path) -> None:
    file = tmp_path / "popgate.toml"
    assert config.as_far_as_sound(file)[0] == Settings()
    file.write_text("what")
    assert config.as_far_as_sound(file)[0] == Settings()
    file.write_bytes(b"log = 5 # \xff\n[postfix]\nconfig_directory = '/x'\nreload = 5\n")
    sound, faults = config.as_far_as_sound(file)
    assert sound == Settings(postfix=PostfixSettings(config_directory="/x"))
    assert "cannot be read" in faults[0]

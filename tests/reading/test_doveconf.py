"""doveconf tells how Dovecot writes its log; where it cannot, the defaults are assumed."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require
from tests.reading.settings import CUSTOM_23
from tracker.errors import FormatError, ReadingError
from tracker.reading.dovecot import SETTINGS
from tracker.reading.formats import find
from tracker.reading.sources import doveconf

DEFAULT = find("dovecot", None)
ELEMENTS = '%{session} [%r] %m %c "%u"'


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "doveconf"


def make(script: Path, text: str) -> str:
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    return str(script.parent)


def answer(*values: str) -> str:
    """A doveconf that tells these values of the settings that it is asked for, in their order."""
    keys = (*SETTINGS, "log_path", "info_log_path")
    lines = [f"{key} = {value}" for key, value in zip(keys, values, strict=True)]
    return "cat <<'END'\n" + "\n".join(lines) + "\nEND"


@pytest.mark.parametrize(
    ("log_path", "info_log_path", "has_stamp"),
    [
        ("syslog", "", False),
        ("syslog", "%{log_path}", False),
        ("syslog", "/var/log/dovecot.log", True),
        ("/var/log/dovecot.log", "", True),
        ("/var/log/dovecot.log", "syslog", False),
    ],
)
def test_the_stamp_matters_only_in_a_log_of_its_own(
    script: Path, log_path: str, info_log_path: str, has_stamp: bool
) -> None:
    folder = make(script, answer(ELEMENTS, "%$: %s", "%s: ", "%s ", log_path, info_log_path))
    told = doveconf.read(path=folder)
    assert told.pop("log_timestamp", None) == ("%s " if has_stamp else None)
    assert told == {
        "login_log_format_elements": ELEMENTS,
        "login_log_format": "%$: %s",
        "mail_log_prefix": "%s: ",
    }


def test_where_there_is_no_doveconf_nothing_is_known(tmp_path: Path) -> None:
    assert doveconf.read(path=str(tmp_path)) == {}
    with pytest.raises(ReadingError, match=r"^/etc/x\.conf: there is no doveconf to read it$"):
        doveconf.read("/etc/x.conf", path=str(tmp_path))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("echo 'doveconf: Fatal: no' >&2; exit 89", "doveconf failed: doveconf: Fatal: no"),
        ("exit 1", "doveconf failed: exit code 1"),
        ("echo x = y", "doveconf does not tell login_log_format_elements"),
    ],
)
def test_a_doveconf_that_fails_says_so_in_one_line(script: Path, text: str, why: str) -> None:
    with pytest.raises(ReadingError) as raised:
        doveconf.read(path=make(script, text))
    assert str(raised.value) == why


def test_one_that_hangs_is_given_up(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doveconf, "_SECONDS", 0.2)
    with pytest.raises(ReadingError, match=r"did not end in 0\.2 s"):
        doveconf.read(path=make(script, "exec sleep 30"))


def test_a_failure_is_said_and_the_defaults_are_assumed(
    script: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", make(script, "echo broken >&2; exit 1") + ":/bin:/usr/bin")
    with caplog.at_level(logging.WARNING):
        assert doveconf.fitted(DEFAULT, doveconf.AUTO) is DEFAULT
    assert "doveconf failed: broken" in caplog.text


def test_what_doveconf_says_is_what_is_read(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = answer(ELEMENTS, "%$: %s", "%s(%u): ", "%b %d %H:%M:%S ", "syslog", "")
    monkeypatch.setenv("PATH", make(script, told) + ":/bin:/usr/bin")
    assert doveconf.fitted(DEFAULT, doveconf.AUTO).examples == ()
    assert doveconf.fitted(DEFAULT, {}) is DEFAULT
    assert doveconf.fitted(DEFAULT, CUSTOM_23) is not DEFAULT


def test_unsafe_settings_are_refused(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = answer("user=<%u>", "%$: %s", "%s(%u): ", "%b %d %H:%M:%S ", "syslog", "")
    monkeypatch.setenv("PATH", make(script, told) + ":/bin:/usr/bin")
    with pytest.raises(
        FormatError, match=r"^login_log_format_elements = 'user=<%u>': it has no %r"
    ):
        doveconf.fitted(DEFAULT, doveconf.AUTO)


def minimal(file: Path) -> str:
    """A dovecot.conf without any customised setting, for the Dovecot that is here; its dialect."""
    require(None if Path("/usr/bin/doveconf").exists() else "doveconf is not installed")
    version = subprocess.run(
        ["/usr/sbin/dovecot", "--version"], capture_output=True, text=True, check=True
    ).stdout
    new = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n"
    old = version.startswith("2.3")
    file.write_text(f"{'' if old else new}log_path = /var/log/dovecot.log\nssl = no\n")
    return "2.3" if old else "2.4"


def test_the_real_one_reads_the_file_it_is_given(tmp_path: Path) -> None:
    file = tmp_path / "dovecot.conf"
    elements, message, prefix = {
        "2.3": (ELEMENTS, "%$: %s", "%s[%p](user=%u rip=%r sess=%{session}): "),
        "2.4": (
            '%{session} [%{remote_ip}] %{mechanism} %{secured} "%{user}"',
            "%{message}: %{elements}",
            "%{protocol}[%{process:pid}](user=%{user} rip=%{remote_ip} sess=%{session}): ",
        ),
    }[minimal(file)]
    written = elements.replace('"', '\\"')
    with file.open("a") as more:
        more.write(
            f'login_log_format_elements = "{written}"\nmail_log_prefix = "{prefix}"\n'
            'log_timestamp = "%Y-%m-%d %H:%M:%S "\n'
        )
    assert doveconf.read(str(file)) == {
        "login_log_format_elements": elements,
        "login_log_format": message,
        "mail_log_prefix": prefix,
        "log_timestamp": "%Y-%m-%d %H:%M:%S ",
    }
    with pytest.raises(ReadingError, match="No such file"):
        doveconf.read(str(tmp_path / "none.conf"))


def test_2_4_puts_quotes_around_a_blank_at_the_end(script: Path) -> None:
    prefix = "%{service}(%{user})<%{process:pid}><%{session}>: "
    told = answer(
        r'"%{session} [%{remote_ip}] \"%{user}\" "',
        '"%{user}" rip=%{remote_ip} "x"',
        f'"{prefix}"',
        '"%b %d %H:%M:%S "',
        "/var/log/dovecot.log",
        "",
    )
    assert doveconf.read(path=make(script, told)) == {
        "login_log_format_elements": '%{session} [%{remote_ip}] "%{user}" ',
        "login_log_format": '"%{user}" rip=%{remote_ip} "x"',
        "mail_log_prefix": prefix,
        "log_timestamp": "%b %d %H:%M:%S ",
    }


def test_the_defaults_of_a_real_dovecot_are_read_by_the_format_as_it_is(tmp_path: Path) -> None:
    config = tmp_path / "dovecot.conf"
    minimal(config)
    assert doveconf.read(str(config))["mail_log_prefix"].endswith(">: ")
    assert doveconf.fitted(DEFAULT, str(config)) is DEFAULT


TOLD_BY_241 = """\
login_log_format_elements = user=<%{user}> method=%{mechanism} rip=%{remote_ip} lip=%{local_ip} \
mpid=%{mail_pid} %{secured} session=<%{session}>
login_log_format = %{message}: %{elements}
mail_log_prefix = "%{service}(%{user})<%{process:pid}><%{session}>: "
log_timestamp = "%b %d %H:%M:%S "
log_path = syslog
info_log_path =\x20
"""
"""What doveconf of Debian 13's 2.4.1 prints without any configuration of an admin's."""


def test_debian_13_as_it_is_packaged_logs_to_syslog_in_the_packaged_format(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With -h it fails: `doveconf: Fatal: Multiple settings matched with -h parameter`."""
    refuse = 'case " $* " in *" -h "*) exit 89;; esac\n'
    folder = make(script, f"{refuse}cat <<'END'\n{TOLD_BY_241}END")
    assert doveconf.log_path(path=folder) == ("log_path", "syslog")
    assert "log_timestamp" not in doveconf.read(path=folder)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    assert doveconf.fitted(DEFAULT, doveconf.AUTO) is DEFAULT


@pytest.mark.parametrize(
    ("log_path", "info_log_path", "setting", "value"),
    [
        ("syslog", "", "log_path", "syslog"),
        ("/var/log/dovecot.log", "%{log_path}", "log_path", "/var/log/dovecot.log"),
        ("syslog", "/var/log/dovecot-info.log", "info_log_path", "/var/log/dovecot-info.log"),
        ("/var/log/dovecot.log", "syslog", "info_log_path", "syslog"),
    ],
)
def test_logins_go_where_info_log_path_says_and_else_log_path(
    script: Path, log_path: str, info_log_path: str, setting: str, value: str
) -> None:
    folder = make(script, answer(ELEMENTS, "%$: %s", "%s: ", "%s ", log_path, info_log_path))
    assert doveconf.log_path(path=folder) == (setting, value)


def test_where_there_is_no_doveconf_no_log_is_known(tmp_path: Path) -> None:
    assert doveconf.log_path(path=str(tmp_path)) is None
    assert doveconf.changed(path=str(tmp_path)) == ""

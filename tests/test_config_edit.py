"""`popgate config get`, `set` and `unset` as an admin types them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from lab.popgate import Popgate
from lab.processes import wait_for
from tracker import config

WRITTEN = """\
[grants]
window = "30m"  # short
#services = ["pop3", "imap"]
"""


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Popgate:
    return Popgate(tmp_path / "popgate", tmp_path / "mail.log", postfix_config, WRITTEN)


class TestGet:
    def test_prints_the_value_in_force(self, site: Popgate) -> None:
        for key, value in (
            ("grants.window", "30m"),
            ("grants.scope", "ip"),
            ("audit.commit", "true"),
            ("grants.services", '["pop3", "imap"]'),
            ("grants.ipv6_prefix", "128"),
        ):
            assert site.command("config", "get", key).stdout == f"{value}\n"

    def test_prints_json(self, site: Popgate) -> None:
        told = json.loads(site.command("config", "get", "grants.services", "--json").stdout)
        assert told == {"key": "grants.services", "value": ["pop3", "imap"]}

    def test_an_unknown_key_is_exit_2_and_names_the_nearest(self, site: Popgate) -> None:
        done = site.command("config", "get", "grants.windw")
        assert (done.returncode, done.stderr) == (
            2,
            "popgate: unknown key grants.windw; the nearest is grants.window\n",
        )


class TestSet:
    def test_changes_one_key_and_keeps_comments_mode_and_the_file_before(
        self, site: Popgate
    ) -> None:
        site.file.chmod(0o640)
        old = site.file.read_text()
        done = site.command("config", "set", "grants.window", "45m")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [
            "grants.window = 45m (it was 30m)",
            "popgate is not running: it takes effect when it starts",
        ]
        assert site.file.read_text() == old.replace('"30m"  # short', '"45m"  # short')
        assert stat.S_IMODE(site.file.stat().st_mode) == 0o640
        assert site.file.with_name("popgate.toml~").read_text() == old

    def test_a_commented_key_is_set_below_its_comment(self, site: Popgate) -> None:
        site.command("config", "set", "grants.services", "pop3")
        lines = site.file.read_text().splitlines()
        place = lines.index('services = ["pop3"]')
        assert lines[place - 1] == '#services = ["pop3", "imap"]'

    @pytest.mark.parametrize(
        ("key", "value", "why"),
        [
            ("grants.window", "soon", 'grants.window = "soon": expected a time with its unit'),
            ("grants.window", "8d", 'grants.window = "8d": expected between 0 and 7d'),
            ("audit.commit", "perhaps", 'audit.commit = "perhaps": '),
            ("postfix.table", "hash", 'expected "auto" or "lmdb" or "cidr"'),
            ("grants.exclude_networks", "10.0.0.1/8", "did you mean 10.0.0.0/8?"),
            ("grants.ipv6_prefix", "64", "which an indexed table cannot hold"),
            ("log.format", "dovcot", "unknown log format 'dovcot'"),
            ("log.files", "mail.log", "expected paths from the root"),
        ],
    )
    def test_what_would_make_the_file_bad_changes_nothing(
        self, site: Popgate, key: str, value: str, why: str
    ) -> None:
        old = site.file.read_text()
        done = site.command("config", "set", key, value)
        assert done.returncode == 2
        assert why in done.stderr
        assert done.stderr.endswith(f"popgate: {site.file}: stays as it is\n")
        assert site.file.read_text() == old
        assert [one.name for one in site.file.parent.glob("*popgate.toml*")] == ["popgate.toml"]

    def test_mends_a_file_that_is_bad_by_that_key_alone(self, site: Popgate) -> None:
        site.file.write_text(site.file.read_text().replace('"30m"', '"soon"'))
        assert site.command("config", "set", "grants.window", "10m").returncode == 0
        assert config.load(site.file).grants.window.total_seconds() == 600

    def test_a_log_that_could_not_be_read_before_keeps_nothing_else_from_being_set(
        self, site: Popgate
    ) -> None:
        site.file.write_text(site.file.read_text().replace("{}", '{ login_log_format = "%s" }'))
        assert site.command("config", "check").returncode == 2
        assert site.command("config", "set", "grants.window", "10m").returncode == 0

    def test_the_same_value_writes_nothing(self, site: Popgate) -> None:
        before = site.file.stat()
        done = site.command("config", "set", "grants.window", "30m")
        assert done.stdout == "grants.window = 30m: as it was\n"
        assert site.file.stat().st_ino == before.st_ino

    def test_a_file_that_is_not_there_is_exit_2(self, site: Popgate) -> None:
        site.file = site.file.parent / "none/popgate.toml"
        done = site.command("config", "set", "grants.window", "10m")
        assert (done.returncode, done.stderr) == (
            2,
            f"popgate: {site.file}: no such file: popgate init writes one\n",
        )

    def test_says_what_follows_for_main_cf(self, site: Popgate) -> None:
        done = site.command("config", "set", "postfix.table", "cidr")
        assert "main.cf names the tables by their type" in done.stdout

    def test_a_running_popgate_takes_it_up(self, site: Popgate, tmp_path: Path) -> None:
        (tmp_path / "mail.log").touch()
        with site:
            done = site.command("config", "set", "grants.window", "7m")
            assert f"the running popgate (pid {site.pid}) takes it up now\n" in done.stdout
            wait_for("the change", lambda: "event=reconfigured" in site.said.read_text())
            done = site.command("config", "set", "state.directory", str(tmp_path / "other"))
            assert "when popgate is restarted: systemctl restart popgate\n" in done.stdout

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
    def test_the_owner_of_the_file_stays(self, site: Popgate) -> None:
        os.chown(site.file, 65534, 65534)
        assert site.command("config", "set", "grants.window", "7m").returncode == 0
        status = site.file.stat()
        assert (status.st_uid, status.st_gid) == (65534, 65534)


class TestUnset:
    def test_brings_the_default_back(self, site: Popgate) -> None:
        site.command("config", "set", "grants.window", "5m")
        done = site.command("config", "unset", "grants.window")
        assert done.stdout.splitlines()[0] == "grants.window = 30m (it was 5m)"
        assert "window" not in site.file.read_text()

    def test_of_a_key_that_is_not_set_writes_nothing(self, site: Popgate) -> None:
        done = site.command("config", "unset", "grants.max_session")
        assert done.stdout == "grants.max_session = 1d: as it was\n"

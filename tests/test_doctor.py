"""The doctor as a whole, on Postfix's commands without a server."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.popgate import Popgate
from tests.moments import login_line
from tracker import config
from tracker.doctor import _with
from tracker.reading.health.tables import look
from tracker.settings import Settings
from tracker.writing.postfix import Postfix

AS_ROOT = """
import os, pathlib, sys
import msgspec
from tracker.doctor import examine

examine(pathlib.Path(sys.argv[1]))  # loads what Python has where root alone looks
seen = examine(pathlib.Path(sys.argv[2]))
assert os.getresuid() == (65534,) * 3, os.getresuid()
print(msgspec.json.encode(seen.findings).decode())
"""


def site(folder: Path, name: str, settings: str = "") -> Popgate:
    """An installation whose log shows one login, and its tables."""
    log = folder / f"{name}.log"
    log.write_text(login_line("203.0.113.5", at=datetime.now(UTC)))
    made = Popgate(folder / name, log, folder / "postfix", settings)
    done = made.command("once")
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.usefixtures("postfix_config")
def test_root_looks_at_the_log_as_popgates_user_does() -> None:
    with tempfile.TemporaryDirectory(prefix="popgate-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        first, second = site(folder, "first"), site(folder, "second")
        (folder / "second.log").chmod(0o600)
        for path in (second.maps.parent, *second.maps.parent.rglob("*")):
            os.chown(path, 65534, 65534)
        done = subprocess.run(
            [sys.executable, "-c", AS_ROOT, str(first.file), str(second.file)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        found = {one["code"]: one for one in json.loads(done.stdout)}
        assert found["log-unreadable"]["where"] == str(folder / "second.log")
        assert found["log-unreadable"]["what"] == "nobody cannot read it: Permission denied"
        assert not found.keys() & {"wrong-owner", "open-to-others", "state-unreadable"}


def test_a_configuration_that_is_not_there_is_a_finding(
    tmp_path: Path, postfix_config: Path
) -> None:
    popgate = Popgate(tmp_path / "popgate", tmp_path / "mail.log", postfix_config)
    popgate.file.unlink()
    done = popgate.command("doctor", "--json")
    assert done.returncode == 2
    (found,) = [one for one in json.loads(done.stdout) if one["code"] == "config-bad"]
    assert found["where"] == str(popgate.file)
    assert done.stderr == ""


def test_before_anything_was_made(tmp_path: Path, postfix_config: Path) -> None:
    """The answer to a fresh installation: what is to be done, and nothing made by asking."""
    popgate = Popgate(tmp_path / "popgate", tmp_path / "mail.log", postfix_config)
    done = popgate.command("doctor", "--json")
    assert done.returncode == 1
    codes = {one["code"] for one in json.loads(done.stdout)}
    assert {"log-missing", "tables-missing", "not-installed", "service-down"} <= codes
    assert not popgate.maps.parent.exists()


def test_a_damaged_state_is_named_with_the_way_out(tmp_path: Path, postfix_config: Path) -> None:
    popgate = site(postfix_config.parent.parent, "popgate")
    database = popgate.maps.parent / "popgate.db"
    database.write_bytes(b"no database" * 1000)
    found = json.loads(popgate.command("doctor", "--json").stdout)
    (state,) = [one for one in found if one["code"] == "state-unreadable"]
    assert state["mend"].startswith(f"mv {database} {database}.damaged; popgate once")


def test_people_read_what_records_say(tmp_path: Path, postfix_config: Path) -> None:
    popgate = site(postfix_config.parent.parent, "popgate")
    lines = popgate.command("doctor").stdout.splitlines()
    found = json.loads(popgate.command("doctor", "--json").stdout)
    assert [line for line in lines if line[:1] != " "][:-1] == [
        f"{one['severity']}: {one['code']}: {one['where']}" for one in found
    ]
    assert [line for line in lines if line.startswith("    mend: ")] == [
        f"    mend: {one['mend']}" for one in found
    ]
    assert "errors" in lines[-1]


def test_who_holds_a_lock_on_a_table_is_to_be_found(tmp_path: Path, postfix_config: Path) -> None:
    """Whoever can read a table can hold up its readers and writers for ever; not the doctor."""
    popgate = site(postfix_config.parent.parent, "popgate")
    table = popgate.maps / "pop_before_smtp"
    with open(f"{table}.lmdb", "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        found = json.loads(popgate.command("doctor", "--json").stdout)
    (one,) = [one for one in found if one["code"] == "grants-unreadable"]
    assert "killed after 3 s" in one["what"]
    assert one["mend"] == f"fuser -v {table}*"


class CidrSite:
    """Tables of Postfix without lmdb."""

    def __init__(self, folder: Path) -> None:
        self.popgate = site(folder, "popgate", '[postfix]\ntable = "cidr"\n')
        self.settings: Settings = config.load(self.popgate.file)
        self.table = self.popgate.maps / "pop_before_smtp.cidr"

    def differences(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """What the grant table lacks, has too many, and has for too long."""
        now = datetime.now(UTC)
        seen = look(self.settings, Postfix(self.settings.postfix), now, running=True)
        assert not [one for one in seen.texts if one.name != "pop_before_smtp.txt" and one.lacks]
        return seen.grants.lacks, seen.grants.extra, seen.expired


@pytest.mark.usefixtures("postfix_config")
def test_a_cidr_table_is_compared_like_an_indexed_one(tmp_path: Path) -> None:
    made = CidrSite(tmp_path)
    assert made.differences() == ((), (), ())
    text = made.table.read_text()
    made.table.write_text(text + "203.0.113.8 1000000000\n203.0.113.9 OK\n")
    assert made.differences() == ((), ("203.0.113.9",), ("203.0.113.8",))
    made.table.write_text("\n".join(line for line in text.splitlines() if line[:1] == "#"))
    assert made.differences() == (("203.0.113.5",), (), ())


@pytest.mark.parametrize(
    ("mend", "shown"),
    [
        ("popgate expire", "popgate expire --config /x"),
        ("postfix reload && popgate once", "postfix reload && popgate once --config /x"),
        ("popgate trust remove 2", "popgate trust remove 2 --config /x"),
        (
            "popgate config set grants.refuse '[\"own\"]' && popgate revoke ::1",
            "popgate config set grants.refuse --config /x '[\"own\"]' && "
            "popgate revoke ::1 --config /x",
        ),
        (
            "popgate revoke --user 'a$b'",
            "popgate revoke --config /x --user 'a$b'",
        ),
        (
            "echo '* * * * * root popgate expire' > /etc/cron.d/popgate",
            "echo '* * * * * root popgate expire --config /x' > /etc/cron.d/popgate",
        ),
        ("chgrp popgate /etc/x && chmod g+r /etc/x", "chgrp popgate /etc/x && chmod g+r /etc/x"),
        ("runuser -u popgate -- doveconf -n", "runuser -u popgate -- doveconf -n"),
    ],
)
def test_commands_name_the_configuration_that_was_looked_at(mend: str, shown: str) -> None:
    assert _with(" --config /x", mend) == shown

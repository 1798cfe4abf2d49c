"""`popgate audit`: who could send then, by which line; what happened; what somebody edited."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from tests.moments import NOW, after, login_line, logout_line
from tests.test_engine import Site
from tracker.cli.audit import audit
from tracker.engine import Engine
from tracker.history.reading import Past

CLIENT = "203.0.113.5"


class Auditor:
    """The command, on that installation."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.file = site.folder / "popgate.toml"
        self.file.write_text(
            f'[log]\nfiles = ["{site.log}"]\ndovecot = {{}}\n'
            f'[trusted]\nfile = "{site.trusted}"\n[tables]\ndirectory = "{site.maps}"\n'
            f'[state]\ndirectory = "{site.maps.parent}"\n'
            f'[postfix]\nconfig_directory = "{site.postfix}"\n'
        )

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(audit, [*arguments, "--config", str(self.file)])

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.stdout, done.exception or done.output
        return json.loads(done.stdout)

    def codes(self, ip: str, at: float) -> list[str]:
        answer = self.json("--ip", ip, "--at", after(at).isoformat())
        return [one["relayed"]["code"] for one in answer["reasons"]]


@pytest.fixture
def auditor(tmp_path: Path, postfix_config: Path) -> Iterator[Auditor]:
    # What is read of the past, and what is typed, are true datetimes.
    reading = ["tracker.reading.timestamps", "tracker.reading.correlating"]
    ignored = [*reading, "tracker.history.reading", "tracker.cli.times"]
    with freeze_time(NOW, ignore=ignored) as clock:
        assert isinstance(clock, FrozenDateTimeFactory)
        site = Site(tmp_path, postfix_config, clock)
        yield Auditor(site)
        site.close()


def step(auditor: Auditor, engine: Engine, at: float, *lines: str) -> None:
    auditor.site.to(at)
    auditor.site.write(*lines)
    while engine.step():
        pass


def test_the_user_the_line_its_place_and_the_commit_are_told(auditor: Auditor) -> None:
    engine = auditor.site.engine()
    before = auditor.site.log.stat()
    step(auditor, engine, 60, login_line("198.51.100.1", "bob@example.com", "b", after(60)))
    first = auditor.site.log.stat().st_size
    step(auditor, engine, 60, login_line(CLIENT, at=after(60)), logout_line(at=after(61)))
    auditor.site.to(100)
    engine.settle()
    step(auditor, engine, 60 + 1801)
    engine.settle()
    auditor.site.to(5000)
    (reason,) = auditor.json("--ip", CLIENT, "--at", after(600).isoformat())["reasons"]
    (earned,) = reason["earned"]
    assert reason["relayed"]["code"] == "P"
    assert (reason["since"], reason["until"]) == (
        after(60).isoformat().replace("+00:00", "Z"),
        after(1861).isoformat().replace("+00:00", "Z"),
    )
    assert earned["life"]["user"] == "alice@example.com"
    assert earned["life"]["how"] == "window over"
    origin = earned["life"]["first"]["origin"]
    assert f"{origin['line']}\n" == login_line(CLIENT, at=after(60))
    assert origin["source"] == str(auditor.site.log)
    assert origin["place"] == f"{before.st_dev}/{before.st_ino}/{first}"
    shown = subprocess.run(
        ["git", "-C", auditor.site.maps, "show", reason["commit"]["id"]],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"+ {CLIENT} alice@example.com until" in shown
    text = auditor.run("--ip", CLIENT, "--at", after(600).isoformat()).stdout
    assert reason["commit"]["id"] in text
    assert origin["line"] in text


def test_nobody_is_exit_1_and_a_time_that_nothing_is_known_of_exit_2(auditor: Auditor) -> None:
    engine = auditor.site.engine()
    step(auditor, engine, 60, login_line(CLIENT, at=after(60)))
    assert auditor.run("--ip", CLIENT, "--at", after(60).isoformat()).exit_code == 0
    assert auditor.run("--ip", "203.0.113.6", "--at", after(60).isoformat()).exit_code == 1
    assert auditor.run("--ip", CLIENT, "--at", after(59).isoformat()).exit_code == 1
    early = auditor.run("--ip", CLIENT, "--at", after(-3600).isoformat())
    assert early.exit_code == 2
    assert "the history begins at" in early.output
    assert auditor.run("--ip", CLIENT, "--at", after(3600).isoformat()).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ip", "203.0.113.300"],
        ["--ip", "203.0.113.5/24"],
        ["--at", "25:00"],
        ["--at", "yesterday"],
        ["--at", "2026-11-24"],
        ["--at", "08:45", "--since", "1h"],
        ["--repair"],
        ["--verify", "--ip", "203.0.113.5"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(auditor: Auditor, arguments: list[str]) -> None:
    auditor.site.engine()
    done = auditor.run(*arguments)
    assert done.exit_code == 2, done.output


def test_the_trusted_list_counts_as_it_was_then(auditor: Auditor) -> None:
    auditor.site.trusted.write_text("# office\n203.0.113.0/24\n")
    engine = auditor.site.engine()
    auditor.site.to(1000)
    auditor.site.trusted.write_text("198.51.100.0/24\n")
    engine.reread_trusted()
    auditor.site.to(2000)
    engine.reread_trusted()
    assert auditor.codes(CLIENT, 500) == ["T"]
    assert auditor.codes(CLIENT, 2000) == []
    assert auditor.codes("198.51.100.9", 2000) == ["T"]
    (reason,) = auditor.json("--ip", CLIENT, "--at", after(500).isoformat())["reasons"]
    assert reason["relayed"]["on"] == "line 2: 203.0.113.0/24"


def test_a_table_that_nobody_cleared_held_its_entry_until_somebody_did(auditor: Auditor) -> None:
    engine = auditor.site.engine()
    step(auditor, engine, 0, login_line(CLIENT), logout_line())
    engine.close()
    auditor.site.to(7200)
    auditor.site.engine()
    assert auditor.codes(CLIENT, 7100) == ["P"]
    answer = auditor.run("--ip", CLIENT, "--at", after(7100).isoformat())
    assert "nobody had taken it out of the table" in answer.stdout
    auditor.site.to(7300)
    assert auditor.codes(CLIENT, 7250) == []


def test_a_network_and_a_user_narrow_what_is_told(auditor: Auditor) -> None:
    engine = auditor.site.engine()
    for number, user in enumerate(("alice@a.test", "bob@b.test", "al@c.test")):
        step(auditor, engine, 10, login_line(f"203.0.113.{number}", user, str(number), after(10)))
    at = after(10).isoformat()
    assert len(auditor.json("--at", at)["reasons"]) == 3 + len(
        [one for one in auditor.json("--at", at)["reasons"] if one["relayed"]["code"] == "N"]
    )
    assert len(auditor.json("--at", at, "--ip", "203.0.113.0/31")["reasons"]) == 2
    told = auditor.json("--at", at, "--user", "al*")["reasons"]
    assert [one["relayed"]["client"] for one in told] == ["203.0.113.0", "203.0.113.2"]


def test_what_happened_is_told_in_its_order(auditor: Auditor) -> None:
    engine = auditor.site.engine()
    step(auditor, engine, 60, login_line(CLIENT, at=after(60)))
    auditor.site.trusted.write_text("192.0.2.0/24 # the office\n")
    auditor.site.to(120)
    engine.reread_trusted()
    engine.reread_trusted()
    text = auditor.run("--since", after(30).isoformat()).stdout
    assert text.index(f"{CLIENT}  alice@example.com  login, 1 logins, in force") < text.index(
        "trusted: trusted list: added 192.0.2.0/24 (line 1)"
    )
    told = auditor.json("--ip", CLIENT)
    assert (len(told["grants"]), told["changes"]) == (1, [])
    assert auditor.run("--ip", "192.0.2.1").exit_code == 1
    assert "more than 1" in auditor.run("--limit", "1").output


def test_an_edit_by_hand_is_found_and_put_right_by_the_service(auditor: Auditor) -> None:
    engine = auditor.site.engine()
    step(auditor, engine, 60, login_line(CLIENT, at=after(60)))
    engine.settle()
    assert auditor.run("--verify").output.startswith("tables, texts and git are as popgate left")
    auditor.site.postmap("203.0.113.66 OK\n")
    (auditor.site.maps / "trusted.cidr").write_text("203.0.113.66 OK\n")
    done = auditor.run("--verify")
    assert done.exit_code == 1
    assert "pop_before_smtp.lmdb: has '203.0.113.66 OK', which has no grant" in done.stdout
    assert "trusted.cidr: has a line '203.0.113.66 OK'" in done.stdout
    engine._check_at = 0.0
    engine.check()
    assert auditor.site.table().keys() == {CLIENT}
    engine.settle()
    assert auditor.run("--verify").exit_code == 0
    with Past(auditor.site.maps.parent) as past:
        (edit,) = past.changes(of=["edit"])
    assert any("203.0.113.66" in line for line in edit.detail)


def test_where_nobody_runs_repair_does_what_a_start_does(auditor: Auditor) -> None:
    engine = auditor.site.engine()
    step(auditor, engine, 60, login_line(CLIENT, at=after(60)), logout_line(at=after(60)))
    engine.settle()
    engine.close()
    auditor.site.postmap("203.0.113.66 OK\n")
    (auditor.site.maps / "pop_before_smtp.txt").write_text("nothing\n")
    done = auditor.run("--verify", "--repair")
    assert (done.exit_code, done.stdout.count("(put right)")) == (0, 2), done.output
    assert auditor.site.table().keys() == {CLIENT}
    assert auditor.run("--verify").exit_code == 0


def test_a_history_that_was_tampered_with_is_told(auditor: Auditor) -> None:
    engine = auditor.site.engine()
    for number in range(3):
        step(
            auditor,
            engine,
            60 + number,
            login_line(f"203.0.113.{number}", session=str(number), at=after(60 + number)),
        )
        engine.settle()
    maps = auditor.site.maps
    git(maps, "commit", "--quiet", "--amend", "--message", "nothing happened")
    done = auditor.run("--verify")
    assert done.exit_code == 1
    assert "is not in the history" in done.stdout
    git(maps, "commit", "--quiet", "--allow-empty", "--message", "more")
    git(maps, "reset", "--quiet", "--hard", "HEAD~3")
    assert auditor.run("--verify").stdout.count("is not in the history") == 2
    objects = list((maps / ".git/objects").glob("??/*"))
    objects[0].chmod(0o600)
    objects[0].write_bytes(b"rubbish")
    assert "git" in auditor.run("--verify").stdout


def git(maps: Path, *arguments: str) -> None:
    subprocess.run(
        [
            *("git", "-C", str(maps), "-c", "user.name=Eve", "-c", "user.email=eve@example.com"),
            *arguments,
        ],
        check=True,
        capture_output=True,
    )

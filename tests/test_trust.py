"""`popgate trust` as an admin types it, on a file, with a running popgate and without."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.names import NameServer, servfail
from lab.popgate import Popgate
from lab.processes import wait_for

LIST = """\
# The office, but not its guests
!198.51.100.128/25   # guests
198.51.100.0/24

203.0.113.1-50  # partners
"""


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Popgate:
    made = Popgate(tmp_path / "popgate", tmp_path / "mail.log", postfix_config)
    (tmp_path / "mail.log").touch()
    made.trusted.write_text(LIST)
    return made


@pytest.fixture
def server(site: Popgate, tmp_path: Path) -> Iterator[NameServer]:
    with NameServer() as made:
        dns = f'[trusted]\nnameservers = ["{made.address}"]\ntimeout = "1s"\n'
        site.configure(tmp_path / "mail.log", dns)
        yield made


class TestList:
    def test_shows_numbers_notes_and_what_each_stands_for(self, site: Popgate) -> None:
        site.trusted.write_text(LIST + "2001:db8::/32\n")
        lines = site.command("trust", "list").stdout.splitlines()
        assert [line.split() for line in lines[1:3]] == [
            ["1", "!198.51.100.128/25", "guests"],
            ["2", "198.51.100.0/24"],
        ]
        assert lines[4].split() == ["4", "2001:db8::/32"]
        assert "203.0.113.1 203.0.113.2/31 203.0.113.4/30 203.0.113.8/29 and 4 more" in lines[3]

    def test_prints_json(self, site: Popgate) -> None:
        rows = json.loads(site.command("trust", "list", "--json").stdout)
        assert rows[0] == {
            "number": 1,
            "line": 2,
            "entry": "!198.51.100.128/25",
            "trusts": False,
            "note": "guests",
            "networks": ["198.51.100.128/25"],
        }

    def test_shows_what_a_name_stood_for_when_it_was_last_looked_up(
        self, site: Popgate, server: NameServer
    ) -> None:
        server.set("mail.example.com", "A", "203.0.113.5", "127.0.0.1")
        site.trusted.write_text("mail.example.com\n")
        (row,) = json.loads(site.command("trust", "list", "--json").stdout)
        assert (row["networks"], row["state"]) == ([], "unresolved")
        assert site.command("once").returncode == 0
        (row,) = json.loads(site.command("trust", "list", "--json").stdout)
        assert (row["name"], row["networks"], row["state"], row["refused"]) == (
            "mail.example.com",
            ["203.0.113.5/32"],
            "resolved",
            ["127.0.0.1: a loopback address"],
        )
        assert "203.0.113.5 (refused: 127.0.0.1" in site.command("trust", "list").stdout

    def test_of_no_file_is_empty(self, site: Popgate) -> None:
        site.trusted.unlink()
        assert site.command("trust", "list").stdout == "no entries\n"

    def test_of_a_bad_file_names_all_bad_lines(self, site: Popgate) -> None:
        site.trusted.write_text("10.1\n203.0.113.5\n010.0.0.1\n")
        done = site.command("trust", "list")
        assert done.returncode == 2
        assert [line.split(":")[2] for line in done.stderr.splitlines()] == ["1", "3"]


class TestChange:
    def test_add_puts_an_entry_at_the_end_or_at_a_number(self, site: Popgate) -> None:
        done = site.command("trust", "add", "203.0.113.99", "--note", "scanner")
        assert (done.returncode, done.stdout) == (0, "203.0.113.99 is entry 4\n")
        assert site.trusted.read_text() == LIST + "203.0.113.99  # scanner\n"
        done = site.command("trust", "add", "!198.51.100.7", "--at", "2")
        assert done.stdout == "!198.51.100.7 is entry 2\n"
        assert "guests\n!198.51.100.7\n198.51.100.0/24\n" in site.trusted.read_text()

    def test_add_makes_a_list_that_is_not_there(self, site: Popgate) -> None:
        site.trusted.unlink()
        assert site.command("trust", "add", "203.0.113.99").returncode == 0
        assert site.trusted.read_text() == "203.0.113.99\n"

    def test_remove_takes_a_number_or_an_entry(self, site: Popgate) -> None:
        assert site.command("trust", "remove", "198.51.100.*").stdout == (
            "198.51.100.0/24 is removed\n"
        )
        assert site.command("trust", "remove", "2").stdout == "203.0.113.1-50 is removed\n"
        assert site.trusted.read_text() == LIST.replace("198.51.100.0/24\n", "").replace(
            "203.0.113.1-50  # partners\n", ""
        )

    def test_move_goes_up_down_and_to_a_number(self, site: Popgate) -> None:
        assert site.command("trust", "move", "2", "up").stdout == "198.51.100.0/24 is entry 1\n"
        assert site.command("trust", "move", "1", "down").returncode == 0
        assert site.trusted.read_text() == LIST
        assert site.command("trust", "move", "3", "to", "1").returncode == 0
        entries = [
            row["entry"] for row in json.loads(site.command("trust", "list", "--json").stdout)
        ]
        assert entries == ["203.0.113.1-50", "!198.51.100.128/25", "198.51.100.0/24"]

    def test_the_file_before_is_kept(self, site: Popgate) -> None:
        site.command("trust", "remove", "1")
        assert site.trusted.with_name("trusted.txt~").read_text() == LIST

    def test_a_change_says_what_it_makes_doubtful_and_nothing_else(self, site: Popgate) -> None:
        site.trusted.write_text(LIST + "192.168.1.1\n")
        done = site.command("trust", "move", "1", "down")
        assert done.returncode == 0
        doubts = [line for line in done.stderr.splitlines() if "no popgate runs" not in line]
        assert len(doubts) == 1
        assert "!198.51.100.128/25: contradictory: takes out nothing" in doubts[0]

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            (["add", "10.1"], "'10.1': an IPv4 mask has four octets"),
            (["add", "203.0.113.5/24"], "did you mean 203.0.113.0/24?"),
            (["add", "203.0.113.99", "--at", "9"], "there is no entry 9"),
            (["add", "0.0.0.0/0"], "is wider than anybody should trust: --force adds it"),
            (["add", "::/0"], "--force"),
            (["remove", "9"], "there is no entry 9"),
            (["remove", "203.0.113.99"], "is not in the list"),
            (["move", "1", "up"], "there is no entry 0"),
            (["move", "1", "sideways"], "up, down, or to M"),
            (["move", "1", "to"], "up, down, or to M"),
        ],
    )
    def test_what_is_refused_changes_nothing(
        self, site: Popgate, arguments: list[str], why: str
    ) -> None:
        done = site.command("trust", *arguments)
        assert done.returncode == 2
        assert why in done.stderr
        assert site.trusted.read_text() == LIST
        assert not site.trusted.with_name("trusted.txt~").exists()

    def test_a_wide_entry_can_be_forced_and_is_said(self, site: Popgate) -> None:
        done = site.command("trust", "add", "0.0.0.0/0", "--force")
        assert done.returncode == 0
        assert "0.0.0.0/0: wide: trusts 100% of IPv4" in done.stderr

    def test_a_bad_list_is_not_changed_line_by_line(self, site: Popgate) -> None:
        site.trusted.write_text("10.1\n")
        done = site.command("trust", "add", "203.0.113.5")
        assert done.returncode == 2
        assert f"{site.trusted}:1: '10.1'" in done.stderr
        assert site.trusted.read_text() == "10.1\n"

    def test_a_folder_that_cannot_be_written_to_is_exit_3(self, site: Popgate) -> None:
        done = site.command("config", "show")
        site.file.write_text(done.stdout.replace(str(site.trusted), "/proc/trusted.txt"))
        done = site.command("trust", "add", "203.0.113.5")
        assert done.returncode == 3
        assert "it is as it was" in done.stderr
        assert "Traceback" not in done.stderr


class Editor:
    """A program to be named by EDITOR, which leaves one text after another."""

    def __init__(self, folder: Path, *texts: str) -> None:
        self.seen = folder / "seen"
        self.program = folder / "editor"
        for number, text in enumerate(texts):
            (folder / f"text.{number}").write_text(text)
        self.program.write_text(
            f"#!/bin/sh\nset -e\nn=$(wc -l < {self.seen} 2>/dev/null || echo 0)\n"
            f'head -1 "$1" >> {self.seen}\ncat {folder}/text.$n > "$1"\n'
        )
        self.program.chmod(0o755)

    def run(self, site: Popgate, answers: str = "") -> subprocess.CompletedProcess[str]:
        return site.command("trust", "edit", stdin=answers, EDITOR=str(self.program), VISUAL="")


class TestEdit:
    GOOD = LIST + "203.0.113.99\n"
    BAD = "10.1\n203.0.113.99\n010.0.0.1\n"

    def test_saves_a_list_that_is_in_order(self, site: Popgate, tmp_path: Path) -> None:
        site.trusted.chmod(0o640)
        done = Editor(tmp_path, self.GOOD).run(site)
        assert done.returncode == 0
        assert done.stdout == f"{site.trusted}: saved; the old one is trusted.txt~\n"
        assert site.trusted.read_text() == self.GOOD
        assert site.trusted.with_name("trusted.txt~").read_text() == LIST
        assert site.trusted.stat().st_mode & 0o777 == 0o640

    def test_visual_goes_before_editor(self, site: Popgate, tmp_path: Path) -> None:
        editor = Editor(tmp_path, self.GOOD)
        done = site.command("trust", "edit", EDITOR="/nonexistent", VISUAL=f"{editor.program}")
        assert done.returncode == 0
        assert site.trusted.read_text() == self.GOOD

    def test_writes_nothing_where_nothing_changed(self, site: Popgate) -> None:
        before = site.trusted.stat().st_mtime_ns
        done = site.command("trust", "edit", EDITOR="true", VISUAL="")
        assert (done.returncode, done.stdout) == (0, f"{site.trusted}: nothing changed\n")
        assert site.trusted.stat().st_mtime_ns == before

    def test_names_all_mistakes_and_opens_the_text_again(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        editor = Editor(tmp_path, self.BAD, self.GOOD)
        done = editor.run(site, "e\n")
        assert done.returncode == 0
        assert f"{site.trusted}:1: '10.1'" in done.stderr
        assert f"{site.trusted}:3: '010.0.0.1'" in done.stderr
        assert editor.seen.read_text().splitlines() == [LIST.splitlines()[0], "10.1"]
        assert site.trusted.read_text() == self.GOOD

    def test_goes_back_to_the_list_as_it_was(self, site: Popgate, tmp_path: Path) -> None:
        editor = Editor(tmp_path, self.BAD, self.GOOD)
        editor.run(site, "b\n")
        assert editor.seen.read_text().splitlines() == [LIST.splitlines()[0]] * 2
        assert site.trusted.read_text() == self.GOOD

    @pytest.mark.parametrize("answers", ["q\n", "", "s\nq\n"])
    def test_quits_without_saving_a_bad_list(
        self, site: Popgate, tmp_path: Path, answers: str
    ) -> None:
        done = Editor(tmp_path, self.BAD).run(site, answers)
        assert (done.returncode, done.stdout) == (0, f"{site.trusted}: as it was\n")
        assert site.trusted.read_text() == LIST

    @pytest.mark.parametrize(("answers", "saved"), [("s\n", True), ("q\n", False)])
    def test_a_doubtful_list_is_saved_only_by_the_user_s_word(
        self, site: Popgate, tmp_path: Path, answers: str, saved: bool
    ) -> None:
        done = Editor(tmp_path, "0.0.0.0/0\n").run(site, answers)
        assert "0.0.0.0/0: wide" in done.stderr
        assert site.trusted.read_text() == ("0.0.0.0/0\n" if saved else LIST)

    def test_mends_a_list_that_is_bad_already(self, site: Popgate, tmp_path: Path) -> None:
        site.trusted.write_text(self.BAD)
        assert Editor(tmp_path, self.GOOD).run(site).returncode == 0
        assert site.trusted.read_text() == self.GOOD

    def test_a_file_that_another_changed_meanwhile_is_not_replaced(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        program = tmp_path / "editor"
        program.write_text(
            f'#!/bin/sh\necho 203.0.113.7 > {site.trusted}\necho 203.0.113.8 > "$1"\n'
        )
        program.chmod(0o755)
        done = site.command("trust", "edit", EDITOR=str(program), VISUAL="")
        assert done.returncode == 3
        assert site.trusted.read_text() == "203.0.113.7\n"
        kept = Path(done.stderr.strip().rpartition("yours is ")[2])
        assert kept.read_text() == "203.0.113.8\n"
        kept.unlink()
        kept.parent.rmdir()

    @pytest.mark.parametrize("editor", ["/nonexistent", "false"])
    def test_an_editor_that_fails_is_exit_3(self, site: Popgate, editor: str) -> None:
        done = site.command("trust", "edit", EDITOR=editor, VISUAL="")
        assert done.returncode == 3
        assert "the list is as it was" in done.stderr

    def test_a_list_that_another_edits_is_refused_at_once(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        release = tmp_path / "release"
        os.mkfifo(release)
        program = tmp_path / "editor"
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/open\ncat {release}\n")
        program.chmod(0o755)
        first = subprocess.Popen(
            [sys.executable, "-m", "tracker", "trust", "edit", "--config", site.file],
            env={**os.environ, "VISUAL": "", "EDITOR": str(program)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        wait_for("the editor", (tmp_path / "open").exists)
        second = site.command("trust", "edit", EDITOR="true", VISUAL="")
        release.write_text("")
        assert first.wait(20) == 0
        assert second.returncode == 3
        assert "is being edited by another" in second.stderr


class TestCheck:
    def test_finds_nothing_in_a_sound_list(self, site: Popgate) -> None:
        done = site.command("trust", "check")
        assert (done.returncode, done.stdout) == (
            0,
            f"{site.trusted}: 3 entries, nothing found\n",
        )

    def test_names_line_entry_and_kind_and_exits_1(self, site: Popgate) -> None:
        site.trusted.write_text(LIST + "198.51.100.7\n192.168.0.1\n0.0.0.0/0\n")
        done = site.command("trust", "check")
        assert done.returncode == 1
        assert [line.split(": ")[:3] for line in done.stdout.splitlines()] == [
            [f"{site.trusted}:6", "198.51.100.7", "shadowed"],
            [f"{site.trusted}:7", "192.168.0.1", "private"],
            [f"{site.trusted}:8", "0.0.0.0/0", "wide"],
            [f"{site.trusted}", "wide", "the list as a whole trusts 99% of IPv4"],
        ]
        rows = json.loads(site.command("trust", "check", "--json").stdout)
        assert [(row["kind"], row["number"], row["line"]) for row in rows] == [
            ("shadowed", 4, 6),
            ("private", 5, 7),
            ("wide", 6, 8),
            ("wide", 0, 0),
        ]

    def test_asks_dns_now(self, site: Popgate, server: NameServer) -> None:
        server.set("good.example.com", "A", "203.0.113.5")
        server.set("inner.example.com", "A", "10.0.0.1")
        server.ways["broken.example.com"] = servfail
        site.trusted.write_text(
            "good.example.com\ngone.example.com\nbroken.example.com\ninner.example.com\n"
        )
        done = site.command("trust", "check")
        assert done.returncode == 1
        assert done.stdout.splitlines() == [
            f"{site.trusted}:2: gone.example.com: unresolved: trusts nothing: DNS says that the "
            "name has no address",
            f"{site.trusted}:3: broken.example.com: unresolved: trusts nothing: DNS does not "
            "answer (the servers answered: SERVFAIL)",
            f"{site.trusted}:4: inner.example.com: refused: DNS gives an address that is not "
            "trusted: 10.0.0.1: a private address (trusted.private_names lets names have such)",
        ]

    def test_a_name_that_is_shadowed_by_its_address_is_named(
        self, site: Popgate, server: NameServer
    ) -> None:
        server.set("good.example.com", "A", "203.0.113.5")
        site.trusted.write_text("203.0.113.0/24\ngood.example.com\n")
        assert ":2: good.example.com: shadowed" in site.command("trust", "check").stdout

    def test_compares_exclusions_with_mynetworks(self, site: Popgate) -> None:
        main = site.postfix / "main.cf"
        main.write_text(main.read_text() + "mynetworks = 127.0.0.0/8 198.51.100.0/24 hash:/x\n")
        os.utime(main, (1, 1))
        done = site.command("trust", "check")
        assert done.returncode == 1
        assert ":2: !198.51.100.128/25: mynetworks: 198.51.100.128/25 relays anyway" in done.stdout
        assert done.stderr == "popgate: not compared, of mynetworks: hash:/x\n"

    def test_without_postfix_all_else_is_checked(self, site: Popgate, tmp_path: Path) -> None:
        site.configure(tmp_path / "mail.log", '[postfix]\ncommand_directory = "/nonexistent"\n')
        done = site.command("trust", "check")
        assert done.returncode == 0
        assert "mynetworks is not compared" in done.stderr


class TestARunningPopgate:
    def test_takes_a_change_up_and_keeps_the_old_list_for_a_bad_one(self, site: Popgate) -> None:
        table = site.maps / "trusted.cidr"
        with site:
            done = site.command("trust", "add", "203.0.113.99")
            assert done.stderr == ""
            wait_for("the entry", lambda: "203.0.113.99/32 OK" in table.read_text())
            site.trusted.write_text("10.1\n")
            wait_for("the complaint", lambda: "bad_trusted_list" in site.said.read_text())
            assert "203.0.113.99/32 OK" in table.read_text()

    def test_looks_names_up_and_follows_them(self, site: Popgate, server: NameServer) -> None:
        server.set("mail.example.com", "A", "203.0.113.99")
        table = site.maps / "trusted.cidr"
        with site:
            assert site.command("trust", "add", "mail.example.com").returncode == 0
            wait_for("the address", lambda: "203.0.113.99/32 OK" in table.read_text())
            assert "event=name_resolved name=mail.example.com" in site.said.read_text()
            assert site.command("trust", "remove", "mail.example.com").returncode == 0
            wait_for("its end", lambda: "203.0.113.99" not in table.read_text())
            assert site.stop() == 0

    def test_that_is_not_there_is_said(self, site: Popgate) -> None:
        done = site.command("trust", "add", "203.0.113.99")
        assert "no popgate runs" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
class TestRoot:
    def test_changes_its_own_file_though_the_state_is_popgate_s(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        nobody = pwd.getpwnam("nobody")
        tmp_path.chmod(0o755)
        site.maps.mkdir(parents=True)
        for folder in (site.maps.parent, site.maps):
            folder.chmod(0o700)
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        site.trusted.chmod(0o600)
        done = site.command("trust", "add", "203.0.113.99")
        assert (done.returncode, done.stdout) == (0, "203.0.113.99 is entry 4\n")
        assert site.trusted.stat().st_uid == 0
        assert site.trusted.stat().st_mode & 0o777 == 0o600
        assert not list(site.maps.parent.glob("*.db*")), "nothing of root's is left there"

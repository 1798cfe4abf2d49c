"""The commands as an admin types them: what they print, and the exit codes."""

from __future__ import annotations

import gzip
import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lab.popgate import Popgate
from lab.processes import wait_for
from tests.moments import login_line
from tracker import __version__
from tracker.cli import popgate as group
from tracker.reading.formats import names

CORPUS = Path(__file__).with_name("corpus")
BASIC = CORPUS / "dovecot-2.3.19/basic-syslog.rfc3164.log"


def popgate(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "tracker", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Popgate:
    return Popgate(tmp_path / "popgate", tmp_path / "mail.log", postfix_config)


def now_line(
    address: str = "203.0.113.5", user: str = "alice@example.com", session: str = "s1"
) -> str:
    return login_line(address, user, session, datetime.now(UTC))


class TestScan:
    def test_prints_a_json_object_for_each_event(self) -> None:
        done = popgate("scan", "--json", "--timezone", "UTC", BASIC)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert rows[1] | {"time": None} == {
            "line": 3,
            "time": None,
            "event": "login",
            "service": "pop3",
            "user": "alice@example.com",
            "address": "127.0.0.2",
            "session": "dVCJuwFh/a9/AAAC",
            "format": "dovecot",
        }
        assert rows[1]["time"].endswith("-11-24T08:45:29+00:00")
        assert len(rows) == 71

    def test_says_a_summary_on_stderr(self) -> None:
        done = popgate("scan", "--json", BASIC)
        assert done.stderr.startswith(
            b"82 lines: 27 login, 27 logout, 16 failed, 1 restart; 14420 bytes in "
        )

    def test_summary_prints_that_alone(self) -> None:
        done = popgate("scan", "--summary", BASIC)
        assert done.stdout == b""
        counts = json.loads(popgate("scan", "--summary", "--json", BASIC).stderr)
        assert counts.pop("seconds") >= 0
        lines = {"lines": 82, "bytes": 14420}
        assert counts == {**lines, "login": 27, "logout": 27, "failed": 16, "restart": 1}

    def test_reads_gzip_and_standard_input_as_the_file_itself(self, tmp_path: Path) -> None:
        packed = tmp_path / "mail.log.2.gz"
        packed.write_bytes(gzip.compress(BASIC.read_bytes()))
        plain = popgate("scan", "--json", BASIC).stdout
        assert popgate("scan", "--json", packed).stdout == plain
        assert popgate("scan", "--json", "-", stdin=BASIC.read_bytes()).stdout == plain

    def test_names_the_file_when_there_are_several(self) -> None:
        rows = popgate("scan", "--json", BASIC, BASIC).stdout.splitlines()
        assert {json.loads(row)["file"] for row in rows} == {str(BASIC)}

    def test_prints_a_line_for_each_event_to_people(self) -> None:
        first = popgate("scan", "--timezone", "UTC", BASIC).stdout.decode().splitlines()[1]
        assert first.split()[0] == "3"
        assert first.split()[2:] == ["login", "pop3", "127.0.0.2", "alice@example.com"]

    def test_reads_a_customised_dovecot_as_it_is_told(self, tmp_path: Path) -> None:
        log = BASIC.with_name("syslog-customorder-k.iso.log")
        elements = "session=<%{session}> rip=%r:%{rport} lip=%l:%{lport} %k user=%u mech=%m pid=%e"
        told = [f"--dovecot=login_log_format_elements={elements}"]
        told += ["--dovecot=login_log_format=%s - %$"]
        done = popgate("scan", "--summary", "--json", *told, log)
        counts = json.loads(done.stderr)
        assert (counts["login"], counts["logout"], counts["failed"]) == (8, 8, 10)
        assert json.loads(popgate("scan", "--summary", "--json", log).stderr)["login"] == 0

    @pytest.mark.parametrize(
        ("told", "why"),
        [
            ("mail_log_prefix", b"--dovecot mail_log_prefix: expected KEY=VALUE"),
            ("prefix=x", b"prefix: popgate wants of Dovecot only login_log_format_elements, "),
            ("login_log_format_elements=user=<%u>", b"it has no %r (2.4: %{remote_ip})"),
        ],
    )
    def test_refuses_settings_of_dovecot_in_one_line(self, told: str, why: bytes) -> None:
        done = popgate("scan", "--dovecot", told, BASIC)
        assert (done.returncode, why in done.stderr) == (2, True)
        assert done.stdout == b""

    def test_a_last_line_without_its_end_counts_and_a_long_one_does_not(
        self, tmp_path: Path
    ) -> None:
        log = tmp_path / "mail.log"
        log.write_text("x" * 200_000 + "\n" + login_line("203.0.113.5").rstrip("\n"))
        (row,) = popgate("scan", "--json", log).stdout.splitlines()
        assert (json.loads(row)["line"], json.loads(row)["address"]) == (2, "203.0.113.5")

    @pytest.mark.parametrize(
        ("content", "name", "why"),
        [(None, "gone.log", b"No such file"), (b"no gzip", "bad.gz", b"Not a gzipped file")],
    )
    def test_a_file_that_cannot_be_read_is_one_line_and_exit_3(
        self, tmp_path: Path, content: bytes | None, name: str, why: bytes
    ) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        done = popgate("scan", tmp_path / name)
        assert done.returncode == 3
        assert done.stderr.startswith(f"popgate: {tmp_path / name}: cannot be read: ".encode())
        assert why in done.stderr
        assert done.stderr.count(b"\n") == 1

    def test_an_unknown_format_names_the_known_ones(self) -> None:
        done = popgate("scan", "--format", "dovcot", BASIC)
        known = ", ".join(sorted(names()))
        assert (done.returncode, done.stderr.decode()) == (
            2,
            f"popgate: unknown log format 'dovcot'; known: {known}\n",
        )

    def test_large_files_on_a_terminal_have_a_progress_bar(self, tmp_path: Path) -> None:
        log = tmp_path / "mail.log"
        log.write_bytes((b"x" * 999 + b"\n") * 60_000 + login_line("203.0.113.5").encode())
        master, terminal = pty.openpty()
        command = [sys.executable, "-m", "tracker", "scan", str(log)]
        process = subprocess.Popen(command, stdout=terminal, stderr=terminal)
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # the end of a terminal is an error, not an end
            while part := os.read(master, 65536):
                shown += part
        os.close(master)
        assert process.wait(60) == 0
        assert b"60.0 MB" in shown
        assert b"203.0.113.5" in shown
        assert shown.rstrip().endswith(b" s")

    def test_a_reader_that_has_gone_is_no_error_message(self) -> None:
        command = f"{sys.executable} -m tracker scan --json {' '.join([str(BASIC)] * 50)} | head -1"
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, timeout=60)
        assert b"Traceback" not in done.stderr


class TestConfig:
    def test_check_says_that_all_is_good(self, site: Popgate) -> None:
        done = site.command("config", "check")
        assert done.returncode == 0
        assert done.stdout == (
            f"{site.file}: good\n{site.trusted}: 0 entries (no such file)\n"
            f"{site.file.parent.with_name('mail.log')}: does not exist yet: it is waited for\n"
        )

    def test_check_names_what_is_not_there_to_be_read(self, site: Popgate, tmp_path: Path) -> None:
        (tmp_path / "there.log").touch()
        site.configure(
            tmp_path,
            f'[log]\nfiles = ["{tmp_path}/there.log", "{tmp_path}/*.none"]\n'
            f'units = ["dovecot.service"]\njournal_directory = "{tmp_path}/none"\n',
        )
        done = site.command("config", "check")
        assert done.returncode == 0
        assert done.stdout.splitlines()[2] == f"{tmp_path}/*.none: nothing matches yet"
        assert done.stdout.splitlines()[3].startswith(f"journal:{tmp_path}/none: journalctl ")
        assert len(done.stdout.splitlines()) == 4

    def test_check_reports_every_fault_and_exits_2(self, site: Popgate) -> None:
        site.configure(Path("/var/log/mail.log"), "[grants]\nwindow = 30\nwindw = 1\n")
        done = site.command("config", "check")
        assert done.returncode == 2
        assert [line.split(": ")[2][:13] for line in done.stderr.splitlines()] == [
            "grants.window",
            "unknown key g",
        ]

    def test_check_reads_the_trusted_list_too(self, site: Popgate) -> None:
        site.trusted.write_text("203.0.113.0/24\n10.1\n")
        done = site.command("config", "check")
        assert done.returncode == 2
        assert f"{site.trusted}:2: '10.1'" in done.stderr

    def test_check_reads_the_lists_of_senders_too(self, site: Popgate, tmp_path: Path) -> None:
        lists = f'[blacklist]\nentries = ["a.test"]\nfiles = ["{tmp_path}/black"]\n'
        site.configure(Path("/var/log/mail.log"), lists)
        assert site.command("config", "check").stdout.endswith("listed: 1 on the black list\n")
        (tmp_path / "black").write_text("10.1\n")
        done = site.command("config", "check")
        assert done.returncode == 2
        assert done.stderr.startswith(f"popgate: {tmp_path}/black:1: '10.1' is no domain")

    def test_show_prints_what_is_in_force(self, site: Popgate) -> None:
        assert (
            json.loads(site.command("config", "show", "--json").stdout)["grants"]["window"] == "30m"
        )
        assert 'window = "30m"' in site.command("config", "show").stdout

    def test_sample_is_a_file_to_start_from(self, tmp_path: Path) -> None:
        sample = popgate("config", "sample").stdout
        (tmp_path / "popgate.toml").write_bytes(sample)
        assert popgate("config", "check", "--config", tmp_path / "popgate.toml").returncode == 0

    def test_a_missing_file_is_one_line_and_exit_2(self, tmp_path: Path) -> None:
        done = popgate("once", "--config", tmp_path / "none.toml")
        assert done.returncode == 2
        assert done.stderr.count(b"\n") == 1
        assert b"no such file" in done.stderr


class TestOnce:
    def test_reads_publishes_commits_and_ends(self, site: Popgate, tmp_path: Path) -> None:
        (tmp_path / "mail.log").write_text(now_line())
        done = site.command("once")
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(site.command("list", "--json").stdout)
        assert (row["address"], row["users"], row["services"], row["sessions"]) == (
            "203.0.113.5",
            ["alice@example.com"],
            ["pop3"],
            1,
        )
        assert row.keys() == {
            "address",
            "users",
            "services",
            "first_login",
            "last_login",
            "expires",
            "sessions",
        }
        assert (site.maps / ".git").is_dir()

    def test_with_nothing_new_changes_and_commits_nothing(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        (tmp_path / "mail.log").write_text(now_line())
        site.command("once")
        before = {file: file.stat().st_mtime_ns for file in site.maps.iterdir() if file.is_file()}
        site.command("once")
        assert {
            file: file.stat().st_mtime_ns for file in site.maps.iterdir() if file.is_file()
        } == before

    def test_a_missing_log_is_exit_3_with_all_else_done(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        done = site.command("once")
        assert done.returncode == 3
        assert f"popgate: {tmp_path / 'mail.log'}: does not exist yet\n" in done.stderr
        assert (site.maps / "pop_before_smtp.lmdb").exists()

    def test_a_bad_trusted_list_keeps_the_last_good_tables(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        (tmp_path / "mail.log").touch()
        site.trusted.write_text("198.51.100.0/24\n")
        assert site.command("once").returncode == 0
        good = (site.maps / "trusted.cidr").read_text()
        site.trusted.write_text("198.51.100.0/24\nnonsense\n")
        done = site.command("once")
        assert done.returncode == 2
        assert (site.maps / "trusted.cidr").read_text() == good

    def test_a_bad_trusted_list_keeps_nobody_from_ending_grants(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        (tmp_path / "mail.log").write_text(now_line())
        site.configure(tmp_path / "mail.log", '[grants]\nwindow = "1s"\n')
        site.command("once")
        site.trusted.write_text("nonsense\n")
        text = site.maps / "pop_before_smtp.txt"
        assert "203.0.113.5" in text.read_text()

        def ended() -> bool:
            assert site.command("expire").returncode == 0
            return "203.0.113.5" not in text.read_text()

        wait_for("the end of the grant", ended)

    def test_a_missing_postfix_is_one_line_and_exit_3(self, site: Popgate, tmp_path: Path) -> None:
        (tmp_path / "mail.log").write_text(now_line())
        site.configure(tmp_path / "mail.log", '[postfix]\ncommand_directory = "/nonexistent"\n')
        done = site.command("once")
        assert done.returncode == 3
        assert done.stderr.startswith("popgate: postconf is not in /nonexistent")
        assert done.stderr.count("\n") == 1

    def test_a_missing_git_is_exit_3_with_the_tables_right(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        (tmp_path / "mail.log").write_text(now_line())
        bin_ = tmp_path / "bin"
        bin_.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "tracker", "once", "--config", str(site.file)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": str(bin_)},
        )
        assert done.returncode == 3
        assert "popgate: git is not installed" in done.stderr
        assert "203.0.113.5" in (site.maps / "pop_before_smtp.txt").read_text()

    def test_a_maps_folder_that_cannot_be_written_is_exit_3(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        (tmp_path / "mail.log").write_text(now_line())
        site.maps.parent.mkdir(parents=True)
        site.maps.write_text("a file")
        done = site.command("once")
        assert done.returncode == 3
        assert str(site.maps) in done.stderr
        assert "Traceback" not in done.stderr


class TestByHand:
    def test_allow_lets_an_address_send_and_revoke_ends_it(self, site: Popgate) -> None:
        done = site.command("allow", "192.168.1.5", "--for", "10m", "--user", "scanner")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("192.168.1.5 may send until ")
        (row,) = json.loads(site.command("list", "--json").stdout)
        assert (row["users"], row["services"]) == (["scanner"], ["allow"])
        assert site.command("revoke", "192.168.1.5").returncode == 0
        assert json.loads(site.command("list", "--json").stdout) == []
        assert site.command("revoke", "192.168.1.5").returncode == 1

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            (["allow", "10.1"], "'10.1' is no IP address"),
            (["allow", "203.0.113.5", "--for", "30"], "expected a time with its unit"),
            (["allow", "203.0.113.5", "--for", "90d"], "at most 30d"),
            (["revoke"], "name an ADDRESS, or --user, or both"),
        ],
    )
    def test_what_cannot_be_understood_is_exit_2(
        self, site: Popgate, arguments: list[str], why: str
    ) -> None:
        done = site.command(*arguments)
        assert done.returncode == 2
        assert why in done.stderr

    def test_list_before_the_first_run_is_empty(self, site: Popgate) -> None:
        done = site.command("list", "--json")
        assert (done.returncode, done.stdout) == (0, "[]\n")
        assert not site.maps.parent.exists()


class TestRender:
    def test_writes_what_would_be_published_and_check_finds_differences(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        (tmp_path / "mail.log").write_text(now_line())
        site.command("once")
        out = str(tmp_path / "out")
        assert site.command("render", "--out", out).returncode == 0
        for name in ("trusted.cidr", "pop_before_smtp.txt", "main.cf.snippet"):
            assert (tmp_path / "out" / name).read_text() == (site.maps / name).read_text()
        assert site.command("render", "--out", out, "--check").returncode == 0
        (tmp_path / "out/trusted.cidr").write_text("203.0.113.0/24 OK\n")
        done = site.command("render", "--out", out, "--check")
        assert (done.returncode, done.stdout) == (1, f"{out}/trusted.cidr: differs\n")


class TestExplain:
    SESSION = ("--client", "203.0.113.5", "--from", "alice@example.com", "--to", "bob@far.test")

    def explained(self, site: Popgate, *more: str) -> tuple[int, dict[str, Any]]:
        done = site.command("explain", *self.SESSION, *more, "--json")
        assert not done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)

    def configure(self, site: Popgate, tmp_path: Path) -> None:
        (tmp_path / "local.txt").write_text("# ours\nexample.com\n")
        site.configure(
            tmp_path / "mail.log",
            f'[local_senders]\ndomain_files = ["{tmp_path}/local.txt"]\nreject = true\n',
        )

    def test_says_each_rule_the_decision_and_what_postfix_will_say(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        self.configure(site, tmp_path)
        done = site.command("explain", *self.SESSION)
        assert done.returncode == 1
        assert done.stdout.splitlines() == [
            "N  Postfix's mynetworks  no",
            "T  trusted list          no",
            "A  SMTP AUTH             no",
            "P  POP before SMTP       no",
            f"H  local sender          yes: example.com ({tmp_path}/local.txt:2)",
            "W  white list            not asked",
            "B  black list            not asked",
            "",
            "reject H: 203.0.113.5 from <alice@example.com> is refused",
            "Postfix: 554 5.7.1 <alice@example.com>: Sender address rejected: local sender: "
            "log in first, by SMTP AUTH on port 587 or by POP3 or IMAP from this address",
        ]

    def test_prints_the_decision_as_json(self, site: Popgate, tmp_path: Path) -> None:
        self.configure(site, tmp_path)
        code, answer = self.explained(site)
        assert (code, answer["decision"], answer["code"]) == (1, "reject", "H")
        assert answer["trace"][4] == {
            "code": "H",
            "rule": "local sender",
            "matched": True,
            "on": f"example.com ({tmp_path}/local.txt:2)",
        }

    def test_names_the_login_that_earned_a_grant_and_its_end(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        self.configure(site, tmp_path)
        (tmp_path / "mail.log").write_text(now_line())
        assert site.command("once").returncode == 0
        code, answer = self.explained(site)
        assert (code, answer["decision"], answer["code"]) == (0, "relay", "P")
        assert re.fullmatch(
            r"grant until \S+\+00:00, earned by alice@example.com \(pop3\) at \S+\+00:00",
            answer["trace"][-1]["on"],
        )

    def test_names_the_line_of_the_trusted_list(self, site: Popgate, tmp_path: Path) -> None:
        self.configure(site, tmp_path)
        site.trusted.write_text("# office\n203.0.113.0/24\n")
        code, answer = self.explained(site)
        assert (code, answer["code"]) == (0, "T")
        assert answer["trace"][-1]["on"] == "line 2: 203.0.113.0/24"

    def test_on_a_submission_port_asks_for_a_login_alone(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        self.configure(site, tmp_path)
        assert self.explained(site, "--port", "587", "--login", "alice")[0] == 0
        code, answer = self.explained(site, "--port", "587")
        assert (code, answer["decision"], answer["code"]) == (1, "reject", "A")

    def test_a_login_on_port_25_is_none_where_postfix_offers_no_auth(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        self.configure(site, tmp_path)
        assert self.explained(site, "--login", "alice")[1]["code"] == "H"

    def test_mail_for_elsewhere_is_refused_by_postfix_itself(self, site: Popgate) -> None:
        code, answer = self.explained(site)
        assert (code, answer["decision"], answer["code"]) == (1, "pass", "-")
        assert answer["reply"] == "554 5.7.1 <bob@far.test>: Relay access denied"

    def test_the_null_sender_and_a_quoted_one_can_be_asked_for(self, site: Popgate) -> None:
        null = site.command("explain", "--client", "::1", "--from", "", "--to", "postmaster")
        assert null.returncode == 0
        assert "from <>" in null.stdout
        quoted = site.command("explain", "--client", "::1", "--from", '"a b"@c.test', "--to", "x")
        assert "<a?b@c.test>" in quoted.stdout

    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"--client": "10.1"}, "'10.1' is no IP address"),
            ({"--port": "26"}, "'26' is not one of '25', '587', '465'"),
            ({"--to": ""}, "mail needs a recipient"),
            ({"--to": None}, "Missing option '--to'"),
            ({"--from": "a@b.test, c@d.test"}, "'a@b.test, c@d.test' is no single address"),
            ({"--from": "a\nb@example.com"}, "characters that no address can have"),
        ],
    )
    def test_what_cannot_be_understood_is_exit_2(
        self, site: Popgate, changed: dict[str, str | None], why: str
    ) -> None:
        options = dict(zip(self.SESSION[::2], self.SESSION[1::2], strict=True)) | changed
        given = [word for pair in options.items() if pair[1] is not None for word in pair]
        done = site.command("explain", *map(str, given))
        assert done.returncode == 2
        assert why in done.stderr

    def test_a_list_that_is_wrong_is_exit_2_with_its_line(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        self.configure(site, tmp_path)
        (tmp_path / "local.txt").write_text("a..b\n")
        done = site.command("explain", *self.SESSION)
        assert done.returncode == 2
        assert done.stderr == (
            f"popgate: {tmp_path}/local.txt:1: 'a..b' is no domain: write example.com, "
            "or .example.com with its subdomains\n"
        )


class TestRun:
    def test_ends_on_sigterm_with_tables_exact_and_state_saved(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        log = tmp_path / "mail.log"
        log.touch()
        with site:
            log.write_text(now_line())
            site.stop()
        assert "203.0.113.5" in (site.maps / "pop_before_smtp.txt").read_text()
        assert json.loads(site.command("list", "--json").stdout)[0]["address"] == "203.0.113.5"
        assert "event=stopped" in site.said.read_text()

    def test_a_second_one_is_refused_and_once_leaves_it_the_work(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        (tmp_path / "mail.log").touch()
        with site:
            second = site.command("run")
            assert second.returncode == 3
            assert f"another popgate is at work there (pid {site.pid})" in second.stderr
            once = site.command("once")
            assert (once.returncode, once.stderr) == (
                0,
                f"popgate: another popgate (pid {site.pid}) is at work; nothing done\n",
            )

    def test_sighup_takes_up_good_settings_and_keeps_the_old_ones_for_bad(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        log = tmp_path / "mail.log"
        log.touch()

        def said(words: str) -> bool:
            return words in site.said.read_text()

        with site:
            site.configure(log, '[grants]\nwindow = "soon"\n')
            site.signal(signal.SIGHUP)
            wait_for("the complaint", lambda: said("event=bad_configuration"))
            with log.open("a") as file:
                file.write(now_line())
            wait_for("a grant under the old settings", lambda: said("address=203.0.113.5"))
            site.configure(log, '[grants]\nexclude_networks = ["203.0.113.0/24"]\n')
            site.signal(signal.SIGHUP)
            wait_for("the new settings", lambda: said("event=reconfigured"))
            wait_for("the end of the grant", lambda: said("event=grant_removed"))
            assert site.stop() == 0

    def test_grants_by_hand_and_their_end_are_taken_up(self, site: Popgate, tmp_path: Path) -> None:
        (tmp_path / "mail.log").touch()
        with site:
            site.command("allow", "192.168.1.5", "--for", "2s")
            wait_for(
                "its end",
                lambda: "event=grant_removed address=192.168.1.5" in site.said.read_text(),
            )

    def test_a_commit_that_fails_is_said_once_and_stops_nothing(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        log = tmp_path / "mail.log"
        log.write_text(now_line())
        site.configure(log, '[audit]\ninterval = "1s"\n')
        site.command("once")
        hook = site.maps / ".git/hooks/pre-commit"
        hook.write_text("#!/bin/sh\necho no commits today >&2\nexit 1\n")
        hook.chmod(0o755)
        with site:
            with log.open("a") as file:
                file.write(now_line("203.0.113.6", session="s2"))
            wait_for("the complaint", lambda: "no commits today" in site.said.read_text())
            with log.open("a") as file:
                file.write(now_line("203.0.113.7", session="s3"))
            wait_for("the grant", lambda: "address=203.0.113.7" in site.said.read_text())
            hook.unlink()
            text = site.maps / "pop_before_smtp.txt"
            wait_for("the text", lambda: "203.0.113.7" in text.read_text())
            assert site.stop() == 0
        assert site.said.read_text().count("no commits today") == 1

    def test_a_bad_configuration_at_the_start_is_exit_2(
        self, site: Popgate, tmp_path: Path
    ) -> None:
        site.configure(tmp_path / "mail.log", "[grants]\nwindow = 3\n")
        done = site.command("run")
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1


def test_help_names_every_command() -> None:
    text = popgate("--help").stdout.decode()
    for name in group.list_commands(None):  # type: ignore[arg-type]
        assert f"  {name} " in text
        assert popgate(name, "--help").returncode == 0


def test_version_is_the_package_s() -> None:
    assert popgate("--version").stdout.decode().strip().endswith(__version__)


def test_an_unknown_command_is_exit_2() -> None:
    done = popgate("lst")
    assert done.returncode == 2
    assert b"No such command 'lst'" in done.stderr

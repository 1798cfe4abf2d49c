"""The configuration that suits a host: which log, which format, which table, and what is said."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.moments import NOW
from tracker.deciding.draft import draft
from tracker.deciding.login_log import login_log
from tracker.records import MailHost
from tracker.surveyed import DovecotSeen, Gateway, Log, Port, PostfixSeen, Process, Remark, Survey

UNIT = "dovecot.service"
SYSLOG = DovecotSeen(version="2.4.1-4")
RUNNING = (Process("dovecot", 10, UNIT),)
RSYSLOG = Process("rsyslogd", 9, "rsyslog.service")
SILENT = Log(UNIT)


def logins(place: str, at: datetime = NOW, **more: Any) -> Log:
    """A log with Dovecot's logins, that grew last at a moment."""
    return Log(
        place,
        writers=("dovecot",),
        formats=("dovecot",),
        logins=27,
        last_login=at,
        written=at,
        **more,
    )


def choice(survey: Survey) -> tuple[str, tuple[str, ...], str]:
    """The setting, its value, and whether it was found or guessed."""
    made = login_log(survey)
    return made.setting, made.chosen.value, made.chosen.weight


def said(remarks: tuple[Remark, ...], weight: str) -> list[str]:
    return [one.text for one in remarks if one.weight == weight]


class TestWhereLoginsAreRead:
    def test_a_log_of_dovecots_own_is_the_one_whatever_else_there_is(self) -> None:
        dovecot = DovecotSeen(log="/var/log/dovecot.log", named="info_log_path")
        survey = Survey(
            dovecot,
            servers=RUNNING,
            syslog=RSYSLOG,
            files=(logins("/var/log/dovecot.log", named="doveconf: info_log_path"),),
            journal=logins(UNIT),
        )
        assert choice(survey) == ("log.files", ("/var/log/dovecot.log",), "found")
        assert said(login_log(survey).remarks, "note") == []  # the journal has none of it
        why = login_log(survey).chosen.why
        assert why.startswith("doveconf: info_log_path = /var/log/dovecot.log; 27 logins in its")

    def test_one_that_is_not_there_yet_is_it_too(self) -> None:
        dovecot = DovecotSeen(log="/var/log/dovecot.log")
        files = (Log("/var/log/dovecot.log", trouble="no such file"),)
        survey = Survey(dovecot, files=files)
        assert choice(survey) == ("log.files", ("/var/log/dovecot.log",), "found")
        assert said(login_log(survey).remarks, "missing") == []

    def test_debian_13_reads_the_unit_that_dovecot_runs_in(self) -> None:
        """Journal alone, and nobody has logged in yet."""
        started = Log(UNIT, writers=("dovecot",), written=NOW)
        for journal in (SILENT, started):
            survey = Survey(SYSLOG, servers=RUNNING, journal=journal, unit_files=(UNIT,))
            assert choice(survey) == ("log.units", (UNIT,), "found")

    def test_a_unit_by_another_name_is_read_by_its_name(self) -> None:
        servers = (Process("dovecot", 10, "dovecot@two.service"),)
        survey = Survey(SYSLOG, servers=servers, journal=Log("dovecot@two.service"))
        assert choice(survey) == ("log.units", ("dovecot@two.service",), "found")

    def test_a_dovecot_that_does_not_run_is_guessed_by_its_unit(self) -> None:
        survey = Survey(SYSLOG, journal=SILENT, unit_files=(UNIT,))
        assert choice(survey) == ("log.units", (UNIT,), "guessed")

    def test_a_file_with_logins_comes_before_the_journal_that_has_them_too(self) -> None:
        files = (logins("/var/log/mail.log"), logins("/var/log/syslog"))
        survey = Survey(SYSLOG, servers=RUNNING, files=files, journal=logins(UNIT))
        assert choice(survey) == ("log.files", ("/var/log/mail.log",), "found")
        (note,) = said(login_log(survey).remarks, "note")
        assert note.startswith("the journal of dovecot.service would do too (log.units)")

    def test_a_file_that_is_left_over_from_a_syslog_daemon_that_is_gone_is_not_read(self) -> None:
        """Upgraded to Debian 12 and rsyslog removed: mail.log stays, full of old logins."""
        old = logins("/var/log/mail.log", NOW - timedelta(days=90))
        survey = Survey(SYSLOG, servers=RUNNING, files=(old,), journal=logins(UNIT))
        assert choice(survey) == ("log.units", (UNIT,), "found")
        (note,) = said(login_log(survey).remarks, "note")
        assert note == (
            "/var/log/mail.log has logins, but was last written to 2026-08-26 08:45 UTC: it is "
            "left over, and not read"
        )

    def test_nor_is_one_that_stopped_a_week_ago_when_the_journal_may_not_be_read(self) -> None:
        journal = Log(UNIT, trouble="journal: you may see your own entries alone; root sees all")
        for days, value in ((8, (UNIT,)), (6, ("/var/log/mail.log",))):
            log = logins("/var/log/mail.log", NOW - timedelta(days=days))
            survey = Survey(SYSLOG, servers=RUNNING, files=(log,), journal=journal, at=NOW)
            assert choice(survey)[1] == value

    def test_a_file_with_logins_of_another_server_is_not_dovecots(self) -> None:
        courier = Log("/var/log/mail.log", writers=("courier",), formats=("courier",), logins=5)
        survey = Survey(SYSLOG, servers=RUNNING, files=(courier,), journal=logins(UNIT))
        assert choice(survey) == ("log.units", (UNIT,), "found")

    def test_lines_of_dovecot_tell_where_logins_will_be(self) -> None:
        started = Log("/var/log/maillog", writers=("dovecot", "postfix-sasl"), written=NOW)
        survey = Survey(SYSLOG, servers=RUNNING, files=(started,), journal=SILENT)
        assert choice(survey) == ("log.files", ("/var/log/maillog",), "found")

    def test_before_any_line_a_running_syslog_daemon_is_taken_at_its_word(self) -> None:
        named = Log("/var/log/mail.log", "/etc/rsyslog.conf:63", trouble="no such file")
        survey = Survey(SYSLOG, servers=RUNNING, syslog=RSYSLOG, files=(named,), journal=SILENT)
        assert choice(survey) == ("log.files", ("/var/log/mail.log",), "guessed")
        assert login_log(survey).chosen.why == (
            "/etc/rsyslog.conf:63; rsyslogd runs (process 9); no mail server's line yet"
        )

    def test_the_configuration_of_one_that_does_not_run_says_nothing(self) -> None:
        named = Log("/var/log/mail.log", "/etc/rsyslog.conf:63", trouble="no such file")
        survey = Survey(SYSLOG, servers=RUNNING, files=(named,), journal=SILENT)
        assert choice(survey) == ("log.units", (UNIT,), "found")

    def test_a_log_on_standard_error_is_in_the_journal(self) -> None:
        survey = Survey(DovecotSeen(log="/dev/stderr"), servers=RUNNING, journal=logins(UNIT))
        assert choice(survey) == ("log.units", (UNIT,), "found")

    @pytest.mark.parametrize("log", ["/dev/null", "/dev/stderr"])
    def test_where_dovecots_log_is_nowhere_that_is_said(self, log: str) -> None:
        assert choice(Survey(DovecotSeen(log=log))) == (
            "log.files",
            ("/var/log/mail.log",),
            "missing",
        )

    def test_a_dovecot_in_a_container_is_named_and_its_unit_is_not(self) -> None:
        survey = Survey(None, servers=(Process("dovecot", 10, "", contained=True),))
        assert choice(survey) == ("log.files", ("/var/log/mail.log",), "guessed")
        (line,) = said(login_log(survey).remarks, "missing")
        assert line.startswith("dovecot runs in a container: what it logs is not in this host's")

    def test_where_nothing_is_known_the_usual_place_is_guessed_and_the_lack_is_said(self) -> None:
        assert choice(Survey()) == ("log.files", ("/var/log/mail.log",), "guessed")
        (line,) = said(login_log(Survey()).remarks, "missing")
        assert line.startswith("no POP or IMAP server")

    def test_a_log_that_cannot_be_read_is_one_line_with_what_to_do(self) -> None:
        files = (Log("/var/log/mail.log", trouble="cannot be read: Permission denied"),)
        journal = Log(UNIT, trouble="journal: you may see your own entries alone; root sees all")
        survey = Survey(SYSLOG, files=files, journal=journal, unit_files=(UNIT,), root=False)
        assert said(login_log(survey).remarks, "missing") == [
            "/var/log/mail.log: cannot be read: Permission denied: run popgate init as root",
            "journal: you may see your own entries alone; root sees all: run popgate init as root",
        ]
        assert choice(survey) == ("log.units", (UNIT,), "guessed")

    def test_a_doveconf_that_fails_is_said_and_the_logs_tell(self) -> None:
        dovecot = DovecotSeen(trouble="doveconf failed: doveconf: Fatal: x")
        survey = Survey(dovecot, files=(logins("/var/log/mail.log"),))
        assert choice(survey) == ("log.files", ("/var/log/mail.log",), "found")
        (line,) = said(login_log(survey).remarks, "missing")
        assert line == "doveconf failed: doveconf: Fatal: x: what it logs to is guessed"

    def test_popgates_user_who_may_not_read_the_log_is_named(self) -> None:
        denied = "user popgate may not read /var/log/dovecot.log (root:root 0600)"
        dovecot = DovecotSeen(log="/var/log/dovecot.log")
        survey = Survey(dovecot, files=(logins("/var/log/dovecot.log", denied=denied),))
        (line,) = said(login_log(survey).remarks, "missing")
        assert line == f"{denied}: docs/sources.md says what to do"


class TestOtherServers:
    COURIER = (Process("courier", 20, "courier-imap.service"),)

    def test_are_told_by_their_lines(self) -> None:
        log = Log(
            "/var/log/mail.log", writers=("courier",), formats=("courier",), logins=5, written=NOW
        )
        made = draft(Survey(None, servers=self.COURIER, files=(log,)))
        assert made.settings["log.files"].value == ("/var/log/mail.log",)
        assert made.settings["log.format"].value == "courier"
        assert made.settings["log.format"].weight == "found"

    def test_without_a_line_are_guessed_by_their_process(self) -> None:
        made = draft(Survey(None, servers=self.COURIER))
        assert made.settings["log.units"].value == ("courier-imap.service",)
        assert made.settings["log.format"].value == "courier"
        assert made.settings["log.format"].weight == "guessed"

    def test_whose_logins_anyone_can_forge_are_said_to_earn_nothing(self) -> None:
        log = Log("/var/log/mail.log", writers=("uw",), formats=("uw",), logins=5, written=NOW)
        made = draft(Survey(None, files=(log,), forgeable=("uw",)))
        assert any("logins of the format uw earn no grant" in one.text for one in made.remarks)

    def test_dovecot_needs_no_format(self) -> None:
        made = draft(Survey(SYSLOG, files=(logins("/var/log/mail.log"),)))
        assert "log.format" not in made.settings


def networks(*texts: str) -> tuple[tuple[Any, bool], ...]:
    return tuple(
        (ipaddress.ip_network(text.lstrip("!")), not text.startswith("!")) for text in texts
    )


class TestPostfix:
    def test_the_type_of_the_table_is_pinned(self) -> None:
        """postfix-lmdb that comes later must not have popgate keep a table that nobody reads."""
        lmdb = draft(Survey(SYSLOG, PostfixSeen(lmdb=True))).settings["postfix.table"]
        assert (lmdb.value, lmdb.why) == ("lmdb", "postconf -m has lmdb")
        cidr = draft(Survey(SYSLOG, PostfixSeen())).settings["postfix.table"]
        assert cidr.value == "cidr"
        assert "postfix-lmdb" in cidr.why

    def test_that_is_not_there_is_said_and_the_rest_is_there(self) -> None:
        made = draft(Survey(SYSLOG, PostfixSeen(trouble="postconf is not in /usr/sbin: install")))
        assert "postfix.table" not in made.settings
        assert "log.files" in made.settings
        assert said(made.remarks, "missing")[-1].startswith("no Postfix to be asked: postconf")

    def test_local_domains_are_named_and_what_could_not_be_listed(self) -> None:
        names = frozenset(f"d{number}.test" for number in range(8))
        host = MailHost(
            domains={"mydestination": names, "relay_domains": frozenset()},
            unlisted=("virtual_mailbox_domains: mysql:/etc/x.cf: tables cannot be listed",),
        )
        made = draft(Survey(SYSLOG, PostfixSeen(host=host)))
        shown = "local: d0.test, d1.test, d2.test, d3.test, d4.test, d5.test and 2 more"
        assert shown in said(made.remarks, "found")
        assert any(
            line.startswith("virtual_mailbox_domains: mysql:/etc/x.cf: tables cannot be listed: ")
            and "local_senders.domains" in line
            for line in said(made.remarks, "missing")
        )

    @pytest.mark.parametrize(
        ("text", "notes"),
        [
            ("127.0.0.0/8", []),
            ("::1/128", []),
            ("192.0.2.1/32", []),  # the host's own
            ("!192.0.2.0/24", []),
            ("192.0.2.9/32", ["mynetworks lets the address 192.0.2.9/32 relay, login or not"]),
            (
                "192.168.0.0/16",
                [
                    "mynetworks lets every address in 192.168.0.0/16 relay, login or not: narrow "
                    "it to the hosts that need it, or list them in the trusted list"
                ],
            ),
            (
                "0.0.0.0/0",
                [
                    "mynetworks lets every address in 0.0.0.0/0 relay, login or not: an open "
                    "relay; narrow it"
                ],
            ),
        ],
    )
    def test_whom_mynetworks_lets_relay_is_said(self, text: str, notes: list[str]) -> None:
        host = MailHost(mynetworks=networks(text), own=frozenset({"192.0.2.1"}))
        made = draft(Survey(SYSLOG, PostfixSeen(host=host)))
        assert said(made.remarks, "note") == notes

    def test_submission_ports_that_are_missing_or_lack_something_are_named(self) -> None:
        ports = (Port("25", "offered", auth=False), Port("587", "offered", auth=True))
        made = draft(Survey(SYSLOG, PostfixSeen(ports=ports)))
        assert said(made.remarks, "missing") == [
            "no service on port 465 (submissions): popgate config set submission.enabled true",
            "port 587: TLS offered, AUTH offered; a submission port requires both",
        ]
        whole = Port("587", "required", auth=True), Port("465", "required", auth=True)
        assert said(draft(Survey(SYSLOG, PostfixSeen(ports=whole))).remarks, "missing") == []

    @pytest.mark.parametrize(
        ("sasl", "sockets", "weight"),
        [
            (("dovecot", "/q/private/auth"), ("/q/private/auth",), "found"),
            (("dovecot", "/q/private/auth"), (), "missing"),
            (("dovecot", "inet:127.0.0.1:12345"), (), "found"),
            (("cyrus", "/q/smtpd"), ("/q/private/auth",), "missing"),
            (("cyrus", "/q/smtpd"), (), None),
        ],
    )
    def test_who_checks_passwords_for_postfix_is_said(
        self, sasl: tuple[str, str], sockets: tuple[str, ...], weight: str | None
    ) -> None:
        dovecot = DovecotSeen(sockets=sockets)
        made = draft(Survey(dovecot, PostfixSeen(sasl=sasl)))
        about = [one.weight for one in made.remarks if "passwords" in one.text]
        assert about == ([weight] if weight else [])


def test_gateways_earn_no_grant() -> None:
    gateways = (Gateway("172.17.0.0/16", "the container bridge docker0"),)
    made = draft(Survey(SYSLOG, gateways=gateways))
    chosen = made.settings["grants.exclude_networks"]
    assert (chosen.value, chosen.weight) == (("172.17.0.0/16",), "guessed")
    assert chosen.why == "172.17.0.0/16: the container bridge docker0"


def test_who_is_not_root_is_told_first() -> None:
    assert draft(Survey(SYSLOG, root=False)).remarks[0].text.startswith("not run as root")

"""What a look at a host shows: its logs, its processes, its networks, and its servers' words."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest

from lab.journal import Journal
from tests.moments import NOW, login_line
from tracker.reading.formats import names
from tracker.reading.patterns import Format
from tracker.reading.survey import logs, look, networks
from tracker.reading.survey.asking import auth_sockets, postfix
from tracker.reading.survey.logs import formats, look_into, look_into_journal
from tracker.reading.survey.places import Places, named_logs
from tracker.reading.survey.processes import SERVERS, servers, syslog_daemon
from tracker.settings import PostfixSettings
from tracker.surveyed import Gateway, Port, Process
from tracker.writing.postfix import Postfix

CORPUS = Path(__file__).parents[1] / "corpus"
DOVECOT = CORPUS / "dovecot-2.3.19/basic-syslog.iso.log"
LATE = datetime(2026, 12, 24, tzinfo=UTC)


@pytest.fixture(scope="module")
def known() -> list[Format]:
    """As on a host without any Dovecot of its own: the packaged formats."""
    return formats({})[0]


class TestALog:
    @pytest.mark.parametrize(
        ("file", "format_"),
        [
            ("dovecot-2.3.19/basic-syslog.iso", "dovecot"),
            ("dovecot-2.4.4/basic-syslog.iso", "dovecot"),
            ("dovecot-2.3.19/file-authverbose", "dovecot"),
            ("courier-1.0.16/basic-syslog.iso", "courier"),
            ("cyrus-3.6.1/basic-syslog.rfc3164", "cyrus"),
        ],
    )
    def test_tells_its_format_by_its_lines(
        self, known: list[Format], file: str, format_: str
    ) -> None:
        seen = look_into(CORPUS / f"{file}.log", known, LATE)
        logins = (CORPUS / f"{file}.expected.jsonl").read_text().count('"event": "login"')
        assert (seen.formats, seen.logins) == ((format_,), logins)
        assert seen.last_login is not None
        assert seen.last_login.date() == NOW.date()

    def test_with_smtp_logins_alone_has_none_that_could_earn_a_grant(
        self, known: list[Format]
    ) -> None:
        seen = look_into(CORPUS / "postfix-3.7.11/sasl-syslog.iso.log", known, LATE)
        assert (seen.formats, seen.logins) == ((), 0)

    def test_that_was_just_rotated_is_looked_into_with_the_one_before(
        self, known: list[Format], tmp_path: Path
    ) -> None:
        shutil.copy(DOVECOT, tmp_path / "mail.log.1")
        assert look_into(tmp_path / "mail.log", known, LATE).logins == 27
        (tmp_path / "mail.log").write_text(login_line("203.0.113.5"))
        assert look_into(tmp_path / "mail.log", known, LATE).logins == 28

    def test_of_a_server_without_a_login_yet_names_its_writer(
        self, known: list[Format], tmp_path: Path
    ) -> None:
        log = tmp_path / "mail.log"
        log.write_text(
            "2026-11-24T08:33:43.000000+00:00 mailhost dovecot: master: Dovecot v2.4.1-4 "
            "(7d8c0e5759) starting up for imap, pop3\n"
        )
        seen = look_into(log, known, LATE)
        assert (seen.writers, seen.formats, seen.logins) == (("dovecot",), (), 0)

    def test_that_is_no_file_is_said(self, known: list[Format], tmp_path: Path) -> None:
        assert look_into(tmp_path / "mail.log", known, LATE).trouble == "no such file"
        os.mkfifo(tmp_path / "pipe")
        assert look_into(tmp_path / "pipe", known, LATE).trouble == "is no regular file"

    def test_that_may_not_be_read_is_said(self, known: list[Format], tmp_path: Path) -> None:
        log = tmp_path / "mail.log"
        log.write_text(login_line("203.0.113.5"))
        log.chmod(0)
        if os.geteuid() == 0:  # root may: be another for a moment
            tmp_path.chmod(0o755)
            os.seteuid(65534)
        try:
            seen = look_into(log, known, LATE)
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
        assert seen.trouble.startswith("cannot be read: Permission denied")

    @pytest.mark.parametrize(
        ("mode", "folder_mode", "denied"),
        [
            (0o644, 0o755, ""),
            (0o600, 0o755, "user nobody may not read {log} (root:root 0600)"),
            (0o644, 0o700, "user nobody may not read {log.parent} (root:root 0700)"),
        ],
    )
    @pytest.mark.skipif(os.geteuid() != 0, reason="the file has to be root's")
    def test_that_popgates_user_may_not_read_names_what_is_in_the_way(
        self,
        known: list[Format],
        monkeypatch: pytest.MonkeyPatch,
        mode: int,
        folder_mode: int,
        denied: str,
    ) -> None:
        monkeypatch.setattr(logs, "USER", "nobody")
        with tempfile.TemporaryDirectory(prefix="popgate-test-") as name:
            log = Path(name, "mail.log")
            log.write_text(login_line("203.0.113.5"))
            log.chmod(mode)
            log.parent.chmod(folder_mode)
            assert look_into(log, known, LATE).denied == denied.format(log=log)

    def test_in_a_format_of_the_admins_own_is_told_too(self, tmp_path: Path) -> None:
        packaged = resources.files("tracker.reading") / "formats/popa3d.toml"
        own = packaged.read_text(encoding="utf-8").replace("popa3d", "ourpop")
        (tmp_path / "ourpop.toml").write_text(own)
        (tmp_path / "broken.toml").write_text("no format")
        log = tmp_path / "mail.log"
        lines = (CORPUS / "popa3d-1.0.3/basic-syslog.iso.log").read_text()
        log.write_text(lines.replace("popa3d", "ourpop"))
        assert look_into(log, formats({}, tmp_path)[0], LATE).formats == ("ourpop",)


class TestTheJournal:
    def test_of_a_unit_is_looked_into(
        self, known: list[Format], journal: Journal, tmp_path: Path
    ) -> None:
        journal.write((CORPUS / "journald/dovecot-2.3.19-basic.export").read_bytes())
        seen = look_into_journal(["dovecot.service"], known, LATE, str(journal.folder))
        assert (seen.place, seen.formats, seen.logins) == ("dovecot.service", ("dovecot",), 27)
        assert seen.written is not None
        assert seen.written.date() == NOW.date()
        other = look_into_journal(["courier.service"], known, LATE, str(journal.folder))
        assert (other.writers, other.written, other.trouble) == ((), None, "")

    def test_that_is_not_there_is_said(self, known: list[Format], tmp_path: Path) -> None:
        seen = look_into_journal(["dovecot.service"], known, LATE, str(tmp_path / "none"))
        assert seen.trouble.startswith(f"journal:{tmp_path}/none: journalctl ended with 1 (")


RSYSLOG_12 = """\
module(load="imuxsock") # provides support for local system logging
$FileOwner root
#
auth,authpriv.*			/var/log/auth.log
*.*;auth,authpriv.none		-/var/log/syslog
mail.*				-/var/log/mail.log
mail.err			/var/log/mail.err
"""


class TestTheSyslogDaemonsConfiguration:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            (RSYSLOG_12, {"/var/log/mail.log": 6}),
            ("mail.*    -/var/log/maillog\n", {"/var/log/maillog": 1}),
            ("# mail.* /var/log/old\nmail.info\t-/var/log/mail/info\n", {"/var/log/mail/info": 2}),
            ("mail,news.=info /a\nmail.none;*.* /b\nmail.warn /c\n", {"/a": 1}),
            ("*.info;mail.none /var/log/messages\nmail.* ~\nmail.* @loghost\n", {}),
            (
                ':programname, isequal, "dovecot" -/var/log/dovecot.log;Form\n& stop\n',
                {"/var/log/dovecot.log": 1},
            ),
            (':programname, startswith, "postfix" /var/log/postfix.log\n', {}),
        ],
    )
    def test_names_the_files_of_what_mail_servers_log(
        self, tmp_path: Path, text: str, found: dict[str, int]
    ) -> None:
        file = tmp_path / "rsyslog.conf"
        file.write_text(text)
        places = Places(syslog=(file,), syslog_folder=tmp_path / "none")
        named = {str(path): where for path, where in named_logs(places).items()}
        assert named == {path: f"{file}:{line}" for path, line in found.items()}

    def test_is_read_in_its_folder_too(self, tmp_path: Path) -> None:
        (tmp_path / "50-mail.conf").write_text("mail.* /var/log/ours.log\n")
        places = Places(syslog=(tmp_path / "none.conf",), syslog_folder=tmp_path)
        assert named_logs(places) == {Path("/var/log/ours.log"): f"{tmp_path}/50-mail.conf:1"}


def process(proc: Path, pid: int, name: str, cgroup: str, pids: str = "") -> None:
    """A process as proc(5) shows it."""
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "comm").write_text(f"{name}\n")
    (folder / "status").write_text(f"Name:\t{name}\nNSpid:\t{pids or pid}\n")
    (folder / "cgroup").write_text(cgroup)


class TestProcesses:
    @pytest.mark.parametrize(
        ("cgroup", "unit"),
        [
            ("0::/system.slice/dovecot.service\n", "dovecot.service"),
            ("0::/system.slice/system-dovecot.slice/dovecot@two.service\n", "dovecot@two.service"),
            ("12:pids:/x\n1:name=systemd:/system.slice/dovecot.service\n0::/\n", "dovecot.service"),
            ("0::/user.slice/user-0.slice/user@0.service/app.slice\n", ""),
            ("0::/user.slice/user-0.slice/session-3.scope\n", ""),
            ("0::/\n", ""),
        ],
    )
    def test_a_server_runs_in_the_unit_of_its_control_group(
        self, tmp_path: Path, cgroup: str, unit: str
    ) -> None:
        process(tmp_path, 10, "dovecot", cgroup)
        process(tmp_path, 11, "anvil", cgroup)
        process(tmp_path, 12, "imap-login", cgroup)
        assert servers(tmp_path) == [Process("dovecot", 10, unit)]

    def test_one_of_a_container_has_no_unit_here(self, tmp_path: Path) -> None:
        process(tmp_path, 10, "dovecot", "0::/system.slice/docker-ab.scope/x.service\n", "10\t1")
        assert servers(tmp_path) == [Process("dovecot", 10, "", contained=True)]

    def test_several_servers_are_named_once_for_each_unit(self, tmp_path: Path) -> None:
        for pid, unit in ((20, "imap"), (21, "imap"), (22, "pop")):
            process(tmp_path, pid, "couriertcpd", f"0::/system.slice/courier-{unit}.service\n")
        assert servers(tmp_path) == [
            Process("courier", 20, "courier-imap.service"),
            Process("courier", 22, "courier-pop.service"),
        ]

    def test_the_syslog_daemon_is_that_of_this_host(self, tmp_path: Path) -> None:
        process(tmp_path, 8, "rsyslogd", "0::/", "8\t1")
        assert syslog_daemon(tmp_path) is None
        process(tmp_path, 9, "rsyslogd", "0::/system.slice/rsyslog.service\n")
        assert syslog_daemon(tmp_path) == Process("rsyslogd", 9, "rsyslog.service")

    def test_every_server_that_is_known_by_its_process_has_a_log_format(self) -> None:
        assert set(SERVERS.values()) <= set(names())

    def test_one_that_ended_meanwhile_is_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "7").mkdir()
        assert servers(tmp_path) == []


ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t{gateway}\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


class TestGateways:
    @pytest.mark.parametrize(
        ("gateway", "found"),
        [("0101A8C0", ["192.168.1.1/32"]), ("010200C0", []), ("00000000", [])],
    )
    def test_the_next_router_is_one_where_its_address_is_private(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        gateway: str,
        found: list[str],
    ) -> None:
        monkeypatch.setattr(networks, "interfaces", dict)
        (tmp_path / "net").mkdir()
        (tmp_path / "net/route").write_text(ROUTES.format(gateway=gateway))
        assert [one.network for one in networks.gateways(tmp_path)] == found

    def test_container_bridges_are_some(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        there = {
            "lo": ["127.0.0.0/8"],
            "eth0": ["192.168.1.0/24"],
            "docker0": ["172.17.0.0/16", "fe80::/64"],
            "br-0a1b2c3d4e5f": ["172.18.0.0/16"],
            "br-lan": ["10.0.0.0/8"],
        }
        monkeypatch.setattr(networks, "interfaces", lambda: there)
        assert list(networks.gateways(tmp_path)) == [
            Gateway("172.18.0.0/16", "the container bridge br-0a1b2c3d4e5f"),
            Gateway("172.17.0.0/16", "the container bridge docker0"),
        ]


CHANGED_23 = """\
# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf
log_path = /var/log/dovecot.log
service auth {
  unix_listener /var/spool/postfix/private/auth {
    group = postfix
    mode = 0660
    user = postfix
  }
}
ssl = no
"""
CHANGED_24 = """\
# 2.4.1-4 (7d8c0e5759): /etc/dovecot/dovecot.conf
dovecot_config_version = 2.4.0
service lmtp {
  unix_listener lmtp {
  }
}
service auth {
  unix_listener auth-userdb {
  }
  unix_listener /var/spool/postfix/private/auth {
    group = postfix
    mode = 0660
    user = postfix
  }
}
service auth-worker {
}
ssl_server {
  cert_file = /etc/dovecot/private/dovecot.pem
}
"""


@pytest.mark.parametrize(
    ("text", "sockets"),
    [
        (CHANGED_23, ["/var/spool/postfix/private/auth"]),
        (CHANGED_24, ["/var/spool/postfix/private/auth"]),
        ("ssl = no\n", []),
    ],
)
def test_the_sockets_of_dovecots_auth_service_are_known(text: str, sockets: list[str]) -> None:
    assert list(auth_sockets(text)) == sockets


MASTER = """\
smtp      inet n - y - - smtpd
submission inet n - y - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
smtps     inet n - y - - smtpd
  -o smtpd_tls_wrappermode=yes
192.0.2.1:2525 inet n - y - - smtpd
127.0.0.1:10025 inet n - y - - smtpd
pickup    unix n - y 60 1 pickup
policy    inet n - y - - spawn argv=/bin/true
"""


def age(folder: Path) -> None:
    for file in folder.iterdir():
        os.utime(file, (0, 0))


def test_what_the_ports_for_clients_offer_is_asked_of_postfix(postfix_config: Path) -> None:
    (postfix_config / "main.cf").write_text(
        "compatibility_level = 3.6\nsmtpd_tls_security_level = may\n"
        "smtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\n"
        "queue_directory = /var/spool/postfix\n"
    )
    (postfix_config / "master.cf").write_text(MASTER)
    age(postfix_config)
    seen = postfix(Postfix(PostfixSettings(config_directory=str(postfix_config))))
    assert seen.trouble == ""
    assert seen.lmdb
    assert seen.sasl == ("dovecot", "/var/spool/postfix/private/auth")
    assert seen.ports == (
        Port("25", "offered", auth=False),
        Port("587", "required", auth=True),
        Port("465", "required", auth=False),
        Port("192.0.2.1:2525", "offered", auth=False),
    )


def test_where_there_is_no_postfix_that_is_said(tmp_path: Path) -> None:
    commands = Postfix(PostfixSettings(config_directory=str(tmp_path / "none")))
    assert "none/main.cf" in postfix(commands).trouble


def test_a_host_is_looked_at_as_a_whole(tmp_path: Path, postfix_config: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_text(login_line("203.0.113.5", at=NOW - timedelta(hours=1)))
    conf = tmp_path / "rsyslog.conf"
    conf.write_text(f"mail.* -{log}\n")
    process(tmp_path / "proc", 9, "rsyslogd", "0::/system.slice/rsyslog.service\n")
    places = Places(
        logs=(log, tmp_path / "none"),
        syslog=(conf,),
        syslog_folder=tmp_path / "none",
        proc=tmp_path / "proc",
        units=(tmp_path,),
    )
    seen = look(NOW, Postfix(PostfixSettings(config_directory=str(postfix_config))), "", places)
    assert seen.syslog == Process("rsyslogd", 9, "rsyslog.service")
    if seen.dovecot is None or seen.dovecot.log == "syslog":
        (found,) = seen.files
        assert (found.place, found.named, found.logins) == (str(log), f"{conf}:1", 1)
    assert (seen.journal, seen.unit_files) == (None, ())

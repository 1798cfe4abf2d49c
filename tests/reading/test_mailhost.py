"""What Postfix tells of itself, asked of its real commands with configurations of our own."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tracker.errors import PostfixError
from tracker.reading.mailhost import ask, split
from tracker.records import MailHost
from tracker.settings import PostfixSettings
from tracker.writing.postfix import Postfix


class Site:
    """A configuration folder, and the mail host that it makes."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.folder = config.parent

    def ask(self, main: str, master: str = "") -> MailHost:
        for name, text in (
            ("main.cf", f"compatibility_level = 3.6\n{main}"),
            ("master.cf", master),
        ):
            (self.config / name).write_text(text)
            past = time.time() - 10
            os.utime(self.config / name, (past, past))
        settings = PostfixSettings(config_directory=str(self.config))
        return ask(Postfix(settings), ["192.0.2.77", "2001:db8::77"])

    def table(self, name: str, text: str) -> str:
        """An lmdb table; its `type:name`."""
        (self.folder / name).write_text(text)
        table = f"lmdb:{self.folder}/{name}"
        subprocess.run(["/usr/sbin/postmap", "-c", self.config, table], check=True)
        return table


@pytest.fixture
def site(postfix_config: Path) -> Site:
    return Site(postfix_config)


def networks(host: MailHost) -> list[tuple[str, bool]]:
    return [(str(net), permits) for net, permits in host.mynetworks]


def test_domains_are_those_of_the_parameters_expanded(site: Site) -> None:
    host = site.ask(
        "myhostname = mail.Example.net\nmydomain = example.net\n"
        "mydestination = $myhostname, localhost.$mydomain localhost\nrelay_domains = Relay.test\n"
    )
    assert host.domains["mydestination"] == {
        "mail.example.net",
        "localhost.example.net",
        "localhost",
    }
    assert host.domains["relay_domains"] == {"relay.test"}
    assert host.domains["virtual_alias_domains"] == frozenset()
    assert host.unlisted == ()


def test_tables_are_listed_and_only_their_domains_count(site: Site) -> None:
    alias = site.table("virtual", "alias.test anything\ninfo@alias.test alice\n@all.test alice\n")
    host = site.ask(
        f"virtual_alias_maps = {alias}\n"
        f"virtual_mailbox_domains = proxy:{alias}, inline:{{a.test=1}}\n"
    )
    assert host.domains["virtual_alias_domains"] == {"alias.test"}
    assert host.domains["virtual_mailbox_domains"] == {"alias.test", "a.test"}


def test_files_are_opened_and_an_exclamation_mark_takes_out(site: Site) -> None:
    (site.folder / "inner").write_text("c.test d.test\n")
    (site.folder / "domains").write_text(f"# ours\na.test, b.test\n{site.folder}/inner\n")
    host = site.ask(f"mydestination = !b.test, !d.test, {site.folder}/domains\n")
    assert host.domains["mydestination"] == {"a.test", "c.test"}


def test_what_cannot_be_listed_is_said_and_not_guessed(site: Site) -> None:
    host = site.ask(
        "virtual_mailbox_domains = mysql:/etc/postfix/domains.cf, regexp:/etc/postfix/r\n"
        "relay_domains = /nonexistent/file\n"
        "virtual_alias_domains = lmdb:/nonexistent/table\n"
        "mynetworks = 192.0.2.0/24 cidr:/etc/postfix/networks 192.0.2.1/24\n"
    )
    assert host.domains["virtual_mailbox_domains"] == frozenset()
    parts = [line.split(": ")[:2] for line in host.unlisted]
    assert parts == [
        ["virtual_alias_domains", f"postmap -c {site.config} -s lmdb:/nonexistent/table"],
        ["virtual_mailbox_domains", "mysql:/etc/postfix/domains.cf"],
        ["virtual_mailbox_domains", "regexp:/etc/postfix/r"],
        ["relay_domains", "/nonexistent/file"],
        ["mynetworks", "cidr:/etc/postfix/networks"],
        [
            "mynetworks",
            "'192.0.2.1/24' is no network (192.0.2.1/24 has host bits set); "
            "did you mean 192.0.2.0/24?",
        ],
    ]


def test_a_file_that_names_itself_ends(site: Site) -> None:
    file = site.folder / "circle"
    file.write_text(f"a.test {file}\n")
    host = site.ask(f"mydestination = {file}\n")
    assert host.domains["mydestination"] == {"a.test"}
    assert "in a circle" in host.unlisted[0]


def test_networks_are_in_order_and_tables_of_them_are_listed(site: Site) -> None:
    table = site.table("networks", "198.51.100.7 yes\n2001:db8::1 yes\n")
    host = site.ask(
        "mynetworks = !192.0.2.9, 192.0.2.0/28 [2001:db8:aa::]/64 [::1]/128 "
        f"[::ffff:127.0.0.0]/104 {table}\n"
    )
    assert networks(host) == [
        ("192.0.2.9/32", False),
        ("192.0.2.0/28", True),
        ("2001:db8:aa::/64", True),
        ("::1/128", True),
        ("198.51.100.7/32", True),
        ("2001:db8::1/128", True),
    ]
    assert host.unlisted == ()


def test_what_master_cf_says_for_port_25_counts(site: Site) -> None:
    master = (
        "smtp inet n - n - - smtpd\n  -o smtpd_sasl_auth_enable=no -o mynetworks=192.0.2.3\n"
        "submission inet n - n - - smtpd\n  -o smtpd_sasl_auth_enable=yes -o reject_code=521\n"
    )
    host = site.ask("smtpd_sasl_auth_enable = yes\nmynetworks = 192.0.2.0/24\n", master)
    assert not host.auth
    assert networks(host) == [("192.0.2.3/32", True)]
    assert host.reject_code == "554"
    assert site.ask("smtpd_sasl_auth_enable = yes\n").auth


def test_behind_postscreen_what_master_cf_says_for_the_smtpd_there_counts(site: Site) -> None:
    master = (
        "smtp inet n - n - 1 postscreen\n  -o smtpd_sasl_auth_enable=yes\n"
        "smtpd pass - - n - - smtpd\n  -o smtpd_sasl_auth_enable=no -o mynetworks=192.0.2.3\n"
        "10025 inet n - n - - smtpd\n  -o mynetworks=127.0.0.0/8\n"
    )
    host = site.ask("smtpd_sasl_auth_enable = yes\nmynetworks = 192.0.2.0/24\n", master)
    assert not host.auth
    assert networks(host) == [("192.0.2.3/32", True)]


def test_its_own_addresses_are_those_it_listens_on(site: Site) -> None:
    assert site.ask("").own == {"192.0.2.77", "2001:db8::77"}
    host = site.ask("inet_interfaces = 127.0.0.1\nproxy_interfaces = 192.0.2.6\n")
    assert host.own == {"127.0.0.1", "192.0.2.6"}


def test_how_it_reads_addresses_is_told(site: Site) -> None:
    host = site.ask(
        "recipient_delimiter = +-\nparent_domain_matches_subdomains =\nswap_bangpath = no\n"
        "allow_percent_hack = no\nresolve_dequoted_address = no\nsmtputf8_enable = no\n"
        "append_dot_mydomain = yes\nmyorigin = origin.test\naccess_map_reject_code = 550\n"
    )
    assert (host.delimiters, host.parents, host.relay_subdomains) == ("+-", False, False)
    assert not any((host.swap_bangpath, host.percent_hack, host.resolve_dequoted, host.smtputf8))
    assert (host.append_dot_mydomain, host.myorigin, host.access_code) == (
        True,
        "origin.test",
        "550",
    )


def test_without_postconf_it_is_an_error() -> None:
    with pytest.raises(PostfixError, match="postconf is not in /nonexistent"):
        ask(Postfix(PostfixSettings(command_directory="/nonexistent")), [])


def test_words_are_parted_by_commas_and_blanks_but_not_in_braces() -> None:
    text = "a, b\tc inline:{ x=1, {y = 2 3} } d"
    assert list(split(text)) == ["a", "b", "c", "inline:{ x=1, {y = 2 3} }", "d"]

"""The configuration file: every fault at once, each with its place, and nothing undocumented."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import config
from tracker.errors import ConfigError
from tracker.settings import BOUNDS, Duration, Settings

ROOT = Path(__file__).parents[1]


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        config.parse(text, "popgate.toml")
    return raised.value.problems


def test_an_empty_file_gives_the_defaults() -> None:
    assert config.parse("", "popgate.toml") == Settings()


def test_the_sample_file_gives_the_defaults_also_when_every_key_is_uncommented() -> None:
    sample = config.sample()
    assert config.parse(sample, "sample") == Settings()
    uncommented = "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") else line
        for line in sample.splitlines()
    )
    assert config.parse(uncommented, "sample") == Settings()
    assert len(list(config.settings_table())) == sum(
        " = " in line for line in uncommented.splitlines() if not line.startswith("#")
    )


def test_dovecots_settings_are_a_word_a_path_or_a_table() -> None:
    table = '{ login_log_format = "%s - %$", mail_log_prefix = "%s(%u): " }'
    for written in ('"auto"', '"/etc/dovecot/dovecot.conf"', "{}", table):
        settings = config.parse(f"[log]\ndovecot = {written}\n", "popgate.toml")
        assert config.parse(config.show(settings), "shown") == settings
    assert settings.log.dovecot == {"login_log_format": "%s - %$", "mail_log_prefix": "%s(%u): "}
    (fault,) = faults('[log]\ndovecot = "dovecot.conf"')
    assert fault == (
        'popgate.toml:2: log.dovecot = "dovecot.conf": expected "auto", the path of a '
        "dovecot.conf, or a table"
    )
    assert "log.dovecot = 3" in faults("[log]\ndovecot = 3")[0]


def test_what_show_prints_gives_the_same_settings() -> None:
    text = '[grants]\nwindow = "90s"\nusers = ["a*", "b\\"c"]\n[postfix]\ntable = "cidr"\n'
    settings = config.parse(text, "popgate.toml")
    assert config.parse(config.show(settings), "shown") == settings


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[log]\nfils = []", "popgate.toml:2: unknown key log.fils; the nearest is log.files"),
        ("[grnts]", "popgate.toml: unknown section [grnts]; the nearest is grants"),
        ("grants = 3", "popgate.toml: grants is a section: write [grants] and its keys below it"),
        (
            "[grants]\n\nwindow = 30",
            'popgate.toml:3: grants.window = 30: expected a time with its unit, such as "30m", '
            '"90s" or "24h"',
        ),
        (
            '[grants]\nwindow = "8d"',
            'popgate.toml:2: grants.window = "8d": expected between 0 and 7d',
        ),
        (
            '[grants]\nscope = "global"',
            'popgate.toml:2: grants.scope = "global": expected "ip" or "address"',
        ),
        (
            '[grants]\nrefuse = ["own", "publc"]',
            'popgate.toml:2: grants.refuse = ["own", "publc"]: expected list of: "loopback", '
            '"link-local", "own", "private"',
        ),
        (
            '[grants]\nexclude_networks = ["10.0.0.1/8"]',
            "popgate.toml:2: grants.exclude_networks = [\"10.0.0.1/8\"]: '10.0.0.1/8' is no "
            "network (10.0.0.1/8 has host bits set); did you mean 10.0.0.0/8?",
        ),
        (
            '[trusted]\nnameservers = ["dns.example.com"]',
            "popgate.toml:2: trusted.nameservers = [\"dns.example.com\"]: 'dns.example.com' is no "
            "server: write 192.0.2.53 or 192.0.2.53:5353",
        ),
        (
            '[trusted]\nstale = "31d"',
            'popgate.toml:2: trusted.stale = "31d": expected between 0 and 30d',
        ),
        ("[log]\nfiles = 3", "popgate.toml:2: log.files = 3: Expected `array`, got `int`"),
        (
            '[log]\nfiles = ["mail.log"]',
            'popgate.toml:2: log.files = ["mail.log"]: expected paths from the root, such as '
            "/var/log/mail.log, or -",
        ),
        (
            '[state]\ndirectory = "here"',
            'popgate.toml:2: state.directory = "here": expected a path from the root, such as '
            "/var/lib/popgate",
        ),
        (
            '[audit]\ncommit = "yes"',
            'popgate.toml:2: audit.commit = "yes": Expected `bool`, got `str`',
        ),
        (
            '[log]\ntimezone = "Mars/Olympus"',
            'popgate.toml:2: log.timezone = "Mars/Olympus": expected a zone of '
            "/usr/share/zoneinfo, such as Europe/Berlin",
        ),
        (
            '[local_senders]\ndomains = ["example.com", "10.1"]',
            'popgate.toml:2: local_senders.domains = ["example.com", "10.1"]: \'10.1\' is no '
            "domain: write example.com, or .example.com with its subdomains",
        ),
        (
            '[blacklist]\nentries = ["192.0.2.1/24"]',
            "popgate.toml:2: blacklist.entries = [\"192.0.2.1/24\"]: '192.0.2.1/24' is no "
            "network (192.0.2.1/24 has host bits set); did you mean 192.0.2.0/24?",
        ),
        (
            '[whitelist]\nfiles = ["white.txt"]',
            'popgate.toml:2: whitelist.files = ["white.txt"]: expected paths from the root, such '
            "as /etc/popgate/list.txt",
        ),
        (
            '[local_senders]\ndomains_from = ["mydomain"]',
            'popgate.toml:2: local_senders.domains_from = ["mydomain"]: expected list of: '
            '"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains"',
        ),
        (
            "[grants]\nipv6_prefix = 64",
            "popgate.toml: grants.ipv6_prefix = 64 grants networks, which an indexed table cannot "
            'hold: set postfix.table = "cidr" or take the key out',
        ),
    ],
)
def test_a_fault_is_named_with_its_place_and_what_was_expected(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_all_faults_are_reported_at_once() -> None:
    assert len(faults('[log]\nfils = 1\nformat = 2\n[x]\n[grants]\nwindow = "soon"\n')) == 4


def test_what_is_no_toml_is_said_with_its_line() -> None:
    (fault,) = faults("[log\n")
    assert fault.startswith("popgate.toml: not TOML: ")
    assert "line 1" in fault


def test_a_missing_file_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="popgate init writes one"):
        config.load(tmp_path / "popgate.toml")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("90s", 90),
        ("30m", 1800),
        ("24h", 86400),
        ("7d", 604800),
        ("1.5h", 5400),
        (0, 0),
    ],
)
def test_a_time_is_a_number_with_its_unit(text: object, seconds: float) -> None:
    assert config.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "30", "m", "30 minutes", "-5m", "1e3s", "\u0663\u0660m", True, 30, None, []]
)
def test_anything_else_is_no_time(text: object) -> None:
    with pytest.raises(ValueError, match="expected a time with its unit"):
        config.parse_duration(text)


@given(st.integers(0, 10**7))
def test_a_time_that_is_shown_is_read_as_the_same(milliseconds: int) -> None:
    value = Duration(milliseconds=milliseconds)
    shown = config.show_duration(value)
    assert config.parse_duration(0 if shown == "0" else shown) == value


def test_every_time_has_bounds_and_a_default_within_them() -> None:
    times = {
        setting.name: setting.default
        for setting in config.settings_table()
        if setting.type == "time"
    }
    assert times.keys() == BOUNDS.keys()
    for name, default in times.items():
        assert BOUNDS[name][0] <= default <= BOUNDS[name][1]


@given(st.text(max_size=200))
def test_no_text_is_a_traceback(text: str) -> None:
    with suppress(ConfigError):
        config.parse(text, "popgate.toml")


def test_a_fault_is_one_line_for_a_terminal_whatever_stands_in_the_file() -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse('[log]\n"a\\nb" = 1\n"\\u001b[31m" = 2\n["x\\ry"]\n', "popgate.toml")
    assert len(caught.value.problems) == 3
    assert all(problem.isprintable() for problem in caught.value.problems)


def test_a_fault_shows_no_password_of_a_url() -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse('[audit]\npush_to = "x"\ncommit = "https://bob:hunter2@git.test/x"\n', "p")
    assert "https://***@git.test/x" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_reference_is_the_one_in_docs() -> None:
    """`make docs` writes it anew."""
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == config.reference()


# Where lines come from


def test_a_journal_alone_needs_no_files_to_be_unset() -> None:
    assert config.parse('[log]\nunits = ["dovecot.service"]', "x").log.files == ()
    both = '[log]\nunits = ["dovecot.service"]\nfiles = ["/var/log/mail.log"]'
    assert config.parse(both, "x").log.files == (Path("/var/log/mail.log"),)


@pytest.mark.parametrize("files", ["-", "/var/log/mail/*.log", "/var/log/mail-[a-z].log"])
def test_files_may_be_standard_input_and_have_stars(files: str) -> None:
    assert config.parse(f'[log]\nfiles = ["{files}"]', "x").log.files == (Path(files),)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("files = []", "name a log file, or a unit of the journal"),
        ('files = ["mail.log"]', "expected paths from the root"),
        ('units = ["dovecot"]', "expected whole names of units, such as dovecot.service"),
        ('units = ["dovecot*.service"]', "without stars"),
        ('units = ["+"]', "expected whole names of units"),
        ('units = ["a.service"]\nexecutables = ["dovecot"]', "expected paths from the root"),
        ('executables = ["/usr/lib/dovecot/log"]', "says nothing without log.units"),
        ('journal_directory = "journal"', "expected a path from the root"),
    ],
)
def test_sources_that_cannot_be_meant(text: str, fault: str) -> None:
    (line,) = faults(f"[log]\n{text}")
    assert fault in line

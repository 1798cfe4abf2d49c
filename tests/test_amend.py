"""One setting of the configuration file changed, and nothing else of it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import amend, config
from tracker.errors import ConfigError
from tracker.settings import Settings

NAMES = [setting.name for setting in config.settings_table()]
WRITTEN = """\
# ours, since 2019

[grants]
window = "30m"   # the boss wants it short
users = [
    "alice",  # sales
    "bob",
]
# nothing below

[log]
files = ["/var/log/mail.log"]
"""


def test_a_key_that_is_set_changes_where_it_stands_and_comments_stay() -> None:
    assert amend.put(WRITTEN, "grants.window", "45m") == WRITTEN.replace('"30m"', '"45m"')


def test_a_list_of_several_lines_is_replaced_as_a_whole() -> None:
    changed = amend.put(WRITTEN, "grants.users", ["carol"])
    assert tomllib.loads(changed)["grants"] == {"window": "30m", "users": ["carol"]}
    assert "# ours, since 2019" in changed
    assert "# nothing below" in changed


def test_a_key_that_the_sample_has_commented_out_goes_right_below_it() -> None:
    lines = amend.put(config.sample(), "grants.window", "45m").splitlines()
    place = lines.index('window = "45m"')
    assert lines[place - 1] == '#window = "30m"'
    assert len(lines) == len(config.sample().splitlines()) + 1


def test_a_new_key_goes_to_the_end_of_its_section() -> None:
    changed = amend.put(WRITTEN, "grants.services", ["pop3"])
    assert changed == WRITTEN.replace("]\n# nothing", ']\nservices = ["pop3"]\n# nothing')


def test_a_section_that_is_missing_is_made() -> None:
    assert amend.put(WRITTEN, "audit.commit", False) == f"{WRITTEN}\n[audit]\ncommit = false\n"
    assert amend.put("", "audit.commit", False) == "[audit]\ncommit = false\n"
    assert amend.put("# x", "audit.commit", False) == "# x\n\n[audit]\ncommit = false\n"


@pytest.mark.parametrize(
    "text",
    [
        'grants = { window = "1m" }\n',
        'grants.window = "1m"\n',
        '"grants" = { "window" = "1m" }\n[log]\nfiles = ["/x"]\n',
        '[ grants ] # odd\n  window="1m"\n',
        '["grants"]\nwindow = "1m"\n',
        '[log]\nformat = """\n[grants]\n#scope = 1\n"""\n[grants]\nwindow = "1m"\n',
    ],
)
def test_however_a_section_is_written_a_new_key_comes_into_it(text: str) -> None:
    wanted = tomllib.loads(text)
    wanted["grants"]["scope"] = "ip"
    assert tomllib.loads(amend.put(text, "grants.scope", "ip")) == wanted


def test_a_key_is_taken_out_with_its_comment_and_nothing_else() -> None:
    changed = amend.drop(WRITTEN, "grants.window")
    assert changed == WRITTEN.replace('window = "30m"   # the boss wants it short\n', "")
    assert amend.drop(changed, "grants.window") == changed


def test_a_section_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^grants is a section: write \[grants\]"):
        amend.put("grants = 5\n", "grants.window", "45m")


def test_what_is_no_toml_is_refused() -> None:
    for text in ("[grants", "x = 1\nx = 2\n"):
        with pytest.raises(ConfigError, match="not TOML"):
            amend.put(text, "grants.window", "45m")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("grants.windo", "grants.window"),
        ("grant.window", "grants.window"),
        ("window", "grants.window"),
        ("grants", None),
    ],
)
def test_an_unknown_key_names_the_nearest(name: str, nearest: str | None) -> None:
    with pytest.raises(ConfigError, match=f"unknown key {name}; ") as raised:
        amend.split(name)
    assert nearest is None or str(raised.value).endswith(f"the nearest is {nearest}")


@pytest.mark.parametrize(
    ("name", "words", "value"),
    [
        ("audit.commit", "true", True),
        ("audit.commit", "ON", True),
        ("audit.commit", "1", True),
        ("audit.commit", "0", False),
        ("audit.commit", "perhaps", "perhaps"),
        ("grants.ipv6_prefix", "64", 64),
        ("grants.ipv6_prefix", "wide", "wide"),
        ("grants.window", "45m", "45m"),
        ("grants.window", '"45m"', "45m"),
        ("grants.window", "0", 0),
        ("grants.window", "5", "5"),
        ("grants.users", "alice, bob", ["alice", "bob"]),
        ("grants.users", '["a, b", "c"]', ["a, b", "c"]),
        ("grants.users", "", []),
        ("log.files", "/var/log/mail.log", ["/var/log/mail.log"]),
        ("log.timezone", "", ""),
        ("log.dovecot", "auto", "auto"),
        ("log.dovecot", '{ mail_log_prefix = "x" }', {"mail_log_prefix": "x"}),
        ("trusted.file", "{ a = 1 }", "{ a = 1 }"),
        ("postfix.table", "cidr", "cidr"),
    ],
)
def test_words_of_a_command_line_become_the_settings_type(
    name: str, words: str, value: Any
) -> None:
    typed = amend.typed(name, words)
    assert (typed, type(typed)) == (value, type(value))


@pytest.mark.parametrize("name", NAMES)
def test_what_get_prints_set_understands(name: str) -> None:
    value = amend.value_of(Settings(), name)
    assert amend.typed(name, amend.shown(value)) == value


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)


@given(TEXTS)
def test_any_text_comes_back_as_it_was_set(text: str) -> None:
    assert amend.typed("log.timezone", amend.shown(text)) == text
    written = amend.put(WRITTEN, "log.timezone", text)
    assert tomllib.loads(written)["log"] == {"files": ["/var/log/mail.log"], "timezone": text}


@given(st.lists(TEXTS, max_size=4))
def test_any_list_comes_back_as_it_was_set(texts: list[str]) -> None:
    assert amend.typed("grants.users", amend.shown(texts)) == texts
    written = amend.put(WRITTEN, "grants.users", texts)
    assert tomllib.loads(written)["grants"] == {"window": "30m", "users": texts}


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_can_be_set_in_the_sample_and_taken_out_again(name: str) -> None:
    section, key = amend.split(name)
    value = amend.value_of(Settings(), name)
    written = amend.put(config.sample(), name, value)
    assert tomllib.loads(written)[section] == {key: value}
    dropped = amend.drop(written, name)
    assert tomllib.loads(dropped)[section] == {}
    assert dropped.splitlines() == config.sample().splitlines()

"""A log format carries its own examples; a file that they do not prove is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracker.errors import USAGE, FormatError
from tracker.reading.formats import find, load, names

SOUND = {
    "head": """
name = "small"
title = "A small server"
tags = ["small"]
needles = ["in "]
""",
    "define": """
[define]
address = '(?P<address>[0-9A-Fa-f.:]{2,45}+)'
""",
    "pattern": """
[[pattern]]
event = "login"
regex = '''in (?P<user>[a-z]{1,32}+) {address}(?=\\n)'''
""",
    "example": """
[[example]]
line = 'Nov 24 08:45:29 mailhost small: in alice 203.0.113.5'
event = "login"
user = "alice"
address = "203.0.113.5"
""",
    "counter_example": """
[[counter_example]]
why = "a name with a blank"
line = 'Nov 24 08:45:29 mailhost small: in alice x 203.0.113.5'
""",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "small.toml"


def write(file: Path, **parts: str) -> Path:
    file.write_text("".join({**SOUND, **parts}.values()), encoding="utf-8")
    return file


def refusal(file: Path) -> str:
    """The one line that says why the file is refused."""
    with pytest.raises(FormatError) as raised:
        load(file)
    text = str(raised.value)
    assert text.startswith(f"{file}: ")
    assert "\n" not in text
    assert raised.value.exit_code == USAGE
    return text.removeprefix(f"{file}: ")


@pytest.mark.parametrize("name", sorted(names(None)))
def test_the_packaged_formats_are_proved_by_their_examples(name: str) -> None:
    made = find(name, None)
    assert made.name == name
    assert made.examples
    assert made.counter_examples
    assert {pattern.event for pattern in made.patterns} >= {"login"}


def test_a_small_format_is_enough(file: Path) -> None:
    assert load(write(file)).tag == "(?:small)"


def test_a_definition_may_use_what_is_always_defined(file: Path) -> None:
    define = "[define]\nwho = '(?P<user>[a-z]{1,32}+) {address}'\n"
    pattern = "[[pattern]]\nevent = 'login'\nregex = 'in {who}(?=\\n)'\n"
    assert load(write(file, define=define, pattern=pattern)).patterns


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(FormatError, match=r"^unknown log format 'dovcot'; known: .*dovecot"):
        find("dovcot", None)


@pytest.mark.parametrize("name", ["../formats/dovecot", "dovecot.toml", "", "/etc/passwd"])
def test_a_path_is_no_name(name: str) -> None:
    with pytest.raises(FormatError, match="unknown log format"):
        find(name, None)


def test_a_file_that_does_not_exist(file: Path) -> None:
    assert "No such file" in refusal(file)


def test_a_file_that_is_no_toml(file: Path) -> None:
    assert "line 1" in refusal(write(file, head="name = small\n"))


def test_an_example_that_gives_another_address(file: Path) -> None:
    example = SOUND["example"].replace('"203.0.113.5"', '"203.0.113.6"')
    said = refusal(write(file, example=example))
    assert "203.0.113.5" in said
    assert "not ('login', None, 'alice', '203.0.113.6', None)" in said
    assert said.endswith("mailhost small: in alice 203.0.113.5")


def test_an_example_that_gives_nothing(file: Path) -> None:
    example = SOUND["example"].replace("small: in", "small: out")
    assert refusal(write(file, example=example)).startswith("this example gives None, not ('login'")


def test_a_counter_example_that_gives_a_login(file: Path) -> None:
    counter = SOUND["counter_example"].replace("alice x", "alice")
    said = refusal(write(file, counter_example=counter))
    assert said.startswith("this counter-example (a name with a blank) gives a login: Nov 24")


@pytest.mark.parametrize("key", ["example", "counter_example", "pattern", "head"])
def test_a_part_that_is_missing(file: Path, key: str) -> None:
    missing = {"head": "name"}.get(key, key)
    assert f"missing required field `{missing}`" in refusal(write(file, **{key: ""}))


@pytest.mark.parametrize("key", ["example", "counter_example"])
def test_a_part_that_is_empty(file: Path, key: str) -> None:
    head = f"{SOUND['head']}{key} = []\n"
    assert "needs at least one [[example]]" in refusal(write(file, head=head, **{key: ""}))


@pytest.mark.parametrize(
    ("part", "written"),
    [
        ("head", 'colour = "blue"\n'),
        ("pattern", 'colour = "blue"\n'),
        ("example", 'colour = "blue"\n'),
        ("counter_example", 'colour = "blue"\n'),
    ],
)
def test_a_key_that_is_unknown(file: Path, part: str, written: str) -> None:
    assert "unknown field `colour`" in refusal(write(file, **{part: SOUND[part] + written}))


def test_an_event_that_is_unknown(file: Path) -> None:
    pattern = SOUND["pattern"].replace('"login"', '"entry"')
    assert "'entry'" in refusal(write(file, pattern=pattern))


@pytest.mark.parametrize(
    ("regex", "said"),
    [
        ("in (", "missing closing parenthesis at 4"),
        ("in ([a-z]+) {address}", "has a group without a name; write (?:..)"),
        ("in (?P<name>[a-z]+) {address}", "unknown group 'name'; known: stamp, service, user"),
        ("in (?P<user>[a-z]+) {adress}", "{adress} is not in [define]"),
        ("in (?P<user>x)(?P<user>y)", "has two groups 'user'; write two patterns"),
        ("in (?P<user>[^ ]+)", "[^ ] can match a line's end"),
        (r"in (?P<user>[a-z]+)\s", r"\s can match a line's end"),
        ("in (?s)(?P<user>.+)", "(?s can match a line's end"),
        ("in (?P<user>[ä]+)", r"write bytes beyond ASCII as \xNN"),
    ],
)
def test_a_pattern_that_is_wrong(file: Path, regex: str, said: str) -> None:
    pattern = f"[[pattern]]\nevent = 'login'\nregex = '{regex}'\n"
    text = refusal(write(file, pattern=pattern))
    assert text.startswith("pattern 1 (login): ")
    assert said in text


def test_a_pattern_of_two_alternatives_is_one_pattern(file: Path) -> None:
    second = "\n[[pattern]]\nevent = 'logout'\nregex = 'out|gone (?P<user>[a-z]{1,32}+)'\n"
    example = """
[[example]]
line = 'Nov 24 08:45:29 mailhost small: out'
event = "logout"

[[example]]
line = 'Nov 24 08:45:29 mailhost small: gone alice'
event = "logout"
user = "alice"
"""
    made = write(file, pattern=SOUND["pattern"] + second, example=SOUND["example"] + example)
    assert len(load(made).patterns) == 2

"""One setting read from, put into or taken out of the text of the configuration file; pure.

tomlkit keeps comments and layout. A key that stands in the file already is changed where it stands.
A new one goes below its line in the sample, commented out, where the file has that; else to the end
of its section, which is made where it is missing. The outcome is read again and must say what the
file said before, but for that one key.
"""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError

from tracker.config import nearest, settings_table, show_duration
from tracker.errors import ConfigError
from tracker.settings import Duration, Settings

_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0"})


def split(name: str) -> tuple[str, str]:
    """Section and key of a setting. Raises ConfigError with the nearest one there is."""
    known = [setting.name for setting in settings_table()]
    if name not in known:
        raise ConfigError([f"unknown key {name}{nearest(name, known)}"])
    section, _, key = name.partition(".")
    return section, key


def value_of(settings: Settings, name: str) -> Any:
    """The value in force, as TOML has it: times and paths as text. Raises ConfigError."""
    section, key = split(name)
    return _plain(getattr(getattr(settings, section), key))


def shown(value: Any) -> str:
    """A value for people and shells: text as it is, lists and tables as TOML. `typed` reads it."""
    if isinstance(value, str) and not isinstance(_literal(value), str):
        return value
    if isinstance(value, dict):  # as an item it would be the lines of a section
        table = tomlkit.inline_table()
        table.update(value)
        return str(table.as_string())
    return str(tomlkit.item(value).as_string())


def typed(name: str, text: str) -> Any:
    """What the words of a command line stand for, by the setting's type: lists may be TOML or words
    with commas, `yes` and `1` are true. What fits no type is left for the file's check to refuse.

    Raises ConfigError for an unknown setting.
    """
    section, key = split(name)
    kind, literal = _kind(section, key), _literal(text)
    if kind is bool:
        return text.lower() in _YES if text.lower() in _YES | _NO else text
    if kind is int:
        return literal if isinstance(literal, int) else text
    if kind is Duration and literal == 0:
        return 0
    if get_origin(kind) is tuple:
        words = [word.strip() for word in text.split(",")]
        return literal if isinstance(literal, list) else [word for word in words if word]
    if isinstance(literal, dict) and any(get_origin(k) is dict for k in (kind, *get_args(kind))):
        return literal
    return literal if isinstance(literal, str) else text


def put(text: str, name: str, value: Any) -> str:
    """The text with the setting at that value. Raises ConfigError where that cannot be."""
    section, key = split(name)
    said, table, document = _read(text, section)
    wanted = {**said, section: {**table, key: value}}
    for way in () if key in table else (_below_its_comment, _new_section):
        made = way(text, name, value)
        if _says(made) == wanted:
            return made
    document[section][key] = value
    return _sure(tomlkit.dumps(document), wanted, name)


def drop(text: str, name: str) -> str:
    """The text without the setting, which is at its default then. Raises ConfigError."""
    section, key = split(name)
    said, table, document = _read(text, section)
    if key not in table:
        return text
    del document[section][key]
    left = {one: kept for one, kept in table.items() if one != key}
    return _sure(tomlkit.dumps(document), {**said, section: left}, name)


def _read(text: str, section: str) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """What the file says, that section of it, and the document that can be changed."""
    try:
        said, document = tomllib.loads(text), tomlkit.parse(text)
    except (tomllib.TOMLDecodeError, TOMLKitError) as error:
        raise ConfigError([f"not TOML: {error}"]) from error
    table = said.get(section, {})
    if not isinstance(table, dict):
        raise ConfigError([f"{section} is a section: write [{section}] and its keys below it"])
    return said, table, document


def _says(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _sure(text: str, wanted: dict[str, Any], name: str) -> str:
    """The text, when that is what it says; a section without keys is as good as none."""
    if _filled(_says(text) or {}) != _filled(wanted):
        raise ConfigError([f"{name}: cannot be changed as the file is written: edit it"])
    return text


def _filled(said: dict[str, Any]) -> dict[str, Any]:
    return {section: keys for section, keys in said.items() if keys}


def _below_its_comment(text: str, name: str, value: Any) -> str:
    """The text with a line for a key that its section lacks; as it was where there is no such
    section, or it is written otherwise than as `[section]`."""
    section, _, key = name.partition(".")
    lines = text.splitlines(keepends=True)
    heads = [number for number, line in enumerate(lines) if re.match(r"\s*\[", line)]
    own = [n for n in heads if re.match(rf"\s*\[\s*{re.escape(section)}\s*\]", lines[n])]
    if not own:
        return text
    end = min((number for number in heads if number > own[0]), default=len(lines))
    place = own[0]
    for number in range(own[0] + 1, end):
        if re.match(rf"\s*#\s*{re.escape(key)}\s*=", lines[number]):
            place = number
            break
        if lines[number].strip() and not lines[number].lstrip().startswith("#"):
            place = number
    if not lines[place].endswith("\n"):
        lines[place] += "\n"
    lines.insert(place + 1, f"{key} = {tomlkit.item(value).as_string()}\n")
    return "".join(lines)


def _new_section(text: str, name: str, value: Any) -> str:
    section, _, key = name.partition(".")
    above = text if not text or text.endswith("\n") else f"{text}\n"
    gap = "\n" if above else ""
    return f"{above}{gap}[{section}]\n{key} = {tomlkit.item(value).as_string()}\n"


def _kind(section: str, key: str) -> Any:
    sections = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    fields = {field.name: field.type for field in msgspec.structs.fields(sections[section])}
    return get_args(fields[key])[0]


def _literal(text: str) -> Any:
    """What a text is as a TOML value; None when it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"] if "\n" not in text else None
    except tomllib.TOMLDecodeError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        length = show_duration(value)
        return 0 if length == "0" else length
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value

"""The configuration file: read and checked against `settings.py`, shown, sampled, documented.

`parse` reports all faults at once, each with file, line, key, value, what was expected and the
nearest known key. What it returns is whole and within bounds.

Durations are text with a unit: "30m", "90s", "24h", "7d"; a bare 0 turns off what can be off.
"""

from __future__ import annotations

import difflib
import inspect
import ipaddress
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Literal, Union, get_args, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct

from tracker.addresses import endpoint, listen_place, network
from tracker.deciding import lists
from tracker.errors import AddressError, ConfigError, ListError
from tracker.settings import BOUNDS, Duration, Settings

DEFAULT_FILE = Path("/etc/popgate/popgate.toml")
_ITEMS: dict[str, Callable[[str], object]] = {
    "grants.exclude_networks": network,
    "trusted.nameservers": lambda text: endpoint(text, 53),
    "local_senders.domains": lambda text: lists.domain(text, "local_senders.domains"),
    "local_senders.exceptions": lambda text: lists.entry(text, "local_senders.exceptions"),
    "whitelist.entries": lambda text: lists.entry(text, "whitelist.entries"),
    "policy.login_domains": lambda text: lists.domain(text, "policy.login_domains"),
    "blacklist.entries": lambda text: lists.entry(text, "blacklist.entries"),
}
"""What reads each text of a list, or raises what is wrong with it."""
_FILES = frozenset({"local_senders.domain_files", "whitelist.files", "blacklist.files"})
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,240}\.(?:service|slice|scope|socket)", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: object) -> Duration:
    """ "30m", "90s", "24h", "7d", "500ms" or 0. Raises ValueError that says how to write one."""
    if text == 0 and not isinstance(text, bool):
        return Duration(0)
    written = text if isinstance(text, str) else ""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?(ms|s|m|h|d)", written, re.ASCII)
    if match is None:
        raise ValueError('expected a time with its unit, such as "30m", "90s" or "24h"')
    return Duration(seconds=float(match[1]) * _UNITS[match[2]])


def show_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads as that length of time."""
    seconds = value.total_seconds()
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms" if seconds else "0"


class Setting(Struct, frozen=True):
    """One row of the table: what the reference and the sample say about a key."""

    section: str
    key: str
    type: str
    default: Any
    help: str

    @property
    def name(self) -> str:
        """`section.key`, as errors and commands call it."""
        return f"{self.section}.{self.key}"


def settings_table() -> Iterator[Setting]:
    """Every setting there is, in the order of the sample file."""
    for section in msgspec.structs.fields(Settings):
        for field in msgspec.structs.fields(section.type):
            kind, meta = get_args(field.type)[0], get_args(field.type)[1]
            made = field.default_factory  # of a table
            default = field.default if made is msgspec.NODEFAULT else made()
            yield Setting(section.name, field.name, _type_name(kind), default, meta.description)


def load(path: Path) -> Settings:
    """The settings in the file at `path`. Raises ConfigError."""
    return parse(_read(path), str(path))


def as_far_as_sound(path: Path) -> tuple[Settings, list[str]]:
    """The settings in the file as far as they are sound, at their defaults where they are not, and
    every fault there is, a line each."""
    try:
        return _parsed(_read(path), str(path))
    except ConfigError as error:
        faults = error.problems
    try:  # a byte that is no UTF-8 may stand in a comment
        return _parsed(path.read_text(encoding="utf-8", errors="replace"), str(path))[0], faults
    except (OSError, ConfigError):
        return Settings(), faults


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            [f"{path}: no such file: popgate init writes one; or name yours with --config"]
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error


def parse(text: str, where: str) -> Settings:
    """The settings that a TOML text gives; `where` names it in errors.

    Raises ConfigError with every fault there is, a line each.
    """
    settings, problems = _parsed(text, where)
    if problems:
        raise ConfigError(problems)
    return settings


def _parsed(text: str, where: str) -> tuple[Settings, list[str]]:
    """The settings as far as they are sound, and every fault. Raises ConfigError for no TOML."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{where}: not TOML: {error}"]) from error
    problems: list[str] = []
    sections = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    made: dict[str, Any] = {}
    for name, content in data.items():
        if name not in sections:
            problems.append(f"{where}: unknown section [{name}]{nearest(name, sections)}")
        elif not isinstance(content, dict):
            problems.append(f"{where}: {name} is a section: write [{name}] and its keys below it")
        else:
            lines = _lines(text, name)
            made[name], faults = _section(name, content, sections[name])
            problems += [f"{where}{lines.get(key, '')}: {fault}" for key, fault in faults]
    settings = Settings(**made)
    if not problems:
        problems = [f"{where}: {fault}" for fault in _contradictions(settings)]
    return settings, problems


def _section(
    name: str, content: dict[str, Any], kind: type[Struct]
) -> tuple[Struct, list[tuple[str, str]]]:
    """The section as far as it is sound, and its faults, each with its key."""
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    made: dict[str, Any] = {}
    faults: list[tuple[str, str]] = []
    for key, value in content.items():
        whole = f"{name}.{key}"
        if key not in fields:
            known = [setting.name for setting in settings_table()]
            faults.append((key, f"unknown key {whole}{nearest(whole, known)}"))
            continue
        try:
            made[key] = _value(whole, value, fields[key])
        except (
            ValueError,
            AddressError,
            ListError,
        ) as error:  # msgspec.ValidationError is a ValueError
            text = _expected(fields[key]) if "enum" in str(error) else str(error)
            faults.append((key, f"{whole} = {_toml(value)}: {text}"))
    if name == "log" and content.get("units") and "files" not in content:
        made["files"] = ()
    return kind(**made), faults


def _lines(text: str, section: str) -> dict[str, str]:
    """Where each key of a section stands, as `:LINE`; tomllib does not tell."""
    found: dict[str, str] = {}
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if head := re.match(r"\s*\[\s*([^\]]*?)\s*\]", line):
            inside = head[1] == section
        elif inside and (key := re.match(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*=""", line)):
            found.setdefault(key[1], f":{number}")
    return found


def _expected(kind: Any) -> str:
    return f"expected {_type_name(get_args(kind)[0])}"


def _value(name: str, value: Any, kind: Any) -> Any:
    if get_args(kind)[0] is Duration:
        duration = parse_duration(value)
        low, high = BOUNDS[name]
        if not low <= duration <= high:
            raise ValueError(f"expected between {show_duration(low)} and {show_duration(high)}")
        return duration
    made = msgspec.convert(value, kind, dec_hook=_decode)
    for text in made if name in _ITEMS else ():
        _ITEMS[name](text)
    if isinstance(made, Path) and not made.is_absolute():
        raise ValueError("expected a path from the root, such as /var/lib/popgate")
    if name in _FILES and not all(path.is_absolute() for path in made):
        raise ValueError("expected paths from the root, such as /etc/popgate/list.txt")
    _check_log(name, made)
    _check_service(name, made)
    return made


def _check_log(name: str, made: Any) -> None:
    """What a key of [log] may hold. Raises ValueError."""
    if name == "log.dovecot" and isinstance(made, str) and made != "auto" and made[:1] != "/":
        raise ValueError('expected "auto", the path of a dovecot.conf, or a table')
    if name == "log.files" and not all(path.is_absolute() or str(path) == "-" for path in made):
        raise ValueError("expected paths from the root, such as /var/log/mail.log, or -")
    if name == "log.executables" and not all(text.startswith("/") for text in made):
        raise ValueError("expected paths from the root, such as /usr/lib/dovecot/log")
    if name == "log.journal_directory" and made and not made.startswith("/"):
        raise ValueError("expected a path from the root, such as /var/log/journal")
    if name == "log.timezone" and made:
        try:
            ZoneInfo(made)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                "expected a zone of /usr/share/zoneinfo, such as Europe/Berlin"
            ) from error
    if name == "log.units" and not all(_UNIT.fullmatch(text) for text in made):
        raise ValueError("expected whole names of units, such as dovecot.service, without stars")


def _check_service(name: str, made: Any) -> None:
    """What a key of [policy] or [metrics] may hold. Raises ValueError, AddressError, ListError."""
    if name == "policy.listen":
        listen_place(made)
    if name == "policy.senders":
        for login, given in made.items():
            if not login or not login.isprintable():
                raise ValueError(f"{login!r} is no login")
            for text in given:
                lists.domain(text[1:], name) if text.startswith("@") else _address(text)
    if name in ("metrics.listen", "metrics.policy_listen") and made:
        host, _ = endpoint(made, 0)
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError("expected an address of loopback, such as 127.0.0.1:9154")
    if name.startswith("metrics.") and "textfile" in name and made and made[0] != "/":
        raise ValueError("expected a path from the root")


def _address(text: str) -> None:
    if lists.entry(text, "").kind != "address":
        raise ValueError(f"{text!r}: expected user@example.com or @example.com")


def _decode(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError(f"Expected {'a path' if kind is Path else kind.__name__}")


def _contradictions(settings: Settings) -> Iterator[str]:
    """Faults that only two settings together have."""
    if not settings.log.files and not settings.log.units:
        yield "log.files and log.units are both empty: name a log file, or a unit of the journal"
    if settings.log.executables and not settings.log.units:
        yield "log.executables says nothing without log.units"
    if settings.grants.ipv6_prefix < 128 and settings.postfix.table != "cidr":
        yield (
            f"grants.ipv6_prefix = {settings.grants.ipv6_prefix} grants networks, which an "
            'indexed table cannot hold: set postfix.table = "cidr" or take the key out'
        )
    place = listen_place(settings.policy.listen)
    if (
        isinstance(place, tuple)
        and not ipaddress.ip_address(place[0]).is_loopback
        and not settings.policy.allow_remote
    ):
        yield (
            f"policy.listen = {_toml(settings.policy.listen)}: is not on loopback, and the "
            "protocol has no password: name 127.0.0.1, or set policy.allow_remote = true"
        )


def nearest(name: str, known: Any) -> str:
    """The end of an error about a name that is not known."""
    close = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"; the nearest is {close[0]}" if close else f"; known: {', '.join(known)}"


def _type_name(kind: Any) -> str:
    if kind is Duration:
        return "time"
    if kind is Path:
        return "path"
    origin = get_origin(kind)
    if origin in {dict, Union, UnionType}:
        return "table" if origin is dict else " or ".join(map(_type_name, get_args(kind)))
    if origin is Literal:
        return " or ".join(f'"{value}"' for value in get_args(kind))
    if origin is tuple:
        inner = _type_name(get_args(kind)[0])
        return (
            f"list of {inner}" if " or " not in inner else f"list of: {inner.replace(' or ', ', ')}"
        )
    return {str: "text", bool: "true or false", int: "number"}[kind]


def _toml(value: Any) -> str:
    if isinstance(value, timedelta):
        shown = show_duration(value)
        return shown if shown == "0" else f'"{shown}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        inside = ", ".join(f"{_key(key)} = {_toml(one)}" for key, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, (str, Path)):
        return msgspec.json.encode(str(value)).decode()
    return str(value)


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text, re.ASCII) else _toml(text)


def show(settings: Settings) -> str:
    """The settings as the TOML text that gives them."""
    lines: list[str] = []
    for setting in settings_table():
        if f"[{setting.section}]" not in lines:
            lines += ["", f"[{setting.section}]"]
        value = getattr(getattr(settings, setting.section), setting.key)
        lines.append(f"{setting.key} = {_toml(value)}")
    return "\n".join(lines[1:]) + "\n"


def sample(chosen: Mapping[str, tuple[Any, str]] = MappingProxyType({})) -> str:
    """A configuration file with every setting at its default, commented out, and what it means.

    `chosen`: values that are to stand in it, by `section.key`, each with a comment of its own.
    """
    lines = [
        "# popgate's configuration. Every key stands at its default, commented out"
        + ("; what was found on this host stands below it." if chosen else "."),
        '# A time is text with a unit: "500ms", "90s", "30m", "24h", "7d".',
    ]
    for setting in settings_table():
        if f"[{setting.section}]" not in lines:
            lines += ["", f"[{setting.section}]"]
        lines += ["", *(f"# {line}" for line in textwrap.wrap(setting.help, 96))]
        lines.append(f"#{setting.key} = {_toml(setting.default)}")
        if setting.name in chosen:
            value, comment = chosen[setting.name]
            wrapped = textwrap.wrap(comment, 96, break_long_words=False, break_on_hyphens=False)
            lines += [f"# {line}" for line in wrapped]
            lines.append(f"{setting.key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def reference() -> str:
    """docs/configuration.md."""
    lines = [
        "# Configuration",
        "",
        f"One TOML file, `{DEFAULT_FILE}` unless `--config` names another. Every key may be left "
        "out. `popgate config check` reads it and reports every fault at once, each with the "
        "nearest known key; `popgate config show` prints what is in force; `popgate init` writes a "
        "file to start from, and `popgate config sample` prints one without a look at the host. "
        "`popgate config set SECTION.KEY VALUE` changes one setting and keeps comments, "
        "`popgate config unset SECTION.KEY` brings its default back.",
        "",
        'A *time* is text with a unit: `"500ms"`, `"90s"`, `"30m"`, `"24h"`, `"7d"`. '
        "A *path* starts at the root.",
    ]
    section = ""
    for setting in settings_table():
        if setting.section != section:
            section = setting.section
            kind = {f.name: f.type for f in msgspec.structs.fields(Settings)}[section]
            lines += ["", f"## [{section}]", "", f"{inspect.cleandoc(kind.__doc__ or '')}", ""]
            lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        lines.append(
            f"| `{setting.key}` | {setting.type} | `{_toml(setting.default)}` | {setting.help} |"
        )
    return "\n".join(lines) + "\n"


def as_json(settings: Settings) -> str:
    """The settings as JSON; times and paths are written as the file writes them."""
    sections: dict[str, dict[str, Any]] = {}
    for setting in settings_table():
        value = getattr(getattr(settings, setting.section), setting.key)
        shown = show_duration(value) if isinstance(value, timedelta) else value
        sections.setdefault(setting.section, {})[setting.key] = shown
    return msgspec.json.format(msgspec.json.encode(sections, enc_hook=str)).decode() + "\n"

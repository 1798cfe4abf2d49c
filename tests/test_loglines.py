"""popgate's own log: one line a record, key=value, with syslog's level in the journal."""

from __future__ import annotations

import ast
import io
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tracker.loglines import Lines, syslog_level, to_journal

SOURCES = sorted((Path(__file__).parents[1] / "tracker").rglob("*.py"))
WORDS = re.compile(r"event=[a-z_]+(?:_%s)?(?: [a-z_]+=(?:%[rsdg]|[a-z_.]+|grants\.%s))*")


def record(message: str, *values: object, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("popgate", level, "x.py", 1, message, values, None)


def calls() -> list[tuple[Path, ast.Call]]:
    return [
        (file, node)
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
        and node.func.attr in ("log", "debug", "info", "warning", "error", "critical", "exception")
    ]


def test_every_line_is_an_event_and_then_keys_with_values() -> None:
    assert len(calls()) > 40
    for file, call in calls():
        words = call.args[1 if getattr(call.func, "attr", "") == "log" else 0]
        text = words.value if isinstance(words, ast.Constant) else None
        assert isinstance(text, str), f"{file}:{call.lineno}"
        assert WORDS.fullmatch(text), f"{file}:{call.lineno}: {text}"


@pytest.mark.parametrize(
    ("level", "number"),
    [
        (logging.DEBUG, 7),
        (logging.INFO, 6),
        (logging.WARNING, 4),
        (logging.ERROR, 3),
        (logging.CRITICAL, 2),
    ],
)
def test_levels_are_syslogs(level: int, number: int) -> None:
    assert syslog_level(level) == number
    assert Lines(levels=True).format(record("event=x", level=level)) == f"<{number}>event=x"


def test_a_value_cannot_begin_a_line() -> None:
    line = Lines(levels=True).format(record("event=x user=%s", "a\n<0>event=y\x1b[2J\u2028"))
    assert line == "<6>event=x user=a?<0>event=y?[2J?"


def test_each_line_of_a_traceback_has_its_level() -> None:
    one = record("event=x", level=logging.ERROR)
    one.exc_info = (ValueError, ValueError("no\nmore"), None)
    lines = Lines(levels=True).format(one).splitlines()
    assert len(lines) > 2
    assert all(line.startswith("<3>") for line in lines)


def test_the_journal_is_known_by_the_very_stream(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as file:
        seen = os.fstat(file.fileno())
        assert to_journal(file, {"JOURNAL_STREAM": f"{seen.st_dev}:{seen.st_ino}"})
        assert not to_journal(file, {"JOURNAL_STREAM": f"{seen.st_dev}:{seen.st_ino + 1}"})
        assert not to_journal(file, {})
    assert not to_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})


def test_a_command_writes_levels_where_its_stderr_is_the_journal_and_nowhere_else(
    tmp_path: Path,
) -> None:
    """As systemd starts it: stderr is what JOURNAL_STREAM names."""
    code = "import logging, sys; from tracker.cli.common import log_to_stderr; log_to_stderr();"
    code += "logging.getLogger('popgate').warning('event=x')"
    for named, expected in ((True, "<4>event=x\n"), (False, "event=x\n")):
        with (tmp_path / "stream").open("w+") as stream:
            seen = os.fstat(stream.fileno())
            name = f"{seen.st_dev}:{seen.st_ino}" if named else ""
            subprocess.run(
                [sys.executable, "-c", code],
                stderr=stream,
                env={**os.environ, "JOURNAL_STREAM": name},
                check=True,
                timeout=60,
            )
            stream.seek(0)
            assert stream.read() == expected

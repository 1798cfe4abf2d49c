"""A summary made by several processes counts what one would."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reading.scanning import reader
from tracker.cli import counting
from tracker.cli.counting import in_parallel
from tracker.reading.sources.whole import blocks, blocks_of, parts
from tracker.records import Event

CORPUS = Path(__file__).with_name("corpus")
LOGS = [
    ("dovecot", "dovecot-2.3.19/strange-attack-file-authverbose.log"),
    ("dovecot", "dovecot-2.4.4/basic-syslog.rfc5424.log"),
    ("popa3d", "popa3d-1.0.3/basic-syslog.iso.log"),
    ("cyrus", "cyrus-3.6.1/basic-syslog.iso.log"),
    ("courier", "courier-1.0.16/forge-by-long-user.iso.log"),
]


@pytest.mark.parametrize(("format_", "name"), LOGS)
@pytest.mark.parametrize("length", [200, 1000, 10_000_000])
def test_the_parts_of_a_log_have_the_events_of_the_whole(
    format_: str, name: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_PART", length)
    path = CORPUS / name
    data = path.read_bytes()
    whole = Counter(map(type, reader(format_).read(data)))
    counted: Counter[type[Event]] = Counter()
    lines = size = 0
    with path.open("rb", buffering=0) as file:
        for found in in_parallel(file.fileno(), len(data), reader(format_)):
            counted += found.events
            lines += found.lines
            size += found.bytes
    assert (counted, lines, size) == (whole, data.count(b"\n"), len(data))


LINE = "Nov 24 08:45:29 mailhost dovecot: pop3-login: Login: user=<a>, rip=203.0.113.5, lip=::1\n"


@pytest.mark.parametrize(
    "odd",
    [
        LINE,
        LINE.replace("Nov 24", "Feb 30"),
        LINE.replace("203.0.113.5", "203.0.113.05"),
        LINE.replace("203.0.113.5", "::ffff:203.0.113.5"),
        LINE.replace("<a>", "<\u00e4>"),
        LINE.replace("Login: user", "Disconnected: x (auth failed): user"),
        LINE.replace("pop3-login: Login: ", "master: Dovecot v2.3.19 starting up for pop3 "),
        "nothing\n",
    ],
)
def test_what_is_no_event_is_not_counted_either(odd: str) -> None:
    block = (LINE * 2 + odd + LINE).encode()
    events, lines, parts = reader().count(block)
    assert events + Counter(map(type, reader().join(parts))) == Counter(
        map(type, reader().read(block))
    )
    assert lines == 4


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=20),
    length=st.integers(1, 60),
    ended=st.booleans(),
)
def test_parts_are_whole_lines_and_together_the_file(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], length: int, *, ended: bool
) -> None:
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    path = tmp_path_factory.mktemp("parts") / "log"
    path.write_bytes(data)
    with path.open("rb", buffering=0) as file:
        found = [b"".join(blocks(part)) for part in parts(file.fileno(), len(data), length)]
    assert b"".join(found) == b"".join(blocks_of(str(path)))
    assert all(part.endswith(b"\n") for part in found)

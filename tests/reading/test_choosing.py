"""Which format a log is in is told by what each one understands of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.moments import NOW, login_line, logout_line
from tests.reading.test_formats import write
from tracker.reading.choosing import Trial, by_evidence
from tracker.reading.formats import find, load
from tracker.reading.patterns import Format
from tracker.reading.selecting import doubts, forgeable, select
from tracker.settings import LogSettings

SMALL = "Nov 24 08:45:29 mailhost small: in alice 203.0.113.5\n"
OTHER = "Nov 24 08:45:29 mailhost postfix/smtpd[1]: connect from unknown[203.0.113.5]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "formats.d"
    made.mkdir()
    write(made / "small.toml")
    return made


@pytest.fixture
def both(folder: Path) -> list[Format]:
    return [find("dovecot", None), load(folder / "small.toml")]


def names(formats: list[Format]) -> list[str]:
    return [one.name for one in formats]


def test_the_format_that_understands_a_login_is_chosen(both: list[Format]) -> None:
    assert names(by_evidence((OTHER + login_line("203.0.113.5")).encode(), both, NOW)) == [
        "dovecot"
    ]
    assert names(by_evidence((OTHER + SMALL).encode(), both, NOW)) == ["small"]


def test_two_servers_in_one_log_are_both_chosen_the_busier_first(both: list[Format]) -> None:
    log = login_line("203.0.113.5") + SMALL + SMALL.replace("alice", "bob")
    assert names(by_evidence(log.encode(), both, NOW)) == ["small", "dovecot"]


def test_of_two_that_understand_the_same_lines_one_is_chosen(both: list[Format]) -> None:
    assert names(by_evidence(SMALL.encode(), [*both, both[1]], NOW)) == ["small"]


def test_a_logout_alone_is_no_evidence_yet(both: list[Format]) -> None:
    assert by_evidence(logout_line().encode(), both, NOW) == []
    three = "".join(logout_line(session=f"dVCJuwFh/a9/AAA{n}") for n in range(3))
    assert names(by_evidence(three.encode(), both, NOW)) == ["dovecot"]


def test_a_log_that_tells_nothing_chooses_nothing(both: list[Format]) -> None:
    assert by_evidence(OTHER.encode(), both, NOW) == []
    assert by_evidence(b"", both, NOW) == []


def test_lines_that_look_like_logins_and_are_none_are_counted_and_shown(folder: Path) -> None:
    trial = Trial(load(folder / "small.toml"), NOW)
    odd = SMALL.replace("in alice", "in <alice>")
    trial.read(
        (SMALL + odd * 5 + SMALL.replace("in alice 203.0.113.5", "started") + OTHER).encode()
    )
    assert (trial.lines, trial.counts["login"], trial.not_understood) == (7, 1, 5)
    assert trial.examples == [odd.rstrip("\n")] * 3


class TestTheSettings:
    def settings(self, folder: Path, format_: str, *files: Path) -> LogSettings:
        return LogSettings(files=files, format=format_, formats_directory=folder)

    def test_name_one_format_or_several(self, folder: Path) -> None:
        assert names(select(self.settings(folder, "small"), NOW)) == ["small"]
        assert names(select(self.settings(folder, "dovecot, small"), NOW)) == ["dovecot", "small"]

    def test_auto_takes_what_the_log_shows(self, folder: Path, tmp_path: Path) -> None:
        log = tmp_path / "mail.log"
        log.write_text(OTHER + SMALL)
        assert names(select(self.settings(folder, "auto", log), NOW)) == ["small"]

    def test_auto_looks_at_the_rotated_file_too(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "mail.log").write_text(OTHER)
        (tmp_path / "mail.log.1").write_text(SMALL)
        settings = self.settings(folder, "auto", tmp_path / "mail.log")
        assert names(select(settings, NOW)) == ["small"]

    def test_auto_takes_all_formats_while_the_log_shows_none(
        self, folder: Path, tmp_path: Path
    ) -> None:
        chosen = names(select(self.settings(folder, "auto", tmp_path / "gone.log"), NOW))
        assert {"dovecot", "small"} <= set(chosen)

    def test_tell_whose_logins_are_not_taken(self, folder: Path, both: list[Format]) -> None:
        head = 'name = "small"\ntitle = "s"\ntags = ["small"]\nneedles = ["in "]\n'
        doubtful = load(write(folder / "small.toml", head=head + 'forgeable = "no address"\n'))
        formats = [both[0], doubtful]
        assert forgeable(formats, LogSettings()) == {"small": "no address"}
        assert forgeable(formats, LogSettings(accept_forgeable=True)) == {}
        (refused,) = doubts(formats, LogSettings())
        assert refused.startswith("format small: its logins earn no grant, since anyone can forge")
        (taken,) = doubts(formats, LogSettings(accept_forgeable=True))
        assert taken == "format small: forged logins earn grants too. no address"

    def test_auto_looks_at_all_files_that_stars_match(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "mail-b.log").write_text(SMALL)
        (tmp_path / "mail-a.log").write_text(OTHER)
        settings = self.settings(folder, "auto", tmp_path / "mail-*.log")
        assert names(select(settings, NOW)) == ["small"]

"""The ends of real logs, as the doctor sees them."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.journal import Journal, entry
from tests.moments import NOW, after, login_line
from tracker.deciding.health.log import log
from tracker.deciding.policy import GrantPolicy
from tracker.reading.health.logs import SAMPLE, look
from tracker.records import Login
from tracker.settings import GrantSettings, LogSettings

DEFAULTS: dict[str, str] = {}
"""Dovecot's, whatever this machine's own is set to."""


def settings(*files: Path, **more: object) -> LogSettings:
    values = {"files": files, "dovecot": DEFAULTS} | more
    return LogSettings(**values)  # type: ignore[arg-type]


def write(file: Path, text: str, at: datetime = NOW) -> Path:
    file.write_text(text)
    os.utime(file, (at.timestamp(), at.timestamp()))
    return file


def codes(of: LogSettings, policy: GrantSettings | None = None) -> list[str]:
    judge = GrantPolicy(policy or GrantSettings())
    return [one.code for one in log(look(of, NOW), of, judge, "popgate", NOW)]


def test_the_last_line_and_the_logins_are_seen(tmp_path: Path) -> None:
    file = write(tmp_path / "mail.log", login_line("203.0.113.5") + "no stamp here\n")
    seen = look(settings(file), NOW)
    (source,) = seen.sources
    assert (source.last, source.written, source.lines, source.zoned) == (NOW, NOW, 2, True)
    assert [(one.user, one.address) for one in seen.logins] == [
        ("alice@example.com", "203.0.113.5")
    ]
    assert codes(settings(file)) == []


def test_of_a_long_log_only_the_end_is_looked_at_from_a_whole_line_on(tmp_path: Path) -> None:
    early = login_line("203.0.113.1")
    late = login_line("203.0.113.2")
    file = write(tmp_path / "mail.log", early + "x" * 500 + "\n" + late * (SAMPLE // len(late)))
    seen = look(settings(file), NOW)
    assert {one.address for one in seen.logins} == {"203.0.113.2"}
    assert seen.formats[0].not_understood == 0


def test_lines_that_should_be_logins_and_are_none_are_shown(tmp_path: Path) -> None:
    odd = f"{NOW.isoformat()} mailhost dovecot: pop3-login: Login: who=<alice>, from=203.0.113.5\n"
    file = write(tmp_path / "mail.log", odd)
    (found,) = log(
        look(settings(file), NOW), settings(file), GrantPolicy(GrantSettings()), "popgate", NOW
    )
    assert found.code == "log-not-understood"
    assert odd.strip() in found.what


def test_a_stamp_of_the_future_is_seen_as_it_is_written(tmp_path: Path) -> None:
    file = write(tmp_path / "mail.log", login_line("203.0.113.5", at=after(1800)))
    assert codes(settings(file)) == ["clock-ahead"]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_stamps_of_another_zone_than_the_one_they_are_read_in(tmp_path: Path, zone: str) -> None:
    line = f"{NOW:%b %d %H:%M:%S} mailhost " + login_line("203.0.113.5").split(" ", 2)[2]
    file = write(tmp_path / "mail.log", line)
    assert codes(settings(file, timezone="Etc/UTC")) == []
    assert codes(settings(file, timezone=zone)) == ["log-timezone"]


def test_an_old_log_is_no_log_any_more(tmp_path: Path) -> None:
    at = NOW - timedelta(days=4)
    file = write(tmp_path / "mail.log", login_line("203.0.113.5", at=at), at)
    assert codes(settings(file)) == ["log-stale"]


def test_files_that_are_not_there_or_are_none(tmp_path: Path) -> None:
    assert codes(settings(tmp_path / "mail.log")) == ["log-missing"]
    assert codes(settings(tmp_path / "*.log")) == ["log-missing"]
    assert codes(settings(tmp_path)) == ["log-missing"]


def test_an_empty_log_shows_no_logins(tmp_path: Path) -> None:
    assert codes(settings(write(tmp_path / "mail.log", ""))) == ["log-without-logins"]


def test_formats_that_are_not_there_or_can_be_forged(tmp_path: Path) -> None:
    file = write(tmp_path / "mail.log", login_line("203.0.113.5"))
    assert codes(settings(file, format="nonsense")) == ["log-format-bad"]
    assert "log-forgeable" in codes(settings(file, format="dovecot, apple-imap"))


def test_addresses_that_earn_nothing_are_told(tmp_path: Path) -> None:
    file = write(tmp_path / "mail.log", login_line("10.0.0.7") * 3)
    assert codes(settings(file)) == ["logins-refused"]
    assert codes(settings(file), GrantSettings(refuse=("loopback",))) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_log_that_popgates_user_may_not_read() -> None:
    """Root may read all, so somebody else looks; pytest's own folders are closed to them."""
    with tempfile.TemporaryDirectory(prefix="popgate-test-") as made:
        _look_as_nobody(Path(made))


def _look_as_nobody(made: Path) -> None:
    made.chmod(0o755)
    file = write(made / "mail.log", login_line("203.0.113.5"))
    file.chmod(0o600)
    folder = made / "closed"
    folder.mkdir(mode=0o700)
    look(settings(file), NOW)  # what is imported lies where others may not look
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            said = [*codes(settings(file)), *codes(settings(folder / "mail.log"))]
            os.write(writer, " ".join(said).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        found = answer.read().split()
    os.waitpid(pid, 0)
    assert found == ["log-unreadable", "log-unreadable"]


def test_the_journal_is_looked_at_by_its_units(journal: Journal) -> None:
    now = datetime.now(UTC)
    words = login_line("203.0.113.5").split("dovecot: ", 1)[1].strip()
    journal.write(entry(words, now), entry(words, now, unit="other.service"))
    of = settings(units=("dovecot.service",), journal_directory=str(journal.folder))
    seen = look(of, now)
    assert [type(one) for one in seen.logins] == [Login]
    assert [one.name for one in seen.sources] == [f"journal:{journal.folder}"]
    other = settings(units=("absent.service",), journal_directory=str(journal.folder))
    policy = GrantPolicy(GrantSettings())
    found = [one.code for one in log(look(other, now), other, policy, "popgate", now)]
    assert found == ["log-missing", "log-without-logins"]

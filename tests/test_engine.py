"""Reading, deciding and writing joined: a log file, a frozen clock, a real lmdb table and git."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from tests.moments import NOW, after, login_line, logout_line
from tracker import config
from tracker.engine import Engine
from tracker.errors import (
    AuditError,
    DamagedError,
    ListError,
    PostfixError,
    PublishError,
    StoreError,
)
from tracker.kept import KeptGrants
from tracker.offline import wanted_tables
from tracker.settings import Settings


class Site:
    """One installation in a folder, with the clock in the test's hand."""

    def __init__(self, folder: Path, postfix: Path, clock: FrozenDateTimeFactory) -> None:
        self.folder = folder
        self.log = folder / "mail.log"
        self.maps = folder / "state/maps"
        self.trusted = folder / "trusted.txt"
        self.postfix = postfix
        self.clock = clock
        self.log.touch()
        self._open: list[Engine] = []

    def settings(self, more: str = "", log: str = "") -> Settings:
        return config.parse(
            f'[log]\nfiles = ["{self.log}"]\ndovecot = {{}}\n{log}\n'
            f'[trusted]\nfile = "{self.trusted}"\n'
            f'[tables]\ndirectory = "{self.maps}"\n'
            f'[state]\ndirectory = "{self.maps.parent}"\n'
            f'[postfix]\nconfig_directory = "{self.postfix}"\n' + more,
            "popgate.toml",
        )

    def engine(self, more: str = "", *, follow: bool = True, log: str = "") -> Engine:
        made = Engine(self.settings(more, log), follow=follow)
        self._open.append(made)
        made.start()
        return made

    def write(self, *lines: str) -> None:
        with self.log.open("a") as file:
            file.writelines(lines)

    def table(self) -> dict[str, int]:
        listing = subprocess.run(
            ["/usr/sbin/postmap", "-c", self.postfix, "-s", f"lmdb:{self.maps}/pop_before_smtp"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return {line.split()[0]: int(line.split()[1]) for line in listing.splitlines()}

    def postmap(self, lines: str) -> None:
        """What an admin does to the table by hand."""
        table = f"lmdb:{self.maps}/pop_before_smtp"
        subprocess.run(
            ["/usr/sbin/postmap", "-c", self.postfix, "-ir", table],
            input=lines,
            text=True,
            check=True,
        )

    def commits(self) -> list[str]:
        return subprocess.run(
            ["git", "-C", self.maps, "log", "--reverse", "--format=%s"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()

    def to(self, seconds: float) -> datetime:
        self.clock.move_to(after(seconds))
        return after(seconds)

    def close(self) -> None:
        for engine in self._open:
            engine.close()


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Iterator[Site]:
    # Stamps are read without a clock, and what is made of them is saved: true datetimes.
    with freeze_time(
        NOW, ignore=["tracker.reading.timestamps", "tracker.reading.correlating"]
    ) as clock:
        assert isinstance(clock, FrozenDateTimeFactory)
        made = Site(tmp_path, postfix_config, clock)
        yield made
        made.close()


def stamp(seconds: float) -> int:
    return int(after(seconds).timestamp())


def test_a_login_line_becomes_an_entry_of_the_table(site: Site) -> None:
    engine = site.engine()
    site.write(login_line("203.0.113.5"), logout_line())
    engine.step()
    assert site.table() == {"203.0.113.5": stamp(1800)}


def test_the_entry_goes_when_the_window_is_over(site: Site) -> None:
    engine = site.engine()
    site.write(login_line("203.0.113.5"), logout_line())
    engine.step()
    site.to(1799)
    engine.step()
    assert site.table().keys() == {"203.0.113.5"}
    site.to(1800)
    engine.step()
    assert site.table() == {}


def test_an_entry_stays_while_the_session_is_open(site: Site) -> None:
    engine = site.engine()
    site.write(login_line("203.0.113.5"))
    engine.step()
    site.to(7200)
    site.write(logout_line(at=after(7200)))
    engine.step()
    engine.settle()
    assert site.table() == {"203.0.113.5": stamp(7200 + 1800)}


def test_after_a_restart_reading_goes_on_where_it_stopped(site: Site) -> None:
    site.write(login_line("203.0.113.5", session="a"))
    first = site.engine()
    first.step()
    first.close()
    site.log.rename(site.log.with_suffix(".log.1"))
    site.write(login_line("203.0.113.6", session="b"), logout_line(session="a", at=after(60)))
    site.to(60)
    second = site.engine()
    second.step()
    second.settle()
    assert site.table() == {"203.0.113.5": stamp(60 + 1800), "203.0.113.6": stamp(86400)}


def test_a_state_that_was_saved_and_not_published_is_published_by_the_next_start(
    site: Site,
) -> None:
    engine = site.engine()
    site.write(login_line("203.0.113.5"))
    real, engine.publisher._postfix._path = engine.publisher._postfix._path, "/nonexistent"
    with pytest.raises(PostfixError):
        engine.step()
    engine.close()
    assert site.table() == {}
    site.engine()
    assert site.table().keys() == {"203.0.113.5"}
    engine.publisher._postfix._path = real


def test_after_a_failed_publication_the_next_step_repairs(site: Site) -> None:
    engine = site.engine()
    site.write(login_line("203.0.113.5"))
    real, engine.publisher._postfix._path = engine.publisher._postfix._path, "/nonexistent"
    with pytest.raises(PostfixError):
        engine.step()
    engine.publisher._postfix._path = real
    engine.step()
    assert site.table().keys() == {"203.0.113.5"}


def test_what_was_read_but_not_saved_is_read_again_after_recover(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = site.engine()
    site.write(login_line("203.0.113.5"))

    def full(*_: Any, **__: Any) -> None:
        raise PublishError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(engine.store, "save", full)
        with pytest.raises(PublishError):
            engine.step()
    engine.recover()
    engine.step()
    assert site.table().keys() == {"203.0.113.5"}


def test_settling_writes_the_texts_and_commits_once(site: Site) -> None:
    engine = site.engine()
    site.write(login_line("203.0.113.5"))
    engine.step()
    assert engine.unsettled()
    engine.settle()
    engine.settle()
    assert not engine.unsettled()
    assert "203.0.113.5" in (site.maps / "pop_before_smtp.txt").read_text()
    (commit,) = site.commits()
    assert commit.startswith("grants: 1 added; local senders: ")


def test_what_was_published_and_not_committed_before_a_kill_is_committed_by_the_next_start(
    site: Site,
) -> None:
    engine = site.engine()
    engine.settle()
    site.write(login_line("203.0.113.5"))
    engine.step()
    engine.close()
    again = site.engine()
    again.step()
    assert again.unsettled()
    again.settle()
    assert "203.0.113.5" in (site.maps / "pop_before_smtp.txt").read_text()
    assert site.commits()[1:] == ["tables brought in line with the ledger"]


def test_a_damaged_state_is_kept_aside_and_grants_are_made_anew_from_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.write(login_line("203.0.113.5", session="a", at=after(-3600)))
    site.write(login_line("203.0.113.6", session="b"), logout_line(session="b"))
    engine = site.engine()
    engine.step()
    engine.allow("203.0.113.7", "-", timedelta(minutes=5))
    engine.close()
    (site.maps.parent / "popgate.db").write_bytes(bytes(8192))
    site.to(60)
    again = site.engine()
    assert site.table() == {}
    again.step()
    assert site.table() == {"203.0.113.5": stamp(86400 - 3600), "203.0.113.6": stamp(1800)}
    assert [path.name for path in site.maps.parent.glob("popgate.db.damaged-*")]
    assert "event=state_damaged" in caplog.text
    assert "say again what you revoked or allowed by hand" in caplog.text


def test_a_state_that_is_damaged_under_a_running_popgate_is_begun_anew_by_the_next_try(
    site: Site,
) -> None:
    site.write(login_line("203.0.113.6"), logout_line())
    engine = site.engine()
    engine.step()
    assert engine.store.claim() is None
    database = site.maps.parent / "popgate.db"
    engine.store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with database.open("r+b") as file:
        file.write(bytes(database.stat().st_size))
    engine.store._db.execute("PRAGMA cache_size = 0")
    site.write(login_line("203.0.113.8", session="c"))
    with pytest.raises(DamagedError):
        engine.step()
    engine.recover()
    engine.step()
    assert site.table().keys() == {"203.0.113.6", "203.0.113.8"}


def test_what_is_over_leaves_the_table_though_the_state_cannot_be_saved(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write(login_line("203.0.113.5", session="a"), logout_line(session="a"))
    site.write(login_line("203.0.113.6", session="open"))
    engine = site.engine()
    engine.step()
    site.to(1000)
    site.write(login_line("203.0.113.7", session="c", at=after(1000)), logout_line(session="c"))
    engine.step()

    def full(*_: Any, **__: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(engine.store, "save", full)
    site.to(1801)
    with pytest.raises(StoreError):
        engine.step()
    engine.end_over()
    assert site.table().keys() == {"203.0.113.6", "203.0.113.7"}
    site.to(2801)  # nobody can know that the session is still open
    engine.end_over()
    assert site.table() == {}
    monkeypatch.undo()
    engine.recover()
    engine.step()
    assert site.table().keys() == {"203.0.113.6"}


def test_where_the_state_cannot_be_read_the_table_says_what_is_over(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write(login_line("203.0.113.5", session="a"), logout_line(session="a"))
    engine = site.engine()
    engine.step()
    site.to(1000)
    site.write(login_line("203.0.113.7", session="c", at=after(1000)), logout_line(session="c"))
    engine.step()

    def unreadable(*_: Any) -> Iterator[Any]:
        raise StoreError("disk I/O error")

    monkeypatch.setattr(KeptGrants, "ends", unreadable)
    site.to(1801)
    with pytest.raises(StoreError):
        engine.end_over()
    assert site.table().keys() == {"203.0.113.7"}


def test_a_clock_that_is_put_back_an_hour_makes_no_window_longer(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    engine = site.engine()
    site.write(login_line("203.0.113.5", session="a"), logout_line(session="a"))
    site.write(login_line("203.0.113.6", session="open"))
    engine.step()
    site.to(-3600)
    engine.step()
    engine.settle()
    assert site.table() == {"203.0.113.5": stamp(-1800), "203.0.113.6": stamp(-3600 + 86400)}
    assert "event=clock_put_back seconds=3600" in caplog.text
    site.to(-1800)
    engine.step()
    assert site.table().keys() == {"203.0.113.6"}


class TestVeryManyAtOnce:
    def many(self, number: int) -> list[str]:
        return [f"11.{one >> 16}.{one >> 8 & 255}.{one & 255}" for one in range(number)]

    def test_the_table_waits_while_there_is_more_to_read_and_then_has_them_all(
        self, site: Site
    ) -> None:
        exports = site.folder / "exports/rspamd/granted.map"
        engine = site.engine(
            f'[exports]\ndirectory = "{site.folder}/exports"\nrspamd = ["granted"]\n'
        )
        engine.step()
        site.write(*(login_line(one, one, f"s{one}") for one in self.many(5000)))
        site.write("nothing that earns anything\n" * 100_000)
        engine._tables._due = time.monotonic() + 1
        assert engine.step()
        engine.export()
        assert site.table() == {}
        while engine.step():
            engine.export()
        engine.export()
        assert site.table().keys() == set(self.many(5000))
        assert set(exports.read_text().splitlines()) >= set(self.many(5000))

    def test_it_does_not_wait_for_longer_than_it_took_the_last_time(self, site: Site) -> None:
        engine = site.engine()
        engine.step()
        site.write(*(login_line(one, one, f"s{one}") for one in self.many(6000)))
        assert engine.step()
        assert len(site.table()) >= 5000

    def test_an_edit_is_not_seen_in_what_waits(self, site: Site) -> None:
        engine = site.engine('[audit]\ncheck_interval = "1s"\n')
        site.write(*(login_line(one, one, f"s{one}") for one in self.many(6000)))
        engine._tables._due = time.monotonic() + 3600
        assert engine.step()
        site.to(2)
        engine.check()
        assert site.table() == {}
        assert not engine.step()
        engine.check()
        assert len(site.table()) == 6000

    def test_all_that_end_at_once_leave_the_table_with_the_first_of_them(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tracker.engine._ENDS", 2)
        engine = site.engine()
        for one in self.many(5):
            site.write(login_line(one, one, f"s{one}"), logout_line(one, f"s{one}"))
        engine.step()
        site.to(1800)
        assert engine.step()
        assert site.table() == {}
        engine.settle()
        assert site.table() == {}
        site.write(login_line(self.many(5)[4], "again", "new", after(1800)))
        assert engine.step()
        assert site.table().keys() == {self.many(5)[4]}
        while engine.step():
            pass
        assert site.table().keys() == {self.many(5)[4]}
        assert [grant.user for grant in engine.store.grants()] == ["again"]


def test_who_follows_no_log_counts_from_no_moment_that_is_still_to_come(site: Site) -> None:
    engine = site.engine()
    site.write(login_line("203.0.113.6", session="open"))
    engine.step()
    engine.close()
    site.to(-3600)
    site.engine(follow=False)
    site.to(-1800)
    site.engine(follow=False)
    assert site.table() == {}


def test_a_clock_that_is_put_on_an_hour_ends_windows_and_new_logins_are_granted(site: Site) -> None:
    engine = site.engine()
    site.write(login_line("203.0.113.5", session="a"), logout_line(session="a"))
    site.write(login_line("203.0.113.6", session="open"))
    engine.step()
    site.to(3600)
    engine.step()
    assert site.table().keys() == {"203.0.113.6"}
    site.to(30)
    site.write(login_line("203.0.113.7", session="b", at=after(30)), logout_line(session="b"))
    engine.step()
    engine.settle()
    assert site.table()["203.0.113.7"] == stamp(30 + 1800)


def test_a_commit_that_fails_leaves_tables_right_and_is_made_up_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = site.engine()
    site.write(login_line("203.0.113.5"))
    engine.step()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/usr/sbin-without-git")
        with pytest.raises(AuditError):
            engine.settle()
    assert site.table().keys() == {"203.0.113.5"}
    engine.settle()
    (commit,) = site.commits()
    assert commit.startswith("grants: 1 added; local senders: ")


def test_a_missing_log_is_waited_for_and_said_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "popgate")
    site.log.unlink()
    engine = site.engine()
    engine.step()
    engine.step()
    site.write(login_line("203.0.113.5"))
    engine.step()
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "event=waiting" in line] == [
        f"event=waiting file={site.log} reason='does not exist yet'"
    ]
    assert f"event=reading file={site.log}" in said
    assert site.table().keys() == {"203.0.113.5"}


def test_a_grant_stays_in_the_table_whatever_becomes_of_the_trusted_list(site: Site) -> None:
    """Postfix takes up a change of the list with a reload, which may be long in coming."""
    engine = site.engine()
    site.write(login_line("198.51.100.7"))
    engine.step()
    site.trusted.write_text("198.51.100.0/24\n")
    engine.reread_trusted()
    assert site.table().keys() == {"198.51.100.7"}
    site.trusted.write_text("# nobody\n")
    engine.reread_trusted()
    assert site.table().keys() == {"198.51.100.7"}


def test_a_trusted_list_that_goes_bad_leaves_the_old_one_in_force(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.trusted.write_text("198.51.100.0/24\n")
    engine = site.engine()
    before = (site.maps / "trusted.cidr").read_text()
    site.trusted.write_text("198.51.100.0/24\n10.1\n")
    engine.reread_trusted()
    engine.reread_trusted()
    assert (site.maps / "trusted.cidr").read_text() == before
    assert engine.trusted.trusts("198.51.100.7")
    said = [
        record.getMessage() for record in caplog.records if "bad_trusted" in record.getMessage()
    ]
    assert len(said) == 1
    assert ":2: '10.1'" in said[0]


def test_a_trusted_list_that_could_not_be_published_is_tried_again(site: Site) -> None:
    engine = site.engine()
    site.trusted.write_text("198.51.100.0/24\n")
    postfix = engine.publisher._postfix
    real, postfix._path = postfix._path, "/nonexistent"
    with pytest.raises(PublishError):
        engine.reread_trusted()
    postfix._path = real
    engine.reread_trusted()
    assert "198.51.100.0/24 OK" in (site.maps / "trusted.cidr").read_text()


class TestSenderRules:
    """Domains and lists reach their tables at the start, and again when they change."""

    def ask(self, site: Site, table: str, key: str) -> str:
        return subprocess.run(
            ["/usr/sbin/postmap", "-c", site.postfix, "-q", key, f"lmdb:{site.maps}/{table}"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()

    def settings(self, site: Site) -> str:
        return (
            f'[local_senders]\ndomain_files = ["{site.folder}/domains"]\nreject = true\n'
            f'[blacklist]\nfiles = ["{site.folder}/black"]\n'
        )

    def test_are_published_at_the_start(self, site: Site) -> None:
        (site.folder / "domains").write_text("example.com\n")
        (site.folder / "black").write_text("spam.test\n192.0.2.0/24\n")
        site.engine(self.settings(site))
        assert self.ask(site, "local_senders", "example.com").startswith("REJECT local sender")
        assert self.ask(site, "local_marks", "example.com") == "popgate_local_mark"
        assert self.ask(site, "blacklist", "spam.test").startswith("REJECT ")
        assert "192.0.2.0/24 REJECT" in (site.maps / "blacklist_clients.cidr").read_text()

    def test_are_taken_up_when_a_file_changes_and_not_read_when_none_does(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = site.engine(self.settings(site))
        (site.folder / "domains").write_text("example.com\n")
        engine.reread_senders()
        assert self.ask(site, "local_senders", "example.com").startswith("REJECT")
        (site.folder / "domains").write_text("example.org\n")
        engine.reread_senders()
        assert self.ask(site, "local_senders", "example.com") == ""
        monkeypatch.setattr("tracker.reading.mailhost.ask", lambda *_: pytest.fail("asked"))
        engine.reread_senders()

    def test_follow_postfix_s_own_domains_at_the_interval(self, site: Site) -> None:
        engine = site.engine(self.settings(site))
        main = site.postfix / "main.cf"
        written = main.stat()
        main.write_text("compatibility_level = 3.6\nrelay_domains = relay.test\n")
        os.utime(main, ns=(written.st_atime_ns, written.st_mtime_ns))
        site.to(59)
        engine.reread_senders()
        assert self.ask(site, "local_senders", "relay.test") == ""
        site.to(60)
        engine.reread_senders()
        assert self.ask(site, "local_senders", "relay.test").startswith("REJECT")

    def test_that_are_the_same_at_the_interval_are_not_looked_at_further(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = site.engine(self.settings(site))
        monkeypatch.setattr(engine.publisher, "put_access", lambda _: pytest.fail("published"))
        site.to(61)
        engine.reread_senders()

    def test_name_once_what_postfix_could_not_list(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        (site.postfix / "main.cf").write_text(
            "compatibility_level = 3.6\nvirtual_mailbox_domains = mysql:/etc/domains.cf\n"
        )
        os.utime(site.postfix / "main.cf", (0, 0))
        engine = site.engine(self.settings(site))
        site.to(61)
        engine.reread_senders()
        said = [record.getMessage() for record in caplog.records]
        assert [line for line in said if "event=unlisted" in line] == [
            "event=unlisted what='virtual_mailbox_domains: mysql:/etc/domains.cf: tables of type "
            "mysql cannot be listed' action='not counted'"
        ]

    def test_stay_when_postfix_cannot_be_asked(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        engine = site.engine(self.settings(site))
        (site.folder / "domains").write_text("example.com\n")
        postfix = engine.publisher._postfix
        real, postfix._path = postfix._path, "/nonexistent"
        engine.reread_senders()
        postfix._path = real
        assert "postconf is not in /nonexistent" in caplog.text
        site.to(61)
        engine.reread_senders()
        assert self.ask(site, "local_senders", "example.com").startswith("REJECT")

    def test_that_go_bad_leave_the_old_ones_in_force(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        (site.folder / "domains").write_text("example.com\n")
        engine = site.engine(self.settings(site))
        (site.folder / "domains").write_text("example.org\na..b\n")
        for seconds in (0, 1, 60, 120):
            site.to(seconds)
            engine.reread_senders()
        assert self.ask(site, "local_senders", "example.com").startswith("REJECT")
        said = [record.getMessage() for record in caplog.records]
        bad = [line for line in said if "event=bad_list" in line]
        assert len(bad) == 1
        assert f"{site.folder}/domains:2: 'a..b' is no domain" in bad[0]

    def test_that_could_not_be_published_are_tried_again(self, site: Site) -> None:
        engine = site.engine(self.settings(site))
        (site.folder / "domains").write_text("example.com\n")
        table = site.maps / "local_senders.lmdb"
        away = table.rename(site.folder / "away")
        table.mkdir()  # postmap cannot open it now
        with pytest.raises(PublishError):
            engine.reread_senders()
        table.rmdir()
        away.rename(table)
        engine.reread_senders()
        assert self.ask(site, "local_senders", "example.com").startswith("REJECT")

    def test_are_not_needed_to_end_grants(self, site: Site) -> None:
        (site.folder / "domains").write_text("a..b\n")
        site.engine(self.settings(site), follow=False)
        assert site.table() == {}
        with pytest.raises(ListError):
            site.engine(self.settings(site))


def test_an_admins_grant_and_its_end_reach_table_and_a_running_engine(site: Site) -> None:
    running = site.engine()
    running.store.claim()
    by_hand = site.engine(follow=False)
    by_hand.allow("192.168.1.5", "-", timedelta(hours=1))
    assert site.table() == {"192.168.1.5": stamp(3600)}
    running.step()
    running.settle()
    assert site.table() == {"192.168.1.5": stamp(3600)}
    assert len(by_hand.revoke("192.168.1.5", None)) == 1
    assert site.table() == {}
    running.step()
    running.settle()
    assert site.table() == {}


class TestWithoutAFollower:
    """What `popgate expire` does when the daemon is dead."""

    def test_an_open_session_counts_as_ended_when_the_log_was_last_read(self, site: Site) -> None:
        dead = site.engine()
        site.write(login_line("203.0.113.5"))
        dead.step()
        dead.close()
        site.to(1799)
        site.engine(follow=False)
        assert site.table().keys() == {"203.0.113.5"}
        site.to(1800)
        site.engine(follow=False)
        assert site.table() == {}

    def test_a_new_follower_gives_the_open_session_its_right_back(self, site: Site) -> None:
        dead = site.engine()
        site.write(login_line("203.0.113.5"))
        dead.step()
        dead.close()
        site.to(3600)
        site.engine(follow=False)
        assert site.table() == {}
        again = site.engine()
        assert site.table() == {}, "its end may have been logged and not been read"
        again.step()
        assert site.table().keys() == {"203.0.113.5"}

    def test_a_session_that_ended_meanwhile_is_not_opened_for_a_moment(self, site: Site) -> None:
        dead = site.engine()
        site.write(login_line("203.0.113.5"))
        dead.step()
        dead.close()
        site.write(logout_line(at=after(60)))
        site.to(7200)
        again = site.engine()
        assert site.table() == {}
        again.step()
        assert site.table() == {}

    def test_a_log_that_cannot_be_read_any_more_keeps_no_session_open(self, site: Site) -> None:
        engine = site.engine()
        site.write(login_line("203.0.113.5"))
        engine.step()
        site.log.rename(site.folder / "elsewhere")
        site.to(1799)
        engine.step()
        assert site.table().keys() == {"203.0.113.5"}
        site.to(1860)
        engine.step()
        assert site.table() == {}
        (site.folder / "elsewhere").rename(site.log)
        engine.step()
        assert site.table().keys() == {"203.0.113.5"}

    def test_what_a_follower_without_its_log_has_ended_is_not_opened_again(
        self, site: Site
    ) -> None:
        living = site.engine()
        living.store.claim()
        site.write(login_line("203.0.113.5"))
        living.step()
        site.log.rename(site.folder / "elsewhere")
        site.to(1860)
        living.step()
        assert site.table() == {}
        by_hand = site.engine(follow=False)
        by_hand.settle()
        assert site.table() == {}
        by_hand.allow("198.51.100.9", "-", timedelta(hours=1))
        assert site.table().keys() == {"198.51.100.9"}

    def test_an_entry_that_another_process_wrote_is_ended_when_the_state_is_read_anew(
        self, site: Site
    ) -> None:
        living = site.engine()
        living.store.claim()
        living.step()
        table = f"lmdb:{site.maps}/pop_before_smtp"
        living.publisher._postfix.put(table, {"198.51.100.66": "9999999999"})
        by_hand = site.engine(follow=False)
        assert site.table() == {}
        by_hand.allow("198.51.100.9", "-", timedelta(hours=1))
        living.publisher._postfix.put(table, {"198.51.100.66": "9999999999"})
        living.step()
        assert site.table().keys() == {"198.51.100.9"}

    def test_a_living_follower_s_sessions_stay(self, site: Site) -> None:
        living = site.engine()
        living.store.claim()
        site.write(login_line("203.0.113.5"))
        living.step()
        site.to(3600)
        site.engine(follow=False)
        assert site.table().keys() == {"203.0.113.5"}

    def test_a_grant_that_is_over_leaves_the_table(self, site: Site) -> None:
        dead = site.engine()
        site.write(login_line("203.0.113.5"), logout_line())
        dead.step()
        dead.close()
        site.to(1800)
        site.engine(follow=False)
        assert site.table() == {}


def test_other_settings_end_what_they_would_not_grant(site: Site) -> None:
    first = site.engine()
    site.write(login_line("203.0.113.5"))
    first.step()
    first.close()
    site.engine('[grants]\nexclude_networks = ["203.0.113.0/24"]\n')
    assert site.table() == {}


def test_a_window_of_zero_is_pop_before_smtp_turned_off(site: Site) -> None:
    engine = site.engine("[grants]\nwindow = 0\n")
    site.write(login_line("203.0.113.5"))
    engine.step()
    assert site.table() == {}


def test_the_hosts_own_address_earns_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.engine.own_addresses", lambda: ["203.0.113.5"])
    engine = site.engine()
    site.write(login_line("203.0.113.5"))
    engine.step()
    assert site.table() == {}


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\xff\xfe\x00\x00" * 50 + b"\n",
        b"x" * 70_000 + b"\n",
        b"\n\n\n",
        b"\x00" * 4096 + b"\n",
        "é\u2028\n".encode(),
    ],
    ids=["no encoding", "70 kB", "empty", "NULs", "line separator"],
)
def test_a_line_of_any_bytes_costs_no_login_behind_it(site: Site, rubbish: bytes) -> None:
    engine = site.engine()
    with site.log.open("ab") as file:
        file.write(rubbish + login_line("203.0.113.5").encode())
    engine.step()
    assert site.table().keys() == {"203.0.113.5"}


def test_a_large_log_is_taken_up_in_steps_that_each_save(site: Site) -> None:
    filler = "2026-11-24T08:45:29+00:00 mailhost postfix/qmgr[1]: " + "x" * 950 + "\n"
    with site.log.open("w") as file:
        for number in range(20_000):
            file.write(filler)
            if number % 1000 == 0:
                file.write(login_line(f"203.0.113.{number // 1000 + 1}", session=f"s{number}"))
    engine = site.engine()
    steps = 1
    while engine.step():
        steps += 1
        assert engine.store.positions(str(site.log))[0].offset > 0
    assert steps > 1
    assert len(site.table()) == 20


def test_wanted_tables_are_what_is_published(site: Site) -> None:
    engine = site.engine()
    site.write(login_line("203.0.113.5"))
    engine.step()
    engine.settle()
    for table in wanted_tables(site.settings()):
        assert (site.maps / table.name).read_text() == table.text


@pytest.mark.parametrize("kind", ["lmdb", "cidr"])
def test_texts_that_follow_changes_are_as_made_anew(site: Site, kind: str) -> None:
    """Grants that came, were renewed, ended, were revoked, and such that stayed."""
    more = f'table = "{kind}"\n[grants]\nwhile_connected = false\n'
    engine = site.engine(more)
    site.write(*(login_line(f"203.0.113.{n}", session=f"s{n}") for n in range(2, 8)))
    engine.step()
    engine.settle()
    now = site.to(1000)
    site.write(
        login_line("203.0.113.2", "bob@example.com", "t2", now),
        login_line("203.0.113.20", session="t20", at=now),
        login_line("203.0.113.5", session="t5", at=now),
    )
    engine.step()
    engine.revoke("203.0.113.4", None)
    engine.settle()
    site.to(1900)
    engine.step()
    engine.settle()
    for table in wanted_tables(site.settings(more)):
        assert (site.maps / table.name).read_text() == table.text
    assert "203.0.113.4 " not in (site.maps / "pop_before_smtp.txt").read_text()
    assert "203.0.113.20 " in (site.maps / "pop_before_smtp.txt").read_text()


def test_with_a_cidr_table_each_change_is_in_the_text_and_wants_a_reload(site: Site) -> None:
    engine = site.engine('table = "cidr"\n')
    site.write(login_line("203.0.113.5"))
    engine.step()
    assert f"203.0.113.5 {stamp(86400)}\n" in (site.maps / "pop_before_smtp.cidr").read_text()
    assert engine.publisher.reload_due() is not None


def test_ipv6_networks_can_be_granted_with_a_cidr_table(site: Site) -> None:
    engine = site.engine('table = "cidr"\n[grants]\nipv6_prefix = 64\n')
    site.write(login_line("2001:db8:1:2::5"))
    engine.step()
    assert "2001:db8:1:2::/64 " in (site.maps / "pop_before_smtp.cidr").read_text()


class TestOtherServers:
    popa3d = 'format = "popa3d"'
    courier = 'format = "courier"'
    connected = f"{NOW.isoformat()} mailhost popa3d[812]: Session from 203.0.113.5\n"
    passed = f"{NOW.isoformat()} mailhost popa3d[812]: Authentication passed for alice\n"
    forgeable = (
        f"{NOW.isoformat()} mailhost pop3d: LOGIN, user=alice, ip=[::ffff:203.0.113.5], port=[4]\n"
    )

    def test_two_lines_make_a_login_though_popgate_ended_between_them(self, site: Site) -> None:
        site.write(self.connected)
        first = site.engine(log=self.popa3d)
        first.step()
        assert site.table() == {}
        first.close()
        site.write(self.passed)
        site.engine(log=self.popa3d).step()
        assert site.table().keys() == {"203.0.113.5"}

    def test_a_format_that_anyone_can_forge_earns_nothing_until_the_admin_takes_it(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        site.write(self.forgeable)
        site.engine(log=self.courier).step()
        assert site.table() == {}
        assert "format courier: its logins earn no grant" in caplog.text
        site.write(self.forgeable.replace("port=[4]", "port=[5]"))
        site.engine(log=f"{self.courier}\naccept_forgeable = true").step()
        assert site.table().keys() == {"203.0.113.5"}
        assert "format courier: forged logins earn grants too" in caplog.text

    def test_a_server_that_began_anew_has_no_session_open(self, site: Site) -> None:
        engine = site.engine()
        site.write(login_line("203.0.113.5"))
        engine.step()
        began = site.to(7200)
        version = "Dovecot v2.3.19.1 (9b53102964) starting up for pop3, imap (core dumps disabled)"
        site.write(f"{began.isoformat()} mailhost dovecot: master: {version}\n")
        engine.step()
        engine.settle()
        assert site.table() == {"203.0.113.5": stamp(7200 + 1800)}


class TestExports:
    """What other programs read follows the tables, in the same step."""

    def settings(self, site: Site) -> str:
        return (
            f'[exports]\ndirectory = "{site.folder}/exports"\n'
            'rspamd = ["trusted", "granted", "whitelist"]\nfail2ban = ["granted"]\n'
            'postscreen = ["trusted"]\n'
        )

    def read(self, site: Site, name: str) -> list[str]:
        lines = (site.folder / "exports" / name).read_text().splitlines()
        return [line for line in lines if not line.startswith("#")]

    def test_come_and_go_with_the_grants(self, site: Site) -> None:
        engine = site.engine(self.settings(site))
        site.write(login_line("203.0.113.5"), logout_line())
        engine.step()
        assert engine.export() == []
        assert self.read(site, "rspamd/granted.map") == ["203.0.113.5"]
        assert self.read(site, "fail2ban/granted.cidr") == ["203.0.113.5 OK"]
        site.to(1800)
        engine.step()
        engine.export()
        assert self.read(site, "rspamd/granted.map") == []
        assert self.read(site, "fail2ban/granted.cidr") == []

    def test_follow_the_trusted_list_without_its_exceptions(self, site: Site) -> None:
        engine = site.engine(self.settings(site))
        site.trusted.write_text("!198.51.100.128/25\n198.51.100.0/24\n")
        engine.reread_trusted()
        engine.export()
        assert self.read(site, "rspamd/trusted.map") == ["198.51.100.0/25"]
        assert "198.51.100.0/25 permit" in (site.maps / "postscreen_trusted.cidr").read_text()

    def test_end_a_grant_though_its_table_cannot_be_changed(self, site: Site) -> None:
        engine = site.engine(self.settings(site))
        site.write(login_line("203.0.113.5"), logout_line())
        engine.step()
        engine.export()
        site.to(1800)
        engine.publisher._postfix._path = "/nonexistent"
        with pytest.raises(PostfixError):
            engine.step()
        engine.export()
        assert self.read(site, "rspamd/granted.map") == []

    def test_have_no_address_that_the_table_has_not(self, site: Site) -> None:
        engine = site.engine(self.settings(site))
        site.write(login_line("203.0.113.5"))
        engine.publisher._postfix._path = "/nonexistent"
        with pytest.raises(PostfixError):
            engine.step()
        engine.export()
        assert self.read(site, "rspamd/granted.map") == []

    def test_are_ended_by_who_does_not_read_the_log(self, site: Site) -> None:
        site.trusted.write_text("198.51.100.0/24\n")
        dead = site.engine(self.settings(site))
        site.write(login_line("203.0.113.5"), logout_line())
        dead.step()
        dead.export()
        dead.close()
        site.to(1800)
        site.trusted.write_text("10.1\n")
        site.engine(self.settings(site), follow=False).export()
        assert self.read(site, "rspamd/granted.map") == []
        assert self.read(site, "rspamd/trusted.map") == ["198.51.100.0/24"]

    def test_are_left_to_the_one_that_follows_the_log(self, site: Site) -> None:
        living = site.engine(self.settings(site))
        living.store.claim()
        living.step()
        living.export()
        by_hand = site.engine(self.settings(site), follow=False)
        by_hand.allow("203.0.113.5", "-", timedelta(hours=1))
        by_hand.export()
        assert self.read(site, "rspamd/granted.map") == []
        living.step()
        living.export()
        assert self.read(site, "rspamd/granted.map") == ["203.0.113.5"]

    def test_are_committed_in_batches_to_a_history_that_others_cannot_read(
        self, site: Site
    ) -> None:
        engine = site.engine(self.settings(site))
        site.write(login_line("203.0.113.5"))
        engine.step()
        engine.export()
        assert engine.unsettled()
        engine.settle()
        assert not engine.unsettled()
        git = site.folder / "exports/.git"
        assert git.stat().st_mode & 0o777 == 0o700
        log = subprocess.run(
            ["git", "-C", git.parent, "log", "--stat", "--format=%s"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert log.startswith("grants: 1 added; exports/")
        assert "rspamd/granted.map" in log
        engine.settle()

    def test_are_among_the_wanted_tables_where_they_are_on(self, site: Site) -> None:
        site.trusted.write_text("!198.51.100.128/25\n198.51.100.0/24\n")
        tables = {table.name: table.text for table in wanted_tables(site.settings())}
        assert not any(name.startswith(("exports/", "postscreen")) for name in tables)
        tables = {
            table.name: table.text for table in wanted_tables(site.settings(self.settings(site)))
        }
        assert "198.51.100.0/25\n" in tables["exports/rspamd/trusted.map"]
        assert "198.51.100.0/25 permit\n" in tables["postscreen_trusted.cidr"]
        assert "exports/crowdsec/popgate-trusted.yaml" not in tables


class TestLimits:
    FEW = '[grants]\nmax_grants_per_user = 2\nrefuse_beyond = ["max_grants_per_user"]\n'

    def test_are_told_of_once_and_what_is_beyond_reaches_no_table(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        engine = site.engine(self.FEW)
        for number in range(1, 6):
            site.write(login_line(f"203.0.113.{number}", session=f"s{number}"))
            engine.step()
        assert site.table().keys() == {"203.0.113.1", "203.0.113.2"}
        (told,) = [one for one in caplog.messages if "event=limit" in one]
        assert told == (
            "event=limit limit=grants.max_grants_per_user most=2 subject=alice@example.com "
            "action=refused"
        )

    def test_count_what_was_over_before_a_restart(self, site: Site) -> None:
        engine = site.engine(self.FEW)
        for number in (1, 2):
            site.write(
                login_line(f"203.0.113.{number}", session=f"s{number}"),
                logout_line(session=f"s{number}"),
            )
        engine.step()
        late = site.to(1800)
        engine.step()
        assert site.table() == {}
        engine.close()
        again = site.engine(self.FEW)
        site.write(login_line("203.0.113.3", session="s3", at=late))
        again.step()
        assert site.table() == {}
        later = site.to(3600)
        site.write(login_line("203.0.113.4", session="s4", at=later))
        again.step()
        assert site.table().keys() == {"203.0.113.4"}

    def test_of_the_scope_address_hold_for_the_policy_service_too(self, site: Site) -> None:
        engine = site.engine(self.FEW + 'scope = "address"\n')
        for number in range(1, 4):
            site.write(login_line(f"203.0.113.{number}", session=f"s{number}"))
        engine.step()
        granted = [bool(engine.answering.earners(f"203.0.113.{one}")) for one in (1, 2, 3)]
        assert granted == [True, True, False]

    def test_that_were_lowered_hold_after_the_restart(self, site: Site) -> None:
        engine = site.engine()
        for number in (1, 2, 3):
            moment = site.to(number)
            site.write(login_line(f"203.0.113.{number}", session=f"s{number}", at=moment))
            engine.step()
        engine.close()
        site.engine("[grants]\nmax_grants = 1\n")
        assert site.table().keys() == {"203.0.113.1"}


class TestHiddenUsers:
    HIDDEN = "[privacy]\nhash_users = true\n[grants]\nmax_grants_per_user = 1\n"

    def test_stand_neither_in_the_log_nor_in_git(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "popgate")
        engine = site.engine(self.HIDDEN)
        for number in (1, 2):
            site.write(login_line(f"203.0.113.{number}", session=f"s{number}"))
        engine.step()
        engine.settle()
        history = subprocess.run(
            ["git", "-C", site.maps, "log", "-p", "--all"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for text in ("\n".join(caplog.messages), history):
            assert "203.0.113.2" in text
            assert "alice" not in text
            assert "u-" in text
        assert {grant.user for grant in engine.store.grants()} == {"alice@example.com"}
        wanted = {table.name: table.text for table in wanted_tables(engine.settings)}
        assert wanted["pop_before_smtp.txt"] == (site.maps / "pop_before_smtp.txt").read_text()

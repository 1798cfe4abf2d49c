"""Tables put in place: only what differs, checked by Postfix first, the last good one kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tracker.errors import PostfixError, PostfixTimeoutError, PublishError
from tracker.records import AccessTable, ListEntry, Row, Table
from tracker.settings import PostfixSettings
from tracker.writing.parameters import GrantTableType
from tracker.writing.postfix import Postfix
from tracker.writing.publish import Publisher, table_type


class Site:
    """A maps folder, its publisher, and what Postfix's commands were called for."""

    def __init__(self, folder: Path, config: Path, kind: GrantTableType) -> None:
        self.folder = folder / "maps"
        self.postfix = Postfix(PostfixSettings(config_directory=str(config)))
        self.calls: list[str] = []
        run = self.postfix._run

        def counted(argv: list[str], *rest: Any, **options: Any) -> str:
            self.calls.append(" ".join(word for word in argv if word != str(config)))
            return run(argv, *rest, **options)

        self.postfix._run = counted  # type: ignore[method-assign]
        self.kind = kind
        self.publisher = self.another()

    def another(self) -> Publisher:
        made = Publisher(self.folder, self.postfix, self.kind, 5.0)
        made.prepare()
        return made

    def table(self) -> dict[str, str]:
        if self.kind == "lmdb":
            return self.postfix.read(f"lmdb:{self.folder}/pop_before_smtp")
        lines = (self.folder / "pop_before_smtp.cidr").read_text().splitlines()
        return dict(line.split() for line in lines if line[0] != "#")


@pytest.fixture(params=["lmdb", "cidr"])
def site(request: pytest.FixtureRequest, tmp_path: Path, postfix_config: Path) -> Site:
    return Site(tmp_path, postfix_config, request.param)


@pytest.fixture
def lmdb(tmp_path: Path, postfix_config: Path) -> Site:
    return Site(tmp_path, postfix_config, "lmdb")


def test_the_folder_and_its_files_are_the_owners_alone(site: Site) -> None:
    site.publisher.match({"203.0.113.5": 100})
    assert site.folder.stat().st_mode & 0o777 == 0o700
    for file in site.folder.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_a_folder_that_others_could_read_is_closed(site: Site) -> None:
    site.folder.chmod(0o755)
    site.publisher.prepare()
    assert site.folder.stat().st_mode & 0o777 == 0o700


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path, site: Site) -> None:
    (tmp_path / "link").symlink_to(site.folder)
    with pytest.raises(PublishError, match="a link is not followed"):
        Publisher(tmp_path / "link", site.postfix, site.kind, 5.0).prepare()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_folder_is_refused(site: Site) -> None:
    os.chown(site.folder, 65534, 65534)
    with pytest.raises(PublishError, match="belongs to user 65534"):
        site.publisher.prepare()


def test_only_the_difference_is_applied(site: Site) -> None:
    site.publisher.match({"203.0.113.5": 100, "203.0.113.6": 100})
    again = site.another()
    again.match({"203.0.113.5": 100, "203.0.113.7": 300})
    assert site.table() == {"203.0.113.5": "100", "203.0.113.7": "300"}
    site.calls.clear()
    again.match({"203.0.113.5": 100, "203.0.113.7": 300})
    assert not [call for call in site.calls if " -ir " in call or " -d " in call]


def test_an_entry_that_somebody_else_wrote_is_taken_out_at_the_start(lmdb: Site) -> None:
    lmdb.publisher.match({})
    lmdb.postfix.put(f"lmdb:{lmdb.folder}/pop_before_smtp", {"198.51.100.66": "OK"})
    lmdb.another().match({"203.0.113.5": 100})
    assert lmdb.table() == {"203.0.113.5": "100"}


def test_what_comes_and_goes_is_there_at_once_and_renewals_wait(site: Site) -> None:
    site.publisher.match({"203.0.113.5": 100})
    site.publisher.update({"203.0.113.5": 200, "203.0.113.6": 200})
    if site.kind == "lmdb":
        assert site.table() == {"203.0.113.5": "100", "203.0.113.6": "200"}
    site.publisher.update({"203.0.113.6": None, "198.51.100.1": None})
    assert site.table().keys() == {"203.0.113.5"}
    site.publisher.renew({"203.0.113.5": 200})
    assert site.table() == {"203.0.113.5": "200"}


def test_many_changes_are_one_transaction_in_the_same_file(lmdb: Site) -> None:
    lmdb.publisher.match({})
    inode = (lmdb.folder / "pop_before_smtp.lmdb").stat().st_ino
    many = {f"203.0.113.{n}": 100 for n in range(200)}
    lmdb.calls.clear()
    lmdb.publisher.update(dict(many))
    assert [call for call in lmdb.calls if call.startswith("postmap")] == [
        f"postmap -c lmdb:{lmdb.folder}/pop_before_smtp"
    ]
    assert lmdb.table() == dict.fromkeys(many, "100")
    lmdb.publisher.renew({"203.0.113.7": 200})
    assert lmdb.table() == {"203.0.113.7": "200"}
    assert (lmdb.folder / "pop_before_smtp.lmdb").stat().st_ino == inode
    assert not (lmdb.folder / "pop_before_smtp").exists(), "a source beside its table"


def test_what_a_killed_process_had_staged_is_removed(lmdb: Site) -> None:
    for name in (".trusted.cidr.new", ".pop_before_smtp.new.lmdb"):
        (lmdb.folder / name).write_text("staged")
    lmdb.publisher.prepare()
    assert not list(lmdb.folder.glob(".*.new*"))


def test_a_source_that_a_killed_postmap_left_is_removed(lmdb: Site) -> None:
    (lmdb.folder / "pop_before_smtp").write_text("198.51.100.66 OK\n")
    lmdb.publisher.prepare()
    assert not (lmdb.folder / "pop_before_smtp").exists()


def test_a_damaged_lmdb_table_is_rebuilt_beside_and_renamed(lmdb: Site) -> None:
    lmdb.publisher.match({"203.0.113.5": 100})
    file = lmdb.folder / "pop_before_smtp.lmdb"
    file.write_bytes(b"not a table at all")
    inode = file.stat().st_ino
    again = lmdb.another()
    again.match({"203.0.113.5": 100})
    assert lmdb.table() == {"203.0.113.5": "100"}
    assert file.stat().st_ino != inode
    assert again.reload_due() is not None, "a running smtpd has the old file open"


def test_a_table_that_somebody_holds_locked_is_an_error_and_not_rebuilt(
    lmdb: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    lmdb.publisher.match({"203.0.113.5": 100})
    inode = (lmdb.folder / "pop_before_smtp.lmdb").stat().st_ino

    def hang(_: str) -> dict[str, str]:
        raise PostfixTimeoutError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(lmdb.postfix, "entries", hang)
        with pytest.raises(PostfixTimeoutError):
            lmdb.another().match({})
    assert (lmdb.folder / "pop_before_smtp.lmdb").stat().st_ino == inode


def test_a_missing_table_is_made_whole_before_it_is_there(site: Site) -> None:
    site.publisher.match({"203.0.113.5": 100})
    assert site.table() == {"203.0.113.5": "100"}
    assert site.publisher.reload_due() is not None


def test_a_change_in_lmdb_needs_no_reload(lmdb: Site) -> None:
    lmdb.publisher.match({})
    lmdb.publisher.reload(0.0)  # for the table that is new
    again = lmdb.another()
    again.match({"203.0.113.5": 100})
    again.update({"203.0.113.5": None})
    assert again.reload_due() is None


def test_a_text_that_is_the_same_is_not_written(site: Site) -> None:
    table = Table("trusted.cidr", "cidr", "203.0.113.0/24 OK\n")
    assert site.publisher.put_text(table)
    before = (site.folder / "trusted.cidr").stat()
    assert not site.publisher.put_text(table)
    after = (site.folder / "trusted.cidr").stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


@pytest.mark.parametrize("bad", ["203.0.113.5/24 OK\n", "010.0.0.1 DUNNO\n", "what is this\n"])
def test_a_cidr_table_that_postfix_complains_of_never_takes_the_place_of_a_good_one(
    site: Site, bad: str
) -> None:
    site.publisher.put_text(Table("trusted.cidr", "cidr", "203.0.113.0/24 OK\n"))
    with pytest.raises(PublishError, match=r"trusted\.cidr stays as it was"):
        site.publisher.put_text(Table("trusted.cidr", "cidr", bad))
    assert (site.folder / "trusted.cidr").read_text() == "203.0.113.0/24 OK\n"


def senders(rows: dict[str, str]) -> AccessTable:
    made = {key: Row(value) for key, value in rows.items()}
    return AccessTable("blacklist", "sender", "The black list.", made)


class TestAnAccessTable:
    ROWS = {"bücher.test": "REJECT two words", "a@far.test": "DUNNO"}  # noqa: RUF012

    def ask(self, site: Site, key: str) -> str | None:
        name = "lmdb:{}/blacklist" if site.kind == "lmdb" else "texthash:{}/blacklist.txt"
        return site.postfix.query(name.format(site.folder), key)

    def test_answers_postfix_and_has_its_text_for_people(self, site: Site) -> None:
        assert site.publisher.put_access(senders(self.ROWS))
        assert self.ask(site, "bücher.test") == "REJECT two words"
        assert self.ask(site, "BÜCHER.test") == "REJECT two words"
        assert self.ask(site, "far.test") is None
        text = (site.folder / "blacklist.txt").read_text()
        assert text.endswith("\na@far.test DUNNO\nbücher.test REJECT two words\n")

    def test_that_is_the_same_is_not_written(self, site: Site) -> None:
        site.publisher.put_access(senders(self.ROWS))
        before = {file: file.stat().st_mtime_ns for file in site.folder.iterdir()}
        assert not site.another().put_access(senders(self.ROWS))
        assert {file: file.stat().st_mtime_ns for file in site.folder.iterdir()} == before

    def test_is_changed_in_place_without_a_reload_where_it_is_lmdb(self, lmdb: Site) -> None:
        lmdb.publisher.put_access(senders(self.ROWS))
        lmdb.publisher.reload(0.0)  # for the table that is new
        inode = (lmdb.folder / "blacklist.lmdb").stat().st_ino
        again = lmdb.another()
        assert again.put_access(senders({"far.test": "OK"}))
        assert self.ask(lmdb, "far.test") == "OK"
        assert self.ask(lmdb, "a@far.test") is None
        assert (lmdb.folder / "blacklist.lmdb").stat().st_ino == inode
        assert again.reload_due() is None

    def test_needs_a_reload_where_it_is_a_text(self, tmp_path: Path, postfix_config: Path) -> None:
        site = Site(tmp_path, postfix_config, "cidr")
        site.publisher.put_access(senders(self.ROWS))
        again = site.another()
        again.put_access(senders({"far.test": "OK"}))
        assert again.reload_due() is not None

    def test_that_is_damaged_is_made_anew(self, lmdb: Site) -> None:
        lmdb.publisher.put_access(senders(self.ROWS))
        (lmdb.folder / "blacklist.lmdb").write_bytes(b"no table")
        assert lmdb.another().put_access(senders(self.ROWS))
        assert self.ask(lmdb, "a@far.test") == "DUNNO"

    def test_whose_source_a_killed_postmap_left_has_it_removed(self, lmdb: Site) -> None:
        (lmdb.folder / "local_senders").write_text("example.com OK\n")
        lmdb.publisher.prepare()
        assert not (lmdb.folder / "local_senders").exists()

    def test_of_clients_is_a_cidr_table_whose_exceptions_come_first(self, site: Site) -> None:
        rows = {"0.0.0.0/0": Row("popgate_local_sender")}
        rows["203.0.113.0/24"] = Row(
            "DUNNO", ListEntry("client", "203.0.113.0/24", "w"), exempts=True
        )
        table = AccessTable("local_clients", "client", "Clients.", rows)
        assert site.publisher.put_access(table)
        name = f"cidr:{site.folder}/local_clients.cidr"
        assert site.postfix.query(name, "203.0.113.7") == "DUNNO"
        assert site.postfix.query(name, "198.51.100.7") == "popgate_local_sender"
        assert site.publisher.reload_due() is not None


def test_when_postmap_fails_the_table_stays_and_the_next_call_repairs(lmdb: Site) -> None:
    lmdb.publisher.match({"203.0.113.5": 100})
    real, lmdb.postfix._path = lmdb.postfix._path, "/nonexistent"
    with pytest.raises(PostfixError):
        lmdb.publisher.update({"203.0.113.6": 100, "203.0.113.5": None})
    lmdb.postfix._path = real
    assert lmdb.table() == {"203.0.113.5": "100"}
    lmdb.publisher.renew({"203.0.113.6": 100})
    assert lmdb.table() == {"203.0.113.6": "100"}


def test_reloads_come_at_once_and_then_at_most_one_an_interval(
    lmdb: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    reloads: list[float] = []
    clock = 1000.0

    def reload() -> bool:
        reloads.append(clock)
        return True

    monkeypatch.setattr(lmdb.postfix, "reload", reload)
    monkeypatch.setattr(lmdb.postfix, "names", lambda _: True)

    def change(number: int) -> None:
        lmdb.publisher.put_text(Table("trusted.cidr", "cidr", f"203.0.113.{number} OK\n"))

    for number in range(60):
        change(number)
        clock = 1000.0 + number / 4
        lmdb.publisher.reload(clock)
    assert reloads == [1000.0, 1005.0, 1010.0]
    assert lmdb.publisher.reload_due() == 1015.0


def test_a_reload_that_fails_is_wanted_still(lmdb: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> bool:
        raise PostfixError("no")

    lmdb.publisher.put_text(Table("trusted.cidr", "cidr", "203.0.113.5 OK\n"))
    monkeypatch.setattr(lmdb.postfix, "reload", fail)
    monkeypatch.setattr(lmdb.postfix, "names", lambda _: True)
    with pytest.raises(PostfixError):
        lmdb.publisher.reload(0.0)
    assert lmdb.publisher.reload_due() == 60.0


def test_a_postfix_that_does_not_name_the_folder_is_not_reloaded(
    lmdb: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lmdb.postfix, "reload", lambda: pytest.fail("reloaded"))
    lmdb.publisher.put_text(Table("trusted.cidr", "cidr", "203.0.113.5 OK\n"))
    lmdb.publisher.reload(0.0)
    assert lmdb.publisher.reload_due() is None


def test_the_table_type_is_lmdb_where_postfix_has_it(lmdb: Site) -> None:
    assert table_type(PostfixSettings(), lmdb.postfix) == "lmdb"
    assert table_type(PostfixSettings(table="cidr"), lmdb.postfix) == "cidr"


def test_lmdb_is_asked_for_in_vain_where_postfix_lacks_it(
    lmdb: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lmdb.postfix, "table_types", lambda: frozenset({"hash", "cidr"}))
    assert table_type(PostfixSettings(), lmdb.postfix) == "cidr"
    with pytest.raises(PostfixError, match="install postfix-lmdb"):
        table_type(PostfixSettings(table="lmdb"), lmdb.postfix)


def test_a_reload_that_a_killed_process_did_not_come_to_is_wanted_by_the_next(
    lmdb: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    reloads: list[bool] = []

    def reload() -> bool:
        reloads.append(True)
        return True

    monkeypatch.setattr(lmdb.postfix, "names", lambda _: True)
    monkeypatch.setattr(lmdb.postfix, "reload", reload)
    lmdb.publisher.put_text(Table("trusted.cidr", "cidr", "203.0.113.0/24 OK\n"))
    after = lmdb.another()
    assert after.reload_due() is not None
    after.reload(0.0)
    assert len(reloads) == 1
    assert lmdb.another().reload_due() is None


def test_a_reload_is_marked_before_the_table_is_in_its_place(
    lmdb: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        assert lmdb.another().reload_due() is not None
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        lmdb.publisher.put_text(Table("trusted.cidr", "cidr", "203.0.113.0/24 OK\n"))

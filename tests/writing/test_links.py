"""Links, second names, pipes and open modes in popgate's own folders: whoever got them there has
popgate write into nobody's file, wait for nobody, and read no grant of his.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.plants import PLANTED, Plant, link, second_name
from tests.writing.test_publish import Site
from tracker.answers import keep, remembered
from tracker.errors import ListError, StoreError, TrustedError
from tracker.reading import lists
from tracker.records import AccessTable, NameAnswers, Row, Table
from tracker.store import Store
from tracker.trusting import read_trusted
from tracker.writing.audit import History

NETWORK = Table("trusted.cidr", "cidr", "203.0.113.0/24 OK\n")
LISTED = AccessTable("blacklist", "sender", "The black list.", {"far.test": Row("REJECT")})


@pytest.fixture(params=["lmdb", "cidr"])
def site(request: pytest.FixtureRequest, tmp_path: Path, postfix_config: Path) -> Site:
    return Site(tmp_path, postfix_config, request.param)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of somebody else's, which stays as it is."""
    made = tmp_path / "victim"
    made.write_text("203.0.113.0/24 OK\n")
    return made


def plant_instead(place: Path, plant: Plant, victim: Path) -> None:
    place.unlink(missing_ok=True)
    plant(place, victim)


def is_ours(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


@PLANTED
@pytest.mark.parametrize("name", ["trusted.cidr", ".trusted.cidr.new"])
def test_in_place_of_a_text_it_is_replaced(
    site: Site, plant: Plant, name: str, victim: Path
) -> None:
    """Also where the other file says what the table should: its owner could change it later."""
    site.publisher.put_text(NETWORK)
    before = victim.read_bytes()
    plant_instead(site.folder / name, plant, victim)
    site.publisher.put_text(NETWORK)
    site.publisher.put_text(Table("trusted.cidr", "cidr", "198.51.100.0/24 OK\n"))
    assert is_ours(site.folder / "trusted.cidr")
    assert (site.folder / "trusted.cidr").read_text() == "198.51.100.0/24 OK\n"
    assert victim.read_bytes() == before


@PLANTED
def test_in_place_of_the_grant_table_it_is_replaced_at_the_start(
    site: Site, plant: Plant, tmp_path: Path
) -> None:
    site.publisher.match({"203.0.113.5": 100})
    table = site.publisher.table
    other = tmp_path / "other"
    other.write_bytes(table.read_bytes())
    before = other.read_bytes()
    plant_instead(table, plant, other)
    site.another().match({"203.0.113.5": 100})
    assert is_ours(table)
    assert site.table() == {"203.0.113.5": "100"}
    assert other.read_bytes() == before


@pytest.mark.parametrize("plant", [link, second_name])
def test_in_place_of_the_grant_table_it_is_replaced_by_a_running_popgate(
    site: Site, plant: Plant, tmp_path: Path
) -> None:
    site.publisher.match({"203.0.113.5": 100})
    table = site.publisher.table
    other = tmp_path / "other"
    os.rename(table, other)
    before = other.read_bytes()
    plant(table, other)
    site.publisher.update({"203.0.113.6": 100})
    assert is_ours(table)
    assert site.table().keys() == {"203.0.113.5", "203.0.113.6"}
    assert other.read_bytes() == before
    assert site.publisher.reload_due() is not None, "a running smtpd has the other file open"


@PLANTED
def test_in_place_of_what_postmap_reads_it_is_replaced(
    site: Site, plant: Plant, victim: Path
) -> None:
    """A table that changes as a whole is made from a text of the same name."""
    site.publisher.match({"203.0.113.5": 100})
    plant(site.folder / "pop_before_smtp", victim)
    many = {f"198.51.100.{number}": 100 for number in range(100)}
    site.publisher.renew(many)
    assert site.table().keys() == many.keys()
    assert victim.read_text() == "203.0.113.0/24 OK\n"


def test_grants_end_where_the_table_is_a_link(site: Site, tmp_path: Path) -> None:
    site.publisher.match({"203.0.113.5": 100, "203.0.113.6": 300})
    other = tmp_path / "other"
    os.rename(site.publisher.table, other)
    site.publisher.table.symlink_to(other)
    assert site.another().end_over(200) == ["203.0.113.5"]
    assert is_ours(site.publisher.table)
    assert site.table() == {"203.0.113.6": "300"}


@PLANTED
def test_in_place_of_an_access_table_it_is_replaced(
    site: Site, plant: Plant, tmp_path: Path
) -> None:
    site.publisher.put_access(LISTED)
    table = site.folder / ("blacklist.lmdb" if site.kind == "lmdb" else "blacklist.txt")
    other = tmp_path / "other"
    other.write_bytes(table.read_bytes())
    before = other.read_bytes()
    plant_instead(table, plant, other)
    assert site.another().put_access(LISTED)
    assert is_ours(table)
    assert other.read_bytes() == before


@PLANTED
def test_in_place_of_the_mark_for_a_reload_it_is_replaced(
    site: Site, plant: Plant, victim: Path, tmp_path: Path
) -> None:
    plant_instead(site.folder / ".reload", plant, victim)
    site.publisher.put_text(NETWORK)
    assert is_ours(site.folder / ".reload")
    assert victim.read_text() == "203.0.113.0/24 OK\n"


def test_a_mark_that_is_a_link_to_nowhere_makes_no_file_there(site: Site, tmp_path: Path) -> None:
    plant_instead(site.folder / ".reload", link, tmp_path / "nowhere")
    site.publisher.put_text(NETWORK)
    assert not (tmp_path / "nowhere").exists()
    assert site.another().reload_due() is not None


@PLANTED
def test_in_place_of_gitignore_it_is_replaced(site: Site, plant: Plant, victim: Path) -> None:
    site.publisher.put_text(NETWORK)
    plant(site.folder / ".gitignore", victim)
    assert History(site.folder).commit("the first") is not None
    assert is_ours(site.folder / ".gitignore")
    assert victim.read_text() == "203.0.113.0/24 OK\n"


@PLANTED
def test_in_place_of_what_dns_said_it_is_replaced(
    tmp_path: Path, plant: Plant, victim: Path
) -> None:
    plant(tmp_path / ".names.json.new", victim)
    answers = {"mail.example.com": NameAnswers()}
    keep(tmp_path, answers)
    assert remembered(tmp_path) == answers
    assert victim.read_text() == "203.0.113.0/24 OK\n"


def test_a_pipe_in_place_of_a_list_is_an_error_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TrustedError, match="is a pipe, not a file"):
        read_trusted(tmp_path / "pipe")
    with pytest.raises(ListError, match="is a pipe, not a file"):
        lists.read("whitelist.files", (), [tmp_path / "pipe"])


class TestTheStateFolder:
    @pytest.mark.parametrize("mode", [0o775, 0o777, 0o1777])
    def test_is_closed_to_others_who_could_write_to_it(self, tmp_path: Path, mode: int) -> None:
        tmp_path.chmod(mode)
        Store(tmp_path).close()
        assert tmp_path.stat().st_mode & 0o022 == 0

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
    def test_of_somebody_else_is_refused(self, tmp_path: Path) -> None:
        os.chown(tmp_path, 65534, 65534)
        with pytest.raises(StoreError, match="belongs to user 65534"):
            Store(tmp_path)

    @pytest.mark.parametrize("name", ["popgate.db", "lock", "alive"])
    def test_has_no_file_that_is_a_link(self, tmp_path: Path, name: str) -> None:
        folder = tmp_path / "state"
        folder.mkdir()
        (folder / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(StoreError, match=name if name != "lock" else "cannot be used"):
            Store(folder).claim()
        assert not (tmp_path / "elsewhere").exists()

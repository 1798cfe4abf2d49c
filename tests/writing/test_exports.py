"""The exports: their texts, held against golden files, and the folder that is kept in line.

`pytest tests/writing/test_exports.py --accept` takes the present texts as the new golden files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.writing.test_render import rules
from tracker.deciding.rights import Rights, rights
from tracker.settings import ExportSettings, PostfixSettings, Shared
from tracker.writing.exports import Exports, wanted_exports
from tracker.writing.postfix import Postfix
from tracker.writing.publish import Publisher

GOLDEN = Path(__file__).with_name("golden") / "exports"
BOTH: tuple[Shared, ...] = ("trusted", "granted")
NOW = 1_800_000_000.0
END = int(NOW) + 1800
RIGHTS = Rights(("198.51.100.0/25", "2001:db8:5::/48"))
ALL: dict[str, Any] = {
    "rspamd": (*BOTH, "whitelist", "blacklist"),
    "spamassassin": BOTH,
    "opendkim": BOTH,
    "postscreen": BOTH,
    "fail2ban": BOTH,
    "crowdsec": BOTH,
}


class Site:
    """An exports folder, and the maps folder beside it."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.folder = folder / "exports"
        self._postfix = Postfix(PostfixSettings(config_directory=str(config)))
        self.publisher = Publisher(folder / "maps", self._postfix, "cidr", 5.0)
        self.publisher.prepare()
        self.ran = folder / "ran"

    def exports(self, **asked: Any) -> Exports:
        settings = ExportSettings(directory=self.folder, **asked)
        return Exports(settings, self.publisher, self._postfix, 128)

    def read(self, name: str) -> list[str]:
        lines = (self.folder / name).read_text().splitlines()
        return [line for line in lines if not line.startswith("#")]

    def command(self, text: str = "ran") -> tuple[str, ...]:
        return ("sh", "-c", f"echo {text} >> {self.ran}")

    def runs(self) -> int:
        return len(self.ran.read_text().splitlines()) if self.ran.exists() else 0


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Site:
    return Site(tmp_path, postfix_config)


def test_each_text_is_as_its_golden_file(request: pytest.FixtureRequest) -> None:
    made, _ = rules()
    settings = ExportSettings(**ALL, nftables=BOTH, whitelist_trusted_and_authenticated="all")
    granted = made.granted()
    for table in wanted_exports(
        settings, rights(made.trusted, made.senders), granted, prefix=128, skips=True
    ):
        golden = GOLDEN / table.name.removeprefix("exports/")
        if request.config.getoption("--accept"):
            golden.parent.mkdir(parents=True, exist_ok=True)
            golden.write_text(table.text, encoding="utf-8")
        assert table.text == golden.read_text(encoding="utf-8"), table.name


def test_no_export_is_on_by_default(site: Site) -> None:
    exports = site.exports()
    assert not exports.wanted()
    assert exports.put(RIGHTS, {"203.0.113.5": END}, NOW, 0) == []
    assert not site.folder.exists()


def test_what_is_written_is_what_render_shows(site: Site) -> None:
    granted = {"203.0.113.5": END}
    settings = ExportSettings(directory=site.folder, **ALL)
    assert site.exports(**ALL).put(RIGHTS, granted, NOW, 0) == []
    for table in wanted_exports(settings, RIGHTS, granted, prefix=128):
        assert (site.folder.parent / table.name).exists() or table.name.startswith("postscreen")
        if table.name.startswith("exports/"):
            assert (site.folder.parent / table.name).read_text() == table.text


def test_others_may_read_and_only_popgate_may_write(site: Site) -> None:
    old = os.umask(0o077)
    try:
        site.exports(**ALL).put(RIGHTS, {"203.0.113.5": END}, NOW, 0)
    finally:
        os.umask(old)
    for path in [site.folder, *site.folder.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
    assert (site.publisher._directory / "postscreen_granted.cidr").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_closed_to_others_stays_so_and_one_open_to_writers_does_not(
    site: Site,
) -> None:
    site.folder.mkdir()
    site.folder.chmod(0o770)
    site.exports(rspamd=BOTH).put(RIGHTS, {}, NOW, 0)
    assert site.folder.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("rspamd/granted.map", "rspamd"),
        ("spamassassin/granted.cf", "spamassassin"),
        ("opendkim/InternalHosts", "opendkim"),
        ("fail2ban/granted.cidr", "fail2ban"),
        ("crowdsec/popgate-granted.yaml", "crowdsec"),
    ],
)
def test_an_address_is_in_its_text_from_its_grant_to_its_end(
    site: Site, name: str, setting: str
) -> None:
    exports = site.exports(**{setting: BOTH})
    exports.put(RIGHTS, {"203.0.113.5": END}, NOW, 0)
    assert "203.0.113.5" in (site.folder / name).read_text()
    exports.put(RIGHTS, {}, NOW, 1)
    assert "203.0.113.5" not in (site.folder / name).read_text()


def test_postscreen_is_told_permit_and_grants_only_where_they_are_asked_for(site: Site) -> None:
    maps = site.publisher._directory
    site.exports(postscreen=("trusted",)).put(RIGHTS, {"203.0.113.5": END}, NOW, 0)
    assert "198.51.100.0/25 permit\n" in (maps / "postscreen_trusted.cidr").read_text()
    assert "203.0.113.5" not in (maps / "postscreen_granted.cidr").read_text()
    site.exports(postscreen=BOTH).put(RIGHTS, {"203.0.113.5": END}, NOW, 0)
    assert "203.0.113.5 permit\n" in (maps / "postscreen_granted.cidr").read_text()
    assert site.publisher.reload_due() is not None


def test_nothing_is_written_when_nothing_changed(site: Site) -> None:
    granted = {"203.0.113.5": END}
    site.exports(**ALL).put(RIGHTS, granted, NOW, 0)
    before = {path: path.stat().st_mtime_ns for path in site.folder.rglob("*")}
    again = site.exports(**ALL)
    # A renewed grant has another end, which no text tells.
    again.put(RIGHTS, {"203.0.113.5": END + 60}, NOW, 1)
    assert again.changed() == []
    assert {path: path.stat().st_mtime_ns for path in site.folder.rglob("*")} == before


def test_who_does_not_know_the_trusted_list_leaves_it_and_ends_grants(site: Site) -> None:
    site.exports(**ALL).put(RIGHTS, {"203.0.113.5": END}, NOW, 0)
    site.exports(**ALL).put(None, {}, NOW, 1)
    assert site.read("rspamd/trusted.map") == list(RIGHTS.trusted)
    assert site.read("rspamd/granted.map") == []
    assert site.read("opendkim/InternalHosts") == ["127.0.0.1", "::1", *RIGHTS.trusted]
    assert site.read("fail2ban/trusted.cidr") == [f"{net} OK" for net in RIGHTS.trusted]
    assert site.read("fail2ban/granted.cidr") == []


def test_an_export_that_is_turned_off_is_emptied_and_not_taken_away(site: Site) -> None:
    """A file that were left would go on granting; a reader may not start without it."""
    site.exports(**ALL).put(RIGHTS, {"203.0.113.5": END}, NOW, 0)
    site.exports().put(RIGHTS, {"203.0.113.5": END}, NOW, 1)
    for name in ("rspamd/granted.map", "rspamd/trusted.map", "fail2ban/trusted.cidr"):
        assert site.read(name) == [], name
    assert site.read("opendkim/InternalHosts") == ["127.0.0.1", "::1"]
    maps = site.publisher._directory
    assert "permit" not in (maps / "postscreen_trusted.cidr").read_text()
    assert "permit" not in (maps / "postscreen_granted.cidr").read_text()


def test_a_text_that_cannot_be_written_stays_and_keeps_none_of_the_others_back(site: Site) -> None:
    exports = site.exports(rspamd=BOTH, fail2ban=BOTH)
    exports.put(RIGHTS, {}, NOW, 0)
    staged = site.folder / "rspamd/.granted.map.new"
    staged.mkdir()
    (fault,) = exports.put(RIGHTS, {"203.0.113.5": END}, NOW, 1)
    assert fault.startswith(f"{site.folder}/rspamd/granted.map: stays as it was")
    assert site.read("rspamd/granted.map") == []
    assert site.read("fail2ban/granted.cidr") == ["203.0.113.5 OK"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_folder_is_refused(site: Site) -> None:
    site.folder.mkdir()
    os.chown(site.folder, 65534, 65534)
    (fault,) = site.exports(rspamd=BOTH).put(RIGHTS, {}, NOW, 0)
    assert "belongs to user 65534" in fault
    assert list(site.folder.iterdir()) == []


def test_a_link_in_place_of_the_folder_is_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    site.folder.symlink_to(tmp_path / "real")
    (fault,) = site.exports(rspamd=BOTH).put(RIGHTS, {}, NOW, 0)
    assert "a link is not followed" in fault
    assert list((tmp_path / "real").iterdir()) == []


def test_a_firewall_that_may_not_be_changed_keeps_no_text_back(site: Site) -> None:
    refused = ("sh", "-c", "echo Operation not permitted >&2; exit 1")
    exports = site.exports(rspamd=BOTH, nftables=BOTH, nft_command=refused)
    (fault,) = exports.put(RIGHTS, {"203.0.113.5": END}, NOW, 0)
    assert "Operation not permitted: popgate needs CAP_NET_ADMIN" in fault
    assert site.read("rspamd/granted.map") == ["203.0.113.5"]
    assert exports.put(RIGHTS, {}, NOW, 1) == [], "it is asked again later, not each time"
    assert exports.due(NOW, 60)


class TestCommands:
    """What a program's own command is run for: it reads its configuration only once."""

    def test_runs_for_a_change_of_its_own_texts_alone(self, site: Site) -> None:
        exports = site.exports(rspamd=BOTH, opendkim=BOTH, opendkim_command=site.command())
        exports.put(RIGHTS, {}, NOW, 0)
        assert site.runs() == 1
        exports.put(Rights(RIGHTS.trusted, whitelist=RIGHTS.whitelist), {}, NOW, 100)
        assert site.runs() == 1

    def test_runs_at_once_and_then_once_an_interval(self, site: Site) -> None:
        exports = site.exports(opendkim=BOTH, opendkim_command=site.command())
        for at in range(5):
            exports.put(RIGHTS, {f"203.0.113.{at}": END}, NOW, at)
        assert site.runs() == 1
        assert not exports.due(NOW, 29)
        assert exports.due(NOW, 30)
        exports.renew({"203.0.113.4": END}, NOW, 30)
        assert site.runs() == 2
        assert not exports.due(NOW, 1000)

    def test_what_waits_for_its_time_is_not_forgotten_at_the_end_or_by_a_successor(
        self, site: Site
    ) -> None:
        exports = site.exports(opendkim=BOTH, opendkim_command=site.command())
        exports.put(RIGHTS, {}, NOW, 0)
        exports.put(RIGHTS, {"203.0.113.5": END}, NOW, 1)
        successor = site.exports(opendkim=BOTH, opendkim_command=site.command())
        successor.take_over(exports)
        successor.put(RIGHTS, {"203.0.113.5": END}, NOW, 2)
        assert site.runs() == 1
        assert successor.finish() == []
        assert site.runs() == 2
        assert successor.finish() == []
        assert site.runs() == 2

    def test_one_that_fails_is_told_and_run_again(self, site: Site) -> None:
        exports = site.exports(opendkim=BOTH, opendkim_command=("sh", "-c", "echo no >&2; exit 3"))
        (fault,) = exports.put(RIGHTS, {}, NOW, 0)
        assert fault == "exports.opendkim_command: sh: no"
        assert site.read("opendkim/InternalHosts") == ["127.0.0.1", "::1", *RIGHTS.trusted]
        assert not exports.due(NOW, 59)
        assert exports.due(NOW, 60)

    def test_none_is_run_where_none_is_set(self, site: Site) -> None:
        exports = site.exports(opendkim=BOTH)
        assert exports.put(RIGHTS, {}, NOW, 0) == []
        assert not exports.due(NOW, 1000)

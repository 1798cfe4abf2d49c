"""The trusted list in force: its file, what DNS says of its names, and the published table."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.names import NameServer, silence
from tests.moments import NOW, after, login_line
from tracker import config
from tracker.answers import keep
from tracker.engine import Engine
from tracker.records import Answer, NameAnswers
from tracker.resolver import Resolver
from tracker.settings import Settings

NAME = "mail.example.com"
START = NOW.timestamp()


class Here:
    """One installation in a folder, with the engine's clock in the test's hand."""

    def __init__(self, folder: Path, postfix: Path) -> None:
        self.now = NOW
        self.log = folder / "mail.log"
        self.trusted = folder / "trusted.txt"
        self.state = folder / "state"
        self.maps = self.state / "maps"
        self.postfix = postfix
        self.state.mkdir()
        self._open: list[Engine] = []

    def settings(self, more: str = "") -> Settings:
        return config.parse(
            f'[log]\nfiles = ["{self.log}"]\n'
            f'[tables]\ndirectory = "{self.maps}"\n'
            f'[state]\ndirectory = "{self.state}"\n'
            f'[postfix]\nconfig_directory = "{self.postfix}"\n'
            f'[trusted]\nfile = "{self.trusted}"\n' + more,
            "popgate.toml",
        )

    def engine(self, more: str = "", *, follow: bool = True) -> Engine:
        made = Engine(self.settings(more), follow=follow, clock=lambda: self.now)
        self._open.append(made)
        made.start()
        return made

    def asking(self, server: NameServer, *, start: bool = False) -> Engine:
        """One that looks names up, by the real clock; with `start`, in its own thread."""
        settings = self.settings(f'nameservers = ["{server.address}"]\ntimeout = "1s"\n')
        resolver = Resolver(settings.trusted, self.state)
        made = Engine(settings, follow=True, resolver=resolver)
        if start:
            resolver.start()
        self._open.append(made)
        made.start()
        return made

    def close(self) -> None:
        for engine in self._open:
            engine.close()


@pytest.fixture
def here(tmp_path: Path, postfix_config: Path) -> Iterator[Here]:
    made = Here(tmp_path, postfix_config)
    yield made
    made.close()


def dns_says(site: Here, *addresses: str, expires: float = 300, trouble: str | None = None) -> None:
    """What a resolver has kept."""
    v4 = Answer(addresses, after(expires), trouble)
    keep(site.state, {NAME: NameAnswers(v4, Answer((), after(expires), trouble))})


def table(site: Here) -> str:
    return (site.maps / "trusted.cidr").read_text()


def test_a_name_is_in_the_table_with_its_address_below_it(here: Here) -> None:
    here.trusted.write_text(f"198.51.100.0/24\n{NAME}   # their server\n")
    dns_says(here, "203.0.113.5")
    here.engine()
    assert table(here).splitlines()[1:] == [
        "# 198.51.100.0/24",
        "198.51.100.0/24 OK",
        f"# {NAME}  their server",
        "203.0.113.5/32 OK",
    ]


def test_a_name_without_an_answer_is_in_the_table_without_an_address(here: Here) -> None:
    here.trusted.write_text(f"{NAME}\n")
    here.engine()
    assert table(here).splitlines()[1:] == [f"# {NAME} (has no address now)"]


def test_an_address_that_a_name_has_no_more_is_dropped_and_its_grant_stays(here: Here) -> None:
    here.trusted.write_text(f"{NAME}\n")
    dns_says(here, "203.0.113.5")
    here.log.write_text(login_line("203.0.113.5"))
    engine = here.engine()
    engine.step()
    assert engine.publisher._live.keys() == {"203.0.113.5"}
    dns_says(here, "203.0.113.6")
    engine.reread_trusted()
    assert "203.0.113.6/32 OK" in table(here)
    assert "203.0.113.5" not in table(here)
    assert engine.publisher._live.keys() == {"203.0.113.5"}


def test_the_same_answer_again_publishes_nothing(here: Here) -> None:
    here.trusted.write_text(f"{NAME}\n")
    dns_says(here, "203.0.113.5")
    engine = here.engine()
    before = (here.maps / "trusted.cidr").stat().st_mtime_ns
    trusted = engine.trusted
    dns_says(here, "203.0.113.5", expires=600)
    engine.reread_trusted()
    assert engine.trusted is trusted
    assert (here.maps / "trusted.cidr").stat().st_mtime_ns == before


def test_while_dns_is_silent_an_address_stays_for_the_time_set_and_is_reported(
    here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "popgate")
    here.trusted.write_text(f"{NAME}\n")
    dns_says(here, "203.0.113.5")
    engine = here.engine('stale = "2h"\n')
    dns_says(here, "203.0.113.5", trouble="silent")
    here.now = after(7200)
    engine.reread_trusted()
    engine.reread_trusted()
    assert "203.0.113.5/32 OK" in table(here)
    stale = [r.getMessage() for r in caplog.records if "event=name_stale" in r.getMessage()]
    assert stale == [
        f"event=name_stale name={NAME} addresses='203.0.113.5' refused='' trouble='silent'"
    ]
    here.now = after(300 + 7200 + 60)
    engine.reread_trusted()
    assert "203.0.113.5" not in table(here)
    assert "event=name_unresolved" in caplog.text


def test_a_stale_address_goes_too_when_nobody_runs_but_expire(here: Here) -> None:
    here.trusted.write_text(f"{NAME}\n")
    dns_says(here, "203.0.113.5")
    here.engine().close()
    here.now = after(300 + 86400 + 60)
    here.engine(follow=False)
    assert "203.0.113.5" not in table(here)


def test_names_of_the_last_good_list_are_followed_on_beside_a_bad_one(here: Here) -> None:
    here.trusted.write_text(f"{NAME}\n")
    dns_says(here, "203.0.113.5")
    engine = here.engine()
    here.trusted.write_text(f"{NAME}\n10.1\n")
    engine.reread_trusted()
    dns_says(here, "203.0.113.6")
    engine.reread_trusted()
    assert "203.0.113.6/32 OK" in table(here)


def test_a_list_with_new_names_is_taken_up_when_dns_has_been_asked_for_them(here: Here) -> None:
    """Else `!name` would take all that is below it out until the answer is there."""
    here.trusted.write_text("203.0.113.0/24\n")
    with NameServer() as server:
        server.delay = 0.3
        server.set("guest.example.com", "A", "203.0.113.7")
        engine = here.asking(server, start=True)
        here.trusted.write_text("!guest.example.com\n203.0.113.0/24\n")
        seen = {table(here)}
        while "203.0.113.7/32 DUNNO" not in table(here):
            engine.reread_trusted()
            seen.add(table(here))
        assert len(seen) == 2
        engine.close()


def test_a_list_with_new_names_waits_no_longer_for_dns_than_a_question_may_take(
    here: Here,
) -> None:
    here.trusted.write_text("203.0.113.0/24\n203.0.114.0/24\n")
    with NameServer() as server:
        server.ways[""] = silence
        engine = here.asking(server, start=True)
        here.trusted.write_text(f"{NAME}\n203.0.113.0/24\n")
        while "203.0.114.0/24" in table(here):
            engine.reread_trusted()
        assert engine.trusted.trusts("203.0.113.5")
        engine.close()


class TestAFileThatIsBeingWritten:
    """The engine's clock is the file's here, a little later each time."""

    @pytest.fixture
    def engine(self, here: Here) -> Engine:
        here.trusted.write_text("203.0.113.5\n203.0.113.6\n")
        return here.engine()

    def at(self, here: Here, path: Path, seconds: float) -> None:
        here.now = datetime.fromtimestamp(path.stat().st_mtime + seconds, UTC)

    @pytest.mark.parametrize("half", ["", "203.0.113.5\n0.0.0.0/0"])
    def test_is_taken_up_when_it_is_left_alone(self, here: Here, engine: Engine, half: str) -> None:
        before = table(here)
        here.trusted.write_text(half)
        self.at(here, here.trusted, 0.1)
        engine.reread_trusted()
        assert table(here) == before
        assert engine.list_unsettled()
        here.trusted.write_text("203.0.113.5\n203.0.113.99\n")
        self.at(here, here.trusted, 0.3)
        engine.reread_trusted()
        assert "203.0.113.99/32 OK" in table(here)
        assert not engine.list_unsettled()

    def test_again_and_again_is_taken_up_all_the_same_in_the_end(
        self, here: Here, engine: Engine
    ) -> None:
        for number in range(60):
            here.trusted.write_text(f"203.0.113.{number}\n")
            os.utime(here.trusted, (START + number / 10, START + number / 10))
            self.at(here, here.trusted, 0.01)
            engine.reread_trusted()
        assert re.findall(r"^203.*OK", table(here), re.M) == ["203.0.113.50/32 OK"]

    @pytest.mark.parametrize("half", ["", "203.0.113.5\n203.0.113.1"])
    def test_and_is_never_more_than_half_is_not_taken_up(
        self, here: Here, engine: Engine, half: str
    ) -> None:
        before = table(here)
        for number in range(80):
            here.trusted.write_text(half)
            os.utime(here.trusted, (START + number / 10, START + number / 10))
            self.at(here, here.trusted, 0.01)
            engine.reread_trusted()
        assert table(here) == before

    def test_and_was_moved_away_for_that_is_not_an_empty_list(
        self, here: Here, engine: Engine
    ) -> None:
        before = table(here)
        here.trusted.unlink()
        self.at(here, here.trusted.parent, 0.1)
        engine.reread_trusted()
        assert table(here) == before
        self.at(here, here.trusted.parent, 0.3)
        engine.reread_trusted()
        assert "OK" not in table(here)


def test_a_comment_that_changes_is_written_and_costs_no_reload(here: Here) -> None:
    here.trusted.write_text("203.0.113.5 # old\n")
    engine = here.engine()
    engine.publisher._reload_wanted = False
    here.trusted.write_text("203.0.113.5 # new\n")
    engine.reread_trusted()
    assert "# 203.0.113.5  new" in table(here)
    assert engine.publisher.reload_due() is None
    here.trusted.write_text("203.0.113.6 # new\n")
    engine.reread_trusted()
    assert engine.publisher.reload_due() is not None


def test_names_are_looked_up_and_what_they_stand_for_published(here: Here) -> None:
    here.trusted.write_text(f"{NAME}\n")
    with NameServer() as server:
        server.set(NAME, "A", "203.0.113.5", "10.0.0.1", "127.0.0.1", ttl=300)
        engine = here.asking(server)
        assert "203.0.113.5" not in table(here)
        engine.look_names_up()
        assert "203.0.113.5/32 OK" in table(here)
        assert "10.0.0.1" not in table(here)
        assert "127.0.0.1" not in table(here)
        engine.close()
        again = here.asking(server)
        assert again.trusted.trusts("203.0.113.5"), "the answer has outlived the process"

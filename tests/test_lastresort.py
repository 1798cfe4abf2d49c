"""`popgate expire` where it knows nothing but the table: what is over ends all the same."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from msgspec import structs

from lab.popgate import Popgate
from tracker import config
from tracker.lastresort import end_by_table
from tracker.settings import PostfixSettings
from tracker.writing.postfix import Postfix

OVER, IN_FORCE = "198.51.100.7", "203.0.113.9"


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Popgate:
    log = tmp_path / "mail.log"
    log.touch()
    made = Popgate(tmp_path / "popgate", log, postfix_config)
    assert made.command("once").returncode == 0
    now = int(time.time())
    postfix(made).put(table(made), {OVER: str(now - 1), IN_FORCE: str(now + 3600)})
    return made


def postfix(site: Popgate) -> Postfix:
    return Postfix(PostfixSettings(config_directory=str(site.postfix)))


def table(site: Popgate) -> str:
    return f"lmdb:{site.maps}/pop_before_smtp"


def test_a_damaged_state_keeps_nothing_open(site: Popgate) -> None:
    for name in ("popgate.db-wal", "popgate.db-shm"):
        (site.maps.parent / name).unlink(missing_ok=True)
    (site.maps.parent / "popgate.db").write_bytes(b"not a database" * 1000)
    done = site.command("expire")
    assert done.returncode == 3
    assert f"popgate: {OVER}: ended, since the table says that it is over" in done.stderr
    assert "popgate.db" in done.stderr
    assert postfix(site).read(table(site)).keys() == {IN_FORCE}


def test_a_bad_configuration_keeps_nothing_open(site: Popgate) -> None:
    with site.file.open("a") as file:
        file.write('\n[grants]\nwindow = "soon"\n')
    done = site.command("expire")
    assert done.returncode == 2
    assert "window" in done.stderr
    assert postfix(site).read(table(site)).keys() == {IN_FORCE}


@pytest.mark.parametrize("bad", ['\n[grants]\nwindow = "soon"\n', "\n\xff", "\n[grants\n"])
def test_nor_where_the_table_is_a_cidr_table(
    tmp_path: Path, postfix_config: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    """Also where nothing of the file can be read: the folder is the usual one then."""
    cidr = '[postfix]\ntable = "cidr"\n'
    (tmp_path / "mail.log").touch()
    made = Popgate(tmp_path / "popgate", tmp_path / "mail.log", postfix_config, cidr)
    assert made.command("once").returncode == 0
    now, text = int(time.time()), made.maps / "pop_before_smtp.cidr"
    with text.open("a") as file:
        file.write(f"{OVER} {now - 1}\n{IN_FORCE} {now + 3600}\nnonsense {now + 3600}\n")
    with made.file.open("ab") as file:
        file.write(bad.encode("latin-1"))
    sound, faults = config.as_far_as_sound(made.file)
    assert faults
    tables = structs.replace(sound.tables, directory=made.maps)
    host = PostfixSettings(config_directory=str(postfix_config))
    assert end_by_table(tables, host, now) == [OVER, "nonsense"]
    assert IN_FORCE in text.read_text()


def test_a_configuration_that_is_not_there_is_an_error_and_nothing_else(site: Popgate) -> None:
    site.file.unlink()
    done = site.command("expire")
    assert done.returncode == 2
    assert postfix(site).read(table(site)).keys() == {OVER, IN_FORCE}

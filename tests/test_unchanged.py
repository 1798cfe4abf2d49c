"""`popgate once --quiet` where nothing changed since the last one: it ends at a glance, and what
changes is seen."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.popgate import Popgate
from lab.processes import wait_for
from tests.moments import login_line
from tracker.config import load
from tracker.store import Store
from tracker.unchanged import holds


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Popgate:
    """One that has done all there was to do, and has noted it."""
    made = Popgate(tmp_path / "popgate", tmp_path / "mail.log", postfix_config)
    made.trusted.write_text("198.51.100.7\n")
    login(made)
    noted(made)
    return made


def log(site: Popgate) -> Path:
    return site.file.parents[1] / "mail.log"


def login(site: Popgate, address: str = "203.0.113.5", user: str = "alice") -> None:
    with log(site).open("a", encoding="utf-8") as file:
        file.write(login_line(address, user, f"{address}-{user}", datetime.now(UTC)))


def once(site: Popgate) -> None:
    done = site.command("once", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def noted(site: Popgate) -> None:
    note = site.maps.parent / "unchanged.json"
    note.unlink(missing_ok=True)

    def left() -> bool:
        once(site)
        return note.exists()

    wait_for("the note", left)


def works(site: Popgate, trace: Path) -> bool:
    """Whether a run did more than to look: then it asked Postfix, by running its commands."""
    prefix = ("strace", "-f", "-qq", "-e", "trace=execve", "-o", str(trace))
    done = site.command("once", "--quiet", prefix=prefix)
    assert (done.returncode, done.stderr) == (0, "")
    return "postmap" in trace.read_text()


def test_nothing_is_run_where_nothing_changed(site: Popgate, tmp_path: Path) -> None:
    assert not works(site, tmp_path / "trace")
    assert not works(site, tmp_path / "trace")


def test_the_log_counts_as_read_all_the_same(site: Popgate, tmp_path: Path) -> None:
    before = datetime.now(UTC)
    assert not works(site, tmp_path / "trace")
    store = Store.look(site.maps.parent)
    until = store.read_until()
    store.close()
    assert until is not None
    assert until > before


def _asked(site: Popgate) -> None:
    store = Store(site.maps.parent)
    store.ask_for_check()
    store.close()


CHANGES: dict[str, Callable[[Popgate], object]] = {
    "a login": login,
    "half a line": lambda site: os.write(os.open(log(site), os.O_WRONLY | os.O_APPEND), b"Nov"),
    "a rotated log": lambda site: os.link(log(site), f"{log(site)}.1"),
    "the trusted list": lambda site: site.trusted.write_text("198.51.100.8\n"),
    "the configuration": lambda site: site.file.write_text(site.file.read_text() + "\n"),
    "main.cf": lambda site: (site.postfix / "main.cf").write_text(
        (site.postfix / "main.cf").read_text() + "\n# changed\n"
    ),
    "a table's text": lambda site: (site.maps / "trusted.cidr").write_text("0.0.0.0/0 OK\n"),
    "the grant table": lambda site: (site.maps / "pop_before_smtp.lmdb").touch(),
    "a table that is gone": lambda site: (site.maps / "pop_before_smtp.lmdb").unlink(),
    "an admin's word": lambda site: site.command("allow", "203.0.113.9", "--for", "5m"),
    "an end of a grant by hand": lambda site: site.command("revoke", "203.0.113.5"),
    "a comparison asked for": _asked,
    "a state that is gone": lambda site: (site.maps.parent / "popgate.db").unlink(),
    "a note that cannot be read": lambda site: (site.maps.parent / "unchanged.json").write_text(""),
}


@pytest.mark.parametrize("what", CHANGES)
def test_is_seen(what: str, site: Popgate, tmp_path: Path) -> None:
    CHANGES[what](site)
    assert works(site, tmp_path / "trace")


def test_a_login_is_granted(site: Popgate) -> None:
    login(site, "203.0.113.77")
    once(site)
    assert "203.0.113.77 " in (site.maps / "pop_before_smtp.txt").read_text()


def test_a_table_that_somebody_edited_is_put_right(site: Popgate) -> None:
    (site.maps / "trusted.cidr").write_text("0.0.0.0/0 OK\n")
    once(site)
    assert "0.0.0.0/0" not in (site.maps / "trusted.cidr").read_text()


def test_a_log_that_is_gone_is_said(site: Popgate) -> None:
    log(site).unlink()
    done = site.command("once", "--quiet")
    assert done.returncode == 3
    assert str(log(site)) in done.stderr


def test_a_state_that_is_damaged_is_begun_anew(site: Popgate) -> None:
    (site.maps.parent / "popgate.db").write_bytes(b"no database" * 1000)
    done = site.command("once", "--quiet")
    assert done.returncode == 0
    assert "event=state_damaged" in done.stderr
    assert "203.0.113.5 " in (site.maps / "pop_before_smtp.txt").read_text()


def test_holds_until_a_grant_ends(site: Popgate) -> None:
    store = Store(site.maps.parent)
    (grant,) = store.grants()
    settings = load(site.file)
    checked = datetime.now(UTC) + settings.audit.check_interval
    try:
        assert grant.expires > checked
        assert not holds(site.file, settings, store, checked)
        site.command("allow", "203.0.113.9", "--for", "2m")
        noted(site)
        ends = min(one.expires for one in store.grants())
        assert holds(site.file, settings, store, ends - timedelta(seconds=1))
        assert not holds(site.file, settings, store, ends)
    finally:
        store.close()


def test_a_clock_that_was_put_back_is_seen(site: Popgate) -> None:
    store = Store(site.maps.parent)
    ahead = datetime.now(UTC) + timedelta(hours=1)
    assert store.heard(ahead)
    assert not store.heard(ahead - timedelta(seconds=1))
    store.close()


def test_by_hand_all_is_looked_at(site: Popgate, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    prefix = ("strace", "-f", "-qq", "-e", "trace=execve", "-o", str(trace))
    assert site.command("once", prefix=prefix).returncode == 0
    assert "postmap" in trace.read_text()


@pytest.mark.parametrize(
    "settings",
    ["[audit]\ncheck_interval = 0\n", "[exports]\npostscreen = ['trusted']\n"],
    ids=["compared at each start", "exports"],
)
def test_no_note_where_a_glance_would_not_do(
    settings: str, tmp_path: Path, postfix_config: Path
) -> None:
    site = Popgate(tmp_path / "popgate", tmp_path / "mail.log", postfix_config, settings)
    login(site)
    time.sleep(1.1)
    for _ in range(3):
        once(site)
        time.sleep(0.5)
    assert not (site.maps.parent / "unchanged.json").exists()

"""`popgate report` as an admin types it: the file it writes, and what it says of bad inputs."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lab.popgate import Popgate
from tests import weeks
from tests.conftest import require
from tests.moments import login_line
from tests.writing.test_page import Outline
from tracker.pseudonyms import names
from tracker.reporting import gather
from tracker.settings import (
    PrivacySettings,
    Settings,
    StateSettings,
    TableSettings,
    TrustedSettings,
)
from tracker.writing.page import html

ROOT = Path(__file__).parents[1]


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Popgate:
    """A popgate that one user has logged in to."""
    log = tmp_path / "mail.log"
    made = Popgate(tmp_path / "popgate", log, postfix_config)
    log.write_text(login_line("203.0.113.5", at=datetime.now(UTC)))
    assert made.command("once").returncode == 0
    return made


def report(site: Popgate, file: Path | str, *more: str) -> subprocess.CompletedProcess[str]:
    return site.command("report", "-o", str(file), "--no-doctor", *more)


def relay_denied(client: str) -> str:
    stamp = datetime.now(UTC).isoformat()
    return (
        f"{stamp} mail postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[{client}]: 554 5.7.1 "
        "<b@far.test>: Relay access denied; from=<a@b.test> to=<b@far.test> proto=ESMTP helo=<h>\n"
    )


def test_writes_a_page_that_its_owner_alone_can_read(site: Popgate, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("an older one")
    page.chmod(0o644)
    done = report(site, page)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{page}: ")
    assert page.stat().st_mode & 0o777 == 0o600
    text = page.read_text()
    Outline(text)
    assert "203.0.113.5" in text
    assert "alice<wbr>@example.com" in text
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_a_dash_is_standard_output(site: Popgate) -> None:
    done = report(site, "-")
    assert done.returncode == 0
    assert done.stdout.startswith("<!DOCTYPE html>")
    assert done.stdout.endswith("</html>\n")


def test_doctors_findings_stand_on_it(site: Popgate) -> None:
    text = site.command("report", "-o", "-").stdout
    assert 'id="findings"' in text
    assert "not-installed" in text
    assert 'id="findings"' not in report(site, "-").stdout


def test_postfixs_log_may_be_packed_and_be_several(site: Popgate, tmp_path: Path) -> None:
    (tmp_path / "one.log").write_text(relay_denied("203.0.113.66"))
    (tmp_path / "two.log.gz").write_bytes(gzip.compress(relay_denied("203.0.113.67").encode()))
    logs = [f"--postfix-log={tmp_path / name}" for name in ("one.log", "two.log.gz")]
    text = report(site, "-", *logs).stdout
    assert "203.0.113.66" in text
    assert "203.0.113.67" in text


def test_a_log_that_is_not_there_is_named_and_the_old_page_stays(
    site: Popgate, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_text("the old one")
    done = report(site, page, "--postfix-log=/nowhere/mail.log")
    assert done.returncode == 3
    assert done.stderr == "popgate: /nowhere/mail.log: cannot be read: No such file or directory\n"
    assert page.read_text() == "the old one"


def test_a_folder_that_is_not_there_is_named(site: Popgate, tmp_path: Path) -> None:
    done = report(site, tmp_path / "nowhere/report.html")
    assert done.returncode == 3
    assert "nowhere/.report.html.new: cannot be written: No such file or directory" in done.stderr


@pytest.mark.parametrize("since", ["soon", "0", "-1d", "99999d"])
def test_a_length_that_is_none_is_refused(site: Popgate, since: str) -> None:
    done = report(site, "-", f"--since={since}")
    assert done.returncode == 2
    assert "--since" in done.stderr


def test_a_trusted_list_with_a_mistake_is_said_on_the_page(site: Popgate) -> None:
    site.trusted.write_text("300.1.2.3\n")
    done = report(site, "-")
    assert done.returncode == 0
    assert "It cannot be read." in done.stdout
    assert "300.1.2.3" in done.stdout


def test_without_its_extra_it_says_what_to_install(site: Popgate, tmp_path: Path) -> None:
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent/svg.py").write_text("raise ModuleNotFoundError('absent', name='svg')\n")
    done = site.command("report", "-o", "-", PYTHONPATH=str(tmp_path / "absent"))
    assert done.returncode == 2
    assert "needs svg: pip install 'popgate[report]'" in done.stderr


def test_without_a_state_it_is_an_empty_page(tmp_path: Path, postfix_config: Path) -> None:
    fresh = Popgate(tmp_path / "popgate", tmp_path / "mail.log", postfix_config)
    done = report(fresh, "-")
    assert done.returncode == 0
    assert "Nobody may send by a grant now." in done.stdout
    assert not (fresh.maps.parent / "popgate.db").exists(), "a report makes nothing"


def open_python() -> tuple[str, str]:
    """A Python of our version that every user may run, and where it finds our libraries. Ours may
    lie in a home folder, where only its owner may look."""
    places = os.pathsep.join([str(ROOT), *(one for one in sys.path if "site-packages" in one)])
    ours = sys.version_info[:2]
    ask = f"import sys, click, msgspec, tracker; print(sys.version_info[:2] == {tuple(ours)})"
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    for program in ("/usr/bin/python3", sys.executable):
        tried = subprocess.run(
            [*nobody, program, "-c", ask],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        if (tried.returncode, tried.stdout.strip()) == (0, "True"):
            return program, places
    require("no Python of this version that other users may run, or they may not read popgate")
    raise AssertionError


def test_root_writes_where_popgates_user_may_not(site: Popgate, tmp_path: Path) -> None:
    require("only root becomes another user" if os.geteuid() != 0 else None)
    program, places = open_python()
    for path in (site.maps.parent, *site.maps.parent.rglob("*")):
        os.chown(path, 65534, 65534)
    ours = ("pytest-", "popen-", tmp_path.name)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder.name.startswith(ours):
            folder.chmod(0o755)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    page = private / "report.html"
    # As the package's command starts: the libraries where no Python looks by itself.
    known = f"import sys; sys.path[:0] = {places.split(os.pathsep)}"
    start = [program, "-I", "-c", f"{known}; from tracker.cli import main; main()"]
    (tmp_path / "click.py").write_text("raise SystemExit('what lies where root stands was run')\n")
    done = subprocess.run(
        [*start, "report", "-o", str(page), "--no-doctor", "--config", str(site.file)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (private / "report.html").stat().st_uid == 0
    owners = {path.stat().st_uid for path in site.maps.parent.rglob("popgate.db*")}
    assert owners == {65534}, "nothing of root's is left there"


def test_the_same_state_and_moment_give_the_same_page(tmp_path: Path) -> None:
    events = weeks.logins()[-300:]
    weeks.state(tmp_path, events)
    settings = Settings(
        state=StateSettings(directory=tmp_path),
        tables=TableSettings(directory=tmp_path / "maps"),
        trusted=TrustedSettings(file=tmp_path / "trusted.txt"),
    )
    pages = {html(gather(settings, weeks.SINCE, weeks.NOW)) for _ in range(2)}
    assert len(pages) == 1
    assert f"{weeks.NOW - timedelta(days=7):%-d %b %Y %H:%M}" in pages.pop()


def test_hidden_users_are_tokens_on_the_page(tmp_path: Path) -> None:
    weeks.state(tmp_path, weeks.logins()[-300:])
    settings = Settings(
        state=StateSettings(directory=tmp_path),
        tables=TableSettings(directory=tmp_path / "maps"),
        trusted=TrustedSettings(file=tmp_path / "trusted.txt"),
        privacy=PrivacySettings(hash_users=True),
    )
    token = names(settings, make=True)
    users = {one.user for one in weeks.logins()[-300:] if one.user}
    page = html(gather(settings, weeks.SINCE, weeks.NOW))
    assert not [user for user in users if user in page]
    assert [user for user in users if token(user) in page]

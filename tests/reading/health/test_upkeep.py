"""Crontabs, as the doctor reads them."""

from __future__ import annotations

from pathlib import Path

from tracker.reading.health.upkeep import crontabs


def test_lines_that_have_the_work_done_are_found_in_any_crontab(tmp_path: Path) -> None:
    (tmp_path / "cron.d").mkdir()
    (tmp_path / "cron.d/popgate").write_text(
        "# * * * * * root popgate once\n"
        "MAILTO=root\n"
        "* * * * * root /usr/bin/popgate once --config /etc/p.toml\n"
        "0 5 * * * root popgate report --out /srv/once.html\n"
    )
    (tmp_path / "root").write_text("* * * * * popgate expire # fail closed\n")
    lines, unseen = crontabs((str(tmp_path / "root"), str(tmp_path / "cron.d/*")))
    assert [line.split("popgate ", 1)[1] for line in lines] == [
        "expire # fail closed",
        "once --config /etc/p.toml",
    ]
    assert unseen == ""


def test_a_host_without_cron_has_no_lines(tmp_path: Path) -> None:
    assert crontabs((str(tmp_path / "crontab"), str(tmp_path / "none/*"))) == ((), "")

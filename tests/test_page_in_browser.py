"""The report's page in a real browser: on desk and phone, in the dark, on paper, by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.chromium import Chromium
from tests import weeks
from tests.conftest import require
from tests.writing.test_page import HOSTILE, page
from tracker.reporting import gather
from tracker.settings import Settings, StateSettings, TableSettings, TrustedSettings
from tracker.writing.page import html

PHONE, DESK = 390, 1280

# Every text that is seen, with how much it stands out from what lies behind it (WCAG 2.2, 1.4.3).
CONTRASTS = """
(() => {
  const bright = rgb => {
    const [r, g, b] = rgb.map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some(one => one.nodeType === 3 && one.data.trim());
    if (!own || !node.getClientRects().length || node.closest('title, desc')) continue;
    const style = getComputedStyle(node);
    const colour = node.closest('svg') ? style.fill : style.color;
    const [a, b] = [bright(parse(colour).slice(0, 3)), bright(behind(node))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.tagName + '.' +
      node.className + ': ' + node.textContent.trim().slice(0, 40)]);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    missing = Chromium.missing()
    require(f"not installed: {' '.join(missing)}" if missing else None)
    with Chromium() as made:
        yield made


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a week of a made-up host, with Postfix's log."""
    folder = tmp_path_factory.mktemp("week")
    (folder / "mail.log").write_text(weeks.mail_log())
    weeks.state(folder)
    (folder / "trusted.txt").write_text("!198.51.100.128/25\n198.51.100.0/24 # the office\n")
    return write(settings(folder), folder, str(folder / "mail.log"))


def settings(folder: Path) -> Settings:
    return Settings(
        state=StateSettings(directory=folder),
        tables=TableSettings(directory=folder / "maps"),
        trusted=TrustedSettings(file=folder / "trusted.txt"),
    )


def write(of: Settings, folder: Path, *logs: str) -> Path:
    file = folder / "report.html"
    file.write_text(html(gather(of, weeks.SINCE, weeks.NOW, logs)), encoding="utf-8")
    return file


def width(browser: Chromium) -> int:
    return int(browser.ask("document.documentElement.scrollWidth"))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("wide", [PHONE, DESK])
def test_the_page_of_a_week_fits_and_can_be_read(
    browser: Chromium, week: Path, tmp_path: Path, wide: int, dark: bool
) -> None:
    browser.look(wide, dark=dark)
    browser.open(week)
    assert width(browser) <= wide
    assert browser.picture(tmp_path / "page.png")[:4] == b"\x89PNG"
    contrasts: list[tuple[float, str]] = browser.ask(CONTRASTS)
    assert len(contrasts) > 300
    assert [one for one in contrasts if one[0] < 4.5] == []


def test_light_and_dark_are_the_readers_choice(browser: Chromium, week: Path) -> None:
    papers = []
    for dark in (False, True):
        browser.look(DESK, dark=dark)
        browser.open(week)
        papers.append(browser.ask("getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(251, 250, 248)", "rgb(20, 23, 26)"]


def test_it_asks_the_network_for_nothing_and_the_policy_lets_its_own_style_in(
    browser: Chromium, week: Path
) -> None:
    browser.look(DESK)
    browser.open(week)
    assert browser.requested == [week.as_uri()]
    assert browser.complaints == []
    assert browser.ask("document.styleSheets.length") == 1


def test_columns_and_strips_are_drawn_within_their_charts(browser: Chromium, week: Path) -> None:
    outside = """
      [...document.querySelectorAll('svg')].filter(one => one.getClientRects().length)
        .flatMap(one => [...one.querySelectorAll('rect')].map(rect =>
          [one.getBoundingClientRect(), rect.getBoundingClientRect()]))
        .filter(([all, one]) => one.width <= 0 || one.height <= 0 || one.left < all.left - 1 ||
          one.right > all.right + 1 || one.top < all.top - 1 || one.bottom > all.bottom + 1).length
    """
    for wide in (PHONE, DESK):
        browser.look(wide)
        browser.open(week)
        assert browser.ask("document.querySelectorAll('rect.column').length") > 200
        assert browser.ask("document.querySelectorAll('rect.stretch').length") > 100
        assert browser.ask(outside) == 0


def test_hostile_words_run_nothing_and_break_no_layout(browser: Chromium, tmp_path: Path) -> None:
    for word in (HOSTILE, "w" * 5000, "<svg onload=document.title=1>", "&lt;b&gt;" * 9):
        file = tmp_path / "hostile.html"
        file.write_text(html(page(word=word)), encoding="utf-8")
        browser.look(PHONE)
        browser.open(file)
        assert width(browser) <= PHONE
        assert browser.complaints == []
        assert browser.ask("document.title").startswith("popgate on mail")
        assert browser.ask("document.querySelectorAll('script, img, [onload]').length") == 0


def test_the_keyboard_reaches_the_report_first_and_every_wide_table(
    browser: Chromium, week: Path
) -> None:
    browser.look(DESK)
    browser.open(week)
    browser.press("Tab")
    assert browser.ask("document.activeElement.textContent") == "To the report"
    assert browser.ask("document.activeElement.getBoundingClientRect().left") >= 0
    reached: list[Any] = []
    for _ in range(40):
        browser.press("Tab")
        reached.append(browser.ask("document.activeElement.getAttribute('aria-labelledby')"))
    assert {"h-grants", "h-timeline", "h-users", "h-shared", "h-trusted"} <= set(reached)


def test_it_prints_in_black_on_white_without_what_paper_cannot_do(
    browser: Chromium, week: Path
) -> None:
    browser.look(800, dark=True, paper=True)
    browser.open(week)
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.ask("getComputedStyle(document.querySelector('nav')).display") == "none"
    pages = browser.pdf().count(b"/Type /Page\n")
    assert 3 <= pages <= 20


def test_a_hundred_thousand_grants_are_one_small_page(browser: Chromium, tmp_path: Path) -> None:
    weeks.many(tmp_path, 100_000)
    file = write(settings(tmp_path), tmp_path)
    assert file.stat().st_size < 2_000_000
    browser.look(PHONE)
    browser.open(file)
    assert width(browser) <= PHONE
    words = browser.ask("document.body.innerText")
    assert "100,000 grants for 100,000 addresses" in words
    assert "200 of 100,000 addresses are listed" in words


def test_ten_grants_are_all_listed(browser: Chromium, tmp_path: Path) -> None:
    weeks.many(tmp_path, 10)
    browser.look(DESK)
    browser.open(write(settings(tmp_path), tmp_path))
    assert browser.ask("document.querySelectorAll('#grants tbody tr').length") == 10
    assert "are listed" not in browser.ask("document.querySelector('#grants').innerText")

"""The report's page: a golden file, hostile words, bounds, and what its HTML must have.

`pytest tests/writing/test_page.py --accept` takes the present page as the new golden file.
"""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.deciding.test_overview import grant, life, overview
from tests.weeks import NOW, SINCE
from tracker.deciding.health.catalogue import Diagnosis
from tracker.deciding.overview import Overview
from tracker.deciding.views import Mattered, Page, TableRow, TrustedRow
from tracker.records import SmtpLine
from tracker.writing.charts import nice
from tracker.writing.page import html, length_of, size_of

GOLDEN = Path(__file__).with_name("golden") / "report.html"
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J\u202e\n</style>'
HOUR = timedelta(hours=1)


def page(seen: Overview | None = None, word: str = "alice@example.com") -> Page:
    """A page of a quiet host. `word`: what strangers chose."""
    if seen is None:
        seen = overview(life(user=word), life("198.51.100.20", word), life("198.51.100.20", "bob"))
        seen.grant(grant("198.51.100.20", HOUR, word))
        seen.counted("login", NOW - 2 * HOUR, 3)
        seen.mail([SmtpLine(NOW - HOUR, "203.0.113.9", "relay")])
    return Page(
        host="mail",
        version="0.1.0",
        view=seen.view(),
        began=SINCE - HOUR,
        logs=(f"/var/log/{word}",),
        trusted=(
            TrustedRow(1, f"!{word}", False, word, ("192.0.2.1",), 3, word, Mattered(2, NOW)),
            TrustedRow(2, "198.51.100.0/24", True, "", (), 0, "", None),
        ),
        trusted_all=2,
        trusted_trouble="",
        tables=(TableRow("trusted.cidr", "the trusted list", 1, 166, NOW - 26 * HOUR),),
        findings=(Diagnosis("error", "open-relay", word, word, word, word),),
    )


class Outline(HTMLParser):
    """What a page is made of; fails where an element is not closed."""

    _VOID = frozenset({"meta", "br", "wbr", "img", "link", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in tags]


def test_the_page_is_as_its_golden_file(request: pytest.FixtureRequest) -> None:
    text = html(page())
    if request.config.getoption("--accept"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_hostile_words_stay_words() -> None:
    text = html(page(word=HOSTILE))
    tags = {tag for tag, _ in Outline(text).tags}
    assert not tags & {"script", "img"}
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
    assert text.count("</style>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert not [name for _, those in Outline(text).tags for name in those if name.startswith("on")]


def test_a_long_name_is_cut() -> None:
    text = html(replace(page(word="x" * 4000), logs=(), trusted=(), findings=None))
    assert "x" * 79 + "…" in text
    assert "x" * 80 not in text


def test_nothing_is_loaded_from_anywhere() -> None:
    text = html(page())
    outline = Outline(text)
    assert not outline.all("script", "link", "iframe", "img", "object", "form", "base")
    assert all(str(one["href"]).startswith("#") for one in outline.all("a"))
    assert "url(" not in text
    assert "@import" not in text
    assert not [those for _, those in outline.tags if "style" in those], "the policy allows none"


def test_the_outline_is_that_of_a_document() -> None:
    outline = Outline(html(page()))
    assert len(outline.all("h1")) == 1
    for one in ("html", "main", "header", "nav", "footer"):
        assert len(outline.all(one)) == 1
    ids = [those["id"] for _, those in outline.tags if "id" in those]
    assert len(ids) == len(set(ids))
    named = [those["aria-labelledby"] for _, those in outline.tags if "aria-labelledby" in those]
    named += [str(one["href"])[1:] for one in outline.all("a")]
    assert set(named) <= set(ids)


def test_tables_have_captions_and_headings_with_a_scope() -> None:
    outline = Outline(html(page()))
    assert len(outline.all("caption")) == len(outline.all("table"))
    assert all(one.get("scope") in ("row", "col") for one in outline.all("th"))


def test_charts_tell_in_words_what_they_show_and_have_a_table() -> None:
    text = html(page())
    charts = [one for one in Outline(text).all("svg") if one.get("role") == "img"]
    assert len(charts) == 3
    assert all(one["aria-labelledby"] and one["aria-describedby"] for one in charts)
    assert "3 accepted logins in all; the most, 3, from 24 Nov 2026 14:00 UTC" in text
    assert "<summary>The same as a table</summary>" in text
    rest = [one for one in Outline(text).all("svg") if one.get("role") != "img"]
    assert rest
    assert all(one["aria-hidden"] == "true" for one in rest)


def test_a_page_of_nothing_says_so_in_each_part() -> None:
    empty = replace(
        page(Overview(SINCE, NOW)),
        began=None,
        logs=(),
        trusted=(),
        trusted_all=0,
        tables=(),
        findings=(),
    )
    text = html(empty)
    for words in (
        "Nobody may send by a grant now.",
        "No history yet.",
        "No grant in this time.",
        "No login earned a grant in this time.",
        "Each address stood for one user.",
        "Give Postfix",
        "No address is trusted",
        "<code>popgate once</code> makes them",
        "Nothing found.",
    ):
        assert words in text
    Outline(text)


def test_lists_that_are_cut_say_so() -> None:
    seen = overview()
    for place in range(500):
        seen.grant(grant(f"10.0.{place // 250}.{place % 250}", HOUR))
    assert "200 of 500 addresses are listed" in html(page(seen))


def test_a_trusted_list_that_cannot_be_read_is_said() -> None:
    broken = replace(page(), trusted=(), trusted_trouble="trusted.txt:3: 'x': expected an address")
    assert "trusted.txt:3: &#39;x&#39;: expected an address" in html(broken)


def test_a_year_of_grants_around_the_clock_stays_small() -> None:
    since = NOW - timedelta(days=365)
    seen = Overview(since, NOW)
    for address in range(60):
        for place in range(0, 24 * 365, 3):
            begin = since + place * HOUR
            seen.life(life(f"203.0.113.{address}", began=begin, ended=begin + HOUR))
    assert len(html(page(seen))) < 2_000_000


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (timedelta(days=2, hours=3, minutes=4), "2 d 3 h"),
        (timedelta(hours=3, minutes=4, seconds=5), "3 h 4 min"),
        (timedelta(days=7), "7 d"),
        (timedelta(minutes=29, seconds=59), "29 min"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(seconds=-5), "0 s"),
    ],
)
def test_a_length_is_shown_in_its_largest_units(length: timedelta, shown: str) -> None:
    assert length_of(length) == shown


def test_sizes_and_scales_are_round() -> None:
    assert [size_of(n) for n in (999, 12_288, 2_500_000)] == ["999 B", "12.3 kB", "2.5 MB"]
    assert [nice(n) for n in (0, 1, 3, 7, 11, 110, 161)] == [2, 2, 4, 8, 12, 120, 200]

"""A line costs no more steps than its length, whatever stands in it: counted, not timed.

PCRE2 counts how often it tries anew within a match, and gives up at a limit (match_limit in
pcre2api(3)). The smallest limit under which a line is read to its end is what the line costs.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

from tests.reading.scanning import NOW
from tests.reading.settings import OF_LOG
from tests.reading.test_corpus import CORPUS
from tracker.reading.certain import CERTAIN_ADDRESS, CERTAIN_STAMP
from tracker.reading.dovecot import fit
from tracker.reading.expression import build
from tracker.reading.formats import find, names
from tracker.reading.pcre import STEPS, Expression, TooManyStepsError
from tracker.reading.scanner import LONGEST_LINE, Scanner
from tracker.reading.timestamps import StampReader

_PARSER: Any = importlib.import_module("re._parser")
PACKAGED = sorted(names(None))
SHORT, LONG = 8000, LONGEST_LINE - 1000


def steps(pattern: str, line: bytes) -> int:
    """The smallest limit under which the line is read to its end."""
    low, high = 0, 1
    while not within(pattern, line, high):
        low, high = high, high * 2
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if within(pattern, line, middle) else (middle, high)
    return high


def within(pattern: str, line: bytes, limit: int) -> bool:
    try:
        Expression(pattern, limit, jit=False).rewrite(line, b"")
    except TooManyStepsError:
        return False
    return True


def stretched(line: str) -> list[tuple[str, str, str]]:
    """The line, cut at each of its words: what stands before, a piece to repeat, what comes after.

    The pieces are all that the line is made of, and what its pattern looks for.
    """
    words = re.findall(r"[A-Za-z0-9@.:/+-]+|.", line)
    at = len(" ".join(line.split(" ")[:5]))
    cuts: list[tuple[str, str, str]] = []
    for number in range(1, len(words)):
        before, after = "".join(words[:number]), "".join(words[number:])
        if len(before) >= at:
            cuts += [(before, piece, after) for piece in {words[number], after, ", ", "x", ")<1><"}]
    return cuts


@pytest.mark.parametrize("name", sorted(OF_LOG))
def test_so_it_is_under_other_settings_of_dovecot(name: str) -> None:
    one = fit(find("dovecot", None), OF_LOG[name])
    pattern, _ = build([one])
    lines = (CORPUS / f"{name}.log").read_text(encoding="utf-8").split("\n")
    for line in {line.split(": ", 2)[-1][:12]: line for line in lines if ": " in line}.values():
        for before, piece, after in stretched(line)[::7]:
            long = of_length(LONG, before, piece, after)
            assert within(pattern, long, STEPS), (before, piece, after)
            if not within(pattern, long, LONG):
                most = 10 * steps(pattern, of_length(SHORT, before, piece, after))
                assert within(pattern, long, most), (before, piece, after)
    for own in (one.tag, one.own_log, *(pattern.regex for pattern in one.patterns)):
        assert unbounded(_PARSER.parse(own or "")) == [], own


@pytest.mark.parametrize("name", PACKAGED)
def test_a_line_of_eight_times_the_length_takes_eight_times_the_steps(name: str) -> None:
    """From the length on that every bounded part of a pattern may have."""
    one = find(name, None)
    pattern, _ = build([one])
    for example in one.examples:
        for before, piece, after in stretched(example.line.split("\n")[-1]):
            long = of_length(LONG, before, piece, after)
            assert within(pattern, long, STEPS), (before, piece, after)
            if not within(pattern, long, LONG):
                most = 10 * steps(pattern, of_length(SHORT, before, piece, after))
                assert within(pattern, long, most), (before, piece, after)


def of_length(length: int, before: str, piece: str, after: str) -> bytes:
    return f"{before}{(piece * length)[:length]}{after}\n".encode()


def test_what_would_take_too_long_is_left_out_and_counted() -> None:
    scanner = Scanner([find("dovecot", None)], StampReader(NOW))
    scanner._expression = Expression(r"(?m)^(?:a|aa)*c(*:0)", 1000)
    assert scanner.scan(b"a" * 100 + b"b c\n" + b"x\n").items == []
    assert scanner.given_up == 1


# The same by reading the patterns


def unbounded(parsed: Any) -> list[str]:
    """The quantifiers in a parsed pattern that can give back as much as they like."""
    found: list[str] = []
    for operation, argument in parsed:
        name = str(operation)
        if name in {"MAX_REPEAT", "MIN_REPEAT"} and argument[1] is _PARSER.MAXREPEAT:
            found.append(name)
        for inner in _inner(argument):
            found += unbounded(inner)
    return found


def _inner(argument: Any) -> list[Any]:
    if isinstance(argument, _PARSER.SubPattern):
        return [argument]
    if isinstance(argument, tuple | list):
        return [inner for one in argument for inner in _inner(one)]
    return []


def test_unbounded_quantifiers_are_found() -> None:
    assert unbounded(_PARSER.parse("(?:a|b(?=c+))d*?")) == ["MAX_REPEAT", "MIN_REPEAT"]
    assert unbounded(_PARSER.parse("a++(?:b{1,9}|c*+)[*+]")) == []


@pytest.mark.parametrize("piece", [CERTAIN_STAMP, CERTAIN_ADDRESS])
def test_so_they_are_in_what_is_tried_before_a_stamp_or_an_address(piece: str) -> None:
    assert unbounded(_PARSER.parse(piece)) == []


@pytest.mark.parametrize("name", PACKAGED)
def test_every_quantifier_is_bounded_or_possessive(name: str) -> None:
    one = find(name, None)
    for text in [one.tag, one.own_log, *(pattern.regex for pattern in one.patterns)]:
        assert unbounded(_PARSER.parse(text or "")) == [], text

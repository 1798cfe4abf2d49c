"""The templates of all texts that popgate writes.

A template that asks for a value it is not given fails here (StrictUndefined), never in the program
that reads the text. In a page (`.html.j2`) every value is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import jinja2

_PIECES = 10_000


def fill(
    template: str, filters: Mapping[str, Callable[[Any], str]] | None = None, /, **values: Any
) -> str:
    """The text that a template gives for these values, with these filters to show them."""
    environment = _environment()
    if filters:
        environment = environment.overlay()
        environment.filters = {**environment.filters, **filters}
    pieces = environment.get_template(template).generate(**values)
    # A list of all pieces of a large table would take many times the memory of its text.
    return "".join(iter(lambda: "".join(islice(pieces, _PIECES)), ""))


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_template_folders()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
    )


def _template_folders() -> list[Path]:
    """In the wheel the templates lie in the package, in a checkout beside it."""
    package = Path(__file__).parents[1]
    return [package / "templates", package.parent / "templates"]

"""Files of domains, senders and clients, and the settings that name them, as entries.

A file that is missing is an empty list, as a trusted list that is missing is; one that cannot be
understood is an error with all its lines, so that the last good list stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tracker import regular
from tracker.deciding import lists
from tracker.errors import ListError
from tracker.records import ListEntry


def read(
    setting: str, written: Iterable[str], files: Iterable[Path], *, only_domains: bool = False
) -> list[ListEntry]:
    """The entries of a setting and of the files that go with it. Raises ListError."""
    parse = lists.domain if only_domains else lists.entry
    found = [parse(text, setting) for text in written]
    problems: list[str] = []
    for file in files:
        try:
            entries = lists.parse(_text(file), str(file))
        except ListError as error:
            problems.append(str(error))
            continue
        problems += [
            f"{one.where}: {one.key!r} is no domain: write example.com or .example.com"
            for one in entries
            if only_domains and one.kind != "domain"
        ]
        found += entries
    if problems:
        raise ListError("\n".join(problems))
    return found


def _text(file: Path) -> str:
    try:
        return regular.read_text(file)
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ListError(f"{file}: cannot be read: {error}") from error

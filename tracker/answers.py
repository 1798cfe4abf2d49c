"""What DNS last said of the host names, kept in `names.json` of the state folder.

So a restart, or a DNS that is dead when the host comes up, takes nobody's right away. A file that
cannot be read counts as none: the names are asked anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tracker.records import NameAnswers
from tracker.regular import read_bytes, stage

log = logging.getLogger("popgate")

_NAME = "names.json"


def remembered(directory: Path) -> dict[str, NameAnswers]:
    """The answers that were kept in a state folder, by name."""
    file = directory / _NAME
    try:
        return msgspec.json.decode(read_bytes(file), type=dict[str, NameAnswers])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("event=unreadable file=%s error=%r action=%r", file, str(error), "asked anew")
        return {}


def keep(directory: Path, answers: Mapping[str, NameAnswers]) -> None:
    """Replace the file. Where that fails it is said, and the old one stays."""
    file = directory / _NAME
    staged = file.with_name(f".{_NAME}.new")
    try:
        stage(staged, msgspec.json.encode(answers), 0o600)
        os.replace(staged, file)
    except OSError as error:
        log.warning("event=unwritable file=%s error=%r", file, error.strerror)

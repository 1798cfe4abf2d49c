"""An editor on a copy of the trusted list, and what visudo asks when the outcome is not right."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import click

from tracker.cli.doubts import warnings
from tracker.deciding.trusted import parse
from tracker.errors import ListFileError, TrustedError
from tracker.trusting import read_text

_CHOICES = {
    "e": "edit again",
    "b": "go back to the list as it was, and edit that",
    "q": "quit and save nothing",
    "s": "save it as it is",
}


def edited(file: Path, old: str) -> str | None:
    """The text that the editor leaves and that is in order; None when the user saves nothing.

    Raises ListFileError when no editor can be run, or the file changed meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="popgate-") as folder:
        copy = Path(folder, file.name)
        copy.write_text(old, encoding="utf-8", newline="")
        while True:
            _run_editor(copy)
            new, doubts = _judged(file, copy, old)
            if new is not None and not doubts:
                break
            answer = _asked(doubts, sound=new is not None)
            if answer == "s":
                break
            if answer == "q":
                return None
            if answer == "b":
                copy.write_text(old, encoding="utf-8", newline="")
        if read_text(file) != old:
            kept = shutil.copy(copy, tempfile.mkdtemp(prefix="popgate-"))
            raise ListFileError(
                f"{file}: was changed by another meanwhile and is not replaced; yours is {kept}"
            )
        return new


def _judged(file: Path, copy: Path, old: str) -> tuple[str | None, list[str]]:
    """The text, None where it cannot be read, and what is wrong or doubtful about it."""
    try:
        new = read_text(copy)
        after = parse(new, str(file))
    except TrustedError as error:
        return None, str(error).splitlines()
    try:
        before = parse(old, str(file))
    except TrustedError:
        before = parse("", str(file))
    return new, warnings(file, before, after)


def _asked(doubts: list[str], *, sound: bool) -> str:
    """What to do now, by the user's word; the end of input is `q`."""
    for line in doubts:
        click.echo(f"popgate: {line}", err=True)
    choices = {key: text for key, text in _CHOICES.items() if sound or key != "s"}
    shown = ", ".join(f"{key} = {text}" for key, text in choices.items())
    try:
        answer: str = click.prompt(
            f"What now? {shown}", type=click.Choice(list(choices)), show_choices=False, err=True
        )
    except click.Abort:
        return "q"
    return answer


def _run_editor(copy: Path) -> None:
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    words = words or [next(filter(shutil.which, ("sensible-editor", "editor", "vi", "nano")), "vi")]
    try:
        done = subprocess.run([*words, str(copy)], check=False)
    except OSError as error:
        raise ListFileError(
            f"{words[0]}: cannot be run: {error.strerror}: set EDITOR; the list is as it was"
        ) from error
    if done.returncode != 0:
        raise ListFileError(
            f"{words[0]}: ended with exit code {done.returncode}; the list is as it was"
        )

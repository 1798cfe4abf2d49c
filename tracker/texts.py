"""Words that a client chose, made fit to be shown in tables, commits, logs and terminals, and words
of the admin's that should not be shown; pure."""

import re

_IN_URL = re.compile(r"(?<=://)[^/@\s\"']+(?=@)")


def printable(text: str) -> str:
    """The text without blanks, control and format characters, so that it cannot pretend to be more
    than one word on one line; each of them becomes `?`."""
    if text.isprintable() and " " not in text and "#" not in text:
        return text
    return "".join(char if char.isprintable() and char not in " #" else "?" for char in text)


def without_secrets(text: str) -> str:
    """The text without the user and the password of the URLs in it."""
    return _IN_URL.sub("***", text)


def visible(text: str, most: int = 200) -> str:
    """A note on one line: what cannot be seen becomes `?`, and a long one is cut."""
    if text.isprintable() and len(text) <= most:
        return text
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."

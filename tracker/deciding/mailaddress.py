"""Mail addresses taken apart and put together as Postfix does it; pure.

Postfix keeps an address in internal form, without quotes, and puts quotes round a local part only
where it takes the address apart again: tok822(3), quote_822_local(3), Postfix 3.7. So `"x@d"`
without a domain of its own is x at d, to Postfix and therefore here.
"""

from __future__ import annotations

from msgspec import Struct

_OPERATORS = frozenset('|%!()<>@,;:\\".[]')
_UNQUOTABLE = frozenset('()<>@,;:\\"[] ')
_BLANKS = frozenset(" \t\r\n")


class Token(Struct, frozen=True):
    """An operator (`kind` is its character), or a word, quoted text, literal or comment."""

    kind: str
    text: str = ""


def scan(text: str) -> list[Token]:
    """The tokens of an address in external form. Any text has some; none is an error."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char in _BLANKS:
            at += 1
        elif char == "[":
            literal, at = _collect(text, at + 1, frozenset("]"))
            tokens.append(Token("literal", literal))
            at += 1
        elif char == '"':
            quoted, at = _collect(text, at + 1, frozenset('"'))
            tokens.append(Token("quoted", quoted))
            at += 1
        elif char == "(":
            end = _comment_end(text, at)
            tokens.append(Token("comment", text[at:end]))
            at = end
        elif char in _OPERATORS and char != "\\":
            tokens.append(Token(char))
            at += 1
        else:
            word, at = _collect(text, at, _OPERATORS | _BLANKS)
            unclean = any(one in _OPERATORS or one < " " or one in " \x7f" for one in word)
            tokens.append(Token("quoted" if unclean else "word", word))
    return tokens


def _collect(text: str, at: int, ends: frozenset[str]) -> tuple[str, int]:
    """What stands up to one of `ends`, and where that is; a backslash takes what follows along."""
    found: list[str] = []
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
            if at == len(text):
                break
            char = text[at]
        elif char in ends:
            break
        found.append(" " if char in _BLANKS else char)
        at += 1
    return "".join(found), at


def _comment_end(text: str, at: int) -> int:
    level = 0
    while at < len(text):
        char = text[at]
        at += 2 if char == "\\" else 1
        level += (char == "(") - (char == ")")
        if level == 0:
            break
    return min(at, len(text))


def join(tokens: list[Token]) -> str:
    """The internal form of tokens: no quotes, a blank between words that would run together."""
    parts: list[str] = []
    for number, token in enumerate(tokens):
        if token.kind == "literal":
            parts.append(f"[{token.text}]")
        else:
            parts.append(token.text if len(token.kind) > 1 else token.kind)
        following = tokens[number + 1].kind if number + 1 < len(tokens) else "@"
        if len(token.kind) > 1 and len(following) > 1:
            parts.append(" ")
    return "".join(parts)


def quote(address: str) -> str:
    """The external form of an internal address: its local part quoted where it has to be."""
    route, local, domain = _parts(address)
    clean = (
        local
        and not local.startswith(".")
        and not local.endswith(".")
        and ".." not in local
        and all(char not in _UNQUOTABLE and char >= " " and char != "\x7f" for char in local)
    )
    if clean:
        return address
    escaped = "".join(f"\\{char}" if char in '"\\\r' else char for char in local)
    return f'{route}"{escaped}"{domain}'


def _parts(address: str) -> tuple[str, str, str]:
    """A source route with its colon, the local part, and the domain with its @."""
    start = address.find(":") + 1 if address.startswith("@") else 0
    end = address.rfind("@", start)
    return (
        address[:start],
        address[start : end if end >= 0 else None],
        address[end:] if end >= 0 else "",
    )


def internal(text: str) -> str:
    """The internal form of an address as a client writes it in MAIL FROM or RCPT TO; the angle
    brackets may be there or not. A source route before it (@a,@b:) is dropped, as smtpd does."""
    return join(_sent(text))


def is_one(text: str) -> bool:
    """Whether that is a single address. Postfix would look for one in a list of them."""
    return not any(token.kind in ",;<>" for token in _sent(text))


def _sent(text: str) -> list[Token]:
    written = text.strip()
    written = written[1:-1] if written.startswith("<") and written.endswith(">") else text
    if written.startswith("@") and ":" in written:
        written = written.partition(":")[2]
    return [token for token in scan(written) if token.kind != "comment"]


def last(tokens: list[Token], kind: str) -> int:
    """Where the last operator of a kind stands; -1 when there is none."""
    return max((at for at, token in enumerate(tokens) if token.kind == kind), default=-1)


def first(tokens: list[Token], kind: str) -> int:
    """Where the first operator of a kind stands; -1 when there is none."""
    return next((at for at, token in enumerate(tokens) if token.kind == kind), -1)

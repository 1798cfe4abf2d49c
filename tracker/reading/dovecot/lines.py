r"""The expressions for the lines that Dovecot's settings shape; pure.

A client chooses its user name, and with `auth_username_chars` empty it may be anything but control
bytes. What stands before it in a line is Dovecot's own and is matched from the left, once and for
all (every piece is possessive); what stands behind it is matched up to the end of the line. So the
address is the server's own when the end of the name can be told: the text behind the name must not
occur once more in what follows it (`ends_well`). Then a name that brings such text with it is read
as a name. Elements that are empty vanish with their comma, as in client_get_log_str() of Dovecot's
client-common.c; 2.4 leaves the last comma when the last element vanishes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from tracker.reading.dovecot.fences import (
    LOGIN_WORD,
    UNDELIMITED,
    VALUE,
    WORD,
    Atom,
    ends_well,
    is_delimited,
    occurs,
    text_before,
)
from tracker.reading.dovecot.template import ELEMENTS, MESSAGE, Template, Token, Value
from tracker.reading.patterns import Kind, Pattern

RAW = r"[^\n]{0,512}"
PLAIN = "[A-Za-z0-9@._+-]{0,320}+"
PLAIN_PREFIX = r"""[^ ()<>\[\]{}"',:;=|\n]{0,320}+"""


class Joint(Enum):
    """What the lines of a session have in common."""

    SESSION = "session"
    PROCESS = "pid"
    USER = "user"
    NOTHING = "nothing"


class _Message(NamedTuple):
    event: Kind
    piece: str
    shape: str
    present: frozenset[str]
    client: bool


_MESSAGES = (
    _Message("login", "login", "Logged in", frozenset(("word", "pid")), client=False),
    _Message("failed", "refused", f"{VALUE},{VALUE}", frozenset(("word",)), client=False),
    _Message("login", "started", VALUE, frozenset(("word",)), client=True),
    _Message("logout", "ended", VALUE, frozenset(("word",)), client=True),
)
"""What the login process says. `shape`: as in Atom, for the longest of its forms. `present`: the
mechanism (the piece `word`) and the mail process (the field pid) are named. `client`: it repeats
the name, so it cannot stand behind it."""


def login_patterns(line: Template, pieces: Mapping[str, str], joint: Joint) -> Iterator[Pattern]:
    """The patterns for the lines of the login processes. Raises FormatError where a client could
    pass for another one."""
    _check_login(line)
    for message in _MESSAGES:
        atoms = list(_line(line, pieces, message))
        fault = _fault(line, atoms)
        if fault is None:
            if message.client and _message_is_behind_text(line):
                continue
            head = pieces["login_service"] + pieces["level"]
            fields = {"user", "address", "session", "pid"}
            if joint in {Joint.PROCESS, Joint.NOTHING}:
                # The end of a proxied session has the elements too.
                fields -= {"session"} if not message.client else {"pid"}
            if joint != Joint.PROCESS:
                fields -= {"pid"}
            regex = head + _joined(atoms, fields, RAW if _texts(atoms) == 1 else PLAIN)
            yield Pattern(message.event, regex + r"(?=\n)", process="login")
        elif message.piece == "login":
            raise _culprit(line).refused(fault)


def mail_patterns(prefix: Template, pieces: Mapping[str, str], joint: Joint) -> Iterator[Pattern]:
    """The patterns for the end of a session, as its mail process writes it."""
    if joint == Joint.NOTHING:
        return
    atoms = [_atom(token, pieces, frozenset()) for token in prefix.tokens]
    if not all(is_delimited(atoms, place) for place, _ in enumerate(atoms)):
        raise prefix.refused(UNDELIMITED)
    fields = {"user", "address", "service"}
    fields |= {Joint.SESSION: {"session"}, Joint.PROCESS: {"pid"}}.get(joint, set())
    plain = _joined(atoms, fields, PLAIN_PREFIX)
    closed = pieces["level"] + pieces["closed"]
    tail = _tail(atoms)
    if not tail.strip(": "):
        # Nothing marks the end of the prefix, so only a plain name is one.
        yield Pattern("logout", plain + closed + pieces["end"], process="mail")
        return
    once = rf"(?![^\n]{{0,1024}}{re.escape(tail)}{closed})"
    yield Pattern("logout", plain + closed + once + pieces["end"], process="mail")
    places = [place for place, atom in enumerate(atoms) if atom.is_text()]
    if len(places) == 1 and ends_well(atoms[places[0] + 1 :], WORD, ""):
        # A name with blanks, brackets and the like, read from the end; not where the line begins
        # with a plain name: then what follows is somebody else's text.
        other = re.sub(r"\(\?P<[a-z]+>", "(?:", plain)
        raw = _joined(atoms, fields, RAW)
        guard = f"(?!{other}(?!{closed}))"
        yield Pattern("logout", guard + raw + closed + pieces["end"], process="mail")


def _tail(atoms: Sequence[Atom]) -> str:
    """The text at the end of the prefix."""
    last = max((n for n, atom in enumerate(atoms) if atom.value is not None), default=-1)
    return "".join(atom.shape for atom in atoms[last + 1 :])


def _check_login(line: Template) -> None:
    elements = line.elements
    assert elements is not None
    fields = [token.variable.field for token in elements.tokens if isinstance(token, Value)]
    if "address" not in fields:
        raise elements.refused("it has no %r (2.4: %{remote_ip}), the address of the client")
    if "user" not in fields:
        raise elements.refused("it has no %u (2.4: %{user})")
    if sorted(line.marks) != [ELEMENTS, MESSAGE]:
        raise line.refused("popgate needs %s and %$ (2.4: %{elements} and %{message}) once each")
    places = [place for place, token in enumerate(line.tokens) if isinstance(token, Value)]
    between = "".join(str(token) for token in line.tokens[places[0] + 1 : places[1]])
    if not between.strip() or between.startswith(","):
        raise line.refused("nothing tells the elements from the message: write one of ': ', ' - '")


def _message_is_behind_text(line: Template) -> bool:
    return line.marks == [ELEMENTS, MESSAGE]


def _culprit(line: Template) -> Template:
    assert line.elements is not None
    return line.elements


def _line(line: Template, pieces: Mapping[str, str], message: _Message) -> Iterator[Atom]:
    for place, token in enumerate(line.tokens):
        if isinstance(token, str):
            yield Atom(re.escape(token), token)
        elif token.name == MESSAGE:
            yield Atom(f"(?:{pieces[message.piece]})", message.shape, optional=True)
        else:
            after = line.tokens[place + 1 : place + 2]
            text = "".join(one for one in after if isinstance(one, str))
            yield from _elements(line, pieces, message, text)


def _elements(
    line: Template, pieces: Mapping[str, str], message: _Message, after: str
) -> Iterator[Atom]:
    assert line.elements is not None
    words = line.elements.words()
    needed = [_is_needed(word, message.present) for word in words]
    gone = [not need and _names_pid_alone(word) for word, need in zip(words, needed, strict=True)]
    end = re.escape(after) or r"\n"
    for place, word in enumerate(words):
        atoms = [_atom(token, pieces, message.present, alone=len(word)) for token in word]
        followed = any(needed[place + 1 :])
        last = place + 1 == len(words)
        if gone[place]:
            continue
        if last:
            comma = []
        elif followed or (line.modern and any(atom.is_text() for atom in atoms)):
            comma = [Atom(", ", ", ")]
        else:
            comma = [Atom(f"(?:, |(?={end}))", ", ", optional=True)]
        if needed[place]:
            yield from (*atoms, *comma)
        else:
            yield Atom("(?:", optional=True)
            yield from (atom._replace(optional=True) for atom in (*atoms, *comma))
            yield Atom(")?+", optional=True)


def _is_needed(word: Sequence[Token], present: frozenset[str]) -> bool:
    """Whether the element is in every line: Dovecot leaves out those whose variables are empty,
    but writes that of the user in any case."""
    values = [token.variable for token in word if isinstance(token, Value)]
    return not values or any(
        one.always or one.field == "user" or not present.isdisjoint({one.piece, one.field})
        for one in values
    )


def _names_pid_alone(word: Sequence[Token]) -> bool:
    values = [token.variable.field for token in word if isinstance(token, Value)]
    return values == ["pid"]


def _atom(token: Token, pieces: Mapping[str, str], present: frozenset[str], alone: int = 0) -> Atom:
    if isinstance(token, str):
        return Atom(re.escape(token), token)
    variable = token.variable
    if variable.piece is None:
        return Atom("", VALUE, value=token)
    regex = pieces[variable.piece]
    sure = variable.always or alone == 1 or not present.isdisjoint({variable.piece, variable.field})
    return Atom(regex if sure else f"(?:{regex}|)", VALUE, value=token)


def _texts(atoms: Sequence[Atom]) -> int:
    return sum(atom.is_text() for atom in atoms)


def _joined(atoms: Sequence[Atom], fields: set[str], text: str) -> str:
    """The expression, with a group for the first value of each of the fields."""
    chosen = _user_of(atoms)
    taken: set[str] = set()
    parts: list[str] = []
    for place, atom in enumerate(atoms):
        regex = text if atom.is_text() else atom.regex
        field = atom.field()
        if field in fields and field not in taken and (field != "user" or place == chosen):
            taken.add(field or "")
            regex = f"(?P<{field}>{regex})"
        parts.append(regex)
    return "".join(parts)


def _user_of(atoms: Sequence[Atom]) -> int | None:
    """The place of the user name: a full name rather than a part of one."""
    names = {
        n: atom.value.name for n, atom in enumerate(atoms) if atom.field() == "user" and atom.value
    }
    full = [n for n, name in names.items() if name in {"u", "user"}]
    return next(iter(full or names), None)


def _fault(line: Template, atoms: Sequence[Atom]) -> str | None:
    """Why a client could pass for another one, or under another name; None where none can."""
    if not all(is_delimited(atoms, place) for place, _ in enumerate(atoms)):
        return UNDELIMITED
    user = _user_of(atoms)
    assert user is not None
    rest = atoms[user + 1 :]
    if not ends_well(rest, LOGIN_WORD, "\n"):
        return (
            "the end of the user's name cannot be told from what the client put into it: write the "
            "name in quotes or as user=<..>, or as the last element"
        )
    if _texts(atoms) == 1:
        return None
    # Several texts of the client: each is read only as a plain name, and what stands right before
    # the address and the name must stand nowhere else.
    address = next(n for n, atom in enumerate(atoms) if atom.field() == "address")
    shape = "".join(atom.shape for atom in atoms)
    for place, what in ((address, "the address"), (user, "the user's name")):
        fence = text_before(atoms[:place])
        if fence is None or (fence and occurs(fence, shape) != 1):
            return (
                f"the client chooses more than one of its values, and nothing marks {what} among "
                "them: name each as in rip=%r, or take all but %u out"
            )
    return None

"""Nothing that a client can send gives a login that did not happen, or another client's address.

A model of Dovecot writes lines around a name that a client chose. What the model knows is what the
recorded logs show: the login process cuts a name at 80 characters and writes ? for control bytes
and for what is no UTF-8, the auth process does so at 64, the mail process writes it whole and raw.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reading.scanning import FORGED, events, logins
from tracker.reading.timestamps import STAMP
from tracker.records import Event, Failed, Login, Logout

CLIENT = "127.0.0.2"
SESSION = "dVCJuwFh/a9/AAAC"
END = f"method=PLAIN, rip={CLIENT}, lip=127.0.0.1, session=<{SESSION}>"

HEADS = {
    "rfc3164": "Nov 24 08:45:29 mailhost dovecot: ",
    "iso": "2026-11-24T08:45:29.310518+00:00 mailhost dovecot: ",
    "rfc5424": "<22>1 2026-11-24T08:45:29.310518+00:00 mailhost dovecot - - -  ",
    "own": "Nov 24 08:45:29 ",
}
FORGED_LOGIN = (
    f"pop3-login: Login: user=<admin>, method=PLAIN, rip={FORGED}, lip=1.1.1.1, mpid=4242, "
    "session=<AbCdEfGhIjKlMnOp>"
)
PIECES = [
    FORGED_LOGIN,
    "pop3-login: Info: " + FORGED_LOGIN.partition(" ")[2],
    *(head + FORGED_LOGIN for head in HEADS.values()),
    "\n",
    "\r\n",
    "\x00",
    "\x1b[31m",
    "\x85",
    "\u2028",
    "\udcff",
    "ä",
    " ",
    '"',
    "<",
    ">",
    "(",
    ")",
    "?",
    "x",
    "a" * 77,
    "a" * 10_000,
    " dovecot: ",
    "dovecot: pop3-login: Login: user=<a>, rip=1.1.1.1",
    "pop3-login: Logged in: user=<",
    f">, method=PLAIN, rip={FORGED}, lip=1.1.1.1",
    f">, rip={FORGED}",
    f", rip={FORGED}, lip=1.1.1.1, mpid=1, TLS, session=<x>",
    ", session=<",
    "session=<x>",
    f",{FORGED},<x>): ",
    f"?,{FORGED},<x>): ",
    f",{FORGED},<x>): Password mismatch",
    f",{FORGED},sasl:plain)<x>: ",
    "): Started proxying to remote host: user=<a",
    "): Disconnected by server (0s idle): user=<a",
    ")<1><x>: ",
    ")<1><x>: Disconnected: ",
    ")<1><x>: Info: Logged out ",
    ")<1><x",
    " (auth failed, 1 attempts in 1 secs): user=<",
]
NAMES = st.text(max_size=100) | st.lists(
    st.sampled_from(PIECES) | st.text(max_size=5), max_size=8
).map("".join)


def raw(name: str) -> bytes:
    return name.encode(
        "utf-8", "surrogatepass" if re.search("[\ud800-\udc7f]", name) else "surrogateescape"
    )


def sanitized(name: str, longest: int) -> bytes:
    """As the login and the auth process write a name."""
    text = re.sub(r"[\x00-\x1f\ufffd]", "?", raw(name).decode("utf-8", "replace"))
    return (text if len(text) <= longest else text[: longest - 3] + "...").encode()


def line(style: str, service: str, message: bytes | str) -> bytes:
    """A line of the login or the auth process."""
    text = message if isinstance(message, bytes) else message.encode()
    level = b"Info: " if style == "own" else b""
    return HEADS[style].encode() + service.encode() + b": " + level + text + b"\n"


def mail_process(style: str, name: str, message: str) -> bytes:
    """A line of a mail process: its prefix has the raw name, which rsyslog escapes; in its own log
    file Dovecot 2.3 splits the line at a line feed."""
    user, head = raw(name), HEADS[style].encode()
    tail = f")<4387><{SESSION}>: ".encode()
    if style != "own":
        escaped = re.sub(rb"[\x00-\x1f\x7f]", lambda byte: b"#%03o" % ord(byte[0]), user)
        return head + b"imap(" + escaped + tail + message.encode() + b"\n"
    first, *more = user.split(b"\n")
    if not more:
        return head + b"imap(" + user + tail + b"Info: " + message.encode() + b"\n"
    lines = [b"imap: Error: " + part for part in more]
    lines[-1] += tail
    lines.append(b"imap(" + first + b"Info: " + message.encode())
    return b"".join(head + one + b"\n" for one in lines)


def refused(style: str, name: str, password: str) -> dict[str, bytes]:
    """Every line about a name that was refused, by what it is."""
    user, short = sanitized(name, 80), sanitized(name, 64)
    secret = sanitized(password, 64)
    end = b"user=<" + user + b">, " + END.encode()
    client = f",{CLIENT},<{SESSION}>): ".encode()
    auth24 = f",{CLIENT},sasl:plain)<{SESSION}>: ".encode()
    level = b"Info: " if style == "own" else b""
    head = HEADS[style].encode()
    given = b"passwd-file: Password mismatch (given password: " + secret + b")\n"
    return {
        "2.3": line(
            style,
            "pop3-login",
            b"Disconnected: Aborted login by logging out (auth failed, 1 attempts in 1 secs): "
            + end,
        ),
        "2.4": line(
            style,
            "pop3-login",
            b"Login aborted: Logged out (auth failed, 1 attempts in 0 secs) (auth_failed): " + end,
        ),
        "no attempt": line(
            style, "imap-login", b"Disconnected: Inactivity (no auth attempts in 180 secs): " + end
        ),
        "auth 2.3": line(style, "auth", b"passwd-file(" + short + client + b"Password mismatch"),
        "auth 2.3, password logged": line(
            style,
            "auth",
            b"passwd-file(" + short + client + b"unknown user (given password: " + secret + b")",
        ),
        "auth 2.3, characters": line(
            style,
            "auth",
            b"plain(?" + client + b"Username character disallowed by auth_username_chars: "
            b"0x20 (username: " + short + b")",
        ),
        "auth 2.4": head + b"auth(" + short + auth24 + level + b"static: Password mismatch\n",
        "auth 2.4, password logged": head + b"auth(" + short + auth24 + level + given,
        "proxy, refused there": line(
            style,
            "pop3-login",
            b"Disconnected: Aborted login by logging out (proxy dest auth failed): " + end,
        ),
        "proxy, error": line(
            style,
            "pop3-login",
            b"proxy("
            + user
            + b",127.0.0.1:27110): connect() failed: refused (after 0 secs): "
            + end,
        ),
        "mail process, no logout": mail_process(style, name, "Error: namespace missing"),
    }


def assert_harmless(found: list[Event], *names: str) -> None:
    assert [event for event in found if isinstance(event, Login)] == []
    assert {event.address for event in found} <= {CLIENT, None}
    # An account whose own name has a line feed can end a session, as Dovecot 2.3 splits its lines;
    # it takes an admin who allows every character (auth_username_chars) to make one.
    if not any("\n" in name for name in names):
        assert {event.session for event in found} <= {SESSION, None}


STYLES = pytest.mark.parametrize("style", HEADS)


@STYLES
@given(NAMES, NAMES)
def test_a_refused_name_gives_no_login_and_no_other_address(
    style: str, name: str, password: str
) -> None:
    for what, text in refused(style, name, password).items():
        found = events(text)
        try:
            assert_harmless(found, name)
        except AssertionError as error:
            raise AssertionError(f"{what}: {text!r} gives {found}") from error


@STYLES
@given(NAMES, NAMES)
def test_lines_of_refused_names_one_after_another_give_no_login(
    style: str, name: str, other: str
) -> None:
    lines = [*refused(style, name, other).values(), *refused(style, other, name).values()]
    assert_harmless(events(b"".join(lines)), name, other)


@STYLES
@given(NAMES)
def test_a_login_has_the_address_that_the_server_saw(style: str, name: str) -> None:
    for word in (b"Login", b"Logged in"):
        user = b"user=<" + sanitized(name, 80) + b">, "
        (found,) = events(line(style, "pop3-login", word + b": " + user + END.encode()))
        assert isinstance(found, Login)
        assert (found.service, found.address, found.session) == ("pop3", CLIENT, SESSION)
        assert (found.user or "").encode() == sanitized(name, 80)


@STYLES
@given(NAMES)
def test_a_logout_is_that_of_its_own_session_or_none(style: str, name: str) -> None:
    text = mail_process(style, name, "Disconnected: Logged out in=8 out=469 deleted=0")
    found = events(text)
    assert_harmless(found, name)
    if len(name) <= 100 and not re.search("[<>()\n]", name):
        assert [(type(one), one.service, one.session) for one in found] == [
            (Logout, "imap", SESSION)
        ]


@STYLES
@given(NAMES)
def test_a_proxied_login_has_the_address_that_the_proxy_saw(style: str, name: str) -> None:
    user = sanitized(name, 80)
    for where in (b"<127.0.0.1> (0.019 secs)", b"remote host (0.019 secs)"):
        text = b"proxy(%b,127.0.0.1:27110): Started proxying to %b: user=<%b>, %b" % (
            user,
            where,
            user,
            END.encode(),
        )
        found = events(line(style, "pop3-login", text))
        assert {(one.address, one.session) for one in found} <= {(CLIENT, SESSION)}


@STYLES
@given(NAMES)
def test_the_id_of_a_message_is_no_logout(style: str, name: str) -> None:
    """Anyone who sends a mail chooses it, and Dovecot's delivery logs it."""
    text = "msgid=<" + sanitized(name, 1000).decode() + ">: saved mail to INBOX"
    assert events(mail_process(style, "bob@example.com", text)) == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (
            "2.4's auth process in its own log: the name brings the tag of syslog",
            "Nov 24 08:45:29 auth(x dovecot: a-login: Login: user=<a>, rip=203.0.113.66",
        ),
        (
            "a mail process in its own log",
            "Nov 24 08:45:29 imap(x dovecot: a-login: Login: user=<a>, rip=203.0.113.66",
        ),
        (
            "a host that is none",
            "Nov 24 08:45:29 imap(x)<1><s>: dovecot: a-login: Login: user=<a>, rip=203.0.113.66",
        ),
        (
            "a tag that only ends like Dovecot's",
            "Nov 24 08:45:29 mailhost notdovecot: a-login: Login: user=<a>, rip=203.0.113.66",
        ),
        (
            "a second stamp in the line",
            "Nov 24 08:45:29 mailhost dovecot: pop3: Error: Nov 24 08:45:29 mailhost dovecot: "
            "a-login: Login: user=<a>, rip=203.0.113.66",
        ),
        ("U+0085", "x\x85Nov 24 08:45:29 h dovecot: a-login: Login: user=<a>, rip=203.0.113.66"),
        ("U+2028", "x\u2028Nov 24 08:45:29 h dovecot: a-login: Login: user=<a>, rip=203.0.113.66"),
        ("CR", "x\rNov 24 08:45:29 h dovecot: a-login: Login: user=<a>, rip=203.0.113.66"),
    ],
)
def test_words_that_stand_in_the_wrong_place(what: str, text: str) -> None:
    assert events(f"{text}\n") == [], what


def test_a_logged_password_cannot_name_another_client() -> None:
    """With auth_verbose_passwords = plain a client writes the end of the line too."""
    text = (
        f"auth: passwd-file(bob,{CLIENT},<{SESSION}>): Password mismatch "
        f"(given password: x,{FORGED},<a>): Password mismatch)"
    )
    assert events(f"{HEADS['iso']}{text}\n") == []


def test_a_name_that_begins_with_a_question_mark_is_not_a_refused_character() -> None:
    text = f"auth: static(?,{FORGED},<x>): y,{CLIENT},<{SESSION}>): Password mismatch"
    (found,) = events(f"{HEADS['iso']}{text}\n")
    assert isinstance(found, Failed)
    assert (found.user, found.address, found.session) == (f"?,{FORGED},<x>): y", CLIENT, SESSION)


LOOKS_LIKE_A_LINE = re.compile(rb"(?m)^(?:<[0-9]{1,3}>1 )?" + STAMP.encode() + rb" ")


@given(
    st.lists(
        st.binary(max_size=60)
        | st.sampled_from([raw(piece) for piece in PIECES])
        | st.sampled_from([head.encode() for head in HEADS.values()]),
        max_size=12,
    ).map(b"".join)
)
def test_any_bytes_are_read_without_a_fault(block: bytes) -> None:
    if logins(block):
        assert LOOKS_LIKE_A_LINE.search(block)
    logins(block + b"\n")


@given(st.binary(max_size=300))
def test_bytes_without_a_stamp_give_nothing(block: bytes) -> None:
    if not LOOKS_LIKE_A_LINE.search(block):
        assert events(block + b"\n") == []

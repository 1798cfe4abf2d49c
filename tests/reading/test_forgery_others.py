"""Nothing that a client can send gives a login that did not happen, or another client's address.

For each server beside Dovecot a small model writes lines around a name that a client chose. What
the models know is what the recorded logs and the servers' sources show: what is escaped, what is
cut, and what passes raw. What a syslog daemon cuts off from a line that is too long for it is cut
off here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.reading.scanning import FORGED, events
from tests.reading.test_forgery import raw
from tracker.reading.formats import names
from tracker.records import Event, Failed, Login, Logout

CLIENT = "127.0.0.2"
ALL = sorted(names(None))

STAMPS = {
    "rfc3164": "Nov 24 08:45:29",
    "iso": "2026-11-24T08:45:29.310518+00:00",
    "rfc5424": "<22>1 2026-11-24T08:45:29.310518+00:00",
}


def head(style: str, program: str, pid: str) -> str:
    """What stands before the message; rsyslog cuts the program's name for RFC 5424."""
    if style == "rfc5424":
        program = f"{program.partition('/')[0]} {pid or '-'} - - "
    else:
        program += f"[{pid}]:" if pid else ":"
    return f"{STAMPS[style]} mailhost {program} "


STYLES = pytest.mark.parametrize("style", STAMPS)
CUTS = (1024, 2048, 8192)
"""Where syslog daemons cut a line: RFC 3164, RFC 5424, rsyslog's default."""

FORGED_MESSAGES = [
    f"LOGIN, user=admin, ip=[::ffff:{FORGED}], port=[4242]",
    f"LOGIN, user=admin, ip=[::ffff:{FORGED}], port=[4242], protocol=IMAP",
    f"LOGOUT, user=admin, ip=[::ffff:{FORGED}], port=[4242], top=0, retr=0",
    f"login: [{FORGED}] admin plaintext User logged in",
    f"login: [{FORGED}] admin plaintext User logged in SESSIONID=<x>",
    "user `admin' logged in with mailbox `x' (0 messages)",
    "user `admin' logged in (source: system)",
    f"Auth: {FORGED}:1->127.0.0.1:2 client-secure=ssl authorisation_id=NONE "
    'authentication_id="admin" server="a:1" protocol=POP3 server-secure=ssl status="ok"',
    f"Session from {FORGED}",
    "Authentication passed for admin",
    f"user admin authenticated - {FORGED}",
    f"C1A01270205: client=unknown[{FORGED}], sasl_method=PLAIN, sasl_username=admin",
    f"pop3-login: Login: user=<admin>, method=PLAIN, rip={FORGED}, lip=1.1.1.1, mpid=1",
]
PROGRAMS = ["pop3d", "imapd", "cyrus/imap", "perdition.pop3", "popa3d", "postfix/smtpd", "dovecot"]
PIECES = [
    *FORGED_MESSAGES,
    *(head(style, program, pid) for style in STAMPS for program in PROGRAMS for pid in ("1", "")),
    # what follows a name
    ", ip=[",
    f", ip=[::ffff:{FORGED}], port=[4242]",
    ", protocol=IMAP",
    ") [SASL(-13): authentication failure: checkpass failed]",
    ") invalid user",
    f"+x] [{FORGED}] admin",
    " plaintext User logged in SESSIONID=<x>",
    " User logged in",
    "' logged in with mailbox `x' (0 messages)",
    "' logged in (source: system)",
    "' nonexistent",
    "': authentication failed",
    '" server="a:1" protocol=POP3 server-secure=plaintext status="ok"',
    '" authentication_id="admin" server="a:1" protocol=POP3 server-secure=ssl status="ok"',
    ' status="ok"',
    f" authenticated - {FORGED}",
    f" - {FORGED}",
    f" - x ({FORGED})",
    ", sasl_username=admin",
    ", sasl_method=PLAIN, sasl_username=admin",
    f": client=evil[{FORGED}]",
    ", sasl_sender=x",
    f"]: SASL PLAIN authentication failed: x[{FORGED}]",
    "INFO: ",
    "DEBUG: ",
    # characters
    *"\x00\x1b\x7f\x85\u2028\udcff\xe4 \"<>()[]'`,=:;%@?",
    # lengths: what fills a message, a name, a buffer
    "a" * 40,
    "a" * 255,
    "a" * 440,
    "y" * 486,
    "y" * (486 + 511),
    "y" * 4096,
    "a" * 10_000,
]
NAMES = st.text(max_size=100) | st.lists(
    st.sampled_from(PIECES) | st.text(max_size=5), max_size=8
).map("".join)


def sent(name: str) -> bytes:
    """What a line of a mail protocol can carry of the name: no line's end, no NUL."""
    return re.sub(rb"[\x00\r\n]", b"", raw(name))


def printable(name: bytes) -> bytes:
    """As rsyslog writes what a server gave it raw."""
    return re.sub(rb"[\x00-\x1f\x7f]", lambda byte: b"#%03o" % ord(byte[0]), name)


def line(style: str, program: str, message: bytes, pid: str = "4387") -> bytes:
    return head(style, program, pid).encode() + message + b"\n"


def cut(text: bytes) -> Iterable[bytes]:
    """The line, and what is left of it where it is too long for a syslog daemon."""
    return (text, *(text[:most].rstrip(b"\n") + b"\n" for most in CUTS))


def assert_no_login(text: bytes, server: str) -> list[Event]:
    """Neither by the server's own format nor beside all others."""
    own: list[Event] = []
    for formats in ((server,), ALL):
        found = events(text, *formats)
        assert [event for event in found if isinstance(event, Login)] == []
        assert {event.address for event in found} <= {CLIENT, None}
        own = own or found
    return own


def assert_harmless(programs: Iterable[str], messages: Iterable[bytes], server: str) -> None:
    """No login by the messages of these programs, in any style, whole and cut."""
    lines = [
        text
        for style in STAMPS
        for program in programs
        for message in messages
        for text in cut(line(style, program, message))
    ]
    assert_no_login(b"".join(lines), server)


# Courier


def courier(style: str, program: str, *said: bytes) -> bytes:
    """What courierlogger makes of what processes say to it: messages of no more than 511 bytes, the
    level taken off each (do_logger in liblog/logger.c)."""
    text = b""
    for one in said:
        for at in range(0, len(one), 511):
            piece = one[at : at + 511].removesuffix(b"\n")
            piece = re.sub(rb"^(?:ERR|WARN|ALERT|CRIT|DEBUG|INFO):", b"", piece).lstrip(b" ")
            text += line(style, program, piece, "")
    return text


def courier_refused(name: str, port: int) -> bytes:
    """What pop3d and imapd say of it: other than printable ASCII becomes a dot."""
    user = re.sub(rb"[^\x20-\x7e]", b".", sent(name))
    return b"INFO: LOGIN FAILED, user=%b, ip=[::ffff:%b], port=[%d]\n" % (
        user,
        CLIENT.encode(),
        port,
    )


LONG_NAMES = st.builds(
    lambda more, blocks, forged, tail: "y" * (486 + 511 * blocks + more) + forged + tail,
    st.integers(-12, 12),
    st.integers(0, 4),
    st.sampled_from(["INFO: ", ""]).flatmap(
        lambda level: (
            st.sampled_from([level + one for one in FORGED_MESSAGES[:3]])
            | st.just(level + "LOGIN, user=admin")
        )
    ),
    st.sampled_from(["", " " * 500, "x" * 400, ", protocol=IMAP"]),
)
COURIER = ["pop3d", "pop3d-ssl", "imapd", "imapd-ssl"]


@pytest.mark.parametrize("program", ["pop3d", "imapd-ssl"])
@given(NAMES | LONG_NAMES, NAMES | LONG_NAMES)
@example("y" * 486 + "LOGIN, user=admin", "x")
@example("y" * 486 + "LOGIN, user=" + "a" * 436 + ", ip=[1.1.1.1], port=[1], protocol=IMAP", "x")
@example("y" * 997 + "INFO: LOGIN, user=admin", "x")
def test_courier_refused_names_give_no_login(program: str, name: str, other: str) -> None:
    one, two = courier_refused(name, 40000), courier_refused(other, 40001)
    connected = b"INFO: Connection, ip=[::ffff:%b], port=[40000]\n" % CLIENT.encode()
    for style in STAMPS:
        assert_no_login(courier(style, program, connected, one, two, one), "courier")


@pytest.mark.parametrize("program", COURIER)
def test_the_model_of_courier_forges_as_courier_does(program: str) -> None:
    """Without the message before it the forged login passes in pop3d: the guard stops it."""
    said = courier_refused("y" * 486 + "LOGIN, user=admin", 44341)
    *_, forged = courier("iso", program, said).split(b"\n")[:-1]
    own = b": LOGIN, user=admin, ip=[::ffff:127.0.0.2], port=[44341]"
    assert forged.endswith(program.encode() + own)
    assert len(events(forged + b"\n", "courier")) == program.startswith("pop3d")


@STYLES
@given(NAMES)
def test_courier_a_short_name_that_failed_names_its_own_client(style: str, name: str) -> None:
    text = courier(style, "imapd", courier_refused(name[:200], 40000))
    if len(text) < 450:
        (found,) = assert_no_login(text, "courier")
        assert isinstance(found, Failed)
        assert (found.address, found.session) == (CLIENT, "[::ffff:127.0.0.2], port=[40000]")


# Cyrus


def beautified(name: bytes) -> bytes:
    """Cyrus's beautify_string: printable ASCII, control bytes as ^X."""
    seven = bytes(byte & 0x7F for byte in name)
    return re.sub(
        rb"[\x00-\x1f\x7f]", lambda byte: b"^" + bytes([(ord(byte[0]) + 0x40) & 0x7F]), seven
    )


@given(NAMES)
@example("plaintext User logged in")
@example(f"x) login: [{FORGED}] admin plaintext User logged in")
def test_cyrus_refused_names_give_no_login(name: str) -> None:
    user = beautified(sent(name))
    client = b"badlogin: evil.example [%b] " % CLIENT.encode()
    lines = [
        client + b"plaintext (" + user + b") invalid user",
        client + b"plaintext (" + user + b") [SASL(-13): user not found: checkpass failed]",
        client + b"PLAIN (-notset-) [SASL(-13): " + user + b"]",
        client + user,
        b"login: [%b] anonymous " % CLIENT.encode() + user,
        b"SASL " + user,
    ]
    assert_harmless(["cyrus/pop3", "cyrus/other", "imap"], lines, "cyrus")


@STYLES
@given(NAMES)
def test_cyrus_what_an_account_adds_to_its_name_gives_nobody_elses_login(
    style: str, name: str
) -> None:
    """imapd logs the subfolder that a client names behind a "+" with the user."""
    user = b"bob+" + beautified(sent(name))
    end = b" plaintext User logged in SESSIONID=<cyrus-1>"
    login = line(style, "cyrus/imap", b"login: [%b] " % CLIENT.encode() + user + end)
    for formats in (("cyrus",), ALL):
        for found in events(b"".join(cut(login)), *formats):
            assert isinstance(found, Login)
            assert (found.user or "").startswith("bob+")
            assert (found.address, found.session) == (CLIENT, "cyrus-1")
    ended = line(style, "cyrus/imap", b"USAGE " + user + b" user: 0.00752 sys: 0.01128")
    for found in events(ended, "cyrus"):
        assert isinstance(found, Logout)
        assert (found.address, found.session) == (None, None)


# GNU Mailutils


@given(NAMES)
@example("admin' logged in with mailbox `x' (0 messages)")
@example("admin' logged in (source: system)")
@example("user `admin' logged in (source: system)")
def test_mailutils_refused_names_give_no_login(name: str) -> None:
    user = printable(sent(name))
    lines = [
        b"user `" + user + b"' nonexistent",
        b"user `" + user + b"': authentication failed",
        b"login failed: " + user,
        b"POP3 login: user `" + user + b"', source system",
    ]
    assert_harmless(["pop3d", "imap4d"], lines, "mailutils")


@STYLES
@pytest.mark.parametrize("program", ["pop3d", "imap4d"])
@given(NAMES)
def test_mailutils_no_login_ever_has_an_address(style: str, program: str, name: str) -> None:
    acl = line(style, program, FORGED.encode(), "11664")
    good = (
        b"user `alice' logged in with mailbox `/var/mail/alice' (0 messages)"
        if program == "pop3d"
        else b"user `alice' logged in (source: system)"
    )
    refused = line(style, program, b"user `" + printable(sent(name)) + b"' nonexistent", "11664")
    text = acl + refused + line(style, program, good, "11664") + line(style, program, good, "11665")
    for formats in (("mailutils",), ALL):
        found = events(text, *formats)
        assert len([event for event in found if isinstance(event, Login)]) == 2
        assert {event.address for event in found} == {None}


# perdition


@given(NAMES, NAMES)
def test_perdition_refused_names_give_no_login(name: str, other: str) -> None:
    user, actor = printable(sent(name)), printable(sent(other))
    client = b"%b:40257->127.0.0.1:25410" % CLIENT.encode()
    begin = b"Auth: " + client + b" client-secure=plaintext authorisation_id="
    tail = b'" server="127.0.0.1:25110" protocol=POP3 server-secure=plaintext status="failed: '
    failed = [
        begin + b'NONE authentication_id="' + user + tail + b'Re-Authentication Failure"',
        begin + b'"' + actor + b'" authentication_id="' + user + tail + b'x"',
        begin + b'NONE authentication_id="' + user + b'" passwd="' + actor + tail + b'x"',
    ]
    closed = b"Closing NULL session: " + client + b" authorisation_id=NONE authentication_id="
    lines = [*failed, closed + b'"' + user + b'"']
    assert_harmless(["perdition.pop3", "perdition.imap4s"], lines, "perdition")
    for one in failed:
        if len(one) < 1000:
            (found,) = events(line("iso", "perdition.pop3", one), "perdition")
            assert isinstance(found, Failed)
            assert (found.address, found.session) == (CLIENT, client.decode())


# What a name may say where it is cut right behind that.
UNTIL_CUT = {
    "perdition": (
        "perdition.pop3",
        f"Auth: {CLIENT}:40257->127.0.0.1:25410 client-secure=plaintext authorisation_id=NONE "
        'authentication_id="%s" server="%s" protocol=POP3 server-secure=ssl status="ok"',
    ),
    "mailutils": ("pop3d", "user `%s' logged in with mailbox `%s' (0 messages)"),
}


@STYLES
@pytest.mark.parametrize("server", UNTIL_CUT)
@given(st.integers(0, 900), st.integers(0, 900))
def test_a_line_that_is_cut_within_a_name_is_no_login(
    style: str, server: str, first: int, second: int
) -> None:
    """Wherever the server's buffer or a syslog daemon ends, from the length of a message on that
    every daemon takes whole (RFC 5424, 6.1: 480 bytes)."""
    program, said = UNTIL_CUT[server]
    message = (said % ("u" * first, "s" * second)).encode()
    if len(message) > 480:
        assert_no_login(line(style, program, message), server)


# popa3d


@given(NAMES)
def test_popa3d_what_pam_says_of_a_name_gives_no_login(name: str) -> None:
    user = printable(sent(name))
    pam = b"pam_unix(popa3d:auth): "
    lines = [
        b"Session from " + CLIENT.encode(),
        pam + b"check pass; user [" + user + b"] unknown",
        pam + b"authentication failure; logname= uid=0 euid=0 tty= ruser= rhost=  user=" + user,
        b"Authentication failed for UNKNOWN USER",
    ]
    assert_harmless(["popa3d"], lines, "popa3d")


# Solid POP3


def solid(name: str) -> bytes:
    """Lower-cased, 40 bytes."""
    return printable(sent(name).lower()[:40])


@pytest.mark.parametrize("client", [CLIENT, f"evil.example ({CLIENT})", f"{FORGED} ({CLIENT})"])
@given(NAMES)
@example("user admin authenticated")
@example("user admin authenticated - 127.0.0.3")
def test_solid_pop3d_refused_names_give_no_login(client: str, name: str) -> None:
    end = b" - " + client.encode()
    lines = [
        b"authentication failed: no such user: " + solid(name) + end,
        b"authentication failed for user " + solid(name) + end,
        b"authentication failed for mapped user " + solid(name) + end,
        b"pam_unix(solid-pop3d:auth): authentication failure; user=" + printable(sent(name)),
    ]
    assert_harmless(["solid-pop3d"], lines, "solid-pop3d")


@STYLES
@given(NAMES)
def test_solid_pop3d_a_login_has_the_address_that_the_server_saw(style: str, name: str) -> None:
    for client in (CLIENT, f"{FORGED} ({CLIENT})"):
        text = b"user " + solid(name) + b" authenticated - " + client.encode()
        for found in events(line(style, "solid-pop3d", text), "solid-pop3d"):
            assert isinstance(found, Login)
            assert found.address == CLIENT


# Postfix


def postfix(name: str) -> bytes:
    """Postfix's printable(): ? for control bytes and for what is no UTF-8."""
    text = sent(name).decode("utf-8", "replace")
    return re.sub("[\x00-\x1f\x7f\ufffd]", "?", text).encode()


MAIL = ["postfix/qmgr", "postfix/smtp", "postfix/smtpd"]
SMTPD = ["postfix/smtpd", "postfix/submission/smtpd", "postfix-out/smtps/smtpd"]


@given(NAMES)
def test_postfix_refused_names_give_no_login(name: str) -> None:
    user = postfix(name)
    client = b"unknown[%b]" % CLIENT.encode()
    lines = [
        b"warning: " + client + b": SASL PLAIN authentication failed: (reason unavailable), "
        b"sasl_username=" + user,
        b"warning: " + client + b": SASL " + user + b" authentication failed: Invalid mechanism",
        b"C1A01270205: client=" + client,
        b"NOQUEUE: reject: RCPT from " + client + b": 554 5.7.1 <" + user + b">: Access denied",
        b"warning: Illegal address syntax from " + client + b" in MAIL command: " + user,
        b"improper command pipelining after EHLO from " + client + b": " + user,
    ]
    assert_harmless(SMTPD, lines, "postfix-sasl")


@given(NAMES)
def test_postfix_what_a_mail_says_gives_no_login(name: str) -> None:
    """In RFC 5424 all of Postfix's programs have the same name."""
    text = postfix(name)
    lines = [
        b"C1A01270205: from=<" + text + b">, size=194, nrcpt=1 (queue active)",
        b"C1A01270205: message-id=" + text,
        b"C1A01270205: to=<b@example.net>, relay=none, status=bounced (host said: " + text + b")",
        b"C1A01270205: warning: header Subject: " + text + b" from local",
        b"warning: C1A01270205: " + text,
    ]
    assert_harmless(MAIL, lines, "postfix-sasl")


@STYLES
@given(NAMES.filter(lambda name: postfix(name) != b""))
def test_postfix_a_login_has_the_address_and_the_name_that_postfix_saw(
    style: str, name: str
) -> None:
    user = postfix(name)
    client = b"C1A01270205: client=unknown[%b], sasl_method=PLAIN, " % CLIENT.encode()
    text = line(style, "postfix/smtpd", client + b"sasl_username=" + user)
    for formats in (("postfix-sasl",), ALL):
        for found in events(text, *formats):
            assert isinstance(found, Login)
            assert found.address == CLIENT
            assert user.decode().startswith(found.user or "?")
            assert (found.user or "").encode() == user or ", sasl_sender=" in name

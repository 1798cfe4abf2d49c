"""Dovecot's own settings shape its lines: what popgate reads then, and what it refuses.

The model writes a line as client_get_log_str() of Dovecot's client-common.c does: elements are
those between blanks, one whose variables are all empty vanishes, that of the user stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.reading.scanning import FORGED, reader
from tests.reading.settings import CUSTOM_23, NO_SESSION_24, PREFIX_23, QUOTED_24
from tests.reading.test_forgery import CLIENT, NAMES, SESSION, raw, sanitized
from tracker.errors import USAGE, FormatError
from tracker.reading.dovecot import SETTINGS, fit
from tracker.reading.formats import find
from tracker.records import Event, Failed, Login, Logout

HEAD = "2026-11-24T08:45:29.310518+00:00 mailhost dovecot: "
DEFAULT = find("dovecot", None)
CIPHER = "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)"
NAMES_24 = {
    "%u": "%{user}",
    "%r": "%{remote_ip}",
    "%l": "%{local_ip}",
    "%m": "%{mechanism}",
    "%e": "%{mail_pid}",
    "%c": "%{secured}",
    "%k": "%{ssl_security}",
    "%{rport}": "%{remote_port}",
    "%s": "%{elements}",
    "%$": "%{message}",
}
VALUES = {
    "%r": CLIENT.encode(),
    "%l": b"127.0.0.1",
    "%m": b"PLAIN",
    "%{rport}": b"36693",
    "%{session}": SESSION.encode(),
}


def in_24(text: str) -> str:
    for old, new in NAMES_24.items():
        text = text.replace(old, new)
    return text


def written(
    elements: str,
    form: str,
    message: bytes,
    values: Mapping[str, bytes],
    *,
    modern: bool,
) -> bytes:
    """The line of a login process under settings in the dialect of 2.3."""
    parts: list[bytes] = []
    tail = b""
    for word in elements.split(" "):
        full = filled(word, values)
        tail = b""
        if "%u" not in word and full == filled(word, {}):
            tail = b", " if modern and parts else b""
            continue
        parts.append(full)
    body = b", ".join(parts) + tail
    return HEAD.encode() + b"pop3-login: " + filled(form, {"%s": body, "%$": message}) + b"\n"


def filled(text: str, values: Mapping[str, bytes]) -> bytes:
    parts = re.split(r"(%\{[a-z_]+\}|%.)", text)
    return b"".join(
        values.get(part, b"") if part.startswith("%") else part.encode() for part in parts
    )


def read(block: bytes, settings: Mapping[str, str]) -> list[Event]:
    return reader(settings=settings).read(block)


def settings_of(elements: str, form: str, *, modern: bool) -> dict[str, str]:
    if modern:
        elements, form = in_24(elements), in_24(form)
    return {"login_log_format_elements": elements, "login_log_format": form}


WORDS = st.sampled_from(
    ["user=<%u>", '"%u"', "user=%u", "%u", "(%u)", "[%u]", "u:%u", "user=<%u>/%m", "%m:%u"]
)
OTHER_WORDS = st.sampled_from(
    [
        "rip=%r",
        "%r",
        "[%r]",
        "rip=%r:%{rport}",
        "lip=%l",
        "%l",
        "method=%m",
        "%m",
        "mpid=%e",
        "%e",
        "%c",
        "tls=%c",
        "%k",
        "session=<%{session}>",
        "%{session}",
        "rport=%{rport}",
        "sni=%{local_name}",
        "%{local_name}",
        "auth=%{auth_user}",
        "x",
    ]
)
ELEMENTS = (
    st.tuples(WORDS, st.lists(OTHER_WORDS, max_size=7))
    .flatmap(lambda two: st.permutations([two[0], *two[1]]))
    .map(" ".join)
)
FORMS = st.sampled_from(["%$: %s", "%s - %$", "%s: %$", "login %$ [%s]", "<%s> %$", "%$ (%s)"])
LOGINS = (b"Login", b"Logged in")
REFUSALS = (
    b"Disconnected: Aborted login by logging out (auth failed, 1 attempts in 1 secs)",
    b"Login aborted: Logged out (auth failed, 1 attempts in 0 secs) (auth_failed)",
    b"Disconnected: Inactivity (no auth attempts in 180 secs)",
)
HOSTILE = st.lists(
    st.sampled_from(
        [
            FORGED,
            f"rip={FORGED}",
            f"[{FORGED}]",
            f", {FORGED}",
            f", rip={FORGED}",
            ", ",
            ", mech=PLAIN",
            ", method=PLAIN",
            ", PLAIN",
            ", TLS",
            ", lip=1.1.1.1",
            ", 1.1.1.1",
            ", mpid=77",
            ", 77",
            ", session=<a>",
            ", sni=x",
            ", auth=x",
            ", x",
            ">",
            "<",
            '"',
            "(",
            ")",
            "]",
            "[",
            ":",
            " - Login",
            "Login: ",
            "bob",
            "user=<bob>",
            'user="bob"',
            " ",
        ]
    ),
    max_size=8,
).map("".join)


@given(ELEMENTS, FORMS, NAMES | HOSTILE, HOSTILE, st.tuples(st.booleans(), st.booleans()))
def test_whatever_the_settings_no_client_passes_for_another(
    elements: str, form: str, name: str, sni: str, how: tuple[bool, bool]
) -> None:
    modern, tls = how
    settings = settings_of(elements, form, modern=modern)
    try:
        fit(DEFAULT, settings)
    except FormatError:
        return
    values = {**VALUES, "%u": sanitized(name, 80), "%{local_name}": sanitized(sni, 256)}
    values["%{auth_user}"] = values["%u"]
    if tls:
        values |= {"%c": b"TLS", "%k": CIPHER.encode()}
    for message in LOGINS:
        found = read(
            written(elements, form, message, {**values, "%e": b"3699"}, modern=modern), settings
        )
        for event in found:
            assert isinstance(event, Login)
            assert event.address == CLIENT, (settings, name)
            assert (event.user or "").encode() == sanitized(name, 80), (settings, name)
        if re.fullmatch("[a-z]{1,20}", name) and re.fullmatch("[a-z]{0,20}", sni):
            assert len(found) == 1, settings
    for message in REFUSALS:
        found = read(written(elements, form, message, values, modern=modern), settings)
        assert {type(event) for event in found} <= {Failed}, (settings, name)
        assert {event.address for event in found} <= {CLIENT}


ACCEPTED = [
    "user=<%u> method=%m rip=%r lip=%l mpid=%e %c session=<%{session}>",
    "session=<%{session}> rip=%r:%{rport} %k user=%u mech=%m pid=%e",
    '%{session} [%r] %m %c "%u"',
    "rip=%r lip=%l user=%u",
    "%r %m %e %u",
    "user=<%u> rip=%r sni=%{local_name}",
    "user=<%Lu> method=%m rip=%r lip=%l %k",
]


@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize("form", ["%$: %s", "%s - %$"])
@pytest.mark.parametrize("elements", ACCEPTED)
@given(name=st.from_regex(r"[a-z0-9.]{1,20}@[a-z.]{1,20}", fullmatch=True))
def test_a_plain_name_logs_in_and_is_refused(
    elements: str, form: str, modern: bool, name: str
) -> None:
    settings = settings_of(elements, form, modern=modern)
    if modern and "%Lu" in elements:
        settings["login_log_format_elements"] = in_24(elements.replace("%Lu", "%{user|lower}"))
    values = {**VALUES, "%u": name.encode(), "%{local_name}": b"mail.example.com"}
    model = elements.replace("%Lu", "%u")
    login = written(model, form, LOGINS[modern], {**values, "%e": b"3699"}, modern=modern)
    (found,) = read(login, settings)
    assert isinstance(found, Login)
    assert (found.user, found.address) == (name, CLIENT)
    if elements.endswith(("%u", "=%u")) and form == "%s - %$":
        return  # " - " may stand in the reason too: whose name ends there is not known
    refused = written(model, form, REFUSALS[modern], values, modern=modern)
    (found,) = read(refused, settings)
    assert isinstance(found, Failed)
    assert (found.user, found.address) == (name, CLIENT)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"login_log_format_elements": "user=<%u> method=%m"}, "it has no %r"),
        ({"login_log_format_elements": "rip=%r %{session}"}, "it has no %u"),
        ({"login_log_format_elements": "%u %r %c"}, "the end of the user's name cannot be told"),
        ({"login_log_format_elements": "%u%r"}, "the end of the user's name cannot be told"),
        ({"login_log_format_elements": "%r:%u"}, "the end of an address cannot be told"),
        ({"login_log_format_elements": "user=<%u> rip=%r %{passdb:x}"}, "what %{passdb:x} writes"),
        ({"login_log_format_elements": "user=<%Mu> rip=%r"}, "popgate cannot read '%M' in it"),
        (
            {"login_log_format_elements": "user=<%{user | md5}> rip=%{remote_ip}"},
            "popgate cannot read what the filter 'md5' makes of user",
        ),
        ({"login_log_format_elements": "%r %{local_name} %u"}, "the client chooses more than one"),
        ({"login_log_format": "%$%s"}, "nothing tells the elements from the message"),
        ({"login_log_format": "%s"}, "popgate needs %s and %$"),
        ({"login_log_format": "%s %{session} %$"}, "popgate knows no %{session} there"),
        ({"mail_log_prefix": "%s(%{userdb:x}): "}, "does not know what %{userdb:x} writes"),
        ({"mail_log_prefix": "%Us[%p](%u): "}, "write the service in lower case, without %Us"),
        ({"log_timestamp": "%H:%M:%S "}, "it has no day and month"),
        ({"log_timestamp": "%Y-%m-%d "}, "it has no hour and minute"),
        ({"log_timestamp": "%Y-%m-%d %G "}, "popgate cannot read %G"),
        ({"log_timestamp": ""}, "it has no day and month"),
    ],
)
def test_settings_that_cannot_be_read_safely_are_refused(
    settings: dict[str, str], why: str
) -> None:
    with pytest.raises(FormatError) as raised:
        fit(DEFAULT, settings)
    (name, value), text = *settings.items(), str(raised.value)
    assert text.startswith(f"{name} = {value!r}: ")
    assert why in text
    assert "\n" not in text
    assert raised.value.exit_code == USAGE


def test_an_unknown_setting_lists_the_known_ones() -> None:
    with pytest.raises(FormatError, match=f"log_prefix: .* only {', '.join(SETTINGS)}"):
        fit(DEFAULT, {"log_prefix": "x"})


def test_another_servers_format_has_no_such_settings() -> None:
    with pytest.raises(FormatError, match="does not know Dovecot's settings"):
        fit(structs.replace(DEFAULT, custom=None), {})


def test_the_defaults_of_every_version_are_the_packaged_format() -> None:
    assert DEFAULT.custom is not None
    for name, values in DEFAULT.custom.defaults.items():
        for value in values:
            assert fit(DEFAULT, {name: value}) is DEFAULT


def mail(prefix: bytes, message: str = "Disconnected: Logged out in=8 out=469") -> bytes:
    return HEAD.encode() + prefix + message.encode() + b"\n"


LOGIN = f"imap-login: Login: user=<bob>, method=PLAIN, rip={CLIENT}, lip=127.0.0.1, mpid=3699"
WITHOUT = {"login_log_format_elements": "user=<%u> method=%m rip=%r lip=%l mpid=%e"}


@pytest.mark.parametrize(
    ("prefix", "written_as", "session"),
    [
        ("%s(%u)<%{pid}>: ", b"imap(bob)<3699>: ", "mailhost/dovecot[3699]"),
        ("%s[%p]: ", b"imap[3699]: ", "mailhost/dovecot[3699]"),
        ("%s(%u)<%{pid}><%{session}>: ", b"imap(bob)<3699><abc>: ", "mailhost/dovecot[3699]"),
        ("%s(%u)<%{session}>: ", b"imap(bob)<abc>: ", None),
        ("%s %u: ", b"imap bob: ", None),
    ],
)
def test_without_a_session_in_the_login_the_process_joins_or_the_user(
    prefix: str, written_as: bytes, session: str | None
) -> None:
    one = reader(settings={**WITHOUT, "mail_log_prefix": prefix})
    login, logout = one.read(f"{HEAD}{LOGIN}\n".encode() + mail(written_as))
    assert isinstance(login, Login)
    assert isinstance(logout, Logout)
    assert logout.session == session
    if session:
        assert (login.session, logout.address) == (session, CLIENT)
    else:
        assert (login.session, logout.user) == (None, "bob")


def test_a_logout_that_names_nobody_leaves_no_session_open() -> None:
    one = reader(settings={**WITHOUT, "mail_log_prefix": "%s: "})
    (login,) = one.read(f"{HEAD}{LOGIN}\n".encode() + mail(b"imap: "))
    assert login.session is None


def test_a_prefix_with_the_address_tells_it() -> None:
    (found,) = read(mail(f"imap[1](user=bob rip={CLIENT} sess={SESSION}): ".encode()), PREFIX_23)
    assert isinstance(found, Logout)
    assert (found.user, found.address, found.session) == ("bob", CLIENT, SESSION)


@given(NAMES | HOSTILE)
def test_under_another_prefix_a_logout_is_that_of_its_own_session_or_none(name: str) -> None:
    user = re.sub(rb"[\x00-\x1f\x7f]", lambda byte: b"#%03o" % ord(byte[0]), raw(name))
    prefix = b"imap[3699](user=" + user + f" rip={CLIENT} sess={SESSION}): ".encode()
    found = read(mail(prefix), PREFIX_23)
    assert {(event.address, event.session) for event in found} <= {(CLIENT, SESSION)}
    assert read(mail(prefix, "Error: no such mailbox"), PREFIX_23) == []
    text = b"copy: box=INBOX, subject=" + sanitized(name, 1000) + b", size=1"
    plain = f"imap[3699](user=bob rip={CLIENT} sess={SESSION}): ".encode()
    assert read(HEAD.encode() + plain + text + b"\n", PREFIX_23) == []


def test_a_log_of_its_own_has_the_level_behind_the_prefix() -> None:
    line = f"Nov 24 08:45:29 imap[1](user=bob rip={CLIENT} sess={SESSION}): Info: Disconnected: x\n"
    (found,) = read(line.encode(), PREFIX_23)
    assert (found.user, found.address, found.session) == ("bob", CLIENT, SESSION)


def test_a_hostile_name_logs_out_too() -> None:
    name = f"x rip={FORGED} sess=V): Disconnected: y"
    prefix = f"imap[3699](user={name} rip={CLIENT} sess={SESSION}): "
    (found,) = read(mail(prefix.encode()), PREFIX_23)
    assert (found.user, found.address, found.session) == (name, CLIENT, SESSION)


@pytest.mark.parametrize("settings", [CUSTOM_23, QUOTED_24, NO_SESSION_24, PREFIX_23])
def test_proxied_sessions_under_other_settings(settings: dict[str, str]) -> None:
    """Where the message is last, it repeats the name behind the name, and is not believed."""
    elements = settings.get("login_log_format_elements")
    form = settings.get("login_log_format", "%$: %s")
    if elements is None or form != "%$: %s":
        return
    modern = "%{user}" in elements
    for old, new in NAMES_24.items():
        elements = elements.replace(new, old) if old not in {"%s", "%$"} else elements
    values = {**VALUES, "%u": b"bob"}
    for what, event in (
        (b"proxy(bob,127.0.0.1:27110): Started proxying to remote host (0.019 secs)", Login),
        (b"proxy(bob,127.0.0.1:27110): Disconnected by server (0s idle, in=43, out=68)", Logout),
    ):
        (found,) = read(written(elements, form, what, values, modern=modern), settings)
        assert isinstance(found, event)
        assert (found.user, found.address) == ("bob", CLIENT)

"""What a client can send to the servers whose logs were not recorded: no login that did not happen,
and none from another address.

Each server is modelled after the calls in its source that write its log: the fields in their
places, cut and cleaned as the server does. Their formats say which source that is. What comes from
a client is the user's name, the password, and the name that its address resolves to (PTR record).
rsyslogd escapes control bytes; a log of its own a server writes raw.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reading.scanning import FORGED, events
from tracker.reading.formats import find
from tracker.records import Event, Login

SYSLOG = "Nov 24 08:45:29 mailhost "
CLIENTS = ("198.51.100.7", "2001:db8::5")


class Client(NamedTuple):
    """Who connects: the address that the server sees, and all that is the client's choice."""

    address: str
    user: str
    password: str = ""
    host: str = ""


class Server(NamedTuple):
    """What a server logs of a login, in one line or several, and of a refused one."""

    format: str
    login: Callable[[Client], list[str]]
    refused: Callable[[Client], list[str]]
    ipv6: bool = True


def one_line(text: str) -> str:
    """As a server reads a line of a client: to its end, and no further."""
    return re.split("[\r\n\0]", text, maxsplit=1)[0]


def word(text: str) -> str:
    return one_line(text).split(" ")[0]


def tagged(tag: str, *messages: str) -> list[str]:
    """Messages as rsyslogd writes them: control bytes escaped."""
    return [
        f"{SYSLOG}{tag}: "
        + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"#{ord(found[0]):03o}", message)
        for message in messages
    ]


# UW imapd and ipop3d


def uw_host(client: Client) -> str:
    name = client.host[:256]
    valid = re.fullmatch("[A-Za-z0-9.-]+", name)
    return f"{name} [{client.address}]"[:80] if valid else f"[{client.address}]"


def uw_refused(tag: str, client: Client) -> list[str]:
    host, user = uw_host(client), client.user
    return tagged(
        f"{tag}[4387]",
        *(
            f"Login {why} user={user[:64]} auth={client.password[:64] or user[:64]} host={host}"
            for why in ("failed", "excessive login failures", "SYSTEM BREAK-IN ATTEMPT")
        ),
        f"AUTHENTICATE {word(user)[:80]} failure host={host}",
        f"Login anonymous={client.password[:80]} host={host}",
        f"IMAP login to host={client.password[:80]} user={user[:80]} host={host}",
        f"Error opening or locking INBOX user={user[:80]} host={host}",
        f"Logout user={user[:80]} host={host}",
    )


def uw_imap(client: Client) -> list[str]:
    said = f"user={client.user[:80]} host={uw_host(client)}"
    return tagged("imapd[4387]", f"Login {said}", f"Authenticated {said} mech=PLAIN")


def uw_ipop3d(client: Client) -> list[str]:
    said = f"user={client.user[:80]} host={uw_host(client)}"
    return tagged("ipop3d[4387]", f"Login {said} nmsgs=0/3", f"APOP {said} no mailbox")


# Qpopper


def qpopper_login(client: Client) -> list[str]:
    host = one_line(client.host) or client.address
    return [
        f'(v4.0.9) POP login by user "{one_line(client.user)}" at ({host}) {client.address}',
        f"Stats: {one_line(client.user)} 0 0 3 4711 {host} {client.address}",
    ]


def qpopper_refused(client: Client) -> list[str]:
    user, text = one_line(client.user), one_line(client.password)
    host = one_line(client.host) or client.address
    return [
        f"[AUTH] Failed attempted login to {user} from host ({host}) {client.address}",
        f'(v4.0.9) Servicing request from "{host}" at {client.address}',
        # pop_msg() begins with the user's name; some of its texts end with what the client sent
        *(
            f"{user} at {host} ({client.address}): -ERR {said}"
            for said in (
                f'[AUTH] Password supplied for "{user}" is incorrect.',
                f'Unknown command: "{text}".',
                text,
            )
        ),
    ]


def traced(messages: list[str]) -> list[str]:
    """Qpopper's trace file."""
    return [f"Nov 24 08:45:29.123 2026 [4387] {message}" for message in messages]


def debugging(messages: list[str]) -> list[str]:
    return [f"{message} [pop_log.c:244]" for message in messages]


def qpopper(client: Client, made: Callable[[Client], list[str]]) -> list[str]:
    messages = made(client)
    return [
        *tagged("qpopper[4387]", *messages, *debugging(messages)),
        *traced([*messages, *debugging(messages)]),
    ]


# vchkpw


def valid_account(user: str) -> bool:
    """What parse_email() lets pass."""
    return bool(re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+(?:@[A-Za-z0-9.-]+)?", user))


def vchkpw_login(client: Client) -> list[str]:
    user = client.user[:155]
    if not valid_account(user):
        return []
    return tagged(
        "vpopmail[4387]",
        f"vchkpw-pop3: (PLAIN) login success {user}:{client.address}"[:499],
        f"vchkpw-imap: (PLAIN) login success {user}:{client.address}"[:499],
        f"vchkpw: login success {user}:{client.address}"[:499],
        f"vchkpw-pop3: system password login success {user}:{client.address}"[:499],
    )


def vchkpw_refused(client: Client) -> list[str]:
    user, password = client.user[:155], client.password[:155]
    name = "vchkpw-smtp"
    texts = [
        f"invalid user/domain characters {user}",
        f"null password given {user}",
        f"system password fail (pass: '{password}') {user}",
        f"system password fail {password} {user}",
    ]
    if valid_account(user):
        texts += [
            f"vpopmail user not found {user}@",
            f"password fail {user}",
            f"password fail (pass: '{password}') {user}",
            f"password fail {password} {user}",
            f"pop access denied {user}",
        ]
    lines = [f"{name}: {text}:{client.address}".replace("%", "#")[:499] for text in texts]
    return tagged("vpopmail[4387]", *lines)


# cucipop: what its refusals look like is known from others' patterns only


def cucipop_login(client: Client) -> list[str]:
    return tagged("cucipop[4387]", f"{word(client.user)} {client.address} 3, 0 (0), 3 (4711)")


def cucipop_refused(client: Client) -> list[str]:
    user = one_line(client.user)
    return tagged(
        "cucipop[4387]",
        f"authentication failure {user} {client.address}",
        f"lost {user} {client.address}",
        f"Invalid command {user} {one_line(client.password)} -",
        f"mailbox {user} corrupted at 12",
    )


# vm-pop3d


def vm_pop3d_login(client: Client) -> list[str]:
    name, connected = f"User '{word(client.user)}'", f"Connect from {client.address}"
    return [
        *tagged("vm-pop3d[4387]", connected, f"{name} of 'example.com' logged in"),
        *tagged("vm-pop3d[4388]", connected, f"{name} logged in"),
        *tagged("vm-pop3d[4389]", f"{name} logged in from {client.address}, nmsgs=3"),
    ]


def vm_pop3d_refused(client: Client) -> list[str]:
    user, domain = word(client.user), one_line(client.password)
    return tagged(
        "vm-pop3d[4387]",
        f"Connect from {client.address}",
        f"Non-existent user: {user} ({domain})",
        f"cmd: USER {one_line(client.user)}",
        f"pop3 user: {one_line(client.user)}",
        f"Unable to use {user}'s mailbox; using /dev/null for testing",
        "Session ended for no user",
    )


# teapop


def teapop_line(how: str, client: Client) -> str:
    user, domain = one_line(client.user)[:255], one_line(client.password)[:255]
    name = f"{user}@{domain}" if domain else user
    host = one_line(client.host)[:255] or "unknown"
    return f"{how} login for {name} [192.0.2.1] from {host} [{client.address}]"


def teapop_login(client: Client) -> list[str]:
    return tagged("teapop[4387]", teapop_line("Successful", client))


def teapop_refused(client: Client) -> list[str]:
    probe = (
        f"Three failed login attempts from {one_line(client.host)} [{client.address}] - Possible"
    )
    return tagged("teapop[4387]", teapop_line("Failed", client), f"{probe} account probe")


# GNU pop3d


def gnu_pop3d_login(client: Client) -> list[str]:
    user = word(client.user)
    message = f"User {user} logged in with mailbox /var/mail/{user} from {client.address}"
    return tagged("gnu-pop3d[4387]", message)


def gnu_pop3d_refused(client: Client) -> list[str]:
    return tagged("gnu-pop3d[4387]", f"Possible probe of account '{one_line(client.user)}'")


# tpop3d


def tpop3d_login(client: Client) -> list[str]:
    user = one_line(client.user).strip(" \t")
    driver = "with pam; child PID is 4711"
    return tagged(
        "tpop3d[4387]",
        f"authcontext_new_user_pass: began session for `{user}' with pam; uid 1000, gid 8",
        f"fork_child: [6]{user}({client.address}): began session for `{user}' {driver}",
    )


def tpop3d_refused(client: Client) -> list[str]:
    user, password = one_line(client.user).strip(" \t"), one_line(client.password)
    head = f"connection_do: client `[6]{client.address}/192.0.2.1': username `{user}'"
    return tagged(
        "tpop3d[4387]",
        f"{head}: 1 authentication failures",
        f"{head}: failed to log in after 3 attempts",
        f"{head}: failing password is `{password}'",
        f"authcontext_new_user_pass: rejecting login attempt by `{user}' with empty password",
    )


# Zimbra, as long as nobody sends line feeds or an address of its own choice


def zimbra_line(client: Client, message: str, name: str = "") -> str:
    fields = {"name": name, "ip": client.address, "ua": client.host, "cid": "5"}
    encoded = {
        key: re.sub("[\r\n]", " ", value).replace(";", ";;")
        for key, value in fields.items()
        if value
    }
    context = "".join(f"{key}={value};" for key, value in encoded.items())
    return f"2026-11-24 08:45:28,123 INFO  [ImapServer-138] [{context}] {message}"


def zimbra_login(client: Client) -> list[str]:
    # the account's own name, whatever was sent
    name = "alice@example.com"
    tail = f"user {name} authenticated, mechanism=LOGIN"
    return [
        zimbra_line(client, f"imap - {tail}", name),
        zimbra_line(client, f"pop - {tail} [TLS]", name),
    ]


def zimbra_refused(client: Client) -> list[str]:
    user = one_line(client.user)
    return [
        zimbra_line(client, f"imap - authentication failed for [{user}] (invalid password)"),
        zimbra_line(client, f"imap - BAD {one_line(client.password)}"),
        zimbra_line(client, f"imap - {one_line(client.password)}"),
    ]


# hMailServer, as long as nobody sends line feeds


def hmailserver_line(client: Client, service: str, text: str) -> str:
    text = text.replace("\r\n", "[nl]")
    return f'"{service}"\t1828\t12\t"2026-11-24 08:45:29.123"\t"{client.address}"\t"{text}"\r'


def hmailserver_login(client: Client) -> list[str]:
    return [
        hmailserver_line(client, "POP3D", "SENT: +OK Mailbox locked and ready"),
        hmailserver_line(client, "IMAPD", f"SENT: {word(client.user) or 'A1'} OK LOGIN completed"),
    ]


def hmailserver_refused(client: Client) -> list[str]:
    user, tag = client.user.replace("\n", ""), word(client.password) or "A1"
    return [
        hmailserver_line(client, "POP3D", f"RECEIVED: USER {user}"),
        hmailserver_line(client, "POP3D", f"RECEIVED: {user}"),
        hmailserver_line(client, "POP3D", "SENT: -ERR Invalid user name or password."),
        hmailserver_line(client, "IMAPD", f"RECEIVED: {user}"),
        hmailserver_line(client, "IMAPD", f"SENT: {tag} NO Invalid user name or password."),
        hmailserver_line(client, "IMAPD", f"SENT: {tag} OK NOOP completed"),
    ]


def apple_login(client: Client) -> list[str]:
    user = one_line(client.user)
    return [
        f'Nov 24 2026 08:45:29 IMAP User "{user}" log on successful from {client.address}',
    ]


SERVERS = [
    Server("uw-imap", uw_imap, lambda client: uw_refused("imapd", client)),
    Server("uw-ipop3d", uw_ipop3d, lambda client: uw_refused("ipop3d", client)),
    Server(
        "qpopper",
        lambda client: qpopper(client, qpopper_login),
        lambda client: qpopper(client, qpopper_refused),
    ),
    Server("vchkpw", vchkpw_login, vchkpw_refused),
    Server("cucipop", cucipop_login, cucipop_refused),
    Server("vm-pop3d", vm_pop3d_login, vm_pop3d_refused),
    Server("teapop", teapop_login, teapop_refused),
    Server("gnu-pop3d", gnu_pop3d_login, gnu_pop3d_refused),
    Server("tpop3d", tpop3d_login, tpop3d_refused),
    Server("zimbra", zimbra_login, zimbra_refused),
    Server("hmailserver", hmailserver_login, hmailserver_refused),
    Server("apple-imap", apple_login, lambda client: []),
]
each_server = pytest.mark.parametrize("server", SERVERS, ids=[one.format for one in SERVERS])
each_client = pytest.mark.parametrize("address", CLIENTS)

ADMIN = Client(FORGED, "admin", host="x")
LINES = [line for server in SERVERS for line in server.login(ADMIN)]
"""Whole lines of a login by somebody else, of every server: an attacker sends them, or parts."""

PIECES = [
    *LINES,
    *(re.sub(r"^.*?\]:? |^.*?\t\"SENT", "", line) for line in LINES),
    *(part for line in LINES for part in re.split(r"(?<=[:)\]'\"]) ", line)),
    FORGED,
    f"({FORGED})",
    f"[{FORGED}]",
    f":{FORGED}",
    f" [{FORGED}]",
    f"x [{FORGED}",
    f"(h) {FORGED}",
    f" at (h) {FORGED}",
    f'" at (h) {FORGED} [pop_log.c:244]',
    f" from {FORGED}",
    f"' logged in from {FORGED}, nmsgs=3",
    f"oip={FORGED};",
    f";oip={FORGED};] ",
    f" host=[{FORGED}]",
    f"@x [1.1.1.1] from h [{FORGED}]",
    f"(a({FORGED})",
    *"\n\r\0\x85\u2028 \t'\"()[]<>;:@`%,=.",
    "a" * 40,
    "a" * 400,
    "2001:",
]
TEXTS = st.text(max_size=60) | st.lists(
    st.sampled_from(PIECES) | st.text(max_size=4), max_size=6
).map("".join)


def told(server: Server, lines: list[str]) -> list[Event]:
    text = "".join(f"{line}\n" for line in lines)
    return events(text.encode("utf-8", "surrogatepass"), server.format)


@each_server
@each_client
@given(user=TEXTS, password=TEXTS, host=TEXTS)
def test_a_refused_client_gives_no_login_and_no_other_address(
    server: Server, address: str, user: str, password: str, host: str
) -> None:
    lines = server.refused(Client(address, user, password, host))
    found = told(server, lines)
    assert [event for event in found if isinstance(event, Login)] == [], lines
    assert {event.address for event in found} <= {address, None}, lines


@each_server
@each_client
@given(user=TEXTS, password=TEXTS, host=TEXTS)
def test_a_login_is_from_the_address_that_the_server_saw(
    server: Server, address: str, user: str, password: str, host: str
) -> None:
    lines = server.login(Client(address, user, password, host))
    assert {event.address for event in told(server, lines)} <= {address}, lines


@each_server
@each_client
@given(
    user=st.from_regex(r"[a-z][a-z0-9._-]{0,30}", fullmatch=True),
    host=st.from_regex(r"(?:[a-z0-9-]{1,20}\.){1,2}[a-z]{2,6}", fullmatch=True) | st.just(""),
)
def test_a_usual_login_is_read(server: Server, address: str, user: str, host: str) -> None:
    found = told(server, server.login(Client(address, user, host=host)))
    assert found
    assert {(type(event), event.address) for event in found} == {(Login, address)}
    users = {event.user for event in found}
    assert users <= {user, "alice@example.com", None}


# What the formats say can be forged


def test_ipop3d_logs_what_another_imap_server_says() -> None:
    """`* NO ..` of the host that the client named, by mm_log() at LOG_DEBUG."""
    said = f"Login user=admin host=[{FORGED}] nmsgs=0/0"
    (found,) = told(SERVERS[1], tagged("ipop3d[4387]", said))
    assert found.address == FORGED
    assert find("uw-ipop3d", None).forgeable


@pytest.mark.parametrize("name", ["zimbra", "hmailserver"])
def test_a_line_feed_begins_a_line_in_a_log_of_its_own(name: str) -> None:
    (server,) = (one for one in SERVERS if one.format == name)
    forged = server.login(ADMIN)[0]
    found = told(server, [f"x{server.login(Client(CLIENTS[0], 'x'))[0]}\n{forged}"])
    assert {event.address for event in found} == {FORGED}
    assert find(name, None).forgeable


def test_zimbra_believes_the_address_that_its_client_claims() -> None:
    line = (
        "2026-11-24 08:45:28,123 INFO  [ImapServer-138] "
        f"[name=alice@example.com;ip={CLIENTS[0]};oip={FORGED};] "
        "imap - user alice@example.com authenticated, mechanism=LOGIN"
    )
    (found,) = told(Server("zimbra", zimbra_login, zimbra_refused), [line])
    assert found.address == FORGED
    assert find("zimbra", None).forgeable

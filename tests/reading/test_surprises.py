"""What surprises in Dovecot's logs, and is in no recorded one or easily overlooked there."""

from __future__ import annotations

import pytest

from tests.reading.scanning import FORGED, events
from tracker.records import Failed, Login, Logout

HEAD = "Nov 24 08:45:29 mailhost dovecot: "
END = "method=PLAIN, rip=127.0.0.2, lip=127.0.0.1, "


def test_a_session_that_a_trusted_proxy_chose_may_look_like_elements() -> None:
    session = f"a>,rip={FORGED},<b"
    (found,) = events(
        f"{HEAD}imap-login: Login: user=<alice>, {END}mpid=1, secured, session=<{session}>\n"
    )
    assert isinstance(found, Login)
    assert (found.address, found.session) == ("127.0.0.2", session)


@pytest.mark.parametrize("session", ["/FaNuwFh5c9/AABN", "++++////++++////", "A" * 32])
def test_sessions_are_base64_and_may_begin_with_a_slash(session: str) -> None:
    logins = events(f"{HEAD}imap-login: Login: user=<a>, {END}mpid=1, session=<{session}>\n")
    logouts = events(f"{HEAD}imap(a)<1><{session}>: Disconnected: Logged out in=8 out=469\n")
    assert [event.session for event in (*logins, *logouts)] == [session, session]


@pytest.mark.parametrize(
    "text",
    [
        "imap-login: Warning: haproxy: Client not trusted (rip=127.0.0.2)",
        "anvil: Error: BUG: Anvil client connection sent too much data",
        f"imap-login: Disconnected: Internal login failure (pid=1 id=1): user=<a>, {END}mpid=1",
        "imap-login: Disconnected: Connection closed (no auth attempts in 0 secs): user=<>, "
        "rip=127.0.0.9, lip=127.0.0.1, session=<mLAUvQFh/6J/AAAJ>",
        "imap(a)<1><s>: Error: Namespace prefix=: Mailbox list driver maildir++ failed",
        "imap(a)<1><s>: copy from INBOX: box=Trash, uid=1, msgid=<x>, size=1",
        "director: Error: director(127.0.0.2:9090/left): Disconnected",
        f"lmtp(bob): msgid=<x>: saved mail to {FORGED}",
    ],
)
def test_lines_that_are_no_event(text: str) -> None:
    assert events(f"{HEAD}{text}\n") == []


def test_in_2_4_a_login_that_was_aborted_is_no_logout() -> None:
    (found,) = events(
        f"{HEAD}imap-login: Login aborted: Logged out (auth failed, 1 attempts in 0 secs) "
        f"(auth_failed): user=<bob>, {END}session=<czR0uAFhN55/AABN>\n"
    )
    assert isinstance(found, Failed)


def test_a_name_of_any_length_is_cut_in_the_login_and_whole_in_the_logout() -> None:
    login, logout = events(
        f"{HEAD}imap-login: Login: user=<{'a' * 77}...>, {END}mpid=1, session=<s>\n"
        f"{HEAD}imap({'a' * 1500})<1><s>: Disconnected: Logged out in=8 out=469\n"
    )
    assert login.user == "a" * 77 + "..."
    assert isinstance(logout, Logout)
    assert (logout.user, logout.session) == ("a" * 1500, "s")


def test_the_level_stands_in_a_log_of_its_own_alone() -> None:
    own, syslog = "Nov 24 08:45:29 ", HEAD
    text = f"Login: user=<a>, {END}mpid=1, session=<s>\n"
    for line in (f"{own}imap-login: Info: {text}", f"{syslog}imap-login: {text}"):
        assert [type(event) for event in events(line)] == [Login]
    assert events(f"{own}imap-login: Error: {text}") == []


@pytest.mark.parametrize(
    "text",
    [
        "imap(bob): Disconnected: x): Disconnected: Logged out in=93 out=956",
        "imap(bob): Disconnected: (): Disconnected: Logged out in=93 out=956",
        "IMAP(bob): Disconnected: x): Disconnected: Logged out bytes=93/956",
        "imap(bob): Disconnected: x)<1><s>: Logged out in=93 out=956",
    ],
)
def test_a_name_before_2_3_cannot_log_another_out(text: str) -> None:
    assert [event.user for event in events(f"{HEAD}{text}\n")] in (
        [],
        ["bob): Disconnected: x"],
    )


@pytest.mark.parametrize("name", ["x Dovecot v2.3.19 starting up", "Dovecot v2.3.19 starting up"])
def test_a_name_is_no_start_of_the_server(name: str) -> None:
    for text in (
        f"imap-login: Disconnected (auth failed, 1 attempts in 1 secs): user=<{name}>, {END}",
        f"imap({name}): Error: x",
        f"auth: Info: pam({name},127.0.0.2): unknown user",
        f"master: x {name}",
    ):
        assert "Restart" not in {type(event).__name__ for event in events(f"{HEAD}{text}\n")}

"""Lines of one process belong together; one process may serve many connections, one at a time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.moments import NOW, after
from tests.reading.scanning import NOW as READ_AT
from tests.reading.scanning import events, reader
from tracker.reading.correlating import CONNECTED
from tracker.reading.events import EventReader
from tracker.reading.formats import find
from tracker.reading.timestamps import StampReader
from tracker.records import Event, Login, Logout


def popa3d(message: str, pid: int = 12799, host: str = "mailhost", at: float = 0) -> str:
    return f"{after(at).isoformat()} {host} popa3d[{pid}]: {message}\n"


def cyrus(message: str, pid: int = 9300, host: str = "mailhost", at: float = 0) -> str:
    return f"{after(at).isoformat()} {host} cyrus/imap[{pid}]: {message}\n"


def cyrus_login(address: str, user: str, session: str, pid: int = 9300, at: float = 0) -> str:
    text = f"login: [{address}] {user} plaintext User logged in SESSIONID=<{session}>"
    return cyrus(text, pid, at=at)


def courier(message: str, host: str = "mailhost", at: float = 0, program: str = "pop3d") -> str:
    return f"{after(at).isoformat()} {host} {program}: {message}\n"


LONG = "LOGIN FAILED, user=" + "y" * 486
COURIER_LOGIN = "LOGIN, user=alice, ip=[::ffff:203.0.113.5], port=[39849]"
FIRST = popa3d("Session from 203.0.113.5")
SECOND = popa3d("Authentication passed for alice", at=1)
END = popa3d("0 (0) deleted, 0 (0) left", at=2)


def told(found: list[Event]) -> list[tuple[type[Event], str | None, str | None, str | None]]:
    return [(type(one), one.user, one.address, one.session) for one in found]


def test_a_login_has_the_address_of_its_own_process() -> None:
    other = popa3d("Session from 203.0.113.6", pid=12800)
    (found,) = events(FIRST + other + SECOND, "popa3d")
    assert told([found]) == [(Login, "alice", "203.0.113.5", "mailhost/popa3d[12799]")]


def test_the_same_pid_at_another_host_is_another_process() -> None:
    (found,) = events(popa3d("Session from 203.0.113.6", host="other") + SECOND, "popa3d")
    assert found.address is None


def test_the_same_pid_of_another_server_is_another_process() -> None:
    text = popa3d("Session from 203.0.113.6").replace("popa3d[", "solid-pop3d[") + SECOND
    (found,) = events(text, "popa3d", "solid-pop3d")
    assert found.address is None


def test_an_end_names_what_its_own_line_leaves_out() -> None:
    _, found = events(FIRST + SECOND + END, "popa3d")
    assert told([found]) == [(Logout, "alice", "203.0.113.5", "mailhost/popa3d[12799]")]
    assert found.service == "pop3"


def test_after_its_end_a_process_is_forgotten() -> None:
    *_, found = events(FIRST + SECOND + END + popa3d("Authentication passed for bob"), "popa3d")
    assert told([found]) == [(Login, "bob", None, "mailhost/popa3d[12799]")]


def test_a_second_login_needs_an_address_of_its_own() -> None:
    *_, found = events(FIRST + SECOND + popa3d("Authentication passed for bob", at=3), "popa3d")
    assert (found.user, found.address) == ("bob", None)


def test_a_connection_that_never_logged_in_gives_its_address_to_nobody_else() -> None:
    *_, found = events(FIRST + popa3d("Session from 203.0.113.6") + SECOND, "popa3d")
    assert found.address == "203.0.113.6"


def test_an_address_of_long_ago_is_that_of_another_process_with_the_same_pid() -> None:
    """The line that gives the new process's address was lost."""
    within, beyond = CONNECTED.total_seconds(), CONNECTED.total_seconds() + 1
    (found,) = events(FIRST + popa3d("Authentication passed for bob", at=within), "popa3d")
    assert found.address == "203.0.113.5"
    (found,) = events(FIRST + popa3d("Authentication passed for bob", at=beyond), "popa3d")
    assert found.address is None


def test_a_pid_that_comes_again_ends_the_session_whose_end_was_not_logged() -> None:
    again = popa3d("Session from 203.0.113.6", at=9)
    _, ended = events(FIRST + SECOND + again, "popa3d")
    assert told([ended]) == [(Logout, "alice", "203.0.113.5", "mailhost/popa3d[12799]")]
    assert ended.time == NOW + timedelta(seconds=9)
    assert ended.host == "mailhost"
    assert ended.format == "popa3d"


def test_one_process_serves_one_connection_after_another() -> None:
    text = (
        cyrus_login("203.0.113.5", "alice", "one")
        + cyrus("USAGE alice user: 0.007520 sys: 0.011281")
        + cyrus_login("203.0.113.6", "bob", "two")
        + cyrus("badlogin: [203.0.113.7] plaintext (carol) invalid user")
        + cyrus("USAGE bob user: 0.007520 sys: 0.011281")
    )
    found = [one for one in told(events(text, "cyrus")) if one[0] in {Login, Logout}]
    assert found == [
        (Login, "alice", "203.0.113.5", "one"),
        (Logout, "alice", "203.0.113.5", "one"),
        (Login, "bob", "203.0.113.6", "two"),
        (Logout, "bob", "203.0.113.6", "two"),
    ]


def test_the_next_login_to_a_process_ends_the_session_that_was_cut_off() -> None:
    text = cyrus_login("203.0.113.5", "alice", "one") + cyrus_login(
        "203.0.113.6", "bob", "two", at=5
    )
    found = events(text, "cyrus")
    assert told(found) == [
        (Login, "alice", "203.0.113.5", "one"),
        (Logout, "alice", "203.0.113.5", "one"),
        (Login, "bob", "203.0.113.6", "two"),
    ]
    assert found[1].time == found[2].time


def test_a_login_in_another_process_ends_nothing() -> None:
    text = cyrus_login("203.0.113.5", "alice", "one") + cyrus_login(
        "203.0.113.5", "alice", "two", pid=9301
    )
    assert [type(one) for one in events(text, "cyrus")] == [Login, Login]


def test_an_end_of_a_process_of_which_nothing_is_known_names_no_session() -> None:
    (found,) = events(cyrus("USAGE alice user: 0.007520 sys: 0.011281"), "cyrus")
    assert told([found]) == [(Logout, "alice", None, None)]


def test_a_server_that_names_sessions_names_none_for_a_login_that_has_no_end() -> None:
    """Cyrus's timsieved logs no end: an open session would keep the grant for a day."""
    text = cyrus("login: [203.0.113.5] alice PLAIN User logged in").replace("imap", "sieve")
    assert told(events(text, "cyrus")) == [(Login, "alice", "203.0.113.5", None)]


@pytest.mark.parametrize("stopped_after", [1, 2, 3])
def test_a_restart_between_two_lines_loses_nothing(stopped_after: int) -> None:
    lines = [FIRST, SECOND, END]
    read: list[Event] = []
    memory = b""
    for block in ("".join(lines[:stopped_after]), "".join(lines[stopped_after:])):
        one = EventReader([find("popa3d", None)], StampReader(READ_AT), memory)
        read += one.read(block.encode())
        memory = one.memory() or memory
    assert read == events("".join(lines), "popa3d")


def test_memory_is_given_only_where_it_changed() -> None:
    one = reader("popa3d")
    assert one.memory() is None
    one.read(FIRST.encode())
    assert one.memory()
    assert one.memory() is None
    one.read(popa3d("0 messages (0 bytes) loaded").encode())
    assert one.memory() is None
    one.read((SECOND + END).encode())
    assert one.memory()


@pytest.mark.parametrize(
    "memory", [b"{}", b"nonsense", b'{"addresses":{"mailhost/popa3d[1]":"x"}}']
)
def test_a_memory_of_another_version_is_forgotten(memory: bytes) -> None:
    one = EventReader([find("popa3d", None)], StampReader(READ_AT), memory)
    (found,) = one.read(SECOND.encode())
    assert found.address is None


# The guard


@pytest.mark.parametrize("program", ["pop3d", "pop3d-ssl", "imapd"])
def test_no_login_is_believed_for_some_seconds_after_a_message_that_was_cut(program: str) -> None:
    """Nor is a real one that falls into these seconds: no line tells which it is."""
    cut = courier(LONG, program=program)
    assert events(cut + courier(COURIER_LOGIN), "courier") == []
    assert events(cut + courier(COURIER_LOGIN, at=10), "courier") == []
    assert len(events(cut + courier(COURIER_LOGIN, at=10.1), "courier")) == 1


def test_the_lines_of_others_between_the_two_pieces_do_not_help_a_forger() -> None:
    others = courier("Connection, ip=[::ffff:203.0.113.9], port=[1]") + courier(
        "LOGOUT, ip=[::ffff:203.0.113.9], port=[1]"
    )
    assert events(courier(LONG) + others + courier(COURIER_LOGIN), "courier") == []


def test_a_clock_that_is_set_back_does_not_help_a_forger() -> None:
    assert events(courier(LONG) + courier(COURIER_LOGIN, at=-60), "courier") == []


def test_a_message_that_is_too_long_says_nothing_of_another_host() -> None:
    assert len(events(courier(LONG, host="other") + courier(COURIER_LOGIN), "courier")) == 1


def test_the_doubt_is_kept_over_a_restart() -> None:
    one = reader("courier")
    assert one.read(courier(LONG).encode()) == []
    memory = one.memory()
    assert memory
    two = EventReader([find("courier", None)], StampReader(READ_AT), memory)
    assert two.read(courier(COURIER_LOGIN).encode()) == []


def test_an_end_is_believed_all_the_same() -> None:
    """A forged one takes a window away from somebody; a real one that is left out keeps a grant
    for a day."""
    end = "LOGOUT, user=alice, ip=[::ffff:203.0.113.5], port=[39849], top=0, retr=0"
    (found,) = events(courier(LONG) + courier(end), "courier")
    assert isinstance(found, Logout)

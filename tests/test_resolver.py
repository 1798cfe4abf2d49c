"""Host names asked of a real name server on loopback: one that answers, and one that misbehaves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import dns.message
import pytest

from lab.names import NameServer, servfail, silence
from lab.processes import wait_for
from tracker import resolver as resolving
from tracker.answers import keep, remembered
from tracker.host import utc_now
from tracker.records import Answer, NameAnswers
from tracker.resolver import MOST, Resolver
from tracker.settings import Duration, TrustedSettings

NAME = "mail.example.com"


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer() as made:
        yield made


class Asker:
    """Resolvers for one state folder and one name server."""

    def __init__(self, folder: Path, server: NameServer) -> None:
        self.folder = folder
        self.server = server
        self._open: list[Resolver] = []

    def resolver(
        self, *names: str, timeout: float = 0.5, changed: Callable[[], None] = lambda: None
    ) -> Resolver:
        settings = TrustedSettings(
            nameservers=(self.server.address,), timeout=Duration(seconds=timeout)
        )
        made = Resolver(settings, self.folder, changed)
        self._open.append(made)
        made.follow(names)
        return made

    def answers(self, name: str = NAME, timeout: float = 0.5) -> NameAnswers:
        made = self.resolver(name, timeout=timeout)
        made.look_all_up()
        return made.answers()[name]

    def close(self) -> None:
        for one in self._open:
            one.close()


@pytest.fixture
def asker(tmp_path: Path, server: NameServer) -> Iterator[Asker]:
    made = Asker(tmp_path, server)
    yield made
    made.close()


def seconds_left(answer: Answer) -> float:
    assert answer.expires is not None
    return (answer.expires - utc_now()).total_seconds()


def test_both_families_are_asked_and_kept_until_their_ttl(server: NameServer, asker: Asker) -> None:
    server.set(NAME, "A", "203.0.113.6", "203.0.113.5", ttl=300)
    server.set(NAME, "AAAA", "2001:DB8::5", ttl=120)
    found = asker.answers()
    assert found.v4.addresses == ("203.0.113.5", "203.0.113.6")
    assert found.v6.addresses == ("2001:db8::5",)
    assert 290 < seconds_left(found.v4) <= 300
    assert 110 < seconds_left(found.v6) <= 120
    assert (found.v4.trouble, found.v6.trouble) == (None, None)


@pytest.mark.parametrize(("ttl", "kept"), [(0, 30), (1, 30), (86400 * 7, 3600)])
def test_a_ttl_is_kept_within_bounds(server: NameServer, asker: Asker, ttl: int, kept: int) -> None:
    server.set(NAME, "A", "203.0.113.5", ttl=ttl)
    assert kept - 10 < seconds_left(asker.answers().v4) <= kept


def test_a_name_without_a_family_has_no_address_of_it(server: NameServer, asker: Asker) -> None:
    server.set(NAME, "A", "203.0.113.5")
    found = asker.answers()
    assert found.v6.addresses == ()
    assert found.v6.expires is not None
    assert found.v6.trouble is None


def test_an_alias_leads_to_the_addresses_and_its_ttl_counts_too(
    server: NameServer, asker: Asker
) -> None:
    server.set(NAME, "CNAME", "host.example.net", ttl=40)
    server.set("host.example.net", "A", "203.0.113.5", ttl=3000)
    found = asker.answers()
    assert found.v4.addresses == ("203.0.113.5",)
    assert seconds_left(found.v4) <= 40


def test_an_alias_that_leads_in_a_circle_is_trouble(server: NameServer, asker: Asker) -> None:
    server.set(NAME, "CNAME", "b.example.com")
    server.set("b.example.com", "CNAME", NAME)
    found = asker.answers()
    assert found.v4.addresses == ()
    assert found.v4.expires is None
    assert found.v4.trouble


def test_a_name_that_is_not_there_is_an_answer(server: NameServer, asker: Asker) -> None:
    found = asker.answers()
    assert found.v4.expires is not None
    assert (found.v4.addresses, found.v4.trouble) == ((), None)


def test_a_mapped_address_is_ipv4(server: NameServer, asker: Asker) -> None:
    server.set(NAME, "AAAA", "::ffff:203.0.113.5")
    assert asker.answers().v6.addresses == ("203.0.113.5",)


def test_a_long_answer_comes_by_tcp(server: NameServer, asker: Asker) -> None:
    server.truncate = True
    server.set(NAME, "A", *(f"203.0.113.{n}" for n in range(MOST)))
    assert len(asker.answers().v4.addresses) == MOST


def test_too_many_addresses_are_taken_for_an_error(server: NameServer, asker: Asker) -> None:
    server.set(NAME, "A", *(f"203.0.113.{n}" for n in range(MOST + 1)))
    found = asker.answers()
    assert found.v4.addresses == ()
    assert found.v4.expires is None
    assert "65 addresses" in (found.v4.trouble or "")


def test_as_many_addresses_as_a_message_holds_are_an_error_too(
    server: NameServer, asker: Asker
) -> None:
    """4,000 A records fill the 64 KiB of a message; what is trusted stays what was known."""
    server.truncate = True
    server.set(NAME, "A", "203.0.113.5", ttl=300)
    resolver = asker.resolver(NAME, timeout=5)
    resolver.look_up()
    server.set(NAME, "A", *(f"198.51.{n // 250}.{n % 250}" for n in range(4000)))
    resolver.look_all_up()
    found = resolver.answers()[NAME]
    assert found.v4.addresses == ("203.0.113.5",)
    assert "4000 addresses" in (found.v4.trouble or "")


def test_an_answer_that_changes_at_each_question_never_adds_up(
    server: NameServer, asker: Asker
) -> None:
    """Whoever answers another address each time, with TTL 0, has one address trusted at a time."""
    resolver = asker.resolver(NAME)
    for number in range(5):
        server.set(NAME, "A", f"203.0.113.{number}", ttl=0)
        resolver.look_all_up()
        found = resolver.answers()[NAME].v4
        assert found.addresses == (f"203.0.113.{number}",)
        assert seconds_left(found) > 20, "nor is it asked again before half a minute is over"


def other_id(query: dns.message.QueryMessage) -> dns.message.Message:
    """As one who forges replies without having seen the question."""
    reply = dns.message.make_response(query)
    reply.id = query.id ^ 1
    return reply


def other_question(query: dns.message.QueryMessage) -> dns.message.Message:
    asked = dns.message.make_query("bank.example.com", query.question[0].rdtype, id=query.id)
    return dns.message.make_response(asked)


class TestTrouble:
    @pytest.mark.parametrize(
        ("way", "words"),
        [
            (servfail, "the servers answered: SERVFAIL"),
            (silence, "no server answered in time"),
            (other_id, "no server answered in time"),
            (other_question, "no server answered in time"),
            (lambda _: b"\x00" * 40, "no server answered in time"),
            (lambda _: b"x", "no server answered in time"),
        ],
        ids=["servfail", "silent", "other id", "other question", "zeros", "rubbish"],
    )
    def test_keeps_what_was_known_and_says_what_is_the_matter(
        self,
        server: NameServer,
        asker: Asker,
        way: Callable[[dns.message.QueryMessage], dns.message.Message | bytes | None],
        words: str,
    ) -> None:
        server.set(NAME, "A", "203.0.113.5", ttl=300)
        resolver = asker.resolver(NAME)
        resolver.look_up()
        server.ways[NAME] = way
        resolver.look_all_up()
        found = resolver.answers()[NAME]
        assert found.v4.addresses == ("203.0.113.5",)
        assert 290 < seconds_left(found.v4) <= 300
        assert words in (found.v4.trouble or "")

    def test_of_one_family_leaves_the_other_alone(self, server: NameServer, asker: Asker) -> None:
        def no_aaaa(query: dns.message.QueryMessage) -> dns.message.Message:
            six = query.question[0].rdtype.name == "AAAA"
            return servfail(query) if six else server._honest(query)

        server.set(NAME, "A", "203.0.113.5")
        server.ways[NAME] = no_aaaa
        found = asker.answers()
        assert found.v4 == Answer(("203.0.113.5",), found.v4.expires, None)
        assert found.v6.expires is None
        assert "SERVFAIL" in (found.v6.trouble or "")

    def test_of_a_server_that_is_not_there_is_said(self, tmp_path: Path) -> None:
        with NameServer() as gone:
            address = gone.address
        settings = TrustedSettings(nameservers=(address,), timeout=Duration(seconds=0.5))
        resolver = Resolver(settings, tmp_path)
        resolver.follow([NAME])
        resolver.look_up()
        resolver.close()
        assert resolver.answers()[NAME].v4.trouble

    def test_of_one_server_is_made_up_for_by_the_next(
        self, server: NameServer, tmp_path: Path
    ) -> None:
        server.set(NAME, "A", "203.0.113.5")
        with NameServer() as dead:
            dead.ways[""] = silence
            servers = (dead.address, server.address)
            settings = TrustedSettings(nameservers=servers, timeout=Duration(seconds=2))
            resolver = Resolver(settings, tmp_path)
            resolver.follow([NAME])
            resolver.look_up()
            resolver.close()
        assert resolver.answers()[NAME].v4.addresses == ("203.0.113.5",)

    def test_of_many_names_is_not_waited_for_name_by_name(
        self, server: NameServer, asker: Asker
    ) -> None:
        server.ways[""] = silence
        names = [f"n{n}.example.com" for n in range(200)]
        patient = asker.resolver(*names)
        patient.look_all_up()
        assert patient.answers().keys() == set(names)
        hurried = asker.resolver(*names)
        hurried.look_up()
        assert 0 < len(hurried.answers()) < len(names), "the rest is asked the next time"


class TestThread:
    """Times are shortened here: the real ones are half a minute and more."""

    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resolving, "_SHORTEST", timedelta(milliseconds=50))

    def test_asks_again_at_the_end_of_the_ttl_and_takes_up_what_changed(
        self, server: NameServer, asker: Asker
    ) -> None:
        told: list[bool] = []
        server.set(NAME, "A", "203.0.113.5", ttl=0)
        resolver = asker.resolver(NAME, changed=lambda: told.append(True))
        resolver.start()
        wait_for("the address", lambda: addresses(resolver) == ("203.0.113.5",))
        server.set(NAME, "A", "203.0.113.6", ttl=0)
        wait_for("the other address", lambda: addresses(resolver) == ("203.0.113.6",))
        wait_for("the call", lambda: len(told) > 1)

    def test_drops_the_address_of_a_name_that_is_gone(
        self, server: NameServer, asker: Asker
    ) -> None:
        server.set(NAME, "A", "203.0.113.5", ttl=0)
        resolver = asker.resolver(NAME)
        resolver.start()
        wait_for("the address", lambda: addresses(resolver) == ("203.0.113.5",))
        server.forget(NAME)
        wait_for("its end", lambda: addresses(resolver) == ())

    def test_takes_up_names_that_come_and_forgets_those_that_go(
        self, server: NameServer, asker: Asker
    ) -> None:
        server.set(NAME, "A", "203.0.113.5", ttl=0)
        server.set("other.example.com", "A", "203.0.113.9", ttl=0)
        resolver = asker.resolver(NAME)
        resolver.start()
        wait_for("the first", lambda: NAME in resolver.answers())
        resolver.follow(["other.example.com"])
        wait_for("the other", lambda: resolver.answers().keys() == {"other.example.com"})
        server.asked.clear()
        wait_for("another question", lambda: server.asked)
        assert (NAME, "A") not in server.asked

    def test_a_slow_name_holds_up_no_other(self, server: NameServer, asker: Asker) -> None:
        server.set(NAME, "A", "203.0.113.5")
        server.ways["slow.example.com"] = silence
        resolver = asker.resolver("slow.example.com", NAME, timeout=60)
        resolver.start()
        wait_for("the quick one", lambda: NAME in resolver.answers(), 10)
        assert "slow.example.com" not in resolver.answers()

    def test_ends_at_once_though_dns_is_silent(self, server: NameServer, asker: Asker) -> None:
        server.ways[""] = silence
        resolver = asker.resolver(NAME, timeout=60)
        resolver.start()
        wait_for("the question", lambda: server.asked)
        began = time.monotonic()
        resolver.close()
        assert time.monotonic() - began < 30

    def test_answers_outlive_the_process(self, server: NameServer, asker: Asker) -> None:
        server.set(NAME, "A", "203.0.113.5", ttl=600)
        resolver = asker.resolver(NAME)
        resolver.start()
        wait_for("the file", lambda: NAME in remembered(asker.folder))
        resolver.close()
        server.ways[""] = silence
        server.asked.clear()
        again = asker.resolver(NAME)
        again.look_up()
        assert addresses(again) == ("203.0.113.5",)
        assert server.asked == []


def test_a_clock_that_was_put_back_keeps_no_answer_for_ever(
    server: NameServer, asker: Asker
) -> None:
    server.set(NAME, "A", "203.0.113.6")
    late = utc_now() + timedelta(days=400)
    keep(asker.folder, {NAME: NameAnswers(Answer(("203.0.113.5",), late), Answer((), late))})
    resolver = asker.resolver(NAME)
    resolver.look_up()
    assert addresses(resolver) == ("203.0.113.6",)


def addresses(resolver: Resolver) -> tuple[str, ...] | None:
    answers = resolver.answers().get(NAME)
    return None if answers is None else answers.v4.addresses


class TestMemory:
    def test_is_given_back_as_it_was(self, tmp_path: Path) -> None:
        answers = {NAME: NameAnswers(Answer(("203.0.113.5",), utc_now(), "silent"), Answer())}
        keep(tmp_path, answers)
        assert remembered(tmp_path) == answers
        assert (tmp_path / "names.json").stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("rubbish", [b"", b"[]", b"{", b'{"a": 1}', b"\xff\x00"])
    def test_that_is_damaged_counts_as_none_and_is_said(
        self, tmp_path: Path, rubbish: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "names.json").write_bytes(rubbish)
        assert remembered(tmp_path) == {}
        assert "event=unreadable" in caplog.text

    def test_that_cannot_be_written_is_said_and_no_more(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            keep(tmp_path / "gone", {})
        assert "event=unwritable" in caplog.text

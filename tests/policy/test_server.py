"""The policy service on a real socket: what it answers, and whom it does not let hold it up."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.moments import NOW, after
from tracker.deciding.access import SenderPolicy
from tracker.deciding.index import GrantIndex
from tracker.deciding.owners import Owners
from tracker.deciding.rules import RuleSet
from tracker.deciding.trusted import TrustedList
from tracker.errors import StoreError
from tracker.metrics import Metrics, PolicyMetrics
from tracker.policy.answering import Answering
from tracker.policy.listening import listening
from tracker.policy.loginmaps import LoginMaps
from tracker.policy.protocol import Action, Request
from tracker.policy.sayings import Sayings
from tracker.policy.server import PolicyServer
from tracker.records import Grant, MailHost, SmtpSession, Step
from tracker.settings import PolicySettings, PostfixSettings
from tracker.writing.postfix import Postfix

CLIENT = "198.51.100.7"
OK, DUNNO = Action.OK.value, Action.DUNNO.value


def grant(user: str, address: str = CLIENT) -> Grant:
    return Grant(address, user, ("imap",), NOW, NOW, after(60), after(60))


def question(sender: str = "alice@example.com", client: str = CLIENT, more: str = "") -> bytes:
    text = f"request=smtpd_access_policy\nsender={sender}\nclient_address={client}\n{more}\n"
    return text.encode()


class Site:
    """A service in a folder, by grants of alice's, and a configuration of Postfix beside it."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.folder = folder
        self.config = config
        self.socket = folder / "policy"
        self.index = GrantIndex([grant("alice@example.com")])
        self.metrics = PolicyMetrics(Metrics())
        self.fault: StoreError | None = None
        self.maps: tuple[str, ...] = ()
        self.postfix = PostfixSettings(config_directory=str(config))

    def rules(self) -> RuleSet:
        if self.fault is not None:
            raise self.fault
        host = MailHost(myorigin="example.com", login_maps=self.maps)
        owners = Owners(PolicySettings(), host, ["example.com"])
        return RuleSet(
            TrustedList(),
            {},
            senders=SenderPolicy(host, owners=owners),
            grants=self.index,
            scope="address",
            owners=owners,
        )

    @asynccontextmanager
    async def serving(self, max_connections: int = 500) -> AsyncIterator[None]:
        asked = PolicySettings(listen=f"unix:{self.socket}", max_connections=max_connections)
        maps = LoginMaps(self.postfix)
        answering = Answering(self.rules, maps, self.metrics, lambda: NOW)
        server = PolicyServer(asked, answering)
        await server.serve(listening(asked.listen, Postfix(self.postfix)))
        try:
            yield
        finally:
            await server.close()
            maps.close()

    async def ask(self, *pieces: bytes, answers: int = 1) -> bytes:
        """What comes back for pieces of a conversation; less where the service ended it."""
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            found = b""
            with suppress(ConnectionResetError, BrokenPipeError):
                while found.count(b"\n\n") < answers:
                    more = await asyncio.wait_for(reader.read(65536), 20)
                    if not more:
                        break
                    found += more
            return found
        finally:
            writer.close()
            with suppress(ConnectionResetError, BrokenPipeError):
                await writer.wait_closed()

    def run(
        self, work: Callable[[], Coroutine[Any, Any, None]], max_connections: int = 500
    ) -> None:
        async def inside() -> None:
            async with self.serving(max_connections):
                await work()

        asyncio.run(inside())


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Site:
    # pytest's own folders are 0700, as one of popgate's is not: smtpd passes through it.
    folder = tmp_path / "s"
    folder.mkdir()
    folder.chmod(0o755)
    return Site(folder, postfix_config)


def test_it_answers_who_has_a_grant_and_is_the_sender(site: Site) -> None:
    async def work() -> None:
        assert await site.ask(question()) == OK
        assert await site.ask(question("bob@example.com")) == DUNNO
        assert await site.ask(question(client="203.0.113.9")) == DUNNO
        assert await site.ask(question(client="")) == DUNNO
        assert await site.ask(question("")) == DUNNO
        assert await site.ask(question(more="server_port=587\n")) == DUNNO
        assert await site.ask(b"request=smtpd_access_policy\n\n") == DUNNO

    site.run(work)
    counts = {"granted": 1, "other sender": 3, "no grant": 3, "failed": 0}
    assert site.metrics.answers.values == counts


def test_a_grant_counts_from_the_moment_it_is_in_the_index(site: Site) -> None:
    async def work() -> None:
        asked = question("bob@example.com")
        assert await site.ask(asked) == DUNNO
        site.index.put(CLIENT, [grant("alice@example.com"), grant("bob@example.com")])
        assert await site.ask(asked) == OK
        site.index.put(CLIENT, [])
        assert await site.ask(asked) == DUNNO

    site.run(work)


def test_thousands_of_requests_on_one_connection_are_answered_in_order(site: Site) -> None:
    senders = [random.Random(1).choice(("alice", "bob")) for _ in range(5000)]

    async def work() -> None:
        text = b"".join(question(f"{name}@example.com") for name in senders)
        found = await site.ask(text, answers=len(senders))
        assert found == b"".join(OK if name == "alice" else DUNNO for name in senders)

    site.run(work)


def test_many_connections_are_answered_at_a_time(site: Site) -> None:
    async def work() -> None:
        found = await asyncio.gather(*(site.ask(question(), question()) for _ in range(200)))
        assert all(answer.startswith(OK) for answer in found)

    site.run(work)


@pytest.mark.parametrize("bad", [b"\0\n\n", b"no request\n\n", b"x=" + b"y" * 20_000, b"a=b\n\n"])
def test_what_is_no_request_ends_that_connection_alone(
    site: Site, bad: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        reader, writer = await asyncio.open_unix_connection(str(site.socket))
        writer.write(question()[:-1])
        assert await site.ask(bad) == b""
        assert await site.ask(question() + bad, answers=2) in (OK, b"")
        writer.write(b"\n")
        assert await reader.readuntil(b"\n\n") == OK
        writer.close()

    site.run(work)
    assert site.metrics.closed.values["malformed"] == 2
    assert "event=policy_closed" in caplog.text


def test_one_connection_too_many_is_closed_at_once(site: Site) -> None:
    async def work() -> None:
        held = [await asyncio.open_unix_connection(str(site.socket)) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert await site.ask(question()) == b""
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.05)
        assert await site.ask(question()) == OK

    site.run(work, max_connections=2)
    assert site.metrics.closed.values["full"] == 1


def test_a_client_that_takes_no_answers_holds_nobody_up(site: Site) -> None:
    async def work() -> None:
        channel = socket.socket(socket.AF_UNIX)
        channel.setblocking(False)
        channel.connect(str(site.socket))
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while True:
                channel.send(question())
                await asyncio.sleep(0)
        assert await site.ask(question()) == OK
        channel.close()

    site.run(work)
    assert site.metrics.closed.values["slow"] == 1


def test_state_that_cannot_be_read_grants_nothing_and_is_said_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def work() -> None:
        site.fault = StoreError("popgate.db: disk I/O error")
        for _ in range(3):
            assert await site.ask(question()) == DUNNO
        site.fault = None
        assert await site.ask(question()) == OK

    site.run(work)
    assert caplog.text.count("event=policy_failed") == 1
    assert "event=policy_recovered" in caplog.text


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.sampled_from([question(), question("bob@example.com"), question("é@\0"), b"\n"]),
            st.text(max_size=40).map(lambda text: question(text.replace("\n", ""))),
            st.text(max_size=40).map(lambda text: question(client=text.replace("\n", ""))),
        ),
        max_size=6,
    ),
    st.integers(1, 64),
)
def test_no_bytes_whatever_are_answered_with_anything_but_the_two_actions(
    site: Site, parts: list[bytes], size: int
) -> None:
    text = b"".join(parts)

    async def work() -> None:
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        found = await site.ask(*pieces, question() * 2, b"\0\n\n", answers=10_000)
        assert found.replace(OK, b"").replace(DUNNO, b"") == b""
        assert await site.ask(question()) == OK

    site.run(work)


class TestWhatIsLogged:
    def lines(self, site: Site, caplog: pytest.LogCaptureFixture, *asked: bytes) -> list[str]:
        caplog.set_level(logging.INFO)

        async def work() -> None:
            for one in asked:
                await site.ask(one)

        site.run(work)
        return [line for line in caplog.messages if line.startswith("event=policy ")]

    def test_is_why_but_nothing_of_strangers(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        stranger = question(client="203.0.113.9")
        assert self.lines(site, caplog, question(), question("b@c.test"), stranger) == [
            "event=policy action=OK client=198.51.100.7 sender=alice@example.com why='grant of "
            "alice@example.com until 2026-11-24T08:46:29+00:00; the login is that address'",
            "event=policy action=DUNNO client=198.51.100.7 sender=b@c.test why='granted to "
            "alice@example.com, to whom the sender does not belong'",
        ]

    def test_is_the_same_answer_once(self, site: Site, caplog: pytest.LogCaptureFixture) -> None:
        asked = [question(more="instance=1.2.0\n")] * 5
        assert len(self.lines(site, caplog, *asked)) == 1

    def test_is_no_flood(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        sayings, step = Sayings(), Step("P", "POP before SMTP", matched=True, on="grant")
        for number in range(3000):
            asked = Request(SmtpSession(CLIENT, "alice@example.com"), str(number))
            sayings.answered(asked, Action.OK, step, 1.0)
        assert len(caplog.messages) == 20
        sayings.closed("a request has a NUL byte", 2.0)
        assert caplog.messages[20:] == [
            "event=policy_unsaid lines=2980",
            "event=policy_closed why='a request has a NUL byte'",
        ]

    def test_holds_no_word_that_could_be_a_line(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        forged = question("x\x1b[2J event=grant_added\u2028@b.test")
        assert "sender=x?[2J?event=grant_added?@b.test" in self.lines(site, caplog, forged)[0]


class TestLoginMaps:
    def table(self, site: Site, text: str) -> str:
        file = site.folder / "owners"
        file.write_text(text)
        return f"texthash:{file}"

    def test_name_more_senders_of_a_user(self, site: Site) -> None:
        table = self.table(
            site, "info@example.org bob, ALICE@example.com\n@shop.test alice@example.com"
        )
        site.maps = (table, "static:nobody")

        async def work() -> None:
            assert await site.ask(question("Info@example.org")) == OK
            assert await site.ask(question("any@shop.test")) == DUNNO, "static answers the whole"
            site.maps = (table,)
            assert await site.ask(question("any@shop.test")) == OK
            assert await site.ask(question("other@example.org")) == DUNNO

        site.run(work)

    def test_that_are_patterns_are_asked_for_whole_addresses_alone(self, site: Site) -> None:
        site.maps = ("regexp:{{/^@shop/ alice@example.com}, {/^w.*@shop/ alice@example.com}}",)

        async def work() -> None:
            assert await site.ask(question("web@shop.test")) == OK
            assert await site.ask(question("any@shop.test")) == DUNNO

        site.run(work)

    def test_that_cannot_be_read_name_nobody_which_is_said_once(
        self, site: Site, caplog: pytest.LogCaptureFixture
    ) -> None:
        site.maps = (f"texthash:{site.folder}/gone",)

        async def work() -> None:
            for number in range(3):
                assert await site.ask(question("info@example.org")) == DUNNO
                assert await site.ask(question(f"other{number}@example.org")) == DUNNO
                assert await site.ask(question()) == OK, "needs no table"

        site.run(work)
        assert caplog.text.count("event=login_maps") == 1

    def test_are_remembered_and_hold_up_no_other_connection(self, site: Site) -> None:
        program = site.folder / "bin"
        program.mkdir()
        (program / "postmap").write_text(
            f"#!/bin/sh\necho asked >> {site.folder}/asked\nsleep 30\n"
        )
        (program / "postmap").chmod(0o755)
        (program / "postconf").symlink_to("/usr/sbin/postconf")
        site.maps = ("ldap:slow",)

        async def work() -> None:
            slow = asyncio.create_task(
                site.ask(question("info@example.org") + question(), answers=2)
            )
            for _ in range(50):
                assert await site.ask(question()) == OK
            assert not slow.done()
            assert await slow == DUNNO + OK
            assert await site.ask(question("info@example.org")) == DUNNO

        site.postfix = PostfixSettings(
            config_directory=str(site.config), command_directory=str(program)
        )
        site.run(work)
        assert (site.folder / "asked").read_text() == "asked\n"

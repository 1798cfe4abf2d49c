"""The scope "address" in an engine, in the shared state, in the snippet and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from lab.popgate import Popgate
from tests.moments import NOW, after, login_line, logout_line
from tests.test_engine import Site
from tracker import config
from tracker.deciding.rules import RuleSet, granted
from tracker.engine import Engine
from tracker.errors import ConfigError, StoreError
from tracker.policy.shared import SharedRules
from tracker.records import SmtpSession
from tracker.settings import Settings
from tracker.writing.render import main_cf_snippet

SCOPE = '[grants]\nscope = "address"\n[exports]\npostscreen = ["granted"]\n'
IP = SCOPE.replace('"address"', '"ip"')
CLIENT = "203.0.113.5"


@pytest.fixture
def site(tmp_path: Path, postfix_config: Path) -> Iterator[Site]:
    with freeze_time(
        NOW, ignore=["tracker.reading.timestamps", "tracker.reading.correlating"]
    ) as clock:
        assert isinstance(clock, FrozenDateTimeFactory)
        made = Site(tmp_path, postfix_config, clock)
        yield made
        made.close()


def relays(rules: RuleSet, at: float = 0, sender: str = "alice@example.com") -> bool:
    return granted(rules, SmtpSession(CLIENT, sender), after(at)).matched


def exported(site: Site) -> list[str]:
    text = (site.maps / "postscreen_granted.cidr").read_text()
    return [line for line in text.splitlines() if not line.startswith("#")]


class TestAnEngine:
    def test_answers_by_a_line_that_it_read_and_puts_no_address_in_a_table(
        self, site: Site
    ) -> None:
        engine = site.engine(SCOPE)
        assert not relays(engine.answering)
        site.write(login_line(CLIENT), logout_line())
        engine.step()
        assert relays(engine.answering)
        assert relays(engine.answering, at=1799)
        assert not relays(engine.answering, at=1800)
        assert not relays(engine.answering, sender="bob@example.com")
        assert engine.export() == []
        engine.settle()
        assert site.table() == {}
        assert exported(site) == []

    def test_answers_before_it_has_saved_or_published(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine = site.engine(SCOPE)
        site.write(login_line(CLIENT))

        def fail(*_: object, **__: object) -> None:
            raise StoreError("disk full")

        monkeypatch.setattr(engine.store, "save", fail)
        with pytest.raises(StoreError):
            engine.step()
        assert relays(engine.answering)

    def test_counts_an_open_session_a_window_from_when_the_log_was_last_read(
        self, site: Site
    ) -> None:
        engine = site.engine(SCOPE)
        site.write(login_line(CLIENT))
        engine.step()
        assert relays(engine.answering, at=7200), "the session is open"
        site.to(600)
        engine.recover()
        assert relays(engine.answering, at=1799)
        assert not relays(engine.answering, at=2401), "who knows whether it still is"

    def test_takes_what_an_admin_revoked_out_at_its_next_step(self, site: Site) -> None:
        engine = site.engine(SCOPE)
        site.write(login_line(CLIENT))
        engine.step()
        other = site.engine(SCOPE, follow=False)
        other.revoke(CLIENT, None)
        engine.step()
        assert not relays(engine.answering)

    def test_empties_the_table_when_the_scope_changes_and_fills_it_again(self, site: Site) -> None:
        engine = site.engine(IP)
        site.write(login_line(CLIENT), logout_line())
        engine.step()
        engine.export()
        assert set(site.table()) == {CLIENT}
        assert [line.split() for line in exported(site)] == [[CLIENT, "permit"]]
        assert not relays(engine.answering), "no service answers with the scope ip"
        new = site.engine(SCOPE)
        assert site.table() == {}
        new.export()
        assert exported(site) == []
        for follow in (False, True):
            site.engine(SCOPE, follow=follow).export()
            assert site.table() == {}
        site.engine(IP)
        assert set(site.table()) == {CLIENT}


class TestTheSharedState:
    def rules(self, site: Site) -> tuple[Engine, SharedRules]:
        engine = site.engine(SCOPE)
        return engine, SharedRules(engine.settings, engine.store, engine.senders)

    def test_is_read_for_each_answer(self, site: Site) -> None:
        engine, shared = self.rules(site)
        assert engine.store.claim() is None
        site.write(login_line(CLIENT))
        engine.step()
        assert relays(shared.now(), at=7200)
        engine.revoke(CLIENT, None)
        assert not relays(shared.now())

    def test_counts_open_sessions_no_longer_when_nobody_follows_the_log(self, site: Site) -> None:
        engine, shared = self.rules(site)
        site.write(login_line(CLIENT))
        engine.step()
        assert shared.follower() is None
        assert relays(shared.now(), at=1799)
        assert not relays(shared.now(), at=1801)

    def test_that_cannot_be_read_is_an_error(self, site: Site) -> None:
        engine, shared = self.rules(site)
        shared.now()
        engine.store._db.execute("DROP TABLE grants")
        with pytest.raises(StoreError):
            relays(shared.now())


def settings(text: str) -> Settings:
    return config.parse(text, "popgate.toml")


class TestTheSnippet:
    def line(self, text: str) -> str:
        snippet = main_cf_snippet(settings(text), "lmdb").text
        return next(one for one in snippet.splitlines() if one.startswith("popgate_clients"))

    def test_asks_the_service_in_place_of_the_table(self) -> None:
        assert self.line('[grants]\nscope = "address"\n') == (
            "popgate_clients = check_client_access cidr:${popgate_dir}/trusted.cidr, "
            "check_policy_service { unix:popgate/policy, default_action=DUNNO, timeout=3s, "
            "try_limit=1, request_limit=1, max_idle=1s, max_ttl=1s }"
        )

    def test_has_a_failure_defer_where_that_is_asked_for(self) -> None:
        line = self.line(
            '[grants]\nscope = "address"\n'
            '[policy]\nlisten = "inet:127.0.0.1:10025"\non_failure = "defer"\n'
        )
        assert "{ inet:127.0.0.1:10025, default_action=DEFER_IF_REJECT, timeout=3s" in line

    def test_names_the_table_with_the_scope_ip(self) -> None:
        assert "policy" not in self.line("")


class TestTheSettings:
    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ('listen = "10025"', 'policy.listen = "10025": expected unix:popgate/policy'),
            ('listen = "unix:../x"', 'policy.listen = "unix:../x": expected unix:popgate/policy'),
            ('listen = "inet:192.0.2.1:10025"', "is not on loopback, and the protocol has no"),
            ('listen = "inet:0.0.0.0:10025"', "is not on loopback, and the protocol has no"),
            ('on_failure = "accept"', 'expected "not-granted" or "defer"'),
            ('login_domains = ["a b"]', "'a b' is no domain"),
            ('senders = { "alice" = ["info"] }', "'info': expected user@example.com or @example."),
            ('senders = { "" = ["a@b.test"] }', "'' is no login"),
            ("max_connections = 0", "Expected `int` >= 1"),
        ],
    )
    def test_that_are_wrong_are_named(self, text: str, fault: str) -> None:
        with pytest.raises(ConfigError) as caught:
            settings(f"[policy]\n{text}\n")
        assert fault in str(caught.value)

    def test_can_have_the_service_listen_elsewhere_on_the_admin_s_word(self) -> None:
        text = '[policy]\nlisten = "inet:192.0.2.1:10025"\nallow_remote = true\n'
        assert settings(text).policy.allow_remote

    def test_that_give_senders_are_shown_as_they_are_read(self) -> None:
        text = '[policy.senders]\n"alice@example.com" = ["info@example.com", "@example.org"]\n'
        made = settings(text)
        assert config.parse(config.show(made), "shown") == made

    def test_have_metrics_on_loopback_alone(self) -> None:
        with pytest.raises(ConfigError, match="expected an address of loopback"):
            settings('[metrics]\nlisten = "192.0.2.1:9154"\n')


class TestTheCommands:
    @pytest.fixture
    def host(self, tmp_path: Path, postfix_config: Path) -> Popgate:
        return Popgate(tmp_path / "popgate", tmp_path / "mail.log", postfix_config, SCOPE)

    def test_allow_needs_a_user(self, host: Popgate) -> None:
        for more in ([], ["--user", "?"], ["--user", ""]):
            done = host.command("allow", CLIENT, *more)
            assert done.returncode == 2
            assert "a grant is for the senders of a user: name one" in done.stderr
        assert host.command("allow", CLIENT, "--user", "alice@example.com").returncode == 0

    def test_explain_says_whose_grant_it_is(self, host: Popgate) -> None:
        host.command("allow", CLIENT, "--user", "alice@example.com")

        def step(sender: str) -> tuple[str, str]:
            asked = ("--client", CLIENT, "--from", sender, "--to", "bob@far.example.org")
            decision = json.loads(host.command("explain", *asked, "--json").stdout)
            on = next(one["on"] for one in decision["trace"] if one["code"] == "P")
            return decision["decision"], on

        decision, on = step("Alice@example.com")
        assert (decision, on.partition(" until ")[0]) == ("relay", "grant of alice@example.com")
        assert on.endswith("; the login is that address")
        assert step("bob@example.com") == (
            "pass",
            "granted to alice@example.com, to whom the sender does not belong",
        )

    def test_policy_serves_nothing_that_the_settings_do_not_ask_for(self, host: Popgate) -> None:
        done = host.command("policy")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "policy.serve = true has popgate run serve by itself" in done.stderr
        host.configure(host.file.parent / "mail.log", "")
        assert 'grants.scope = "ip" needs no policy service' in host.command("policy").stderr

    def test_status_says_what_does_not_run(self, host: Popgate) -> None:
        done = host.command("status")
        assert (done.returncode, done.stdout) == (1, "popgate run: not running\n")
        host.configure(host.file.parent / "mail.log", f"{SCOPE}[policy]\nserve = false\n")
        rows = json.loads(host.command("status", "--json").stdout)
        off = {"running": False, "pid": None}
        assert rows == {"run": off, "policy": off}

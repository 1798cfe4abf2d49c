"""`popgate explain`: what the rules make of a session, rule by rule, and what Postfix will say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracker.cli.common import config_option, json_option, print_json, settings_of

if TYPE_CHECKING:
    from tracker.deciding.rules import RuleSet
    from tracker.records import Decision, SmtpSession

_OUTCOMES = {
    "relay": "may send",
    "reject": "is refused",
    "pass": "is left to Postfix's own rules",
}


class _Client(click.ParamType[str]):
    """An IP address, made canonical."""

    name = "ip"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from tracker.addresses import require
        from tracker.errors import AddressError

        try:
            return require(value)
        except AddressError as error:
            self.fail(str(error), param, ctx)


class _Mailbox(click.ParamType[str]):
    """A mail address as a client writes it, with or without angle brackets, in internal form."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from tracker.deciding.mailaddress import internal, is_one

        if not value.isprintable():
            self.fail(f"{value!r} has characters that no address can have", param, ctx)
        if not is_one(value):
            self.fail(f"{value!r} is no single address", param, ctx)
        return internal(value)


@click.command()
@click.option("--client", required=True, type=_Client(), help="The client's address.")
@click.option("--from", "sender", required=True, type=_Mailbox(), help="MAIL FROM; '' for <>.")
@click.option("--to", "recipient", required=True, type=_Mailbox(), help="RCPT TO.")
@click.option(
    "--port",
    type=click.Choice(["25", "587", "465"]),
    default="25",
    show_default=True,
    help="The port the client connects to.",
)
@click.option("--login", help="The user of SMTP AUTH.")
@json_option
@config_option
def explain(
    *,
    client: str,
    sender: str,
    recipient: str,
    port: str,
    login: str | None,
    as_json: bool,
    config_file: Path,
) -> None:
    """Say what the rules make of a session: each rule, and on what it matched.

    Settings, lists, grants and Postfix's own configuration are read as they are now; nothing is
    changed. Exits with 1 where the session is refused.
    """
    from tracker.deciding.rules import decide
    from tracker.errors import FINDING
    from tracker.host import utc_now
    from tracker.offline import rules_now, with_owners
    from tracker.records import SmtpSession

    if not recipient:
        raise click.UsageError("--to: mail needs a recipient: write user@example.com or postmaster")
    settings = settings_of(config_file)
    rules, _ = rules_now(settings, published=True)
    session = SmtpSession(client, sender, recipient, int(port), login or None)
    session = with_owners(settings, rules, session)
    decision = decide(rules, session, utc_now())
    if as_json:
        print_json(decision)
    else:
        _print(rules, session, decision)
    if decision.refused:
        raise click.exceptions.Exit(FINDING)


def _print(rules: RuleSet, session: SmtpSession, decision: Decision) -> None:
    from tracker.deciding.rules import RULES
    from tracker.texts import printable

    asked = {step.code: step for step in decision.trace}
    for rule in RULES:
        step = asked.get(rule.code)
        answer = "not asked" if step is None else "yes" if step.matched else "no"
        on = f": {_shown(step.on)}" if step is not None and step.on else ""
        click.echo(f"{rule.code}  {rule.name:20}  {answer}{on}")
    who = f"{session.client} from <{printable(session.sender)}>"
    click.echo(f"\n{decision.decision} {decision.code}: {who} {_OUTCOMES[decision.decision]}")
    click.echo(f"Postfix: {_shown(decision.reply)}")
    if decision.marked:
        click.echo("Mail that comes through bears X-Popgate-Reason: H")
    for line in rules.senders.host.unlisted:
        click.echo(f"popgate: cannot be listed, so not counted: {line}", err=True)


def _shown(text: str) -> str:
    """A text that may hold a client's words, fit for a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)

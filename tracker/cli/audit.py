"""`popgate audit`: who could send at some moment, and why; what happened in a time; the check."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tracker.cli.common import config_option, json_option, print_json, settings_of
from tracker.cli.times import Stretch

if TYPE_CHECKING:
    from tracker.addresses import IPNetwork
    from tracker.history.answers import Answer, Reason
    from tracker.history.reading import Past
    from tracker.history.records import KeptLogin, Life, PastChange
    from tracker.settings import Settings

_Time = tuple[datetime, datetime]


class _Asked(click.ParamType["IPNetwork"]):
    """An address or a network."""

    name = "ip|net"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from tracker.addresses import canonical, network
        from tracker.errors import AddressError

        try:
            return network(canonical(value) or value)
        except AddressError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option(
    "--ip", "asked", type=_Asked(), help="An address, or a network such as 203.0.113.0/24."
)
@click.option("--user", help="A user: a name with * and ?.")
@click.option(
    "--at", type=Stretch(days=False), help="Who could send then: 12:03, 2026-11-24 12:03."
)
@click.option("--since", type=Stretch(), help="What happened from then on; 7d: so long back.")
@click.option("--until", type=Stretch(), help="What happened up to then.")
@click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="Lines told."
)
@click.option("--verify", is_flag=True, help="Hold tables, texts and git against the state.")
@click.option("--repair", is_flag=True, help="With --verify: put right what differs.")
@json_option
@config_option
def audit(
    *,
    asked: IPNetwork | None,
    user: str | None,
    at: _Time | None,
    since: _Time | None,
    until: _Time | None,
    limit: int,
    verify: bool,
    repair: bool,
    as_json: bool,
    config_file: Path,
) -> None:
    """Say who could send without SMTP AUTH at some moment, and why (--at); or what happened in a
    time, the last day where nothing narrows it: who had a grant, and what changed in lists,
    settings and tables.

    Times are this host's unless they bear a zone (Z, +01:00). 12:03 is the whole minute. Exits with
    1 where nobody could send, nothing is found, or --verify finds a difference.
    """
    from tracker.errors import FINDING
    from tracker.host import utc_now

    if at and (since or until):
        raise click.UsageError("--at is a moment: leave out --since and --until")
    if repair and not verify:
        raise click.UsageError("--repair goes with --verify")
    if verify and (asked or user or at or since or until):
        raise click.UsageError("--verify checks all there is: leave out what narrows it")
    settings = settings_of(config_file)
    if verify:
        found = _verify(settings, repair=repair, as_json=as_json)
        if found:
            raise click.exceptions.Exit(FINDING)
    elif at:
        answered = _at(settings, at, asked, user, as_json=as_json)
        if not answered:
            raise click.exceptions.Exit(FINDING)
    else:
        narrow = since or until or asked or user
        first = since[0] if since else None if narrow else utc_now() - timedelta(days=1)
        last = until[1] if until else None
        if not _happened(settings, first, last, asked, user, limit=limit, as_json=as_json):
            raise click.exceptions.Exit(FINDING)


def _past(settings: Settings) -> Past:
    from tracker.history.reading import Past

    return Past(settings.state.directory)


def _at(
    settings: Settings, at: _Time, asked: IPNetwork | None, user: str | None, *, as_json: bool
) -> bool:
    from tracker.history.answers import who_could
    from tracker.host import utc_now

    with _past(settings) as past:
        began = past.began()
        if began is None or at[1] < began:
            since = _shown(began) if began else "never"
            raise click.UsageError(
                f"nothing is known of {_shown(at[0])}: the history begins at {since} "
                f"(audit.keep_days = {settings.audit.keep_days})"
            )
        if at[0] > utc_now():
            raise click.UsageError(f"{_shown(at[0])} is yet to come")
        answer = who_could(past, *at, asked, user)
    if as_json:
        print_json(answer)
    else:
        _print_answer(answer, asked)
    return any(one.relayed.decides for one in answer.reasons)


def _print_answer(answer: Answer, asked: IPNetwork | None) -> None:
    who = "nobody" if asked is None else _named(asked)
    clients = {one.relayed.client for one in answer.reasons}
    could = "could relay" if answer.reasons else "could not relay" if asked else "could relay"
    if asked is None and answer.reasons:
        who = f"{len(clients)} clients"
    click.echo(f"{who} {could} at {_shown(answer.first)}")
    for reason in answer.reasons:
        _print_reason(reason)
    for note in answer.notes:
        click.echo(f"note: {note}")


def _named(asked: IPNetwork) -> str:
    return str(asked[0]) if asked.num_addresses == 1 else str(asked)


def _print_reason(reason: Reason) -> None:
    from tracker.texts import printable

    one = reason.relayed
    also = "" if one.decides else " (also; an earlier rule decides)"
    click.echo(f"\n{one.client}  {one.code}  {one.rule}{also}: {one.on}")
    if reason.since is not None:
        until = _shown(reason.until) if reason.until else "now"
        table = f"{reason.table} table" if reason.table else "list"
        click.echo(f"  {table}: from {_shown(reason.since)} until {until}")
    for earned in reason.earned:
        life = earned.life
        ended = f"{_shown(life.ended)} ({life.how})" if life.ended else "in force"
        click.echo(f"  user: {printable(life.user)} ({' '.join(life.services)})")
        click.echo(f"  grant: from {_shown(life.began)} until {ended}, {life.logins} logins")
        _print_login("earned by", life.first)
        if earned.login != life.first:
            _print_login("then by", earned.login)
    if reason.commit is not None:
        click.echo(f"  commit: {reason.commit.id} at {_shown(reason.commit.time)}")
        click.echo(f"          {reason.commit.subject}")
    elif one.code == "P":
        click.echo("  commit: none: it came and went between two commits")


def _print_login(word: str, login: KeptLogin) -> None:
    if login.origin is None:
        click.echo(f"  {word}: {login.why}, at {_shown(login.time)}")
        return
    place = f" {login.origin.place}" if login.origin.place else ""
    click.echo(f"  {word}: {login.origin.line}")
    click.echo(f"    in: {login.origin.source}{place}")


def _happened(
    settings: Settings,
    since: datetime | None,
    until: datetime | None,
    asked: IPNetwork | None,
    user: str | None,
    *,
    limit: int,
    as_json: bool,
) -> bool:
    with _past(settings) as past:
        lives = list(past.lives(since, until, network=asked, user=user, limit=limit + 1))
        # What is asked of an address or a user is no question about the lists.
        narrow = asked is not None or user is not None
        changes = [] if narrow else past.changes(since, until, limit=limit + 1)
    more = len(lives) > limit or len(changes) > limit
    if as_json:
        print_json({"grants": lives[:limit], "changes": changes[:limit], "more": more})
    else:
        _print_happened(lives[:limit], changes[:limit])
    if more:
        click.echo(f"popgate: more than {limit}: narrow it, or ask for more by --limit", err=True)
    return bool(lives or changes)


def _print_happened(lives: list[Life], changes: list[PastChange]) -> None:
    from tracker.texts import printable, visible

    rows: list[tuple[datetime, str, list[str]]] = []
    for life in lives:
        end = f"until {_shown(life.ended)}: {life.how}" if life.ended else "in force"
        who = f"{life.address}  {printable(life.user)}"
        text = f"{who}  {life.first.why}, {life.logins} logins, {end}"
        rows.append((life.began, text, [life.first.origin.line] if life.first.origin else []))
    rows += [
        (one.time, f"{one.of}: {visible(one.what)}", list(map(visible, one.detail)))
        for one in changes
    ]
    for time, text, details in sorted(rows, key=lambda row: row[0]):
        click.echo(f"{_shown(time)}  {text}")
        for line in details:
            click.echo(f"    {line}")


def _verify(settings: Settings, *, repair: bool, as_json: bool) -> bool:
    from tracker.verifying import verify

    found = verify(settings)
    left = found
    if repair and found:
        from tracker.cli.repairing import put_right

        put_right(settings)
        left = verify(settings)
    if as_json:
        print_json({"found": found, "left": left})
        return bool(left)
    for line in found:
        click.echo(line if line in left else f"{line} (put right)")
    if not found:
        click.echo("tables, texts and git are as popgate left them")
    return bool(left)


def _shown(moment: datetime) -> str:
    """A moment by this host's clock, with the zone."""
    return moment.astimezone().isoformat(sep=" ", timespec="seconds")

"""The edits of an install tried on a copy of the configuration, and what it answers, before any
file of Postfix is touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from tracker.deciding import rehearsed
from tracker.deciding.installing import applied
from tracker.deciding.rehearsed import FOREIGN, Case
from tracker.deciding.services import port_25, submission
from tracker.errors import InstallError, RefusedError
from tracker.records import PostfixSetup, SmtpAnswer
from tracker.settings import PostfixSettings
from tracker.surroundings import Survey
from tracker.writing import editing
from tracker.writing.asking import Question
from tracker.writing.parameters import GRANT_FILES
from tracker.writing.postfix import Postfix
from tracker.writing.rehearsal import Rehearsal, plain
from tracker.writing.saved import Record

Say = Callable[[str], None]
"""Is told what is done, a line each."""


def try_out(
    found: Survey, record: Record, postfix: Postfix, settings: PostfixSettings, say: Say
) -> Record:
    """Make the edits on a copy, and have it asked; the record with all states that the files
    will go through."""
    tables = found.wanted.parameters["popgate_dir"]
    asked = [f"cidr:{tables}/{name}.cidr" for name in ("trusted", "blacklist_clients")]
    asked.append(f"{found.kind}:{tables}/{GRANT_FILES[found.kind]}")

    def known(address: str) -> bool:
        return any(postfix.query(table, address) for table in asked)

    addresses = rehearsed.clients(found.host.mynetworks, known, 3)
    if len(addresses) < 3:
        raise RefusedError(
            "refused: no documentation address is a stranger here (mynetworks, trusted list): "
            "what strangers may do cannot be asked"
        )
    with Rehearsal(settings, found.setup.values) as copy:
        real = _smtpds(found.setup)
        cases = [case for name in real for case in _strangers(found, name, addresses[0])]
        before = _ask(say, copy, {name: plain(own) for name, own in real.items()}, cases)
        for place, answer in zip(_places(found.setup).values(), before[::2], strict=True):
            if rehearsed.accepts(answer):
                raise RefusedError(
                    f"refused: {place}this Postfix relays for strangers already: {answer}"
                )
            if rehearsed.broken(answer):
                raise RefusedError(f"refused: {place}port 25 gives no answer as it is: {answer}")
        usual = set(map(_unplaced, copy.postfix.complaints()))
        steps = {name: [*record.steps.get(name, ()), state] for name, state in copy.state().items()}
        for arguments in editing.commands(found.edits):
            for name, state in copy.edit(arguments).items():
                steps[name].append(state)
        said = dict.fromkeys(map(_unplaced, copy.postfix.complaints()))
        new = [line for line in said if line not in usual]
        if new:
            raise InstallError(f"nothing was changed: Postfix would say: {'; '.join(new)}")
        _probe(say, copy, found, addresses, before)
    return record.planned(steps)


def _probe(
    say: Say, copy: Rehearsal, found: Survey, addresses: list[str], before: list[SmtpAnswer]
) -> None:
    after = applied(found.setup, found.edits)
    stranger, trusted, granted = addresses
    maps = copy.tables(Path(found.wanted.parameters["popgate_dir"]), found.kind, trusted, granted)
    real = _smtpds(after)
    probes = {f"probe-{name}": {**own, "popgate_dir": str(maps)} for name, own in real.items()}
    smtpds = {name: plain(own) for name, own in (real | probes).items()}
    cases = [case for name in real for case in _strangers(found, name, stranger)]
    for name in probes:
        cases.append(Case(name, "a stranger", stranger, FOREIGN, "refused"))
        cases.append(Case(name, "a trusted address", trusted, FOREIGN, "accepted"))
        if GRANT_FILES[found.kind] in found.wanted.parameters["popgate_clients"]:
            cases.append(Case(name, "a granted address", granted, FOREIGN, "accepted"))
    service = submission(after.services, "submission")
    if service is not None and found.wanted.services:
        smtpds["submission"] = {**service.options, "popgate_dir": str(maps)}
        cases.append(Case("submission", "587: a trusted address", trusted, FOREIGN, "refused"))
    answers = _ask(say, copy, smtpds, cases)
    known = iter(before)
    faults = []
    places = _places(after)
    for case, answer in zip(cases, answers, strict=True):
        place = places.get(case.service.removeprefix("probe-"), "")
        fault = rehearsed.wrong(case, answer, next(known, None))
        faults += [place + fault] if fault else []
        if case.service == "submission" and "AUTH" not in answer.offers:
            faults.append(f"587 offers no AUTH behind STARTTLS: {answer}")
        if not fault:
            say(f"asked: {place}{case.who} ({case.client}): {answer}")
    if faults:
        raise InstallError("\n".join(f"nothing was changed: {line}" for line in faults))


def _ask(
    say: Say, copy: Rehearsal, smtpds: dict[str, dict[str, str]], cases: Sequence[Case]
) -> list[SmtpAnswer]:
    questions = [
        Question(case.service, case.client, case.recipient, tls=case.service == "submission")
        for case in cases
    ]
    answers, complaints = copy.ask(smtpds, questions)
    if any(rehearsed.broken(answer) for answer in answers):
        for line in complaints[-5:]:
            say(f"# a Postfix with a copy of main.cf says: {line}")
    return answers


def _smtpds(setup: PostfixSetup) -> dict[str, dict[str, str]]:
    """The options of each smtpd of port 25, by a name for its twin; main.cf alone where there is
    none."""
    options = [dict(one.options) for one in port_25(setup.services)] or [{}]
    return {f"real-{number}": one for number, one in enumerate(options, 1)}


def _places(setup: PostfixSetup) -> dict[str, str]:
    """Which smtpd of port 25 a twin stands for, to start a line; empty where there is but one."""
    several = port_25(setup.services)
    words = [f"{one.id}: " for one in several] if len(several) > 1 else [""]
    return dict(zip(_smtpds(setup), words, strict=True))


def domain(found: Survey) -> str:
    """A domain of this host's own."""
    domains = sorted(found.host.domains.get("mydestination", ()))
    return next((name for name in domains if "." in name), found.host.myhostname)


def _strangers(found: Survey, smtpd: str, stranger: str) -> tuple[Case, Case]:
    own = f"postmaster@{domain(found)}"
    return (
        Case(smtpd, "a stranger", stranger, FOREIGN, "refused"),
        Case(smtpd, "a stranger", stranger, own, "as before"),
    )


def _unplaced(line: str) -> str:
    """A complaint without the place in a file that it is about, which moves."""
    return re.sub(r"\S*/(main\.cf|master\.cf)(, line \d+)?", r"\1", line)

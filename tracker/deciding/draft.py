"""The configuration that suits a host, and what to tell its admin, from a survey of it; pure.

A setting is chosen only where something speaks for it. `postfix.table` is always pinned: main.cf
names the table, and with `auto` a package that comes or goes would have popgate keep another one.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracker.deciding.findings import WIDEST
from tracker.deciding.kinds import kind_of
from tracker.deciding.login_log import LoginLog, login_log
from tracker.deciding.spans import network
from tracker.records import MailHost
from tracker.surveyed import Chosen, Draft, PostfixSeen, Remark, Survey

_SHOWN = 6
"""Domains that are named in a line."""


def draft(survey: Survey) -> Draft:
    """Settings and remarks for the host of a survey."""
    log = login_log(survey)
    settings = {log.setting: log.chosen}
    remarks = [*log.remarks]
    if not survey.root:
        text = "not run as root: processes, logs and the journal may be hidden"
        remarks.insert(0, Remark("missing", f"{text}: run popgate init as root"))
    if (chosen := _format(survey, log)) is not None:
        settings["log.format"] = chosen
        remarks.append(Remark(chosen.weight, f"the log format is {chosen.value}", chosen.why))
    remarks += _forgeable(survey, settings.get("log.format"))
    if survey.gateways:
        networks = tuple(one.network for one in survey.gateways)
        why = "; ".join(f"{one.network}: {one.why}" for one in survey.gateways)
        settings["grants.exclude_networks"] = Chosen(networks, why, "guessed")
        text = f"many clients may stand behind {', '.join(networks)}: no grant for them"
        remarks.append(Remark("guessed", text, why))
    postfix = survey.postfix
    if postfix.trouble:
        remarks.append(Remark("missing", f"no Postfix to be asked: {postfix.trouble}"))
        return Draft(settings, tuple(remarks))
    settings["postfix.table"] = table = _table(postfix)
    remarks.append(Remark("found", f"Postfix {postfix.version}", "postconf: mail_version"))
    remarks.append(Remark(table.weight, f"grants go to a table of type {table.value}", table.why))
    if postfix.host is not None:
        remarks += [*_domains(postfix.host), *_trusting(postfix.host)]
    remarks += [*_ports(postfix), *_auth(survey)]
    return Draft(settings, tuple(remarks))


def _format(survey: Survey, log: LoginLog) -> Chosen | None:
    """The log format, where it is not Dovecot's, the default."""
    understood = log.log.formats if log.log is not None else ()
    if understood and understood != ("dovecot",):
        return Chosen(", ".join(understood), f"by the lines of {log.log.place}" if log.log else "")
    if understood or survey.dovecot is not None:
        return None
    running = [one for one in survey.servers if not one.contained]
    if running:
        names = ", ".join(dict.fromkeys(one.server for one in running))
        return Chosen(names, f"process {running[0].pid}", "guessed")
    return None


def _forgeable(survey: Survey, chosen: Chosen | None) -> Iterator[Remark]:
    for name in str(chosen.value).split(", ") if chosen else ():
        if name in survey.forgeable:
            yield Remark(
                "missing",
                f"logins of the format {name} earn no grant, since anyone can forge them: "
                "docs/formats.md, log.accept_forgeable",
            )


def _table(postfix: PostfixSeen) -> Chosen:
    if postfix.lmdb:
        return Chosen("lmdb", "postconf -m has lmdb")
    return Chosen(
        "cidr",
        "postconf -m has no lmdb, so that each change costs a reload: Debian's package "
        "postfix-lmdb has it; then popgate config set postfix.table lmdb",
    )


def _domains(host: MailHost) -> Iterator[Remark]:
    """What counts as local, and what could not be listed."""
    for parameter, names in host.domains.items():
        if names:
            shown = sorted(names)[:_SHOWN]
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            yield Remark("found", f"local: {', '.join(shown)}{more}", f"postconf: {parameter}")
    for line in host.unlisted:
        if line.startswith("mynetworks"):
            yield Remark("missing", f"{line}: whom it lets relay is not known")
        else:
            yield Remark(
                "missing",
                f"{line}: its domains are not counted as local; list them in "
                "local_senders.domains or local_senders.domain_files",
            )


def _trusting(host: MailHost) -> Iterator[Remark]:
    """What mynetworks lets relay without any grant: popgate cannot take that back."""
    for one, permits in host.mynetworks:
        span = network(str(one))
        alone = one.num_addresses == 1 and str(one.network_address) in host.own
        if not permits or alone or kind_of(span) in ("loopback", "link-local"):
            continue
        bits = one.max_prefixlen - one.prefixlen
        much = "every address in" if bits else "the address"
        text = f"mynetworks lets {much} {one} relay, login or not"
        if bits > WIDEST[one.version]:
            text += ": an open relay; narrow it"
        elif bits:
            text += ": narrow it to the hosts that need it, or list them in the trusted list"
        yield Remark("note", text, "postconf: mynetworks")


def _ports(postfix: PostfixSeen) -> Iterator[Remark]:
    """What the ports for clients offer, and what they lack to be submission ports."""
    ports = {one.name.rpartition(":")[2]: one for one in postfix.ports}
    for number, name in (("587", "submission"), ("465", "submissions")):
        if number not in ports:
            text = (
                f"no service on port {number} ({name}): popgate config set submission.enabled true"
            )
            yield Remark("missing", text, "postconf -M")
    for number, port in ports.items():
        offers = f"port {number}: TLS {port.tls}, AUTH {'offered' if port.auth else 'not offered'}"
        lacks = number in ("587", "465") and (port.tls != "required" or not port.auth)
        evidence = "postconf -P"
        yield Remark(
            "missing" if lacks else "found",
            f"{offers}; a submission port requires both" if lacks else offers,
            evidence,
        )


def _auth(survey: Survey) -> Iterator[Remark]:
    """Whether Dovecot checks passwords for Postfix."""
    kind, path = survey.postfix.sasl
    sockets = survey.dovecot.sockets if survey.dovecot is not None else ()
    if (kind == "dovecot" and path in sockets) or (kind == "dovecot" and not path.startswith("/")):
        yield Remark("found", f"Dovecot checks passwords for Postfix at {path}", "smtpd_sasl_path")
    elif kind == "dovecot" and survey.dovecot is not None:
        yield Remark(
            "missing",
            f"Postfix asks Dovecot for passwords at {path}, which no unix_listener of its auth "
            "service is",
            "smtpd_sasl_path; doveconf -n",
        )
    elif sockets:
        yield Remark(
            "missing",
            f"Dovecot offers to check passwords at {sockets[0]}; Postfix does not ask it "
            f"(smtpd_sasl_type = {kind})",
            "doveconf -n",
        )

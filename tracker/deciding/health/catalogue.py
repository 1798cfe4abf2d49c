"""Everything that `popgate doctor` can find: its name, how grave it is, and why it matters; pure.

| severity | meaning |
| --- | --- |
| error | mail or grants are wrong now, or somebody can make them so |
| warning | works now, and will not in some case that comes |
| note | worth knowing; on many hosts it is as it should be. Does not count as a finding |

docs/doctor.md tells of each; a test holds it against this table.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


class Diagnosis(Struct, frozen=True):
    """One finding. `mend`: the command that mends it, or that shows what an admin has to decide."""

    severity: Severity
    code: str
    where: str
    what: str
    why: str
    mend: str


class Kind(Struct, frozen=True):
    """What is the same about all findings of one name."""

    severity: Severity
    why: str


def _error(why: str) -> Kind:
    return Kind("error", why)


def _warning(why: str) -> Kind:
    return Kind("warning", why)


def _note(why: str) -> Kind:
    return Kind("note", why)


CATALOGUE: Mapping[str, Kind] = {
    "config-bad": _error("popgate does not start with it, and a running one keeps the old one"),
    "not-checked": _note("it may be fine or not"),
    # Postfix
    "postfix-silent": _error("what Postfix is set to cannot be known"),
    "postfix-stopped": _error("no mail is taken"),
    "postfix-warns": _error("a parameter that does not exist makes a list defer all mail"),
    "not-installed": _error("Postfix asks no table: neither grants nor trusted addresses count"),
    "clients-missing": _error("a trusted or granted address is refused there"),
    "clients-late": _error("a trusted or granted address is refused there"),
    "clients-early": _warning("they skip what authenticated clients have to pass"),
    "refused-before": _warning("a blocklist can refuse the very address that was granted"),
    "login-mismatch": _error("a granted address may not use its own sender"),
    "rules-missing": _warning("local senders and lists are not looked at"),
    "rules-early": _warning("the white list skips what stands behind them"),
    "rules-for-all": _warning("senders of known clients are marked or refused"),
    "open-relay": _error("anybody can relay with a sender that is on the white list"),
    "classes-missing": _error("Postfix defers all mail over an unknown restriction"),
    "around-us": _error("master.cf replaces the list, so grants do not count on that port"),
    "policy-silent": _error("with the scope address nobody has a grant then"),
    "table-unreadable": _error("Postfix defers all mail from strangers with 451"),
    "table-not-ours": _error("Postfix reads a table that popgate does not keep"),
    "table-not-read": _warning("what popgate writes there has no effect"),
    "no-lmdb": _warning("each grant costs a reload of Postfix"),
    # Ports
    "port-silent": _error("no mail is taken there"),
    "auth-on-25": _warning("passwords can be guessed on the port that everybody reaches"),
    "submission-missing": _error("the settings want it, and users have no port to send mail by"),
    "submission-none": _note("users who can do SMTP AUTH have no port for it"),
    "submission-no-tls": _error("clients that insist on TLS, as they should, cannot send"),
    "submission-clear-auth": _error("passwords go over the net in clear text"),
    "submission-no-auth": _error("nobody can log in, so nobody can send"),
    "submission-open": _error("addresses, and not logins, open the port for users"),
    "submission-postmaster": _warning("strangers can write to postmaster there"),
    # Networks
    "mynetworks-everybody": _error("an open relay: anybody can send through this host"),
    "mynetworks-wide": _warning("strangers' hosts relay without login, before popgate is asked"),
    "mynetworks-order": _warning("the exclusion has no effect: the first that matches counts"),
    "mynetworks-unlisted": _note("whom it lets relay is not known to popgate"),
    # Log
    "log-missing": _error("no login is seen, so nobody earns a grant"),
    "log-unreadable": _error("no login is seen, so nobody earns a grant"),
    "log-stale": _warning("logins may be logged somewhere else now"),
    "log-without-logins": _warning("nobody earns a grant"),
    "log-not-understood": _error("these logins earn no grant"),
    "log-format-bad": _error("popgate does not start with it"),
    "log-forgeable": _warning("anyone can write a login into such a log"),
    "dovecot-unread": _warning("Dovecot's defaults are assumed; its lines may be others"),
    "logins-refused": _warning("nobody earns a grant"),
    "logins-some-refused": _note("these users have no grant"),
    "gateway": _warning("one login opens the relay to everybody behind that address"),
    "user-everywhere": _warning("a stolen password opens the relay to whoever has it"),
    "grants-full": _error("a login that has no grant yet earns none"),
    "clock-ahead": _warning("stamps of the future are taken for now: windows end too late"),
    "log-timezone": _error("grants begin at another time than the login, or are over at once"),
    # Service
    "state-unreadable": _error("popgate cannot work without its state"),
    "service-down": _error("no login is seen, so nobody earns a grant"),
    "service-behind": _error("logins and logouts of the time since are not seen"),
    "clock-back": _warning("grants last longer than the window, by what the clock was put back"),
    "unit-failed": _error("what the unit does is not done"),
    "unit-off": _warning("what the unit does is not done after the next boot, or not at all"),
    "expiry-unwatched": _warning("grants stay open when popgate dies"),
    "expiry-late": _warning("grants stay open when popgate dies"),
    # Tables
    "tables-missing": _error("Postfix defers all mail once it is told of them"),
    "grant-missing": _error("who earned the grant is refused"),
    "grant-extra": _error("that address relays without a grant"),
    "grant-expired": _error("that address relays though its time is over"),
    "grants-unreadable": _error("whether grants count cannot be known"),
    "table-differs": _error("Postfix does something else than lists and settings say"),
    "text-behind": _warning("people and git see something else than Postfix does"),
    "reload-due": _error("a change of the trusted list or of other cidr tables is not in force"),
    "old-readers": _warning("these processes answer from the table as it was"),
    # Files
    "config-unreadable": _error("popgate does not start, or leaves out what stands there"),
    "wrong-owner": _error("popgate cannot change it, or somebody else can"),
    "open-to-others": _error("who writes there decides who may send; who reads can stop expiry"),
    "disk-full": _error("nothing can be written: grants neither begin nor end"),
    "disk-low": _warning("soon nothing can be written"),
    "uncommitted": _warning("the history does not tell who could send when"),
    "git-locked": _warning("nothing is committed as long as the lock is there"),
    # Lists
    "trusted-bad": _error("the list is not taken up: the old one stays"),
    "list-bad": _error("the lists are not taken up: the old ones stay"),
    "trusted-duplicate": _note("it does nothing"),
    "trusted-shadowed": _note("it does nothing"),
    "trusted-contradictory": _warning("it does not do what it says"),
    "trusted-wide": _warning("strangers' hosts relay without login"),
    "trusted-private": _note("a gateway taken for the client opens the relay to all behind it"),
    "trusted-unresolved": _warning("the name trusts nothing"),
    "trusted-stale": _warning("the name ends to be trusted unless DNS answers again"),
    "trusted-refused": _warning("the name does not trust all it should"),
    "trusted-mynetworks": _warning("Postfix lets it relay before it asks popgate"),
}  # fmt: skip


def found(code: str, where: str, what: str, mend: str) -> Diagnosis:
    """A finding of that name. Raises KeyError for a name that is not in the catalogue."""
    kind = CATALOGUE[code]
    return Diagnosis(kind.severity, code, where, what, kind.why, mend)


def in_maps(user: str, folder: str, command: str) -> str:
    """git's command for the maps folder, run by root as its owner: git refuses root in another's
    repository. What it makes is for that user alone."""
    words = f"umask 077; git -C {shlex.quote(folder)} {command}"
    own = "" if user == "root" else f"runuser -u {user} -- "
    return f"{own}sh -c {shlex.quote(words)}"


def remake(path: str, fault: str, command: str) -> str:
    """What mends a table that Postfix could not read: `command`, unless somebody holds a lock on
    it, who has to be known first."""
    return f"fuser -v {shlex.quote(path)}*" if "killed after" in fault else command


def unseen(where: str, why: str, mend: str = "sudo popgate doctor") -> Diagnosis:
    """What could not be looked at: neither fine nor wrong."""
    return found("not-checked", where, f"could not check: {why}", mend)

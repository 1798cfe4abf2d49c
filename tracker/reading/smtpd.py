"""What Postfix's smtpd logs of mail that it takes, refuses, or warns of; pure.

The forms are those of smtpd.c and smtpd_check.c (Postfix 3.7 to 3.10), recorded from a real one:

    postfix/smtpd[1]: NOQUEUE: reject: RCPT from HOST[ADDRESS]: 554 5.7.1 <WHAT>: WORDS; from=<S> ..
    postfix/smtpd[1]: NOQUEUE: warn: RCPT from HOST[ADDRESS]: WORDS; from=<S> to=<R> ..
    postfix/smtpd[1]: 127A625A93B: client=HOST[ADDRESS]

The last is written when the first recipient of a message is accepted. The head may be that of RFC
5424, too. Of what a client says Postfix replaces control characters and quotes nothing: sender,
recipient and HELO may hold a whole refusal of another kind. So words count as ours only where what
is refused (WHAT) is the line's own sender, recipient or client; any other refusal is Postfix's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracker.addresses import canonical
from tracker.deciding.access import BLACK_TEXT, LOCAL_TEXT, WARN_TEXT
from tracker.reading.timestamps import STAMP, StampReader
from tracker.records import Outcome, SmtpLine

_HEAD = re.compile(
    rf"(?P<rfc5424><\d{{1,3}}>1 )?(?P<stamp>{STAMP}) \S{{1,255}} "
    r"(?P<name>postfix[\w./-]{0,64})/(?:smtpd|postscreen)"
    r"(?(rfc5424) \S{1,128} \S{1,32} (?:-|(?:\[(?:[^\]\\]|\\.)*+\])++) \ufeff?|\[\d{1,10}\]: )"
    r"(?:[0-9A-Za-z]{1,32}): (?:"
    r"(?P<kind>reject|warn): [A-Z-]{4,12} from (?P<host>[^\[\] ]{0,255})"
    r"\[(?P<client>[0-9A-Fa-f:.]{2,45})\](?::\d{1,5})?: (?P<rest>.*)"
    r"|client=[^\[\] ]{0,255}\[(?P<taken>[0-9A-Fa-f:.]{2,45})\](?P<sasl>.*))",
    re.ASCII,
)
_REFUSED = re.compile(
    r"\d{3} (?:\d\.\d{1,3}\.\d{1,3} )?<(?P<what>.*?)>: (?P<words>[^<>;]{1,200}); "
    r"from=<(?P<sender>.*?)> to=<(?P<recipient>.*?)> proto=E?SMTP"
)
_NEEDLES = (b": reject: ", b": warn: ", b": client=")
_SUBMISSION = ("postfix/submission", "postfix/submissions", "postfix/smtps")


def smtp_lines(block: bytes, stamps: StampReader) -> Iterator[SmtpLine]:
    """What the whole lines of a block tell, in order."""
    if not any(needle in block for needle in _NEEDLES):
        return
    for line in block.split(b"\n"):
        if b"postfix" in line and any(needle in line for needle in _NEEDLES):
            found = _line(line.decode("utf-8", "replace"), stamps)
            if found is not None:
                yield found


def _line(text: str, stamps: StampReader) -> SmtpLine | None:
    match = _HEAD.match(text)
    if match is None or (time := stamps.moment(match["stamp"])) is None:
        return None
    client = canonical(match["taken"] or match["client"])
    if client is None:
        return None
    if match["taken"]:
        return SmtpLine(time, client, "taken", ", sasl_username=" in match["sasl"])
    if match["kind"] == "warn":
        ours = match["rest"].startswith(f"{WARN_TEXT}; from=<")
        return SmtpLine(time, client, "warned") if ours else None
    submission = match["name"] in _SUBMISSION
    named = f"{match['host']}[{match['client']}]"
    return SmtpLine(time, client, _outcome(match["rest"], named, submission=submission))


def _outcome(rest: str, client: str, *, submission: bool) -> Outcome:
    """Which rule refused, by words that stand where Postfix writes them."""
    match = _REFUSED.match(rest)
    if match is None:
        return "other"
    # What is refused, and its words, for each outcome of ours.
    ours: list[tuple[str, str, Outcome]] = [
        (match["recipient"], "Relay access denied", "relay"),
        (match["sender"], f"Sender address rejected: {LOCAL_TEXT}", "local"),
        (match["sender"], f"Sender address rejected: {BLACK_TEXT}", "black"),
        (client, f"Client host rejected: {BLACK_TEXT}", "black"),
    ]
    if submission:
        ours.append((client, "Client host rejected: Access denied", "submission"))
    refused = (match["what"], match["words"])
    return next((outcome for *form, outcome in ours if tuple(form) == refused), "other")

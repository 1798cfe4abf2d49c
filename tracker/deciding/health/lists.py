"""The trusted list's own findings, and lists that cannot be read, as the doctor's; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tracker.deciding.findings import findings
from tracker.deciding.health.catalogue import Diagnosis, found
from tracker.deciding.names import Known
from tracker.deciding.trusted import TrustedList, parse_entry
from tracker.records import MailHost

_MENDS = {
    "duplicate": "popgate trust remove {number}",
    "shadowed": "popgate trust remove {number}",
    "unresolved": "popgate trust check",
    "stale": "popgate trust check",
    "refused": "popgate trust check",
    "mynetworks": "postconf mynetworks",
}


def trusted(
    listed: TrustedList, names: Mapping[str, Known], host: MailHost | None, file: str
) -> Iterator[Diagnosis]:
    """What is doubtful about the list. `listed`: its names bound to `names`. `host`: Postfix, whose
    mynetworks is asked first; None where it is not known."""
    before = None if host is None else _mynetworks(host)
    for one in findings(listed, names, before):
        where = f"{file}:{one.line}: {one.entry}" if one.line else file
        mend = _MENDS.get(one.kind, "popgate trust edit").format(number=one.number)
        yield found(f"trusted-{one.kind}", where, one.text, mend)


def _mynetworks(host: MailHost) -> TrustedList:
    return TrustedList(
        parse_entry(str(net) if wanted else f"!{net}") for net, wanted in host.mynetworks
    )


def bad(code: str, problems: Iterable[str], mend: str) -> Iterator[Diagnosis]:
    """A finding for each line that an error has: `where: what`."""
    for line in problems:
        where, _, what = line.partition(": ")
        yield found(code, where, what or line, mend)

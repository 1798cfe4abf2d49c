"""What is there before popgate is installed: Postfix's setup, and the host around it.

Nothing is changed. What is to be made of it is decided in `deciding/installing.py`, and whether
that is well in `deciding/objections.py`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from tracker.deciding.installing import Wanted, plan
from tracker.deciding.objections import Circumstances, Objection, objections
from tracker.deciding.services import submission
from tracker.host import own_addresses
from tracker.reading import mailhost
from tracker.records import Edit, MailHost, PostfixSetup
from tracker.settings import Settings
from tracker.writing import parameters
from tracker.writing.postfix import Postfix
from tracker.writing.publish import table_type
from tracker.writing.saved import Record

_PORTS = {"submission": 587, "submissions": 465}
_TLS_FILES = ("smtpd_tls_cert_file", "smtpd_tls_key_file", "smtpd_tls_chain_files")


class Survey(Struct, frozen=True):
    """What installing comes to: the edits, and what is to be said of them."""

    setup: PostfixSetup
    host: MailHost
    kind: parameters.GrantTableType
    wanted: Wanted
    edits: tuple[Edit, ...]
    objections: tuple[Objection, ...]


def survey(settings: Settings, postfix: Postfix, record: Record | None) -> Survey:
    """Look at everything. `record`: of earlier installs. Raises PostfixError."""
    setup = postfix.setup()
    host = mailhost.ask(postfix, own_addresses())
    kind = table_type(settings.postfix, postfix)
    wanted = Wanted(
        parameters.parameters(settings, kind),
        parameters.CLASSES,
        _services(settings, setup),
        {name: str(port) for name, port in _PORTS.items() if not _known(name)},
    )
    edits = plan(setup, wanted, record.made if record else ())
    local = settings.local_senders
    known = Circumstances(
        indexed=kind == "lmdb",
        submission=settings.submission.enabled,
        refuses_local=local.reject and local.action == "reject",
        mynetworks=host.mynetworks,
        absent=tuple(_absent(setup)),
        taken=tuple(_taken(setup, wanted)),
    )
    found = objections(setup, edits, known)
    return Survey(setup, host, kind, wanted, tuple(edits), tuple(found))


def _services(settings: Settings, setup: PostfixSetup) -> dict[str, dict[str, str]]:
    if not settings.submission.enabled:
        return {}
    names = ["submission", *(["submissions"] if settings.submission.implicit_tls else [])]
    maps = bool(setup.values.get("smtpd_sender_login_maps"))
    return {name: dict(parameters.submission_options(name, login_maps=maps)) for name in names}


def _known(name: str) -> bool:
    """Whether the host's /etc/services has the name: master ends when it does not know one."""
    try:
        return bool(socket.getservbyname(name, "tcp"))
    except OSError:
        return False


def _absent(setup: PostfixSetup) -> Iterator[str]:
    values = setup.values
    for name in _TLS_FILES:
        for path in values.get(name, "").replace(",", " ").split():
            if path.startswith("/") and not Path(path).exists():
                yield path
    path = values.get("smtpd_sasl_path", "")
    if values.get("smtpd_sasl_type") == "dovecot" and ":" not in path.removeprefix("unix:"):
        socket_ = Path(values["queue_directory"], path.removeprefix("unix:"))
        if not socket_.exists():
            yield f"{socket_} (smtpd_sasl_path; is Dovecot running?)"


def _taken(setup: PostfixSetup, wanted: Wanted) -> Iterator[int]:
    """Ports of services to be added where somebody listens: master would end when it cannot."""
    for name in wanted.services:
        if submission(setup.services, name) is not None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", _PORTS[name]))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    yield _PORTS[name]

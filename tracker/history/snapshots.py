"""What is in force, as text for the history and back; pure.

The trusted list and what its names stand for are two snapshots: names change often, a list seldom.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from tracker.addresses import IPNetwork, network
from tracker.deciding import spans
from tracker.deciding.spans import Span
from tracker.deciding.trusted import Entry, TrustedList, parse_entry
from tracker.history.records import SnapshotKind
from tracker.records import AccessTable
from tracker.texts import without_secrets

Bodies = dict[SnapshotKind, bytes]

_SECRET = re.compile(r"(?i)passw|secret|token|credential|[._]key$")
_COMMAND = re.compile(r"exports\..*_command")


def of_trusted(trusted: TrustedList) -> Bodies:
    """The list as it is in force."""
    listed = [(entry.line, entry.text, entry.note) for entry in trusted.entries]
    names = {entry.text: list(map(str, entry.spans)) for entry in trusted.entries if entry.name}
    return {"trusted": msgspec.json.encode(listed), "names": msgspec.json.encode(names)}


def trusted_list(listed: bytes | None, names: bytes | None) -> TrustedList:
    """The list that two snapshots give; a missing one is empty."""
    rows = msgspec.json.decode(listed or b"[]", type=list[tuple[int, str, str]])
    known = msgspec.json.decode(names or b"{}", type=dict[str, list[str]])
    return TrustedList(_bound(parse_entry(text, note, line), known) for line, text, note in rows)


def _bound(entry: Entry, known: Mapping[str, list[str]]) -> Entry:
    if entry.name is None or entry.text not in known:
        return entry
    return replace(entry, spans=tuple(map(_span, known[entry.text])))


def _span(text: str) -> Span:
    first, between, last = text.partition("-")
    if between:
        low, high = spans.number(first), spans.number(last)
        return Span(low.version, low.first, high.last)
    return spans.network(text) if "/" in text else spans.number(text)


def of_tables(tables: Mapping[str, AccessTable]) -> bytes:
    """The tables of local senders and of the lists."""
    return msgspec.json.encode(dict(tables), enc_hook=_plain)


def access_tables(body: bytes | None) -> dict[str, AccessTable]:
    """The tables that a snapshot gives; none where it is missing."""
    return msgspec.json.decode(body or b"{}", type=dict[str, AccessTable])


def of_networks(mynetworks: Iterable[tuple[IPNetwork, bool]]) -> bytes:
    """Postfix's mynetworks."""
    return msgspec.json.encode([(str(net), permits) for net, permits in mynetworks])


def networks(body: bytes | None) -> tuple[tuple[IPNetwork, bool], ...]:
    """mynetworks as a snapshot gives it."""
    rows = msgspec.json.decode(body or b"[]", type=list[tuple[str, bool]])
    return tuple((network(net), permits) for net, permits in rows)


def of_settings(shown: str) -> bytes:
    """Settings, given as `popgate config show --json` prints them. Of a secret only so much is
    kept that a change of it shows."""
    sections = msgspec.json.decode(shown, type=dict[str, dict[str, msgspec.Raw]])
    return msgspec.json.encode(
        {
            f"{section}.{key}": _without_secrets(f"{section}.{key}", bytes(value).decode())
            for section, keys in sections.items()
            for key, value in keys.items()
        }
    )


def flat_settings(body: bytes | None) -> dict[str, str]:
    """`section.key` to the value as JSON."""
    return msgspec.json.decode(body or b"{}", type=dict[str, str])


def _without_secrets(name: str, value: str) -> str:
    if _SECRET.search(name):
        return _hidden(value)
    if _COMMAND.fullmatch(name) and len(words := msgspec.json.decode(value)) > 1:
        return msgspec.json.encode([words[0], _hidden(value)]).decode()
    return without_secrets(value, _hidden)


def _hidden(secret: str) -> str:
    return f"(secret {hashlib.blake2b(secret.encode(), digest_size=4).hexdigest()})"


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(type(value).__name__)

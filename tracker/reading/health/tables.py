"""The maps folder, held against what state, lists and settings make; nothing is written.

postmap reads a table under a lock that it holds for some milliseconds; running smtpd processes do
the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tracker.deciding.rules import RuleSet
from tracker.errors import PostfixError
from tracker.facts import Tables, TableState
from tracker.offline import policy_texts, rules_now
from tracker.records import Table
from tracker.regular import read_text
from tracker.settings import Settings
from tracker.writing.parameters import GRANT_FILES, GrantTableType
from tracker.writing.postfix import Postfix
from tracker.writing.publish import table_type

TEXT = "pop_before_smtp.txt"
_UNSURE = timedelta(seconds=2)
"""The time of the boot, from which a process counts its beginning, is in whole seconds."""
_JUST_ENDED = timedelta(seconds=5)
_BETWEEN_CALLS = timedelta(seconds=90)
"""What a minute's cron or timer may take to end a grant."""


def look(settings: Settings, postfix: Postfix, now: datetime, *, running: bool) -> Tables:
    """All tables as they are. `running`: a popgate follows the log, and ends grants in time.

    Raises a PopgateError when lists, state or Postfix cannot be read.
    """
    kind = table_type(settings.postfix, postfix)
    folder = settings.tables.directory
    if not folder.exists():
        return Tables(kind, TableState("", None), there=False)
    rules, grants = rules_now(settings, published=True)
    wanted = rules.granted()
    users: dict[str, tuple[str, ...]] = {}
    for grant in grants:
        users[grant.address] = (*users.get(grant.address, ()), grant.user)
    state, expired, live = _grants(folder, kind, postfix, wanted, now, running=running)
    mark = folder / ".reload"
    return Tables(
        kind=kind,
        grants=state,
        expired=expired,
        texts=(*_policy(settings, rules, kind, postfix, now), *_text(folder, live)),
        reload_since=_written(mark),
        users=users,
    )


def _grants(
    folder: Path,
    kind: GrantTableType,
    postfix: Postfix,
    wanted: Mapping[str, int],
    now: datetime,
    *,
    running: bool,
) -> tuple[TableState, tuple[str, ...], Mapping[str, str] | None]:
    """The grant table against the ledger, what is over in it, and what it holds."""
    name = GRANT_FILES[kind]
    file = folder / (f"{name}.lmdb" if kind == "lmdb" else name)
    try:
        live = _entries(file, f"{kind}:{folder / name}", postfix)
    except (OSError, PostfixError) as error:
        return TableState(name, _written(file), fault=str(error)), (), None
    extra = sorted(live.keys() - wanted.keys())
    over = [key for key in extra if _end(live[key]) <= now.timestamp()]
    grace = _JUST_ENDED if running else _BETWEEN_CALLS
    late = [key for key in over if _end(live[key]) + grace.total_seconds() <= now.timestamp()]
    lacks = tuple(sorted(wanted.keys() - live.keys()))
    state = TableState(name, _written(file), lacks, tuple(sorted(set(extra) - set(over))))
    return state, tuple(late), live


def _end(value: str) -> int:
    """When an entry says that it ends. What is no number was put there by hand and never ends."""
    return int(value) if value.isascii() and value.isdigit() else 1 << 62


def _entries(file: Path, source: str, postfix: Postfix) -> Mapping[str, str]:
    """Keys and values of a table. Raises OSError and PostfixError."""
    if source.startswith("lmdb:"):
        file.stat()
        return postfix.read(source)
    return _pairs(read_text(file))


def _pairs(text: str) -> dict[str, str]:
    lines = (line.partition(" ") for line in text.splitlines() if line and line[0] != "#")
    return {key: value.partition("#")[0].strip() for key, _, value in lines}


def _policy(
    settings: Settings, rules: RuleSet, kind: GrantTableType, postfix: Postfix, now: datetime
) -> list[TableState]:
    """The tables that no login changes. Those that hang on what Postfix says of itself may lag
    behind main.cf for `postfix.reread_interval`."""
    folder = settings.tables.directory
    changed = _written(postfix.folder() / "main.cf")
    if changed is not None and now - changed < settings.postfix.reread_interval + _JUST_ENDED:
        return [
            _compared(folder / one.name, one) for one in policy_texts(settings, rules, kind)[:1]
        ]
    found = [_compared(folder / one.name, one) for one in policy_texts(settings, rules, kind)]
    if kind == "lmdb":
        for name, table in rules.senders.tables.items():
            if table.asks == "sender":
                rows = {key: row.value for key, row in table.rows.items()}
                found.append(_indexed(folder, name, rows, postfix))
    return found


def _compared(file: Path, wanted: Table) -> TableState:
    """A text against the one that it should be; what Postfix reads as comments may differ."""
    try:
        there = read_text(file)
    except (OSError, UnicodeDecodeError) as error:
        return TableState(wanted.name, None, fault=str(error))
    now, then = _rules(there), _rules(wanted.text)
    differs = ("the order",) if sorted(now) == sorted(then) and now != then else ()
    return TableState(
        wanted.name,
        _written(file),
        tuple(line for line in then if line not in set(now)),
        tuple(line for line in now if line not in set(then)),
        differs,
    )


def _rules(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _indexed(folder: Path, name: str, rows: Mapping[str, str], postfix: Postfix) -> TableState:
    file = folder / f"{name}.lmdb"
    try:
        live = _entries(file, f"lmdb:{folder / name}", postfix)
    except (OSError, PostfixError) as error:
        return TableState(file.name, _written(file), fault=str(error))
    return TableState(
        file.name,
        _written(file),
        tuple(sorted(rows.keys() - live.keys())),
        tuple(sorted(live.keys() - rows.keys())),
        tuple(sorted(key for key in rows.keys() & live.keys() if rows[key] != live[key])),
    )


def _text(folder: Path, live: Mapping[str, str] | None) -> list[TableState]:
    """The text beside the grant table against the table."""
    file = folder / TEXT
    if live is None:
        return []
    try:
        there = _pairs(read_text(file))
    except (OSError, UnicodeDecodeError) as error:
        return [TableState(TEXT, None, fault=str(error))]
    # The table's own time: the text follows it after audit.interval.
    tables = [_written(folder / name) for name in ("pop_before_smtp.lmdb", "pop_before_smtp.cidr")]
    written = max((moment for moment in tables if moment), default=None)
    lacks, extra = sorted(live.keys() - there.keys()), sorted(there.keys() - live.keys())
    return [TableState(TEXT, written, tuple(lacks), tuple(extra))]


def _written(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None


def old_readers(folder: Path, master: int | None) -> dict[str, int]:
    """For each table that Postfix reads once a process, how many smtpd processes of that master
    began before it last changed: proc(5)."""
    began = [moment for moment in map(_began, _smtpds(master)) if moment]
    found: dict[str, int] = {}
    for table in sorted(folder.glob("*.cidr")):
        written = _written(table)
        old = sum(1 for moment in began if written and moment + _UNSURE < written)
        if old:
            found[table.name] = old
    return found


def _smtpds(master: int | None) -> list[Path]:
    found: list[Path] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        name, _, rest = words.partition("(")[2].rpartition(")")
        if name == "smtpd" and int(rest.split()[1]) == master:
            found.append(folder)
    return found


def _began(folder: Path) -> datetime | None:
    """When a process began, to some hundredths of a second."""
    try:
        words = (folder / "stat").read_text(encoding="ascii", errors="replace")
        boot = Path("/proc/stat").read_text(encoding="ascii").partition("\nbtime ")[2]
    except OSError:
        return None
    ticks = int(words.rpartition(")")[2].split()[19])
    return datetime.fromtimestamp(int(boot.split()[0]) + ticks / os.sysconf("SC_CLK_TCK"), UTC)

"""The rights for other programs: a folder that they read and popgate alone writes, kept in line.

The same rules as for the tables: only what differs is written, beside and renamed; a failure leaves
the last good text and keeps none of the others back. No address is exported that the grant table
does not hold, and what a table lost is out of the exports in the same step. A program that reads
its configuration only once is told by the admin's own command: at once for the first change, then
at most once in `exports.command_interval`.

The folder is not the maps folder, which nobody else may read. It holds addresses, with neither
users nor times; its git history is popgate's alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tracker.addresses import order
from tracker.deciding.rights import Rights
from tracker.errors import ExportError, PopgateError, PublishError
from tracker.records import Table
from tracker.regular import read_text
from tracker.settings import ExportSettings
from tracker.writing import export_texts as texts
from tracker.writing.audit import History
from tracker.writing.commands import run
from tracker.writing.files import put
from tracker.writing.nftables import Nftables, sets_text
from tracker.writing.postfix import Postfix
from tracker.writing.publish import Publisher

_ALL = (*texts.PROGRAMS, "nftables", "postscreen")
"""The settings that turn an export on."""

_RETRY = 60.0
"""Seconds until a command that failed is run again."""


class Exports:
    """All exports of one configuration."""

    def __init__(
        self, settings: ExportSettings, publisher: Publisher, postfix: Postfix, ipv6_prefix: int
    ) -> None:
        self._settings = settings
        self._directory = settings.directory
        self._publisher = publisher
        self._postfix = postfix
        self._prefix = ipv6_prefix
        self._nftables = Nftables(settings) if settings.nftables else None
        self._commands = {
            "spamassassin": settings.spamassassin_command,
            "opendkim": settings.opendkim_command,
            "crowdsec": settings.crowdsec_command,
        }
        self._waiting: dict[str, float] = {}
        self._earliest: dict[str, float] = {}
        self._changed: list[str] = []
        self._faults: list[str] = []

    def wanted(self) -> bool:
        """Whether there is an export, or something left of one."""
        return (
            any(self._asked(program) for program in _ALL)
            or self._directory.exists()
            or any(self._publisher.has(name) for name in texts.POSTSCREEN.values())
        )

    def shows_grants(self) -> bool:
        """Whether any export is of the addresses with a grant."""
        return any("granted" in getattr(self._settings, program) for program in _ALL)

    def put(
        self,
        rights: Rights | None,
        granted: Mapping[str, int],
        now: float,
        at: float,
        *,
        skips: bool = True,
    ) -> list[str]:
        """Bring all of it in line; what failed, a line each. `rights`: None leaves what no login
        changes. `granted`: when each grant ends, in seconds since 1970, as `now` is; `at`:
        monotonic seconds. `skips`: see `standing_texts`."""
        self._faults = []
        folders = self._folders()
        tables = list(texts.granted_texts(self._settings, folders, granted))
        if rights is not None:
            tables += texts.standing_texts(self._settings, folders, rights, skips=skips)
            if "nftables" in folders:
                tables.append(sets_text(self._settings, rights.trusted, self._prefix))
        for table in tables:
            self._put(table, at)
        for name, parts in texts.JOINED.items():
            self._join(name, parts, at)
        self._put_postscreen(rights, granted)
        self._put_nftables(granted, now, at)
        self._run_commands(at)
        return self._faults

    def renew(self, granted: Mapping[str, int], now: float, at: float) -> list[str]:
        """What `put` does for grants that were only renewed, and when `due` says so."""
        self._faults = []
        self._put_nftables(granted, now, at)
        self._run_commands(at)
        return self._faults

    def due(self, now: float, at: float) -> bool:
        """Whether `renew` has something to do though no right changed."""
        if any(at >= self._earliest.get(program, at) for program in self._waiting):
            return True
        return self._nftables is not None and self._nftables.due(now, at)

    def finish(self) -> list[str]:
        """Run what waits for a later time, which will not come; what failed, a line each."""
        self._faults = []
        self._earliest = {}
        self._run_commands(0.0)
        return self._faults

    def take_over(self, other: Exports) -> None:
        """Go on in another's place with what it has not told yet."""
        self._waiting = {name: at for name, at in other._waiting.items() if self._commands[name]}
        self._earliest = dict(other._earliest)
        self._changed = other._changed

    def changed(self) -> list[str]:
        """The texts that changed since the last commit."""
        return self._changed

    def commit(self, message: str) -> None:
        """Commit the texts in the folder. Raises AuditError."""
        if any(name.startswith("exports/") for name in self._changed):
            History(self._directory).commit(message)

    def settled(self) -> None:
        """What changed has been told."""
        self._changed = []

    def _asked(self, program: str) -> bool:
        return bool(getattr(self._settings, program))

    def _folders(self) -> list[str]:
        """The programs whose folders are there: made for those that are asked for, and kept for
        those that once were."""
        programs = (*texts.PROGRAMS, "nftables")
        try:
            if any(self._asked(program) for program in programs) or self._directory.exists():
                _folder(self._directory)
            for program in filter(self._asked, programs):
                _folder(self._directory / program)
        except PublishError as error:
            self._faults.append(str(error))
            return []
        return [program for program in programs if (self._directory / program).is_dir()]

    def _put(self, table: Table, at: float) -> None:
        path = self._directory / table.name
        try:
            if put(path, table.text, 0o644, self._check(table)):
                self._changed.append(f"exports/{table.name}")
                program = table.name.partition("/")[0]
                if self._commands.get(program):
                    self._waiting.setdefault(program, at)
        except PopgateError as error:
            self._faults.append(f"{path}: stays as it was: {error}")

    def _join(self, name: str, parts: Iterable[str], at: float) -> None:
        """A text made of others as they are in the folder."""
        try:
            found = [read_text(self._directory / part) for part in parts]
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            self._faults.append(f"{self._directory / name}: stays as it was: {error}")
            return
        self._put(Table(name, "text", "".join(found)), at)

    def _check(self, table: Table) -> Callable[[Path], object] | None:
        if table.kind == "text":
            return None
        return lambda staged: self._postfix.query(f"{table.kind}:{staged}", "192.0.2.1")

    def _put_postscreen(self, rights: Rights | None, granted: Mapping[str, int]) -> None:
        known: dict[str, Sequence[str]] = {"granted": sorted(granted, key=order)}
        if rights is not None:
            known["trusted"] = rights.trusted
        for kind, addresses in known.items():
            table = texts.postscreen_text(self._settings, kind, addresses)
            if not self._asked("postscreen") and not self._publisher.has(table.name):
                continue
            try:
                if self._publisher.put_text(table):
                    self._changed.append(table.name)
            except PopgateError as error:
                self._faults.append(str(error))

    def _put_nftables(self, granted: Mapping[str, int], now: float, at: float) -> None:
        if self._nftables is None:
            return
        sets = self._directory / "nftables/sets.nft"
        asked = granted if "granted" in self._settings.nftables else {}
        try:
            self._nftables.put(read_text(sets), asked, now, at)
        except FileNotFoundError:
            return  # who does not know the trusted list does not make the sets
        except ExportError as error:
            self._faults.append(f"{error}: popgate needs CAP_NET_ADMIN, or exports.nft_command")

    def _run_commands(self, at: float) -> None:
        interval = self._settings.command_interval.total_seconds()
        for program in sorted(self._waiting):
            if at < self._earliest.get(program, at):
                continue
            try:
                run(self._commands[program])
            except ExportError as error:
                self._faults.append(f"exports.{program}_command: {error}")
                self._earliest[program] = at + max(interval, _RETRY)
                continue
            del self._waiting[program]
            self._earliest[program] = at + interval


def wanted_exports(
    settings: ExportSettings,
    rights: Rights,
    granted: Mapping[str, int],
    *,
    prefix: int,
    skips: bool = True,
) -> list[Table]:
    """Every text of the exports that are on, in a folder `exports`; those for postscreen beside the
    other tables."""
    asked = [program for program in _ALL if getattr(settings, program)]
    found = [
        *texts.standing_texts(settings, asked, rights, skips=skips),
        *texts.granted_texts(settings, asked, granted),
    ]
    made = {table.name: table.text for table in found}
    found += [
        Table(name, "text", "".join(made[part] for part in parts))
        for name, parts in texts.JOINED.items()
        if made.keys() >= set(parts)
    ]
    if "nftables" in asked:
        found.append(sets_text(settings, rights.trusted, prefix))
    known = {"trusted": rights.trusted, "granted": sorted(granted, key=order)}
    return [
        *(Table(f"exports/{table.name}", table.kind, table.text) for table in found),
        *(
            texts.postscreen_text(settings, kind, addresses)
            for kind, addresses in known.items()
            if "postscreen" in asked
        ),
    ]


def _folder(path: Path) -> None:
    """Make a folder that others may read, or make sure that nobody else can write to it."""
    try:
        if not path.is_dir():
            path.mkdir()
            path.chmod(0o755)  # whatever the umask
        found = path.lstat()
    except OSError as error:
        raise PublishError(
            f"{path}: cannot be made: {error.strerror}; make it, with popgate's user as its owner"
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        raise PublishError(f"{path}: is no folder (a link is not followed)")
    if found.st_uid != os.geteuid():
        raise PublishError(
            f"{path}: belongs to user {found.st_uid}, popgate runs as {os.geteuid()}: chown it"
        )
    if found.st_mode & 0o022:
        path.chmod(stat.S_IMODE(found.st_mode) & ~0o022)

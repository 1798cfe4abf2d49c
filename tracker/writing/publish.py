"""The whole wanted state of the tables, acted on only where it differs.

Stage, check, swap, tell, undo: a text is written beside its place, read by Postfix there without a
word of complaint, synced and renamed; a failure leaves the last good one. An lmdb table is changed
in place by postmap, which running smtpd processes see at their next command; it is rebuilt beside
and renamed only when it is missing, cannot be read, or is a link to another file. A cidr table is
read once per process, so a change there needs a reload: at once for the first, then at most one per
`min_reload_interval`.

Who can write into the folder commands the mail, and who can read it can hold a lock that stops
expiry: it is made with mode 0700, and a folder of somebody else's is refused.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from tracker.addresses import canonical, network
from tracker.errors import AddressError, PostfixError, PostfixTimeoutError, PublishError
from tracker.records import AccessTable, Table
from tracker.regular import is_own, read_text, stage
from tracker.settings import PostfixSettings
from tracker.writing.files import put, sync
from tracker.writing.pace import Pace
from tracker.writing.parameters import GRANT_FILES, SENDER_TABLES, GrantTableType
from tracker.writing.postfix import Postfix
from tracker.writing.render import access_text, grant_table
from tracker.writing.reserve import Reserve

log = logging.getLogger("popgate")

_Value = TypeVar("_Value")

_RELOAD_RETRY = 60.0
"""Seconds until a reload that failed is tried again."""


def table_type(settings: PostfixSettings, postfix: Postfix) -> GrantTableType:
    """The type of the grant table that the settings ask for and Postfix can read."""
    if settings.table == "cidr":
        return "cidr"
    has_lmdb = "lmdb" in postfix.table_types()
    if settings.table == "lmdb" and not has_lmdb:
        raise PostfixError(
            "this Postfix cannot read lmdb tables: install postfix-lmdb, "
            'or set postfix.table = "cidr"'
        )
    return "lmdb" if has_lmdb else "cidr"


class Publisher:
    """One maps folder and the Postfix that reads it."""

    def __init__(
        self,
        directory: Path,
        postfix: Postfix,
        kind: GrantTableType,
        reload_interval: float,
        *,
        opens: bool = True,
    ) -> None:
        """`reload_interval`: seconds that lie at least between two reloads. `opens`: whether
        `match` and `renew` may add addresses, or only end and renew those that are there."""
        self.kind = kind
        self._opens = opens
        self._directory = directory
        self._postfix = postfix
        self._interval = reload_interval
        self._table = f"{kind}:{directory / GRANT_FILES[kind]}"
        self.table = directory / (GRANT_FILES[kind] + (".lmdb" if kind == "lmdb" else ""))
        """The file of the grant table."""
        self._live: dict[str, int] = {}
        self._moved: set[str] = set()
        self._reload_wanted = False
        # Stands for a wanted reload, so that the next process knows of it if this one is killed.
        self._reload_mark = directory / ".reload"
        self._next_reload = float("-inf")
        self._reserve = Reserve(directory)
        self._pace = Pace()

    def moves(self) -> tuple[set[str], set[str]]:
        """The addresses that this process put into the live grant table, or took out of it, since
        this was last asked: those that stand there now, and all of them."""
        moved, self._moved = self._moved, set()
        come = {address for address in moved if address in self._live}
        return come, moved

    def prepare(self) -> None:
        """Make the folder, or make sure that it is safe. Raises PublishError."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self._directory.lstat()
        except OSError as error:
            raise PublishError(f"{self._directory}: cannot be made: {error.strerror}") from error
        if not stat.S_ISDIR(found.st_mode):
            raise PublishError(f"{self._directory}: is no folder (a link is not followed)")
        if found.st_uid != os.geteuid():
            raise PublishError(
                f"{self._directory}: belongs to user {found.st_uid}, popgate runs as "
                f"{os.geteuid()}: run it as that user, or give the folder to this one"
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            self._directory.chmod(0o700)
        # What a killed postmap left: next to its table it would bring old entries back.
        for stem in (GRANT_FILES["lmdb"], *SENDER_TABLES):
            (self._directory / stem).unlink(missing_ok=True)
        # What was staged and is not wanted any more would stay for ever.
        for staged in (*self._directory.glob(".*.new"), *self._directory.glob(".*.new.lmdb")):
            staged.unlink(missing_ok=True)
        self._reload_wanted = self._reload_wanted or self._reload_mark.exists()
        if not os.access(self._directory, os.W_OK):
            raise PublishError(
                f"{self._directory}: cannot be written to; the tables stay as they are"
            )
        self._reserve.keep()

    def match(
        self,
        wanted: Mapping[str, int],
        seen: Callable[[Collection[str]], None] = lambda _: None,
    ) -> bool:
        """Compare the grant table with what is wanted and apply the difference alone; True when
        there was one. A table that is missing or damaged is made anew. `seen`: is told which
        addresses the table held before."""
        live = self._read()
        seen(live or {})
        if live is None:
            made = dict(wanted.items())
            self._moved |= made.keys()
            self._rebuild(made)
            self._live = made
            return True
        self._live = live
        differed = self.renew(wanted)
        if not self._untouched():
            self._rebuild(self._live)
        return differed

    def update(self, wanted: Mapping[str, int | None], *, renew: bool = False) -> None:
        """The fast path: addresses that come or go (None) reach the table now.

        An expiry that is only renewed waits: Postfix does not read it. `renew`: it waits no more.
        """
        put = {
            key: end
            for key, end in wanted.items()
            if end is not None and (self._live.get(key) != end if renew else key not in self._live)
        }
        gone = {key for key, end in wanted.items() if end is None and key in self._live}
        self._apply(put, gone)

    def renew(self, wanted: Mapping[str, int]) -> bool:
        """The slow path: whatever differs from what this process last wrote; whether anything did.
        `wanted` is gone through once, or once more where an address has to go."""
        late: dict[str, int] = {}
        waiting = there = 0
        for key, end in wanted.items():
            held = self._live.get(key)
            there += held is not None
            if held == end:
                continue
            if held is not None or self._opens:
                late[key] = end
            else:
                waiting += 1
        gone = () if there == len(self._live) else self._live.keys() - wanted.keys()
        self._apply(late, gone)
        self._reserve.keep()
        return bool(late or gone or waiting)

    def end_others(self, kept: Container[str]) -> None:
        """End what the grant table holds beside these, in whatever state it is."""
        self._end(lambda address, _: address not in kept)

    def end_over(self, now: float) -> list[str]:
        """End what is over by the table's own word; `now`: seconds since 1970; the addresses, in
        order."""
        return self._end(lambda _, end: end <= now)

    def _end(self, over: Callable[[str, int], bool]) -> list[str]:
        live = self._read()
        if live is None:  # Postfix cannot read it either
            return []
        self._live = live
        gone = sorted(address for address, end in live.items() if over(address, end))
        try:
            self._apply({}, gone)
        except (PostfixError, PublishError) as error:
            if not self._reserve.release(error):
                raise
            if self.kind == "cidr":
                self._apply({}, gone)
            else:  # one after the other: that takes less space than a table as a whole
                self._postfix.delete(self._table, gone)
                self._live = {key: end for key, end in live.items() if key not in set(gone)}
                self._moved.update(gone)
        return gone

    def put_text(self, table: Table) -> bool:
        """Put a text in its place if it differs; True when it did."""
        path = self._directory / table.name
        check = None if table.kind == "text" else self._readable(table)
        if table.kind != "text" and _rules(_text(path)) != _rules(table.text):
            self._want_reload()
        return put(path, table.text, 0o600, check)

    def _readable(self, table: Table) -> Callable[[Path], None]:
        def check(staged: Path) -> None:
            try:
                self._postfix.query(f"{table.kind}:{staged}", "192.0.2.1")
            except PostfixError as error:
                raise PublishError(f"{table.name} stays as it was: {error}") from error

        return check

    def has(self, name: str) -> bool:
        """Whether that text was ever put here."""
        return (self._directory / name).exists()

    def held(self) -> Mapping[str, int]:
        """The entries of the live grant table, as this process last left it or found it."""
        return self._live

    def holds(self, address: str) -> bool:
        """Whether the address stands in the grant table."""
        return address in self._live

    def put_access(self, table: AccessTable) -> bool:
        """Put an access table in its place where it differs, whole; True when it did.

        An indexed one is changed by a transaction that smtpd sees at its next command, and its text
        follows for people and git; where there is no lmdb, the text is the table.
        """
        text = access_text(table, self.kind)
        if text.kind != "text":
            return self.put_text(text)
        wanted = {key: row.value for key, row in table.rows.items()}
        differed = self._put_indexed(table.name, wanted)
        return self.put_text(text) or differed

    def _put_indexed(self, name: str, wanted: Mapping[str, str]) -> bool:
        live, ours = self._read_indexed(name, str), _ours(self._directory / f"{name}.lmdb")
        if live == wanted and ours:
            return False
        if live is None or not ours:
            self._build(name, wanted)
        else:
            self._postfix.replace(f"lmdb:{self._directory / name}", wanted)
        return True

    def reload_due(self) -> float | None:
        """The monotonic second from which `reload` should be called; None when nothing waits."""
        return self._next_reload if self._reload_wanted else None

    def reload(self, now: float) -> bool:
        """Reload Postfix if a cidr table changed and the last reload is long enough ago; True when
        it was reloaded.

        A Postfix that does not name the folder yet has nothing to read anew.
        """
        if not self._reload_wanted or now < self._next_reload:
            return False
        self._next_reload = now + max(self._interval, _RELOAD_RETRY)  # if this one fails
        try:
            done = self._postfix.names(self._directory) and self._postfix.reload()
            if done:
                log.info("event=reload")
        except PostfixError:
            if os.geteuid() != 0:  # only root can, and has now been told: not again at every start
                with suppress(OSError):
                    self._reload_mark.unlink()
            raise
        self._next_reload = now + self._interval
        self._reload_wanted = False
        with suppress(OSError):  # one that stays costs a reload at the next start
            self._reload_mark.unlink()
        return done

    def _untouched(self) -> bool:
        """Whether the grant table is a file of ours alone: what somebody linked here is not written
        to."""
        return _ours(self.table)

    def _want_reload(self) -> None:
        """Before the change that needs it: what is marked for nothing costs a reload."""
        self._reload_wanted = True
        try:
            if not _ours(self._reload_mark):
                stage(self._reload_mark, b"", 0o600)
        except OSError as error:
            raise PublishError(
                f"{self._reload_mark}: cannot be written: {error.strerror}; the tables stay"
            ) from error

    def _apply(self, put: Mapping[str, int], gone: Iterable[str]) -> None:
        gone = set(gone)
        if not put and not gone:
            return
        moved = {key for key in gone if key in self._live}
        moved.update(key for key in put if key not in self._live)
        if (
            self.kind == "cidr"
            or not self._untouched()
            or self._pace.whole_is_quicker(len(put) + len(gone), len(self._live))
        ):
            after = {key: end for key, end in self._live.items() if key not in gone} | {**put}
            self._write(after)
            self._live = after
            self._moved |= moved
            return
        # Removed first: if the second command fails, the error is on the safe side.
        with self._pace.changing(len(gone)):
            self._postfix.delete(self._table, sorted(gone))
        for key in gone:
            self._live.pop(key, None)
        self._moved |= moved & gone
        with self._pace.changing(len(put)):
            self._postfix.put(self._table, {key: str(end) for key, end in sorted(put.items())})
        self._live.update(put)
        self._moved |= moved

    def _write(self, wanted: Mapping[str, int]) -> None:
        """The grant table as a whole: where it stands, if it is an lmdb table of ours."""
        if self.kind == "cidr" or not self._untouched():
            self._rebuild(wanted)
            return
        with self._pace.writing(len(wanted)):
            self._postfix.replace(self._table, {key: str(end) for key, end in wanted.items()})

    def _read(self) -> dict[str, int] | None:
        """What the grant table holds; None when it has to be made anew."""
        if self.kind == "cidr":
            return self._read_cidr()
        if self._live and self.table.is_file() and self._as_known():
            return self._live
        return self._read_indexed(GRANT_FILES["lmdb"], _number)

    def _as_known(self) -> bool:
        """Whether the lmdb table holds what this process last wrote: to find that out, no second
        copy of a million entries is made."""
        there = 0
        try:
            for keys, values in self._postfix.entries(self._table):
                if [*map(self._live.get, keys)] != [*map(_number, values)]:
                    return False
                there += len(keys)
        except PostfixTimeoutError:
            raise
        except PostfixError:
            return False  # who reads it says so
        return there == len(self._live)

    def _read_indexed(self, name: str, value: Callable[[str], _Value]) -> dict[str, _Value] | None:
        """What an lmdb table holds; None when it is missing or damaged."""
        table = f"lmdb:{self._directory / name}"
        if not (self._directory / f"{name}.lmdb").is_file():
            return None
        try:
            entries: dict[str, _Value] = {}
            for keys, values in self._postfix.entries(table):
                entries.update(zip(keys, map(value, values), strict=True))
        except PostfixTimeoutError:
            raise  # somebody holds a lock on it, which is no damage
        except PostfixError as error:
            log.error("event=rebuild table=%s error=%r", table, str(error))
            return None
        return entries

    def _read_cidr(self) -> dict[str, int] | None:
        path = self._directory / GRANT_FILES["cidr"]
        if not path.is_file():
            return None
        try:
            lines = read_text(path).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise PublishError(f"{path}: cannot be read: {error}") from error
        pairs = (line.partition(" ") for line in lines if line and not line.startswith("#"))
        # What names no address was put there by hand, and ends with all that is over.
        return {key: _number(value) if _is_subject(key) else -1 for key, _, value in pairs}

    def _rebuild(self, wanted: Mapping[str, int]) -> None:
        """A whole table beside, then renamed; a running smtpd finds it only after a reload."""
        if self.kind == "cidr":
            self.put_text(grant_table(wanted))
            return
        entries = {key: str(end) for key, end in sorted(wanted.items())}
        self._build(GRANT_FILES["lmdb"], entries)

    def _build(self, name: str, entries: Mapping[str, str]) -> None:
        """A whole lmdb table beside, then renamed."""
        staged = self._directory / f".{name}.new"
        file = staged.with_name(staged.name + ".lmdb")
        place = self._directory / f"{name}.lmdb"
        try:
            file.unlink(missing_ok=True)
            self._postfix.replace(f"lmdb:{staged}", entries)
            file.chmod(0o600)  # postmap gives 0644 whatever the umask
            self._want_reload()
            os.replace(file, place)
            sync(self._directory)
        except OSError as error:
            raise PublishError(f"{place}: cannot be made: {error.strerror}") from error


def _ours(path: Path) -> bool:
    """Whether a file of ours alone stands there."""
    try:
        return is_own(path)
    except FileNotFoundError:
        return False


def _text(path: Path) -> str | None:
    """What stands there; None where nothing that can be read does."""
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError):
        return None


def _rules(text: str | None) -> list[str] | None:
    """What Postfix reads of a cidr table: a comment that changed is worth no reload."""
    if text is None:
        return None
    return [line for line in text.split("\n") if not line.startswith("#")]


def _is_subject(text: str) -> bool:
    if canonical(text) is not None:
        return True
    try:
        return "/" in text and network(text).num_addresses > 0
    except AddressError:
        return False


def _number(value: str) -> int:
    """An expiry as the table holds it; what is none differs from every wanted one."""
    return int(value) if value.isascii() and value.isdigit() else -1

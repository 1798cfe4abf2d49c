"""main.cf and master.cf as they were before popgate, and what was made of them since.

They lie in `popgate.saved` beside them, root's alone: the state folder belongs to the daemon's
user, who must not choose what root puts into main.cf. `record.json` is written before the first
edit, and knows the hash of every state that the files come to be in: so after a kill at any point
it can be told whether they are as we left them, and nobody else's work is overwritten.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from tracker.errors import InstallError
from tracker.records import Edit
from tracker.writing.files import sync

FILES = ("main.cf", "master.cf")
FOLDER = "popgate.saved"


class Record(Struct, frozen=True):
    """`made`: the edits of all installs. `states`: for each file, the digests of what it was before
    the first install and after each. `steps`: of what it will be in between, while an install is
    under way, its lines in any order: postconf adds parameters in no order that could be foretold.
    `whole`: the saved files can be put back; not so when somebody edited between two installs.
    """

    made: tuple[Edit, ...]
    states: dict[str, tuple[str, ...]]
    steps: dict[str, tuple[str, ...]] = {}
    whole: bool = True

    @property
    def finished(self) -> bool:
        """Whether Postfix has taken it all up."""
        return not self.steps

    def knows(self, texts: dict[str, bytes]) -> bool:
        """Whether the files are as we left them, or as a kill did."""
        return all(
            digest(texts[name]) in self.states[name]
            or digest(texts[name], ordered=False) in self.steps.get(name, ())
            for name in FILES
        )

    def planned(self, steps: Mapping[str, Sequence[str]]) -> Record:
        """The record before the first edit."""
        kept = {name: tuple(digests) for name, digests in steps.items()}
        return Record(self.made, self.states, kept, self.whole)

    def done(self, texts: dict[str, bytes]) -> Record:
        """The record when all edits are in force."""
        states = {name: (*self.states[name], digest(texts[name])) for name in FILES}
        return Record(self.made, states, {}, self.whole)


class Saved:
    """What is kept for one Postfix, by its configuration folder."""

    def __init__(self, config_directory: Path) -> None:
        self._config = config_directory
        self.folder = config_directory / FOLDER

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep a second install or uninstall out, for as long as the context. Makes the folder."""
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            found = self.folder.lstat()
            opened = os.open(self._config, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise InstallError(f"{self.folder}: cannot be made: {error.strerror}") from error
        try:
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise InstallError(f"{self.folder}: is not a folder of root's own: look at it")
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InstallError(f"{self._config}: another popgate is at it: wait") from error
            yield
        finally:
            with suppress(OSError):  # it holds something, as after an install
                self.folder.rmdir()
            os.close(opened)

    def texts(self) -> dict[str, bytes]:
        """main.cf and master.cf as they are."""
        try:
            return {name: (self._config / name).read_bytes() for name in FILES}
        except OSError as error:
            raise InstallError(f"{error.filename}: cannot be read: {error.strerror}") from error

    def record(self) -> Record | None:
        """What earlier installs left; None where there was none."""
        file = self.folder / "record.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise InstallError(
                f"{file}: cannot be read: {error}: the saved main.cf and master.cf lie beside it"
            ) from error

    def originals(self) -> dict[str, bytes]:
        """The saved files."""
        try:
            return {name: (self.folder / name).read_bytes() for name in FILES}
        except OSError as error:
            raise InstallError(f"{error.filename}: cannot be read: {error.strerror}") from error

    def begin(self, record: Record, originals: dict[str, bytes]) -> None:
        """Keep these before the first edit; `originals` are those of the first install."""
        for name, text in originals.items():
            _write(self.folder / name, text, 0o600)
        _write(self.folder / "record.json", msgspec.json.encode(record), 0o600)

    def restore(self, texts: dict[str, bytes]) -> None:
        """Make main.cf and master.cf hold these bytes, with the owner and mode that they have."""
        for name, text in texts.items():
            file = (self._config / name).resolve()
            try:
                if file.read_bytes() == text:
                    continue
                found = file.stat()
            except OSError as error:
                raise InstallError(f"{file}: cannot be read: {error.strerror}") from error
            _write(file, text, stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid))

    def forget(self, record: Record | None = None) -> None:
        """Drop what is kept, or go back to an earlier record."""
        if record is not None:
            self.begin(record, {})
            return
        (self.folder / "record.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def digest(text: bytes, *, ordered: bool = True) -> str:
    """SHA-256, of the lines in any order where that does not count."""
    return hashlib.sha256(text if ordered else b"".join(sorted(text.splitlines()))).hexdigest()


def continued(record: Record | None, texts: dict[str, bytes], edits: Sequence[Edit]) -> Record:
    """The record for an install that begins with these files. `edits`: all that will be made."""
    if record is None:
        return Record(tuple(edits), {name: (digest(texts[name]),) for name in FILES})
    whole = record.whole and record.knows(texts)
    return Record(tuple(edits), record.states, record.steps, whole)


def _write(file: Path, text: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    staged = file.with_name(f".{file.name}.popgate")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(staged, flags, 0o600), "wb") as opened:
            opened.write(text)
            opened.flush()
            if owner is not None:
                os.fchown(opened.fileno(), *owner)
            os.fchmod(opened.fileno(), mode)
            os.fsync(opened.fileno())
        os.replace(staged, file)
        sync(file.parent)
    except OSError as error:
        raise InstallError(f"{file}: cannot be written: {error.strerror}") from error

"""`popgate install`: popgate put into main.cf and master.cf.

The order is what keeps mail alive: the tables first, since one that is missing defers all mail;
then the edits on a copy of the configuration, which must answer rightly (`trying.py`); then on the
real files, saved before; then the reload, and the running smtpd is asked. What goes wrong after the
first edit is undone at once, byte for byte.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence

from tracker.deciding import rehearsed
from tracker.deciding.installing import joined
from tracker.deciding.rehearsed import FOREIGN
from tracker.deciding.services import listening_25
from tracker.errors import InstallError, PopgateError, PostfixError, RefusedError
from tracker.records import Edit, PostfixSetup, SmtpAnswer
from tracker.settings import PostfixSettings, Settings
from tracker.surroundings import Survey, survey
from tracker.trying import Say, domain, try_out
from tracker.writing import editing
from tracker.writing.asking import ask_running
from tracker.writing.postfix import Postfix
from tracker.writing.saved import FILES, Record, Saved, continued

_SETTLES = 15.0
"""Seconds that a reload may take to be in force."""


class Installation:
    """popgate and one Postfix."""

    def __init__(self, settings: PostfixSettings, say: Say) -> None:
        """`say`: is told what is done, a line each. Raises PostfixError without a Postfix."""
        self._settings = settings
        self._say = say
        self._postfix = Postfix(settings)
        self._config = self._postfix.folder()
        self._saved = Saved(self._config)

    def preview(self, settings: Settings, once: Sequence[str]) -> None:
        """Say what `install` would run, as a shell takes it, and what is against it. `once`: the
        command that makes the tables. Raises RefusedError when `install` would refuse."""
        record = self._saved.record()
        found = survey(settings, self._postfix, record)
        self._object(found)
        if not found.edits:
            self._say("# nothing to do")
            return
        self._say(shlex.join(once))
        if record is None:
            kept = f"{self._saved.folder}"
            self._say(shlex.join(["install", "-d", "-m", "700", kept]))
            files = [str(self._config / name) for name in FILES]
            self._say(shlex.join(["cp", "-p", *files, kept]))
        self._show(found.edits)

    def install(self, settings: Settings, publish: Callable[[], None]) -> None:
        """Put popgate in. `publish`: makes the tables.

        Raises RefusedError before anything is touched; InstallError and PostfixError with both
        files as they were.
        """
        with self._saved.exclusive():
            record = self._saved.record()
            found = survey(settings, self._postfix, record)
            if not found.edits and (record is None or record.finished):
                self._say("nothing to do")
                return
            self._object(found)
            publish()
            self._check_tables(settings, found)
            made = joined(record.made if record else (), found.edits)
            texts = self._saved.texts()
            begun = continued(record, texts, made)
            planned = try_out(found, begun, self._postfix, self._settings, self._say)
            self._change(found, planned, texts, record)

    def _object(self, found: Survey) -> None:
        refusals = [one.text for one in found.objections if one.refuses]
        for one in found.objections:
            if not one.refuses:
                self._say(f"# warning: {one.text}")
        if refusals:
            raise RefusedError("\n".join(f"refused: {text}" for text in refusals))

    def _check_tables(self, settings: Settings, found: Survey) -> None:
        """A table that is missing or bad would defer all mail."""
        for words in found.wanted.parameters.values():
            for word in words.replace(",", " ").split():
                if "${popgate_dir}" in word:
                    table = word.replace("${popgate_dir}", str(settings.tables.directory))
                    self._postfix.query(table, "192.0.2.1")

    def _change(
        self, found: Survey, planned: Record, texts: dict[str, bytes], earlier: Record | None
    ) -> None:
        running = self._postfix.running()
        before = self._running_answer(found) if running else None
        self._saved.begin(planned, {} if earlier else texts)
        try:
            self._edit(found, planned)
            self._take_up(found, before)
        except BaseException as error:
            self._undo(texts, earlier, running=running)
            if isinstance(error, PopgateError):
                raise InstallError(f"{error}; main.cf and master.cf are as they were") from error
            raise
        self._saved.begin(planned.done(self._saved.texts()), {})
        where = "installed" if running else "installed; Postfix is not running, so it was not asked"
        self._say(where)

    def _edit(self, found: Survey, planned: Record) -> None:
        for arguments in editing.commands(found.edits):
            self._say(self._postfix.shown("postconf", *arguments))
            self._postfix.edit(arguments)
        if not planned.knows(self._saved.texts()):
            raise InstallError("somebody else edits main.cf or master.cf at the same time")

    def _undo(self, texts: dict[str, bytes], earlier: Record | None, *, running: bool) -> None:
        self._saved.restore(texts)
        self._saved.forget(earlier)
        if running:
            try:
                self._postfix.reload()
            except PostfixError as error:
                self._say(f"# {error}")

    def _take_up(self, found: Survey, before: SmtpAnswer | None) -> None:
        """Reload, and wait until the running smtpd answers as it should. `before`: what it said;
        None: Postfix does not run."""
        if before is None:
            return
        self._say(self._postfix.shown("postfix", "reload"))
        self._postfix.reload()
        end = time.monotonic() + _SETTLES
        while fault := self._fault(found, before):
            if time.monotonic() > end:
                raise InstallError(f"after the reload {fault}")
            time.sleep(0.2)
        self._say(f"the running smtpd answers as before: {before}")

    def _fault(self, found: Survey, before: SmtpAnswer) -> str | None:
        """What is wrong with what listens now; it answered so before."""
        if not self._postfix.running():
            return "Postfix is not running any more"
        answer = self._running_answer(found)
        if rehearsed.worse(answer, before):
            return f"port 25 answers: {answer}; before: {before}"
        if found.wanted.services and "AUTH" in answer.offers:
            return "port 25 still offers AUTH"
        if "submission" in found.wanted.services:
            answer = ask_running(_hosts(found.setup), 587, FOREIGN)
            if answer.code not in (530, 554, 550) or "STARTTLS" not in answer.offers:
                return f"port 587 answers: {answer}"
        return None

    def _running_answer(self, found: Survey) -> SmtpAnswer:
        return ask_running(_hosts(found.setup), 25, f"postmaster@{domain(found)}")

    def _show(self, edits: Sequence[Edit]) -> None:
        for arguments in editing.commands(edits):
            self._say(self._postfix.shown("postconf", *arguments))
        self._say(self._postfix.shown("postfix", "reload"))


def _hosts(setup: PostfixSetup) -> list[str]:
    """Where the running smtpd of port 25 can be reached from here."""
    named = [one.name.rpartition(":")[0].strip("[]") for one in listening_25(setup.services)]
    words = setup.values["inet_interfaces"].replace(",", " ").split()
    listed = [word for word in words if word not in ("all", "loopback-only")]
    return [*filter(None, named), *listed] or ["127.0.0.1", "::1"]

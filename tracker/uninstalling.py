"""`popgate uninstall`: popgate taken out of main.cf and master.cf.

Where nobody edited them since, the saved files are put back; else what is ours is taken out by the
inverse edits. It needs neither the configuration file nor the tables, so a purge can run it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tracker.deciding.uninstalling import kept, unplan
from tracker.errors import InstallError, PopgateError
from tracker.records import Edit, PostfixSetup
from tracker.settings import PostfixSettings
from tracker.trying import Say
from tracker.writing import editing
from tracker.writing.parameters import CLASSES
from tracker.writing.postfix import Postfix
from tracker.writing.saved import FILES, Record, Saved, digest


class Removal:
    """popgate in one Postfix, to be taken out."""

    def __init__(self, settings: PostfixSettings, say: Say) -> None:
        """`say`: is told what is done, a line each. Raises PostfixError without a Postfix."""
        self._say = say
        self._postfix = Postfix(settings)
        self._config = self._postfix.folder()
        self._saved = Saved(self._config)

    def preview(self) -> None:
        """Say what `uninstall` would run."""
        record = self._record()
        setup = self._postfix.setup()
        originals, edits = self._removal(setup, record)
        if originals:
            for name in originals:
                source, target = self._saved.folder / name, self._config / name
                self._say(shlex.join(["cp", "-p", str(source), str(target)]))
            self._say(self._postfix.shown("postfix", "reload"))
        elif edits:
            self._show(edits)
        else:
            self._say("# nothing to do")

    def uninstall(self) -> None:
        """Take popgate out. Raises InstallError or PostfixError with both files as they were."""
        with self._saved.exclusive():
            record = self._record()
            setup = self._postfix.setup()
            originals, edits = self._removal(setup, record)
            if not originals and not edits and record is None:
                self._say("nothing to do")
                return
            for one in kept(setup, record.made if record else ()):
                place = f"{one.service}/{one.name}".strip("/")
                self._say(f"# {place} was changed since popgate set it, and stays as it is")
            texts = self._saved.texts()
            try:
                self._saved.restore(originals)
                for arguments in editing.commands(edits):
                    self._say(self._postfix.shown("postconf", *arguments))
                    self._postfix.edit(arguments)
                if self._postfix.reload():
                    self._say(self._postfix.shown("postfix", "reload"))
            except PopgateError:
                self._saved.restore(texts)
                raise
            self._saved.forget()
            how = "as they were before popgate" if originals else "without what was popgate's"
            self._say(f"main.cf and master.cf are {how}")
            if tables := setup.main.get("popgate_dir"):
                self._say(f"the tables stay, and Postfix reads them no more: rm -r {tables}")

    def _record(self) -> Record | None:
        """What installs left. One that cannot be read keeps nobody from taking popgate out."""
        try:
            return self._saved.record()
        except InstallError as error:
            self._say(f"# {error}")
            return None

    def _removal(
        self, setup: PostfixSetup, record: Record | None
    ) -> tuple[dict[str, bytes], list[Edit]]:
        """The saved files where nobody edited them since, else the edits that undo ours."""
        texts = self._saved.texts()
        if record is not None and record.whole and record.knows(texts):
            originals = self._saved.originals()
            sound = all(digest(originals[name]) == record.states[name][0] for name in FILES)
            if sound:
                return {n: one for n, one in originals.items() if one != texts[n]}, []
            self._say(f"# {self._saved.folder}: the saved files are not those that were saved")
        return {}, unplan(setup, record.made if record else (), CLASSES)

    def _show(self, edits: Sequence[Edit]) -> None:
        for arguments in editing.commands(edits):
            self._say(self._postfix.shown("postconf", *arguments))
        self._say(self._postfix.shown("postfix", "reload"))

"""`popgate audit --verify`: tables, texts and git held against what the state says they should be.

What should stand there is made anew from the state database (the grants, and the snapshots of the
lists as they were published), never from what stands there. Nothing is changed. Nobody else changes
anything meanwhile: the state lock is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracker.deciding.ledger import Ledger
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.rules import RuleSet
from tracker.deciding.trusted import TrustedList
from tracker.errors import AuditError
from tracker.history import snapshots
from tracker.history.reading import Past
from tracker.host import own_addresses, utc_now
from tracker.records import NEVER
from tracker.settings import Settings
from tracker.store import Store
from tracker.writing import render
from tracker.writing.edits import Edits
from tracker.writing.git import Git
from tracker.writing.postfix import Postfix
from tracker.writing.publish import table_type

_FSCK = 600.0
"""Seconds that reading a whole repository may take."""

_SHOWN = 20


def verify(settings: Settings) -> list[str]:
    """What differs, a line each. Raises a PopgateError where that cannot be known."""
    with Past(settings.state.directory) as past:
        store = Store(settings.state.directory)
        try:
            with store.exclusive():
                return [*_tables(settings, store, past), *_git(settings, past)]
        finally:
            store.close()


def _tables(settings: Settings, store: Store, past: Past) -> list[str]:
    postfix = Postfix(settings.postfix)
    kind = table_type(settings.postfix, postfix)
    now = utc_now()
    trusted, names = past.snapshot("trusted", now), past.snapshot("names", now)
    senders = past.snapshot("senders", now)
    if trusted is None or senders is None:
        return ["the lists were never published: run popgate"]
    listed = snapshots.trusted_list(trusted[1], names and names[1])
    texts = [
        render.trusted_table(listed, settings.trusted.file),
        render.main_cf_snippet(settings, kind),
        render.master_cf_snippet(),
    ]
    tables = snapshots.access_tables(senders[1]).values()
    edits = Edits(settings.tables.directory, postfix, kind)
    return edits.find(texts, tables, _granted(settings, store))


def _granted(settings: Settings, store: Store) -> Mapping[str, int]:
    """What the grant table should hold: as whoever follows the log left it, or as those do that end
    grants where nobody does."""
    policy = GrantPolicy(settings.grants, own_addresses())
    ledger = Ledger(policy, store.grants(), store.ended())
    expiries = ledger.expiries()
    if store.running() is None:
        expiries = ledger.expiries_unread(store.read_until() or NEVER, utc_now())
    return RuleSet(TrustedList(), expiries, scope=settings.grants.scope).granted()


def _git(settings: Settings, past: Past) -> Iterator[str]:
    """What is wrong with the repository, and with the commits that the state knows of."""
    if not settings.audit.commit:
        return
    folder = settings.tables.directory
    known = {one.id for one in past.commits()}
    if not (folder / ".git").exists():
        if known:
            yield f"{folder}: the git repository is gone; {len(known)} commits were made in it"
        return
    git = Git(folder)
    try:
        git.run("fsck", "--full", "--no-dangling", "--no-progress", patience=_FSCK)
        _, said = git.run("rev-list", "HEAD", patience=_FSCK)
    except AuditError as error:
        yield str(error)
        return
    present = said.split()
    missing = known - set(present)
    for one in past.commits():
        if one.id in missing:
            yield f"commit {one.id[:12]} of {one.time:%Y-%m-%d %H:%M:%SZ} is not in the history"
    yield from _foreign(git, present, known)
    yield from _uncommitted(git)


def _foreign(git: Git, present: list[str], known: set[str]) -> Iterator[str]:
    """Commits that popgate did not make: of those since the oldest that it knows of."""
    oldest = max((place for place, one in enumerate(present) if one in known), default=-1)
    for one in [one for one in present[:oldest] if one not in known][:_SHOWN]:
        _, said = git.run("log", "-1", "--format=%h by %an <%ae>: %s", one)
        yield f"commit {said.strip()} was not made by popgate"


def _uncommitted(git: Git) -> Iterator[str]:
    """Texts that are other than in the last commit, and whose place is not the state."""
    _, said = git.run("status", "--porcelain", "--untracked-files=all")
    for line in said.splitlines()[:_SHOWN]:
        yield f"{line[3:]}: is not as in the last commit"

"""Wakes the reader when a log file changes, by inotify (watchdog).

It only wakes: what is new is found by reading. inotify drops events when its queue overflows and
does not see what other machines write on a network file system, so the reader also looks by itself
every `log.poll_interval`. Where a folder cannot be watched, that alone remains.
"""

from __future__ import annotations

import fnmatch
import glob
import logging
import os
from collections.abc import Callable, Iterable

from watchdog.events import (
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

log = logging.getLogger("popgate")

_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]


class Watch(FileSystemEventHandler):
    """Watches the folders of some files, and of what they are links to.

    A file may be a pattern with stars in its name: then all names that match it count.
    """

    def __init__(self, files: Iterable[str], wake: Callable[[], None]) -> None:
        """`wake` is called from another thread."""
        self._wake = wake
        self._names: frozenset[str] = frozenset()
        self._patterns: list[str] = []
        self._watched: set[str] = set()
        self._refused: set[str] = set()
        self._observer: BaseObserver | None = None
        try:
            self._observer = Observer()
            self._observer.start()
        except OSError as error:  # all that fs.inotify.max_user_instances permits are in use
            self._refuse("all", error)
        self.refresh(files)

    def refresh(self, files: Iterable[str]) -> None:
        """Watch these now: also folders that have come to be since, and what links point to."""
        paths = {path for file in files for path in (file, os.path.realpath(file))}
        self._names = frozenset(paths)
        self._patterns = [path for path in paths if glob.has_magic(path)]
        for path in paths:
            self._add(os.path.dirname(path))

    def _add(self, folder: str) -> None:
        if self._observer is None or folder in self._watched or not os.path.isdir(folder):
            return
        try:
            self._observer.schedule(self, folder, event_filter=_EVENTS)
            self._watched.add(folder)
        except OSError as error:
            self._refuse(folder, error)

    def _refuse(self, folder: str, error: OSError) -> None:
        if folder not in self._refused:
            self._refused.add(folder)
            log.warning("event=unwatched folder=%s error=%r action=polling", folder, error.strerror)

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog for each event in a watched folder."""
        if any(self._counts(str(path)) for path in (event.src_path, event.dest_path)):
            self._wake()

    def _counts(self, path: str) -> bool:
        return path in self._names or any(
            fnmatch.fnmatchcase(path, pattern) for pattern in self._patterns
        )

    def close(self) -> None:
        """Stop watching."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()

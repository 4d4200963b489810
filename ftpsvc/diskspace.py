"""How much room the disks below the served folders have; looked at in a thread, for a broken one may never answer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, TimeoutError

from ftpsvc.threads import Run, done_with

#: How long, in seconds, somebody waits for an answer before they get the last one that there was.
PATIENCE = 0.8

#: For how many seconds an answer is good enough: several people may have the page open.
FRESH = 5.0

#: How many folders are looked at. There may be thousands of homes, and hardly ever more than a few disks.
MAX_FOLDERS = 1000


class Space(NamedTuple):
    """One file system, by one of the folders that lie in it. Sizes are in bytes."""

    folder: str
    free: int
    total: int


class DiskSpace:
    """Looks once at a time, so that a disk that hangs takes one thread and no more."""

    def __init__(self, folders: Callable[[], Iterable[str]], run: Run, clock: Any) -> None:
        self._folders = folders
        self._run = run
        self._clock = clock
        self._known: list[Space] = []
        self._known_at: float | None = None
        self._looking: Deferred[None] | None = None

    async def spaces(self) -> list[Space]:
        """The file systems, as far as they could be looked at."""
        if self._known_at is None or self._clock.seconds() - self._known_at >= FRESH:
            with contextlib.suppress(TimeoutError):
                await done_with(self._looking or self._look()).addTimeout(PATIENCE, self._clock)
        return self._known

    def _look(self) -> Deferred[None]:
        self._looking = job = Deferred.fromCoroutine(self._looked_at(list(islice(self._folders(), MAX_FOLDERS))))
        if job.called:
            self._looking = None
        return job

    async def _looked_at(self, folders: list[str]) -> None:
        try:
            self._known = await self._run(spaces_of, folders)
            self._known_at = self._clock.seconds()
        finally:
            self._looking = None


def spaces_of(folders: Iterable[str]) -> list[Space]:
    """Each file system once. What can't be looked at is left out: it is no room for anybody."""
    found: dict[int, Space] = {}
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):
            device = os.stat(folder).st_dev
            if device not in found:
                status = os.statvfs(folder)
                found[device] = Space(folder, status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize)
    return list(found.values())

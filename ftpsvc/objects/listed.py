"""Entries as listings show them. A listing of the engine's has no metadata: the time in it is that of the upload.

So times that are exact cost a request for each file. They are asked for many at a time, and remembered with the tag and
the time of the upload, which a listing does have: a file costs its request once, on each node, until it is stored anew.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from twisted.internet.defer import Deferred, DeferredSemaphore

from ftpsvc import model
from ftpsvc.model import NO_FACTS, Entry, Facts, Kind
from ftpsvc.objects.calls import Calls
from ftpsvc.objects.engine import Engine, Found, Listed
from ftpsvc.objects.metadata import facts_of

#: What objects and folders show that nobody has given a mode.
FILE_MODE, FOLDER_MODE = 0o644, 0o755

#: How many objects are asked for their metadata at once, by all listings of a bucket together.
LOOKS_AT_ONCE = 32

#: How many objects' times are remembered: 40 MB or so.
MOST_REMEMBERED = 100_000


class Version(NamedTuple):
    """What tells one version of an object from the next, as far as a listing knows."""

    tag: str
    size: int
    stored: int


class Exact:
    """Times and modes of the objects in a bucket."""

    def __init__(self, engine: Engine, calls: Calls) -> None:
        self._engine = engine
        self._calls = calls
        self._turns = DeferredSemaphore(LOOKS_AT_ONCE)
        self._known: OrderedDict[str, tuple[Version, Facts]] = OrderedDict()

    async def facts(self, path: str, objects: list[Listed]) -> list[Facts | None]:
        """Of each of these what its metadata says; None for those that have vanished."""
        # All at the beginning: while the others are asked for, what is remembered may have to make room for them.
        known = {listed.key: self._remembered(listed) for listed in objects}
        jobs = {listed.key: self._begin(path, listed) for listed in objects if known[listed.key] is None}
        try:
            return [await jobs[listed.key] if listed.key in jobs else known[listed.key] for listed in objects]
        finally:
            for job in jobs.values():
                job.addErrback(lambda _: None)  # one that failed was enough
                job.cancel()

    def _remembered(self, listed: Listed) -> Facts | None:
        known = self._known.get(listed.key)
        return known[1] if known is not None and known[0] == _version(listed) else None

    def _begin(self, path: str, listed: Listed) -> Deferred[Facts | None]:
        return Deferred.fromCoroutine(self._ask(path, listed))

    async def _ask(self, path: str, listed: Listed) -> Facts | None:
        await self._turns.acquire()
        try:
            found = await self._calls(path, self._engine.look, listed.key)
        except model.NotFound:
            return None
        except model.Denied:
            return NO_FACTS  # it may be listed and not read: the others are to be listed all the same
        finally:
            self._turns.release()
        facts = facts_of(found.metadata)
        self._known[listed.key] = _version(listed), facts
        self._known.move_to_end(listed.key)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return facts


def _version(listed: Listed) -> Version:
    return Version(listed.tag, listed.size, listed.modified)


def entry_of(name: str, found: Found | Listed, facts: Facts) -> Entry:
    """A file."""
    modified = found.modified if facts.modified is None else facts.modified
    return Entry(name, Kind.FILE, found.size, modified, FILE_MODE if facts.mode is None else facts.mode)


def folder(name: str) -> Entry:
    """A folder. Nobody knows since when it is there."""
    return Entry(name, Kind.DIRECTORY, mode=FOLDER_MODE)

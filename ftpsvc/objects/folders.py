"""Which folders there are, remembered for some seconds: else every file would cost a look around.

An object storage asks for no folders. We do, as every file system does: a file is not stored where no folder is, and
not under the name of one. What others do to the same bucket may be seen so much later; nothing is lost by it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.defer import DeferredLock

from ftpsvc import model
from ftpsvc.objects.calls import Calls
from ftpsvc.objects.engine import Engine

#: For how long, in seconds, it is remembered what sub-folders a folder has; and of how many folders.
REMEMBERED_FOR, MOST_REMEMBERED = 5.0, 1000


class Known(NamedTuple):
    """A folder that is there."""

    since: float
    folders: frozenset[str] | None  #: the names in it that are folders; None, if it has more entries than a page


class Folders:
    """The folders of one bucket."""

    def __init__(self, engine: Engine, calls: Calls, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._calls = calls
        self._clock = clock
        self._asking: dict[str, DeferredLock] = {}
        self._known: OrderedDict[str, Known] = OrderedDict()

    async def demand(self, path: str, prefix: str, home: str) -> Known:
        """What is known of a folder. Raises `NotFound` where there is none; a home is always there."""
        if known := self._remembered(prefix):
            return known
        lock = self._asking.setdefault(prefix, DeferredLock())
        await lock.acquire()  # of many files that come for one folder, one asks
        try:
            return self._remembered(prefix) or await self._ask(path, prefix, home)
        finally:
            lock.release()
            if not lock.locked:
                self._asking.pop(prefix, None)

    def _remembered(self, prefix: str) -> Known | None:
        known = self._known.get(prefix)
        return known if known is not None and self._clock() - known.since <= REMEMBERED_FOR else None

    async def _ask(self, path: str, prefix: str, home: str) -> Known:
        now = self._clock()
        page = await self._calls(path, self._engine.page, prefix)
        if prefix != home and not (page.objects or page.folders):
            raise model.NotFound(f"{path}: there is no such directory.")
        known = Known(now, None if page.after else frozenset(page.folders))
        self._known[prefix] = known
        self._known.move_to_end(prefix)
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return known

    def forget(self, *prefixes: str) -> None:
        """Something was made or removed there."""
        for prefix in prefixes:
            self._known.pop(prefix, None)

"""An object that is being read: some ranges ahead of its reader, and no more."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred

from ftpsvc import model
from ftpsvc.model import Entry, Facts
from ftpsvc.objects.calls import Calls
from ftpsvc.objects.engine import Engine

#: How much one request asks for, and how many are under way: 16 MiB for each file that is read. A request of its own
#: for each piece can be made again when a node of the engine's dies, and takes no longer than a request may.
PIECE, AHEAD = 4 * 1024 * 1024, 4


class ObjectReadFile:
    """A `ReadFile`. Every range is asked for with the object's tag: a mixture of two objects never comes of it."""

    def __init__(self, engine: Engine, calls: Calls, path: str, key: str, tag: str, entry: Entry, offset: int) -> None:
        self._engine = engine
        self._calls = calls
        self._path = path
        self._key = key
        self._tag = tag
        self.entry = entry
        self._asked = offset  #: up to where ranges have been asked for
        self._pieces: deque[tuple[Deferred[memoryview], int]] = deque()
        self._rest: memoryview = memoryview(b"")

    @property
    def facts(self) -> Facts:
        return Facts(self.entry.modified, self.entry.mode)

    def fileno(self) -> int | None:
        return None

    async def read(self, size: int) -> bytes:
        if not self._rest:
            self._ask_ahead()
            if not self._pieces:
                return b""
            job, expected = self._pieces.popleft()
            self._rest = await self._calls.wait(job, self._path)
            if len(self._rest) != expected:
                raise model.LocalFault(f"{self._path} became shorter while it was read.")
            self._ask_ahead()
        chunk, self._rest = self._rest[:size], self._rest[size:]
        return bytes(chunk)  # transports take nothing else

    def _ask_ahead(self) -> None:
        while len(self._pieces) < AHEAD and self._asked < self.entry.size:
            end = min(self._asked + PIECE, self.entry.size)
            job = self._calls.begin(self._engine.read, self._key, self._asked, end, self._tag)
            self._pieces.append((job, end - self._asked))
            self._asked = end

    async def close(self) -> None:
        for job, _ in self._pieces:
            job.addErrback(lambda _: None)  # nobody wants to know any more
        self._pieces.clear()
        self._asked = self.entry.size
        self._rest = memoryview(b"")

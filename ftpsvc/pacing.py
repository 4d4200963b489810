"""A storage whose files are read no faster than a rate."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import deferLater

from ftpsvc.model import Entry, Facts, Whole
from ftpsvc.storage import Buffer, ReadFile, Storage

#: How often in a second a reader gets its share: pauses are too short to be taken for a fault.
SHARES = 8


class Paced:
    """The reading half of a storage, at so many bytes a second for each file."""

    def __init__(self, storage: Storage, rate: int, clock: Any) -> None:
        self._storage = storage
        self._rate = rate
        self._clock = clock

    async def open_read(self, path: str, offset: int = 0) -> ReadFile:
        return PacedReadFile(await self._storage.open_read(path, offset), self._rate, self._clock)

    async def fetch(self, path: str) -> Whole:
        whole = await self._storage.fetch(path)
        await deferLater(self._clock, len(whole.data) / self._rate)
        return whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


class PacedReadFile:
    """A file that is read no faster than a rate, from its first byte on."""

    def __init__(self, file: ReadFile, rate: int, clock: Any) -> None:
        self._file = file
        self._rate = rate
        self._clock = clock
        self._began = clock.seconds()
        self._done = 0

    @property
    def entry(self) -> Entry:
        return self._file.entry

    @property
    def facts(self) -> Facts:
        return self._file.facts

    def fileno(self) -> int | None:
        return None  # sendfile would know no rate

    async def read(self, size: int) -> Buffer:
        ahead = self._done / self._rate - (self._clock.seconds() - self._began)
        if ahead > 0:
            await deferLater(self._clock, ahead)
        elif ahead < -1:
            self._began -= ahead + 1.0  # what a pause has saved up is not spent in one burst
        chunk = await self._file.read(min(size, max(1, self._rate // SHARES)))
        self._done += len(chunk)
        return chunk

    async def close(self) -> None:
        await self._file.close()

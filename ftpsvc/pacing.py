"""A storage whose files are read no faster than a rate, all of them together."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import deferLater

from ftpsvc.model import Entry, Facts, Whole
from ftpsvc.storage import Buffer, ReadFile, Storage

#: How often in a second a reader gets its share, at least: the pauses are too short to be taken for a fault.
SHARES = 8

#: The largest share: about what arrives at once, so that of two who read, none gets more of the turns' bytes.
LARGEST = 64 * 1024


class Pace:
    """So many bytes a second, for all who share it."""

    def __init__(self, rate: int, clock: Any) -> None:
        self.share = max(1, min(rate // SHARES, LARGEST))
        self.rate = rate
        self._clock = clock
        self._free = clock.seconds()  #: when all that was read so far is paid for

    async def keep(self, count: int) -> None:
        """So many bytes were read: wait until more may be. What a pause has saved up isn't spent in one burst."""
        now = self._clock.seconds()
        self._free = max(self._free, now - 1.0) + count / self.rate
        if self._free > now:
            await deferLater(self._clock, self._free - now)


class Paced:
    """The reading half of a storage, at a pace."""

    def __init__(self, storage: Storage, pace: Pace) -> None:
        self._storage = storage
        self._pace = pace

    async def open_read(self, path: str, offset: int = 0) -> ReadFile:
        return PacedReadFile(await self._storage.open_read(path, offset), self._pace)

    async def fetch(self, path: str) -> Whole:
        whole = await self._storage.fetch(path)
        await self._pace.keep(len(whole.data))
        return whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


class PacedReadFile:
    """A file that is read at a pace."""

    def __init__(self, file: ReadFile, pace: Pace) -> None:
        self._file = file
        self._pace = pace

    @property
    def entry(self) -> Entry:
        return self._file.entry

    @property
    def facts(self) -> Facts:
        return self._file.facts

    def fileno(self) -> int | None:
        return None  # sendfile would know no pace

    async def read(self, size: int) -> Buffer:
        chunk = await self._file.read(min(size, self._pace.share))
        if chunk:
            await self._pace.keep(len(chunk))
        return chunk

    async def close(self) -> None:
        await self._file.close()

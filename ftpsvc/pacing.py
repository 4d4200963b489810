"""A storage whose files are read no faster than a rate, all of them together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.task import deferLater

from ftpsvc.model import Entry, Facts, Whole
from ftpsvc.storage import CHUNK, Buffer, ReadFile, Storage

#: How often in a second a reader gets its share, at least: the pauses are too short to be taken for a fault.
SHARES = 8

#: The largest share: about what arrives at once, so that of two who read, none gets more of the turns' bytes.
LARGEST = 64 * 1024


#: For how many seconds somebody waits at most before the rate is asked for again: it may be another by then.
ASK_AGAIN = 1.0


class Pace:
    """So many bytes a second, for all who share it."""

    def __init__(self, rate: Callable[[], int], clock: Any) -> None:
        """`rate` tells how many just now; 0: as fast as it goes."""
        self._rate = rate
        self._clock = clock
        # Both count bytes from the beginning. Who has read waits until all that was read up to then is paid for.
        self._read = 0
        self._paid = 0.0
        self._paid_at = 0.0
        self._last_rate = 0

    @property
    def is_kept(self) -> bool:
        """Whether there is a rate just now."""
        return self._rate() > 0

    @property
    def share(self) -> int:
        """How much is to be read at a time."""
        rate = self._rate()
        return max(1, min(rate // SHARES, LARGEST)) if rate else CHUNK

    async def keep(self, count: int) -> None:
        """So many bytes were read: wait until more may be. What a pause has saved up isn't spent in one burst."""
        rate = self._pay()
        self._read += count
        mine = self._read
        while rate and mine - self._paid > 0.5:
            await deferLater(self._clock, min((mine - self._paid) / rate, ASK_AGAIN))
            rate = self._pay()

    def _pay(self) -> int:
        """Pay for the time since the last time, at the rate of then; the rate."""
        now, rate, before = self._clock.seconds(), self._rate(), self._last_rate
        if rate and before:
            since = max(now - self._paid_at, 0.0)  # it is the time of day, and may have been set back
            self._paid = min(self._paid + since * before, self._read + rate)
        else:
            self._paid = self._read
        self._paid_at, self._last_rate = now, rate
        return rate


class Paced:
    """The reading half of a storage, at a pace."""

    def __init__(self, storage: Storage, pace: Pace) -> None:
        self._storage = storage
        self._pace = pace

    async def open_read(self, path: str, offset: int = 0) -> ReadFile:
        return PacedReadFile(await self._storage.open_read(path, offset), self._pace)

    def fetch(self, path: str) -> Awaitable[Whole]:
        return self._fetch(path) if self._pace.is_kept else self._storage.fetch(path)

    async def _fetch(self, path: str) -> Whole:
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
            # No more than a share, where a rate was set while this was waited for: the whole chunk might take minutes.
            await self._pace.keep(min(len(chunk), self._pace.share))
        return chunk

    async def close(self) -> None:
        await self._file.close()

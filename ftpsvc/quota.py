"""Quotas: a storage that lets an account's home grow so far, and no further.

What counts is what lies in the home, whoever put it there. Each upload claims what the home grows by as its bytes come,
before they are written, so that many at once can't pass the limit together; what it replaces is given back. The storage
underneath knows nothing of all this.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from ftpsvc import model
from ftpsvc.model import NO_FACTS, Account, Entry, Facts, Permission, Stored, Whole
from ftpsvc.storage import (
    Buffer,
    KeepsParts,
    ReadFile,
    ShowsPart,
    Storage,
    TakesFactsEarly,
    WriteFile,
    known_digest,
    lacking,
)
from ftpsvc.threads import done_with

#: How old, in seconds, a count may become before the next login has the home counted again: for what has changed there
#: without passing through here.
COUNT_AGAIN = 3600.0


class Used(NamedTuple):
    """What lies in a home. Folders count as files: they take up inodes as those do."""

    size: int = 0
    files: int = 0


class Usage:
    """What lies in one home, counted once and then kept up to date by all who write there."""

    _log = Logger()

    def __init__(self, count: Callable[[], Deferred[Used]], clock: Callable[[], float]) -> None:
        """`count` looks at the disk, beside the reactor."""
        self._count = count
        self._clock = clock
        self._counted: float | None = None
        self._counting: Deferred[Any] | None = None
        self._changes = 0
        self.uploads = 0  #: how many are under way
        self.growing: dict[str, int] = {}  #: files that are added to in place, by `Entry.unique`, and their old sizes
        self._kept: dict[str, int] = {}  #: bytes in the parts of uploads that broke off
        self._commits: dict[str, tuple[DeferredLock, int]] = {}
        self.size = 0
        self.files = 0

    def look_again(self) -> None:
        """Have the home counted, if that was long ago or never."""
        is_old = self._counted is None or self._clock() - self._counted > COUNT_AGAIN
        if is_old and self._counting is None:
            changes = self._changes
            self._counting = self._count()
            self._counting.addCallback(self._learn, changes).addErrback(self._not_counted)

    def _learn(self, used: Used, changes: int) -> None:
        self._counting = None
        # Of what changed during a count nobody knows whether it is in it. The first has nothing beside it: all wait.
        if self._counted is None or (changes == self._changes and not self.uploads):
            self.size, self.files = used
            self._kept.clear()
            self._counted = self._clock()

    def _not_counted(self, failure: Failure) -> None:
        self._counting = None
        self._log.failure("A home could not be counted, and its quota can't be held", failure)

    async def counted(self) -> None:
        """Wait for the first count. Raises `Busy` if there is none."""
        if self._counted is None:
            self.look_again()
            if self._counting is not None:
                await done_with(self._counting)
            if self._counted is None:
                raise model.Busy("What lies in this account's home could not be counted. Try again later.")

    def add(self, size: int, files: int = 0) -> None:
        """The home has grown by this, or has become smaller."""
        self._changes += 1
        self.size, self.files = max(self.size + size, 0), max(self.files + files, 0)

    def keep(self, path: str, size: int) -> None:
        """A part stays on the disk, and goes on counting."""
        self._kept[path] = self._kept.get(path, 0) + size
        self.add(size)

    def use_kept(self, path: str) -> None:
        """Somebody goes on from what was kept there, or writes over it."""
        self.add(-self._kept.pop(path, 0))

    @asynccontextmanager
    async def alone(self, path: str) -> AsyncGenerator[None, None]:
        """Be the only one who commits to a path: else two would give back the same old file."""
        lock, waiting = self._commits.get(path, (DeferredLock(), 0))
        self._commits[path] = lock, waiting + 1
        try:
            await lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            lock, waiting = self._commits.pop(path)
            if waiting > 1:
                self._commits[path] = lock, waiting - 1


class Quota:
    """The `Storage` of an account whose home may hold so much."""

    def __init__(self, storage: Storage, usage: Usage, account: Account) -> None:
        self._storage = storage
        self.usage = usage
        self._most = account.quota_bytes
        self._most_files = account.quota_files
        usage.look_again()

    def claim(self, path: str, size: int, files: int = 0) -> None:
        """Let the home grow. Raises `OverQuota`, and then nothing is claimed."""
        used = self.usage
        if self._most is not None and size > 0 and used.size + size > self._most:
            raise model.OverQuota(f"{path}: this account's quota of {self._most} bytes is used up.")
        if self._most_files is not None and files > 0 and used.files + files > self._most_files:
            raise model.OverQuota(f"{path}: this account's quota of {self._most_files} files and folders is used up.")
        used.add(size, files)

    async def found(self, path: str) -> Entry | None:
        """The file that would be replaced, if there is one; with the size that is counted for it by now."""
        try:
            entry = await self._storage.stat(path)
        except (model.NotFound, model.NotADirectory):
            return None
        return entry._replace(size=self.usage.growing.get(entry.unique, entry.size))

    async def open_write(self, path: str, offset: int = 0, replace: bool = True) -> WriteFile:
        await self.usage.counted()
        file = await self._storage.open_write(path, offset, replace)
        self.usage.use_kept(path)
        return await self._claiming(ClaimingFile(self, path, file, offset))

    async def open_append(self, path: str) -> WriteFile:
        await self.usage.counted()
        before = await self.found(path)
        file = await self._storage.open_append(path)
        if before is None:
            return await self._claiming(ClaimingFile(self, path, file, 0))
        return GrowingFile(self, path, file, before)

    async def _claiming(self, file: ClaimingFile) -> WriteFile:
        try:
            await file.claim_more(0)
        except BaseException:
            await file.abort(keep=True)
            raise
        return file

    async def put(self, path: str, whole: Whole) -> Stored:
        file = await self.open_write(path)
        try:
            await file.write(whole.data)
            return await file.commit(whole.facts)
        except BaseException:
            await file.abort()
            raise

    async def make_dir(self, path: str) -> None:
        await self.usage.counted()
        self.claim(path, 0, 1)
        try:
            await self._storage.make_dir(path)
        except BaseException:
            self.usage.add(0, -1)
            raise

    async def remove(self, path: str) -> None:
        entry = await self.found(path)
        await self._storage.remove(path)
        self._give_back(entry)

    async def remove_dir(self, path: str) -> None:
        await self._storage.remove_dir(path)
        self.usage.add(0, -1)

    async def rename(self, source: str, target: str) -> None:
        replaced = None if source == target else await self.found(target)
        await self._storage.rename(source, target)
        self._give_back(replaced)

    def _give_back(self, entry: Entry | None) -> None:
        if entry is not None:
            # Bytes that have another name stay where they are.
            self.usage.add(-entry.size if entry.is_file and entry.links == 1 else 0, -1)

    async def space(self, path: str) -> int:
        """What is left of the quota, or of the disk if that is less; for a file, with what is given back for it."""
        try:
            space = await self._storage.space(path)
        except model.NotImplementedHere:
            if self._most is None:
                raise
            space = self._most  # an object storage doesn't say; the quota is all the room there is
        if self._most is None:
            return space
        await self.usage.counted()
        entry = await self._storage.stat(path)
        left = self._most - self.usage.size + (entry.size if entry.is_file else 0)
        return min(space, max(left, 0))

    # -- what needs no looking after

    async def stat(self, path: str) -> Entry:
        return await self._storage.stat(path)

    def list(self, path: str) -> AsyncGenerator[Entry, None]:
        return self._storage.list(path)

    async def open_read(self, path: str, offset: int = 0) -> ReadFile:
        return await self._storage.open_read(path, offset)

    async def open_part(self, path: str, offset: int = 0) -> ReadFile:
        if not isinstance(self._storage, KeepsParts):
            raise model.NotFound(f"{path}: nothing is kept of it.")
        return await self._storage.open_part(path, offset)

    def fetch(self, path: str) -> Awaitable[Whole]:
        return self._storage.fetch(path)

    async def set_facts(self, path: str, facts: Facts) -> None:
        await self._storage.set_facts(path, facts)

    def lacks(self, is_directory: bool) -> Permission:
        return lacking(self._storage, is_directory)

    async def known_digest(self, path: str) -> str:
        return await known_digest(self._storage, path)


class ClaimingFile:
    """A `WriteFile` that claims from a quota what the home grows by, before it is written."""

    def __init__(self, quota: Quota, path: str, file: WriteFile, size: int) -> None:
        """`size`: how many bytes the file begins with."""
        self._quota = quota
        self._path = path
        self._file = file
        self._size = size
        self._claimed = Used()
        self._is_over = False
        quota.usage.uploads += 1

    def expect(self, facts: Facts) -> None:
        if isinstance(self._file, TakesFactsEarly):
            self._file.expect(facts)

    async def claim_more(self, size: int, at_the_end: bool = False) -> None:
        """Claim for so many bytes more, beside what the file that is there takes up. Raises `OverQuota`.

        A larger file than the new one gives back nothing before it is replaced.
        """
        entry = await self._quota.found(self._path)
        growth = self._size + size - (entry.size if entry is not None and entry.is_file else 0)
        needed = Used(growth if at_the_end else max(growth, 0), int(entry is None))
        more = Used(needed.size - self._claimed.size, needed.files - self._claimed.files)
        self._quota.claim(self._path, *more)
        self._claimed = needed
        self._size += size

    async def write(self, chunk: Buffer) -> None:
        await self.claim_more(len(chunk))
        await self._file.write(chunk)

    async def opened_part(self, digest: str | None = None) -> int:
        if not isinstance(self._file, ShowsPart):
            raise model.LocalFault(f"{self._path}: this storage shows no file before it has its name.")
        return await self._file.opened_part(digest)

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        async with self._quota.usage.alone(self._path):
            try:
                await self.claim_more(0, at_the_end=True)  # what was there may have become another by now
                stored = await self._file.commit(facts, digest)
            except BaseException:
                await self.abort()
                raise
        self._end()  # what was claimed is what the home has grown by
        return stored

    async def abort(self, keep: bool = False) -> None:
        if self._is_over:
            return
        self._end()
        self._quota.usage.add(-self._claimed.size, -self._claimed.files)
        if keep:
            self._quota.usage.keep(self._path, self._size)
        await self._file.abort(keep)

    def _end(self) -> None:
        self._is_over = True
        self._quota.usage.uploads -= 1


class GrowingFile:
    """A `WriteFile` that adds to a file in place, and claims what it adds."""

    def __init__(self, quota: Quota, path: str, file: WriteFile, before: Entry) -> None:
        self._quota = quota
        self._path = path
        self._file = file
        self._before = before
        self._claimed = 0
        self._is_over = False
        quota.usage.uploads += 1
        quota.usage.growing[before.unique] = before.size

    async def write(self, chunk: Buffer) -> None:
        self._quota.claim(self._path, len(chunk))
        self._claimed += len(chunk)
        await self._file.write(chunk)

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        try:
            stored = await self._file.commit(facts, digest)
        except BaseException:
            await self.abort()
            raise
        # If somebody has removed or replaced it meanwhile, what was added counts until the home is counted again.
        self._end()
        return stored

    async def abort(self, keep: bool = False) -> None:
        if self._is_over:
            return
        await self._file.abort(keep)
        self._quota.usage.add(-self._claimed)
        self._end()

    def _end(self) -> None:
        self._is_over = True
        self._quota.usage.uploads -= 1
        self._quota.usage.growing.pop(self._before.unique, None)

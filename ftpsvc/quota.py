"""Quotas: a storage that lets an account's home grow so far, and no further.

What counts is what lies in the home, whoever put it there. Each upload claims what the home grows by as its bytes come,
before they are written, so that many at once can't pass the limit together; what it replaces is given back. The storage
underneath knows nothing of all this.
"""

from __future__ import annotations

import math
from contextlib import AsyncExitStack

from ftpsvc import model
from ftpsvc.around import Around
from ftpsvc.model import NO_FACTS, Account, Entry, Facts, Kind, Stored, Whole
from ftpsvc.storage import Buffer, RemovesParts, ShowsPart, Storage, SyncsEarly, TakesFactsEarly, WriteFile
from ftpsvc.usage import Usage, Used


class Quota(Around):
    """The `Storage` of an account whose home may hold so much."""

    def __init__(self, storage: Storage, usage: Usage, account: Account) -> None:
        super().__init__(storage)
        self.usage = usage
        self._most = account.quota_bytes
        self._most_files = account.quota_files
        self._name = account.name
        usage.look_again()

    async def claim(self, path: str, size: int, files: int = 0) -> None:
        """Let the home grow. Raises `OverQuota`, and then nothing is claimed."""
        if over := await self.usage.claim(size, files, self._most, self._most_files):
            most = self._most if over == "bytes" else self._most_files
            raise model.OverQuota(f"{path}: this account's quota of {most} {over} is used up.")

    async def found(self, path: str) -> Entry | None:
        """The file that would be replaced, if there is one; with the size that is counted for it by now."""
        try:
            entry = await self._storage.stat(path)
        except (model.NotFound, model.NotADirectory):
            return None
        return entry._replace(size=self.usage.size_of(entry))

    async def _named(self, path: str) -> Entry | None:
        """The same for who takes the name away, which a link may have that leads round in a circle, to where nobody may
        look, or to what is no name."""
        try:
            return await self.found(path)
        except (model.Unavailable, model.InvalidName):
            return Entry(path.rpartition("/")[2], Kind.LINK, is_link=True)

    async def open_write(self, path: str, offset: int = 0, replace: bool = True) -> WriteFile:
        await self.usage.counted()
        file = await self._storage.open_write(path, offset, replace)
        return await self._claiming(path, file, offset)

    async def open_append(self, path: str) -> WriteFile:
        await self.usage.counted()
        before = await self.found(path)
        file = await self._storage.open_append(path)
        if before is None:
            return await self._claiming(path, file, 0)
        return GrowingFile(self, path, file, before)

    async def _claiming(self, path: str, inner: WriteFile, offset: int) -> WriteFile:
        most = self.usage.take_kept(self._name, path)
        # What is there, and not what was: with its folder a part may have been carried elsewhere, where it counts on.
        part = await self._part(path)
        kept = 0 if part is None else int(min(part.size, most))
        if kept < most < math.inf:
            self.usage.put_back(self._name, path, int(most) - kept)
        file = ClaimingFile(self, path, inner, offset, kept, None if most else part)
        try:
            await file.begin()
        except BaseException:
            await file.abort(keep=True)
            raise
        return file

    async def count_kept(self, path: str, seen: Entry | None) -> None:
        """Have what is left of an upload count, or of one before it, of which this one may not have touched a byte.

        `seen`: what another upload has counted, and goes on to do so if it is still there.
        """
        part = await self._part(path)
        size = 0 if part is None else part.size
        self.usage.keep(self._name, path, None if part is not None and part == seen else size)

    async def _part(self, path: str) -> Entry | None:
        """What an upload has left that nobody holds; whoever has one counts it."""
        try:
            part = await self.open_part(path)
            await part.close()
        except model.TransferError:
            return None
        return part.entry

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
        with self.usage.changing():
            await self.claim(path, 0, 1)
            try:
                await self._storage.make_dir(path)
            except BaseException:
                self.usage.add(0, -1)
                raise

    async def remove(self, path: str) -> None:
        await self.usage.count_over()
        async with self.usage.alone(path):
            with self.usage.changing():
                entry = await self._named(path)
                await self._storage.remove(path)
                if entry is None:
                    self.usage.add(0, -1)  # it was a link that leads nowhere
                else:
                    self._give_back(entry)

    async def remove_dir(self, path: str) -> None:
        await self.usage.count_over()
        with self.usage.changing():
            size, changes = 0, self.usage.changes
            if isinstance(self._storage, RemovesParts):
                size = await self._storage.remove_dir_and_parts(path)
            else:
                await self._storage.remove_dir(path)
            if not self.usage.left_parts_alone(changes):
                size = 0  # whoever has begun with one gives it back at the end; else it counts on until the next count
            self.usage.add(-size, -1)

    async def rename(self, source: str, target: str, replace: bool = True) -> None:
        await self.usage.count_over()
        async with AsyncExitStack() as alone:
            for path in sorted({source, target}):  # in one order, or two could wait for each other
                await alone.enter_async_context(self.usage.alone(path))
            alone.enter_context(self.usage.changing())
            replaced = None if source == target else await self._named(target)
            await self._storage.rename(source, target, replace)
            if replaced is not None and not await self._is_still(source, replaced):
                self._give_back(replaced)

    async def _is_still(self, path: str, entry: Entry) -> bool:
        """Whether a path leads to this file by now: then a link to a folder has made one name look like two."""
        found = await self.found(path) if entry.unique else None
        return found is not None and found.unique == entry.unique

    def _give_back(self, entry: Entry) -> None:
        self.usage.add(0 if entry.is_link else -_freed(entry), -1)  # what only a link has led to stays where it is

    async def space(self, path: str) -> int:
        """What is left of the quota, or of the disk if that is less; for a file, with what is given back for it, and
        with what is kept of it, whether there is a file yet or not."""
        most = self.usage.kept(self._name, path)
        part = await self._part(path) if most else None
        kept = 0 if part is None else int(min(part.size, most))
        there = path
        if kept and await self.found(path) is None:
            there = model.parent_and_name(path)[0]
        try:
            space = await self._storage.space(there)
        except model.NotImplementedHere:
            if self._most is None:
                raise
            space = self._most  # an object storage doesn't say; the quota is all the room there is
        if self._most is None:
            return space
        await self.usage.counted()
        await self.usage.look()
        entry = await self._storage.stat(there)
        left = self._most - self.usage.size + kept + _freed(entry)
        return min(space, max(left, 0))


def _freed(entry: Entry) -> int:
    """How many bytes go with a file; those that have another name stay where they are."""
    return entry.size if entry.is_file and entry.links == 1 else 0


class ClaimingFile:
    """A `WriteFile` that claims from a quota what the home grows by, before it is written."""

    def __init__(self, quota: Quota, path: str, file: WriteFile, size: int, kept: int, seen: Entry | None) -> None:
        """`size`: how many bytes the file begins with. `kept`: how many of an earlier attempt are counted as such. They
        lie there until they are written over, if ever, and so count to the end. `seen`: as in `count_kept`."""
        self._quota = quota
        self._path = path
        self._file = file
        self._size = size
        self._kept = kept
        self._seen = seen
        self._there: Entry | None = None
        self._claimed = Used(kept)
        self._growth = 0
        self._is_over = False
        quota.usage.begin(bool(kept))

    def expect(self, facts: Facts) -> None:
        if isinstance(self._file, TakesFactsEarly):
            self._file.expect(facts)

    async def sync(self) -> None:
        if isinstance(self._file, SyncsEarly):
            await self._file.sync()

    async def begin(self) -> None:
        """Claim what it begins with. Raises `OverQuota`."""
        await self._look()
        await self._claim_more(0)

    async def _look(self) -> None:
        """See what is there: at the beginning, and once more at the end. In an object storage that is two requests."""
        self._there = await self._quota.found(self._path)

    async def _claim_more(self, size: int, at_the_end: bool = False) -> None:
        """Claim for so many bytes more, beside what the file that is there takes up. Raises `OverQuota`.

        A larger file than the new one gives back nothing before it is replaced.
        """
        entry = self._there
        growth = self._size + size - (0 if entry is None else _freed(entry))
        least = growth if at_the_end and not self._kept else self._kept
        needed = Used(max(growth, least), int(entry is None))
        more = Used(needed.size - self._claimed.size, needed.files - self._claimed.files)
        await self._quota.claim(self._path, *more)
        self._claimed = needed
        self._growth = growth
        self._size += size

    async def write(self, chunk: Buffer) -> None:
        await self._claim_more(len(chunk))
        await self._file.write(chunk)

    async def opened_part(self, digest: str | None = None) -> int:
        if not isinstance(self._file, ShowsPart):
            raise model.LocalFault(f"{self._path}: this storage shows no file before it has its name.")
        return await self._file.opened_part(digest)

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        async with self._quota.usage.alone(self._path):
            try:
                await self._look()  # what was there may have become another by now
                await self._claim_more(0, at_the_end=True)
                stored = await self._file.commit(facts, digest)
            except BaseException:
                await self.abort()
                raise
            self._is_over = True
            await self._end(Used(self._growth, self._claimed.files))
        return stored

    async def abort(self, keep: bool = False) -> None:
        if self._is_over:
            return
        self._is_over = True
        try:
            await self._file.abort(keep and await self._has_room_beside())
        finally:
            await self._end(Used())

    async def _has_room_beside(self) -> bool:
        """Whether what came may lie beside the file that it was to replace, which gives back nothing now."""
        more = self._size - self._claimed.size
        if more > 0:
            try:
                await self._quota.claim(self._path, more)
            except model.TransferError:
                return False
            self._claimed = self._claimed._replace(size=self._size)
        return True

    async def _end(self, grown: Used) -> None:
        """`grown`: what has become of all that was claimed, beside what is kept for another attempt."""
        try:
            await self._quota.count_kept(self._path, self._seen)
        finally:
            self._quota.usage.add(grown.size - self._claimed.size, grown.files - self._claimed.files)
            self._quota.usage.end(bool(self._kept))


class GrowingFile:
    """A `WriteFile` that adds to a file in place, and claims what it adds."""

    def __init__(self, quota: Quota, path: str, file: WriteFile, before: Entry) -> None:
        self._quota = quota
        self._path = path
        self._file = file
        self._before = before
        self._claimed = 0
        self._is_over = False
        quota.usage.begin()
        quota.usage.grows(before)

    async def write(self, chunk: Buffer) -> None:
        await self._quota.claim(self._path, len(chunk))
        self._claimed += len(chunk)
        await self._file.write(chunk)

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        async with self._quota.usage.alone(self._path):  # who replaces or removes it meanwhile gives back what it has
            try:
                stored = await self._file.commit(facts, digest)
            except BaseException:
                await self.abort()
                raise
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
        self._quota.usage.end()
        self._quota.usage.has_grown(self._before)

"""Open files of the local disk: one being read, one being written beside its target, one being added to.

Small reads and writes go straight to the page cache. Large ones run in a thread, one at a time for each file, so that
a slow disk holds up its own transfer and no other.
"""

from __future__ import annotations

import contextlib
import os

from twisted.internet.defer import Deferred

from ftpsvc import model
from ftpsvc.commits import Committer, PartFile, WholeFile, is_in_memory
from ftpsvc.frames import digest_of, verified
from ftpsvc.locks import Alone
from ftpsvc.model import NO_FACTS, Entry, Facts, Stored, decode_name
from ftpsvc.oserrors import domain_error
from ftpsvc.parts import (
    Start,
    apply_facts,
    close_both,
    find_start,
    known_part,
    leave_part,
    open_again,
    open_part,
    remove_own_part,
    status_of_part,
)
from ftpsvc.storage import Buffer
from ftpsvc.threads import Run, close_behind, done_with
from ftpsvc.unnamed import in_memory
from ftpsvc.writing import Writing

#: Up to this many bytes of what the page cache has, which is known beforehand, are read at once: a trip to a thread
#: would cost more than it.
READ_AT_ONCE = 128 * 1024

#: Up to this many bytes of an upload are held in memory before they go to disk.
HELD = 64 * 1024

_RWF_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


class DiskReadFile:
    """The `ReadFile` over a descriptor."""

    def __init__(self, descriptor: int, device: int, entry: Entry, offset: int, run: Run) -> None:
        self._descriptor = descriptor
        self._device = device
        self._entry = entry
        self._at = offset
        self._run = run
        self._job: Deferred[bytes] | None = None

    @property
    def entry(self) -> Entry:
        return self._entry

    @property
    def facts(self) -> Facts:
        return Facts(self._entry.modified, self._entry.mode)

    def fileno(self) -> int | None:
        return self._descriptor

    async def read(self, size: int) -> Buffer:
        # A file that grows is sent as long as it was when it was opened: that is what was announced.
        size = min(size, self._entry.size - self._at)
        if size <= 0:
            return b""
        data = read_at_once(self._descriptor, self._device, size, self._at) if size <= READ_AT_ONCE else None
        if data is None:
            self._job = self._run(os.pread, self._descriptor, size, self._at)
            try:
                data = await done_with(self._job)
            except OSError as error:
                raise model.LocalFault(f"{self._entry.name} can't be read: {os.strerror(error.errno or 0)}.") from error
        if not data:
            raise model.LocalFault(f"{self._entry.name} became shorter while it was read.")
        self._at += len(data)
        return data

    async def close(self) -> None:
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        await close_behind(self._job, lambda: os.close(descriptor))


def read_at_once(descriptor: int, device: int, size: int, offset: int) -> bytes | None:
    """What the page cache holds, or None if a disk would have to be waited for. Raises `OSError`."""
    if not size:
        return b""
    if is_in_memory(device):
        return os.pread(descriptor, size, offset)
    buffer = bytearray(size)
    try:
        count = os.preadv(descriptor, [buffer], offset, _RWF_NOWAIT)
    except OSError:
        return None
    return bytes(buffer) if count == size else None


class DiskWriteFile:
    """The `WriteFile` that becomes, or replaces, `name` in a directory whose descriptor it owns.

    Up to `HELD` bytes are kept in memory, so that a small file is written, synced and renamed in one go, wherever the
    committer does that. The part of a larger one comes into being when they are exceeded. Either way a transfer that
    never begins leaves nothing behind.
    """

    def __init__(
        self,
        directory: int,
        name: bytes,
        mode: int,
        replaces: bool,
        owner: str,
        run: Run,
        committer: Committer,
        may_replace: bool = True,
    ) -> None:
        """`replaces`: something bore the name when this began. `may_replace`: so may something at its end."""
        self._directory = directory
        self._name = name
        self._mode = mode
        self._replaces = replaces
        self._owner = owner
        self._run = run
        self._committer = committer
        self._may_replace = may_replace
        self._held = b""
        self._offset = 0
        self._start: Start | None = None
        self._file = -1
        self._part = b""
        self._writing: Writing | None = None
        self._is_committing = False

    async def resume(self, offset: int) -> None:
        """Begin with `offset` bytes that are here: of the file itself, or of the part of an earlier attempt.

        The file wins if it has exactly that many, because its size is what any client can ask for; a part is known only
        to those who left it. Raises `BadOffset`.
        """
        left = status_of_part(self._directory, self._name, self._owner)
        self._start = find_start(self._directory, self._name, offset, left)
        if self._start is None:
            raise model.BadOffset(f"Fewer than {offset} bytes are here; can't go on from there.")
        self._offset = offset

    async def _go_on(self) -> None:
        """Make the part begin with what is here of the file.

        Raises `Busy` if that isn't any more what it was when REST was accepted: it would become a mixture of two files.
        """
        left = os.fstat(self._file) if self._open_part() else None
        start = find_start(self._directory, self._name, self._offset, left)
        if start is None or start != self._start:
            if left is not None:
                leave_part(self._file, self._part, self._directory, known_part(self._name, self._owner))
                self._part = b""  # somebody else may go on from it
            raise model.Busy(f"{decode_name(self._name)} was written to by others meanwhile. Try again.")
        self._writing = Writing(self._file, self._run)
        if start.is_part:
            os.ftruncate(self._file, self._offset)
            os.lseek(self._file, self._offset, os.SEEK_SET)
        else:
            os.ftruncate(self._file, 0)
            await self._writing.copy(self._directory, self._name, start, self._offset)

    def _open_part(self) -> int:
        """Open the part; how many bytes an earlier attempt left in it."""
        self._file, self._part, left = open_part(self._directory, self._name, self._owner)
        return left

    async def _begin(self) -> None:
        """Put what was held into a part, and go on there."""
        if self._offset:
            await self._go_on()
            return
        if self._open_part():
            os.ftruncate(self._file, 0)
        self._writing = Writing(self._file, self._run)
        held, self._held = self._held, b""
        await self._writing.write(held)

    async def write(self, chunk: Buffer) -> None:
        try:
            if self._writing is None:
                if not self._offset and len(self._held) + len(chunk) <= HELD:
                    # A copy: a slice would keep all that was received with it in memory.
                    self._held += bytes(chunk)
                    return
                await self._begin()
            assert self._writing is not None
            await self._writing.write(chunk)
        except OSError as error:
            raise self._failure(error) from error

    async def sync(self) -> None:
        if self._writing is not None and not self._committer.is_quick(self._file):
            try:
                await self._writing.sync()
            except OSError as error:
                raise self._failure(error) from error

    async def opened_part(self, digest: str | None = None) -> int:
        try:
            if self._writing is None and self._offset:
                await self._begin()
            if self._writing is None:
                verified(digest_of(self._held), digest)
                return in_memory(self._held)
            await self._writing.finish(digest)
            return open_again(self._file, self._part, self._directory)
        except OSError as error:
            raise self._failure(error) from error

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        mode = self._mode if facts.mode is None else facts.mode
        finished: WholeFile | PartFile
        try:
            if self._writing is None and self._offset:
                await self._begin()
            if self._writing is None:
                found = verified(digest_of(self._held), digest)
                finished = WholeFile(self._directory, self._name, self._held, mode, facts.modified, self._may_replace)
            else:
                found = await self._writing.finish(digest)
                apply_facts(self._file, Facts(facts.modified, mode))
                size = self._offset + self._writing.size
                finished = PartFile(self._directory, self._name, self._file, self._part, size, self._may_replace)
            await self._put_in_place(finished)
            self._close()
        except BaseException as error:
            await self.abort()
            if isinstance(error, OSError):
                raise self._failure(error) from error
            raise
        return Stored(finished.size, found)

    async def _put_in_place(self, finished: WholeFile | PartFile) -> None:
        """Wait for the commit. It ends in good order even if the one who waits for it goes away."""
        if self._committer.is_quick(self._directory, finished.size):
            is_new = isinstance(finished, WholeFile) and not self._replaces and self._committer.create_now(finished)
            if not is_new:
                self._committer.commit_now(finished)
            return
        done = self._committer.commit(finished)
        self._is_committing = True
        try:
            await done_with(done)
        except OSError:
            self._is_committing = False
            raise
        except BaseException:
            done.addBoth(lambda _: self._close())
            raise

    async def abort(self, keep: bool = False) -> None:
        if self._directory < 0 or self._is_committing:
            return
        with contextlib.suppress(OSError):
            if keep and self._held:
                await self._begin()
            if self._writing is not None:
                await self._writing.settle()
        known = known_part(self._name, self._owner)
        with contextlib.suppress(OSError):
            keep = keep and os.fstat(self._file).st_size > 0
            # A part with a made-up name is of no use: nobody could find it to go on from.
            if self._part and not (keep and leave_part(self._file, self._part, self._directory, known)):
                remove_own_part(self._file, self._part, self._directory)
        with contextlib.suppress(OSError):
            self._close()

    def _close(self) -> None:
        file, directory, self._file, self._directory = self._file, self._directory, -1, -1
        close_both(file, directory)

    def _failure(self, error: OSError) -> model.TransferError:
        return domain_error(error, decode_name(self._name))


class DiskAppendFile:
    """The `WriteFile` that adds to a file in place (APPE); an abort cuts it back to what it was."""

    def __init__(self, directory: int, name: bytes, run: Run, committer: Committer) -> None:
        """Raises `OSError`; then the directory's descriptor is still the caller's."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        self._file = os.open(name, flags, dir_fd=directory)
        try:
            self._writing = Writing(self._file, run)
            # Two at once would cut off each other's bytes: the second is told to come back (EAGAIN).
            self._alone = Alone(self._file)
        except OSError:
            os.close(self._file)
            raise
        self._directory = directory
        self._name = name
        self._committer = committer

    async def write(self, chunk: Buffer) -> None:
        try:
            await self._writing.write(chunk)
        except OSError as error:
            raise domain_error(error, decode_name(self._name)) from error

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        try:
            found = await self._writing.finish(digest)
            apply_facts(self._file, facts)
            await self._committer.sync_file(self._file, self._directory)
            self._demand_name()
            self._close()
        except BaseException as error:
            await self.abort()
            if isinstance(error, OSError):
                raise domain_error(error, decode_name(self._name)) from error
            raise
        return Stored(self._alone.before + self._writing.size, found)

    def _demand_name(self) -> None:
        """Whoever replaces or removes a file asks for no lock. What was added to the old one is in none by then."""
        name = decode_name(self._name)
        if not self._alone.was_alone(self._writing.size):
            raise model.Busy(f"{name} was added to by others meanwhile, and has both. Look what is there.")
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
            if os.path.samestat(status, os.fstat(self._file)):
                return
        raise model.Busy(f"{name} was replaced or removed meanwhile, so nothing was added. Try again.")

    async def abort(self, keep: bool = False) -> None:
        if self._file < 0:
            return
        with contextlib.suppress(OSError):
            await self._writing.settle()
        with contextlib.suppress(OSError):
            self._alone.undo(self._writing.size)
        with contextlib.suppress(OSError):
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, -1
        self._alone.end()
        close_both(file, self._directory)

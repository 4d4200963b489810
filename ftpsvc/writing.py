"""The bytes of an upload on their way to the local disk."""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred

from ftpsvc.commits import is_in_memory
from ftpsvc.frames import Digest, verified
from ftpsvc.parts import Start, copy_start, write_all
from ftpsvc.storage import Buffer
from ftpsvc.threads import Run, done_with

#: Up to this many bytes a write is done at once: a trip to a thread would cost more than it.
AT_ONCE = 64 * 1024

#: The same for a file system in memory, where only the processor's time counts.
AT_ONCE_IN_MEMORY = 4 * 1024 * 1024


class Writing:
    """Bytes on their way into a descriptor: in order, digested, and with one trip to a thread under way at most."""

    def __init__(self, descriptor: int, run: Run) -> None:
        self._descriptor = descriptor
        self._run = run
        # In memory nothing is waited for, and handing a megabyte to another processor costs more than writing it.
        self._at_once = AT_ONCE_IN_MEMORY if is_in_memory(os.fstat(descriptor).st_dev) else AT_ONCE
        self._digest = Digest()
        self._job: Deferred[None] | None = None
        self.size = 0

    async def write(self, chunk: Buffer) -> None:
        """Write a chunk, or leave it to a thread and return; then the next call waits for that. Raises `OSError`."""
        await self.settle()
        self.size += len(chunk)
        if len(chunk) <= self._at_once:
            self._write_out(chunk)
        else:
            self._job = self._run(self._write_out, chunk)

    def _write_out(self, chunk: Buffer) -> None:
        self._digest.update(chunk)
        write_all(self._descriptor, chunk)

    async def copy(self, directory: int, name: bytes, start: Start, size: int) -> None:
        """Write the first bytes of another file, which are not digested. Raises `OSError`."""
        self._job = self._run(copy_start, directory, name, start, self._descriptor, size)
        await self.settle()

    async def settle(self) -> None:
        """Wait until all is written. Raises the `OSError` of a write."""
        if self._job is not None:
            await done_with(self._job)
            self._job = None

    async def sync(self) -> None:
        """Make durable what was written. An abort waits for it, and nobody finds the part locked. Raises `OSError`."""
        await self.settle()
        self._job = self._run(os.fsync, self._descriptor)
        await self.settle()

    async def finish(self, digest: str | None) -> str:
        """Wait until all is written, and give its digest. Raises `Damaged` if it should have been another."""
        await self.settle()
        return verified(self._digest.hexdigest(), digest)

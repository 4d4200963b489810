"""MODE I on the server's side: the data of a transfer between the lines of the control connection."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from ftpsvc import pump
from ftpsvc.channel import Received, Sent
from ftpsvc.digests import KnownDigests
from ftpsvc.frames import Digest, Done, Fail, SequenceReader, data_line, digest_of, done_line, fail_line, read_facts
from ftpsvc.linethenraw import LineThenRaw, is_plain
from ftpsvc.model import (
    Aborted,
    ConnectionFailed,
    Facts,
    LocalFault,
    ProtocolViolation,
    ServiceClosing,
    TransferError,
    Whole,
)
from ftpsvc.rates import Pace, Paces
from ftpsvc.storage import CHUNK, Buffer, ReadFile, WriteFile
from ftpsvc.threads import Run


class Connection(Protocol):
    """What the channel needs of the control connection beside the bytes."""

    @property
    def interruption(self) -> TransferError | None:
        """Why the transfer that is under way should stop: an ABOR that waits behind it, a limit that it has met."""


class Inline:
    """The channel of one transfer. One that receives has to be drained, whatever became of the transfer."""

    mode = "inline"

    def __init__(
        self, protocol: LineThenRaw, connection: Connection, run: Run, digests: KnownDigests, paces: Paces
    ) -> None:
        self._protocol = protocol
        self._digests = digests
        self._connection = connection
        self._run = run
        self._paces = paces
        self._reader = SequenceReader()
        self._has_ended = False
        self._reason: TransferError | None = None
        self._moved = 0
        self._sender: pump.RangePump | None = None

    def give_up(self) -> None:
        """There is nothing to let go of."""

    def fail(self, why: TransferError) -> None:
        self._reason = why
        self._protocol.bytes_arrived()  # none; but whoever waits for some looks again

    @property
    def moved(self) -> int:
        return self._moved if self._sender is None else self._sender.moved

    @property
    def waits_for_client(self) -> bool:
        """Whether it is the client, and not a disk, that has to do something."""
        is_pumping = self._sender is not None and not self._sender.waits_for_disk
        return self._protocol.is_waiting or is_pumping

    # -- sending

    async def send_file(self, file: ReadFile, offset: int) -> Sent:
        entry = file.entry
        left = entry.size - offset
        descriptor = file.fileno() if left >= pump.SENDFILE_FROM and is_plain(self._protocol.transport) else None
        with self._failing():
            if descriptor is not None:
                digest = await self._send_by_kernel(descriptor, offset, left)
            else:
                digest = await self._send_chunks(file, left)
        self._protocol.write(done_line(digest, Facts(entry.modified, entry.mode)))
        return Sent(self.moved, digest)

    async def _send_chunks(self, file: ReadFile, left: int) -> str:
        digest = Digest()
        while left:
            chunk = await file.read(CHUNK)
            digest.update(chunk)
            await self._send(chunk)
            left -= len(chunk)
        return digest.hexdigest()

    async def _send_by_kernel(self, descriptor: int, offset: int, left: int) -> str:
        protocol = self._protocol
        protocol.flush()
        status = os.fstat(descriptor)
        known = None if offset else self._digests.look_up(status)
        self._sender = sender = pump.RangePump(
            protocol.transport, self._run, descriptor, offset, left, self._interruption, self._paces.down, known
        )
        protocol.transport.unregisterProducer()  # behind what may fail: nobody else would watch the transport then
        try:
            digest = await sender.send()
            if not offset and not known:
                self._digests.remember(status, descriptor, digest)
            return digest
        finally:
            self._moved, self._sender = sender.moved, None
            if protocol.lost is None:
                protocol.watch_outgoing()

    def _interruption(self) -> TransferError | None:
        """Asked between the frames, and so a sign that they move."""
        self._protocol.progressed()
        return self._reason or self._connection.interruption

    async def send_whole(self, whole: Whole) -> Sent:
        digest = digest_of(whole.data)
        if self._paces.down.most is not None:
            with self._failing():
                await self._send(whole.data)
            self._protocol.write(done_line(digest, whole.facts))
            return Sent(self.moved, digest)
        self._moved = len(whole.data)
        if whole.data:
            self._protocol.write(data_line(self._moved), whole.data, done_line(digest, whole.facts))
        else:
            self._protocol.write(done_line(digest, whole.facts))
        return Sent(self.moved, digest)

    async def send_lines(self, blocks: AsyncIterator[bytes]) -> None:
        digest = Digest()
        with self._failing():
            async for block in blocks:
                digest.update(block)
                await self._send(block)
        self._protocol.write(done_line(digest.hexdigest()))

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Let any error end the sequence with FAIL: a reply in the middle of one would be taken for a broken frame."""
        try:
            yield
        except (Aborted, ConnectionFailed, LocalFault, ServiceClosing) as error:
            self._protocol.write(fail_line(str(error)))
            raise
        except TransferError as error:
            self._protocol.write(fail_line(str(error)))
            raise LocalFault(str(error)) from error  # behind FAIL stands 426 or 451, whatever the cause
        except Exception:
            self._protocol.write(fail_line("An error in the server stopped the transfer."))
            raise

    async def _send(self, chunk: Buffer) -> None:
        for piece in self._paces.down.cut(chunk):
            if piece:
                await self._turn(self._paces.down, piece)
                self._protocol.write(data_line(len(piece)), piece)
                self._moved += len(piece)
                await self._between_frames()

    async def _between_frames(self) -> None:
        if self._protocol.is_clogged:
            await self._protocol.drained()
        if (why := self._interruption()) is not None:
            raise why

    # -- receiving

    def receive_whole(self) -> tuple[bytes, Received] | None:
        """All of a small upload, if it is here already, and isn't held to a rate."""
        if self._paces.up.most is not None or (found := self._protocol.incoming.small_sequence()) is None:
            return None
        data, digest, facts = found
        self._has_ended = True
        self._moved = len(data)
        return data, Received(digest, facts)

    async def receive_file(self, file: WriteFile) -> Received:
        while isinstance(item := await self._next(), memoryview):
            for piece in self._paces.up.cut(item):
                await self._turn(self._paces.up, piece)
                self._moved += len(piece)
                await file.write(piece)
        if isinstance(item, Fail):
            raise Aborted(f"The client ended the transfer: {item.said}.")
        return Received(item.digest, read_facts(item.facts))

    async def drain(self) -> None:
        """Take in what is left of the sequence of an upload that was refused, so that the next command is found."""
        while not self._has_ended:
            item = await self._next()
            if isinstance(item, memoryview):
                await self._turn(self._paces.up, item)

    async def _turn(self, pace: Pace, piece: Buffer) -> None:
        """Wait until this piece may move. No more is read meanwhile than may wait."""
        if pace.most is not None:
            await pace.turn(len(piece))
            self._protocol.progressed()  # the client was not idle

    async def _next(self) -> memoryview | Done | Fail:
        while self._reason is None:
            if (item := self._read()) is not None:
                self._has_ended = not isinstance(item, memoryview)
                return item
            await self._protocol.arrival()
        raise self._reason

    def _read(self) -> memoryview | Done | Fail | None:
        try:
            return self._reader.next(self._protocol.incoming)
        except ProtocolViolation:
            self._has_ended = True
            raise

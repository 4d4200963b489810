"""MODE S on the server's side: each transfer's data on a connection of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import copy
from typing import Any

from twisted.internet.task import deferLater

from ftpsvc import pump
from ftpsvc.channel import Received, Sent
from ftpsvc.dataconnection import DataConnection
from ftpsvc.linethenraw import is_plain
from ftpsvc.model import NO_FACTS, Aborted, TransferError, Whole
from ftpsvc.newlines import FromWire, ToWire
from ftpsvc.rates import Pace, Paces
from ftpsvc.storage import Buffer, ReadFile, SyncsEarly, WriteFile
from ftpsvc.threads import Run
from ftpsvc.tunnel import PIECE
from ftpsvc.way import Way

#: For how many seconds an upload waits, behind the end of its data, for what the control connection has to say to that.
#: Of clients that were killed on this machine it ended up to 0.25 ms later.
LAST_WORD = 0.002


class Stream:
    """The channel of one transfer. Its data connection may still have to come, and ends with the transfer."""

    def __init__(self, way: Way, clock: Any, run: Run, limit: float, ascii: bool, paces: Paces) -> None:
        """`limit`: how many seconds the connection may take to come. `ascii`: lines are converted (TYPE A)."""
        self._way = way
        self._clock = clock
        self._run = run
        self._limit = limit
        self._ascii = ascii
        self._paces = paces
        self.has_begun = False  #: whether the client was told so
        self._reason: TransferError | None = None
        self._pump: pump.RangePump | None = None
        self._moved = 0
        self._seen = 0

    @property
    def mode(self) -> str:
        return self._way.mode

    @property
    def moved(self) -> int:
        return self._moved + (0 if self._pump is None else self._pump.moved)

    @property
    def stalled_since(self) -> float | None:
        """Since when the other end has moved nothing; None while it isn't the one that is waited for."""
        connection = self._way.connection
        if connection is None or self._paces.are_resting:
            return None
        is_pumping = self._pump is not None and not self._pump.waits_for_disk
        if not (connection.is_waiting or is_pumping):
            return None
        if self.moved != self._seen:
            # The kernel sends by the megabyte, and a slow reader may take minutes for one: not a stall.
            self._seen = self.moved
            connection.moved()
        return connection.moved_at

    def give_up(self) -> None:
        self._way.close()

    def fail(self, why: TransferError) -> None:
        """Break the transfer off, at once."""
        if self._reason is None:
            self._reason = why
            self._way.close(why)

    async def connected(self) -> DataConnection:
        """The connection, once there is one."""
        if self._reason is not None:
            raise copy(self._reason)
        self._way.look()
        connection = self._way.connection or await self._way.connected(self._limit)
        connection.moved()  # that it came long before the command is no stall
        await self._way.secured(connection)
        return connection

    def close(self) -> None:
        """The transfer has gone wrong: reset the connection."""
        self._way.close(self._reason or Aborted("The transfer was broken off."))

    # -- sending

    async def send_file(self, file: ReadFile, offset: int) -> Sent:
        left = file.entry.size - offset
        async with _Connection(self) as connection:
            by_kernel = is_plain(connection.transport) and not connection.is_secure
            descriptor = file.fileno() if by_kernel else None
            if descriptor is not None and left >= pump.SENDFILE_FROM and not self._ascii:
                await self._send_by_kernel(connection, descriptor, offset, left)
            else:
                await self._send_chunks(connection, file, left)
            await connection.finish()
        return Sent(self.moved, "")

    async def _send_by_kernel(self, connection: DataConnection, descriptor: int, offset: int, left: int) -> None:
        def moved() -> None:
            connection.moved()  # what else stops it closes its connection

        self._pump = pump.RangePump(
            connection.transport,
            self._run,
            descriptor,
            offset,
            left,
            moved,
            self._paces.down,
            known="",
            framed=False,
        )
        try:
            await self._pump.send()
        except TransferError as error:
            raise copy(connection.lost or error) from error
        finally:
            self._moved, self._pump = self._pump.moved, None

    async def _send_chunks(self, connection: DataConnection, file: ReadFile, left: int) -> None:
        lines = ToWire()
        while left:
            chunk = await file.read(min(PIECE, left))
            left -= len(chunk)
            await self._send(connection, lines.convert(chunk) if self._ascii else chunk)

    async def _send(self, connection: DataConnection, data: Buffer) -> None:
        for piece in self._paces.down.cut(data):
            await self._turn(self._paces.down, piece)
            connection.moved()  # it is the client's turn from here on, however long ours was
            await connection.write(piece)
            self._moved += len(piece)

    async def _turn(self, pace: Pace, piece: Buffer) -> None:
        """Wait until this piece may move. No more is read meanwhile than the connection's buffer holds."""
        if pace.most is not None:
            await pace.turn(len(piece))

    async def send_whole(self, whole: Whole) -> Sent:
        async with _Connection(self) as connection:
            if whole.data:
                await self._send(connection, ToWire().convert(whole.data) if self._ascii else whole.data)
            await connection.finish()
        return Sent(self.moved, "")

    async def send_lines(self, blocks: AsyncIterator[bytes]) -> None:
        async with _Connection(self) as connection:
            async for block in blocks:
                await self._send(connection, block)
            await connection.finish()

    # -- receiving

    async def receive_file(self, file: WriteFile) -> Received:
        lines = FromWire()
        async with _Connection(self) as connection:
            while chunk := await connection.read():
                for piece in self._paces.up.cut(chunk):
                    await self._turn(self._paces.up, piece)
                    self._moved += len(piece)
                    await file.write(lines.convert(piece) if self._ascii else piece)
                connection.moved()  # it is the client's turn from here on, however long ours was
                self._seen = self._moved
            if rest := lines.rest():
                await file.write(rest)
            await self._hear_of_the_end(connection, file)
            if self._reason is not None:
                raise copy(self._reason)
        return Received(None, NO_FACTS)

    async def _hear_of_the_end(self, connection: DataConnection, file: WriteFile) -> None:
        """Let the reactor deliver what the control connection has to say to the end of the data.

        A client that is killed, or sends ABOR and closes, ends its data in order too. What the control connection has
        to say comes a moment later, and turns such an end into what it is: a cut.
        """
        ended = self._clock.seconds()
        if isinstance(file, SyncsEarly) and not connection.is_secure:
            await file.sync()  # has to be done anyway; TLS tells the two ends apart by itself
        left = ended + LAST_WORD - self._clock.seconds()
        await deferLater(self._clock, min(max(0.0, left), LAST_WORD))  # somebody may have set the clock back meanwhile


class _Connection:
    """The connection, for one transfer; reset if that goes wrong.

    What contextlib makes of a generator costs a small file as much as to read it.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __aenter__(self) -> DataConnection:
        try:
            return await self._stream.connected()
        except BaseException:
            self._stream.close()
            raise

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None:
            self._stream.close()

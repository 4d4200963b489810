"""One transfer in stream mode, on the client's side: a command, its data connection, and when both are over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.python.failure import Failure

from ftpsvc.client import ClientProtocol
from ftpsvc.clienttls import DataTLS
from ftpsvc.dataconnection import CUT, DataConnection
from ftpsvc.exchanges import TOO_EARLY, Ask, Exchange
from ftpsvc.frames import Digest
from ftpsvc.model import (
    NO_FACTS,
    Aborted,
    ConnectionFailed,
    Damaged,
    Entry,
    Facts,
    HandshakeFailed,
    NoDataConnection,
    Stored,
    TimedOut,
    TransferError,
)
from ftpsvc.storage import Buffer
from ftpsvc.wire import Command, Reply, error_for

#: Gives the endpoint of a data connection for a port.
Dial = Callable[[int], IStreamClientEndpoint]


class TransferCommand(Ask):
    """A command that moves data: `opened` fires when the server has accepted it, `finished` with its last word."""

    __slots__ = ("_connection", "_was_opened", "is_moving", "opened")

    def __init__(self, command: Command, protocol: ClientProtocol, connection: DataConnection) -> None:
        super().__init__(command, protocol)
        self.opened: Deferred[None] = Deferred()
        self.is_moving = False
        self._was_opened = False
        self._connection = connection

    @property
    def may_be_silent(self) -> bool:
        return self.is_moving

    def begun(self, reply: Reply) -> None:
        if not self._was_opened:  # another one, behind the end of the data, makes none move
            self.is_moving = True
        self._open(None)

    def _open(self, error: TransferError | None) -> None:
        if not self._was_opened:
            self._was_opened = True
            self._protocol.fire(self.opened, error)

    def ended(self, reply: Reply) -> None:
        if reply.is_refusal:
            self._broken(_meant(error_for(reply)))
        self._open(None)
        super().ended(reply)

    def failed(self, error: TransferError) -> None:
        if not self.is_over:
            self._broken(error)
        super().failed(error)

    def _broken(self, error: TransferError) -> None:
        """The control connection says that it went wrong, or will say nothing more: so does the data's."""
        self._open(error)
        self._connection.fail(error)


def _meant(error: TransferError) -> TransferError:
    """426 says that the data connection was lost (RFC 959, section 4.2), which is worth another try."""
    return ConnectionFailed(str(error)) if type(error) is Aborted else error


class Transfer:
    """A data connection and the command that it is for. Ends with `finish` or `give_up`, and then calls `over`.

    `silence`: for how many seconds the server may move no data while it is the one that is waited for.
    `tls`: what the data connection has beside a control connection with TLS.
    """

    def __init__(
        self, protocol: ClientProtocol, silence: float, over: Callable[[], None], tls: DataTLS | None = None
    ) -> None:
        self._protocol = protocol
        self._tls = tls
        self._clock = protocol.clock
        self._silence = silence
        self._over: Callable[[], None] | None = over
        self._command: TransferCommand | None = None
        self._watchdog: IDelayedCall | None = None
        self._has_marker = False
        self._outcome: Reply | Failure | None = None
        self._waiter: Deferred[None] | None = None
        self._is_given_up = False
        self._connection = DataConnection(self._clock)

    async def connect(self, dial: Dial, port: int) -> None:
        """Have the data connection. Raises `NoDataConnection`."""
        try:
            await connectProtocol(dial(port), self._connection)
        except CancelledError:
            raise
        except Exception as cause:
            raise NoDataConnection(
                f"The server's port {port} for data can't be reached: {cause} Does a firewall stand between?"
            ) from cause

    async def begin(self, command: Command, offset: int) -> None:
        """Send the command, and wait until the server has accepted it. Raises what it says to it if it doesn't."""
        if offset:
            self._has_marker = True
            await self._protocol.ask("REST", str(offset))
        self._has_marker = False
        self._command = TransferCommand(command, self._protocol, self._connection)
        self._command.finished.addBoth(self._finished)
        self._protocol.submit(self._command)
        await self._command.opened
        if self._tls is not None:
            await self._secure(self._tls)
        self._connection.moved()
        self._watchdog = self._clock.callLater(self._silence, self._check_silence)

    async def _secure(self, tls: DataTLS) -> None:
        """TLS on the data connection. Behind the 150, because there are servers that look for it only then."""
        try:
            connection = tls.clientConnectionForTLS(None)
            self._connection.expect(connection)
            await self._connection.secured()
            tls.check(connection)
        except HandshakeFailed as error:
            self._connection.fail(error)
            await self.finish()  # raises the server's word about it, if it has one
            raise

    def _check_silence(self) -> None:
        """Who waits for the other end, and only that, is not to wait for ever: not even behind a 226."""
        left = self._connection.moved_at + self._silence - self._clock.seconds()
        waits = self._connection.is_waiting
        if waits and left <= 0:
            self._watchdog = None
            self._connection.fail(TimedOut(f"The server has moved no data for {self._silence:g} seconds."))
        else:
            self._watchdog = self._clock.callLater(max(left, 1.0) if waits else self._silence, self._check_silence)

    # -- data

    async def read(self) -> bytes:
        """The next bytes; empty at the end, once the server has said too that it is the end."""
        self._connection.moved()
        try:
            chunk = await self._connection.read()
        except ConnectionFailed as error:
            raise await self._explained(error) from error
        if not chunk:
            await self.finish()
        return chunk

    async def write(self, chunk: Buffer) -> None:
        """Send the next bytes, in the server's time."""
        self._connection.moved()
        try:
            await self._connection.write(chunk)
        except ConnectionFailed as error:
            raise await self._explained(error) from error

    async def end(self) -> None:
        """End the data of an upload, and wait for the server's word that it has it. Raises `Aborted` if that is there
        already: nobody can have known that this is the end."""
        if isinstance(self._outcome, Reply):
            self._connection.fail(Aborted(TOO_EARLY))
        self._connection.moved()
        try:
            await self._connection.finish()
        except ConnectionFailed as error:
            raise await self._explained(error) from error
        await self.finish()

    async def _explained(self, error: ConnectionFailed) -> TransferError:
        """Why the data connection broke: the server's word about it, if there is one. The other connection stands."""
        if type(error) is not ConnectionFailed or self._protocol.lost is not None:
            return error
        await self.finish()
        if str(error) == CUT:
            return Aborted(
                f"{CUT} The server says all the same that all is well; a server with its TLS in order ends it."
            )
        return error

    # -- the end

    async def finish(self) -> None:
        """Wait for the last word, and raise it if it is a refusal. No more data moves."""
        if self._outcome is None:
            self._expect_last_word()
            self._waiter = Deferred()
            await self._waiter
        self._release()
        if isinstance(self._outcome, Failure):
            if isinstance(self._outcome.value, TransferError):
                raise _meant(self._outcome.value)
            self._outcome.raiseException()

    @property
    def last_word(self) -> str:
        """The text of the reply that ended it well; empty before."""
        return self._outcome.text if isinstance(self._outcome, Reply) else ""

    def _expect_last_word(self) -> None:
        if self._command is not None and self._command.is_moving:
            self._command.is_moving = False
            self._protocol.progressed()

    def _finished(self, outcome: Reply | Failure) -> None:
        self._outcome = outcome
        if self._is_given_up:
            self._release()
        elif self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.callback(None)

    def give_up(self) -> None:
        """Break it off, unless it is over: reset the data. Others go on when the server has answered to that."""
        if self._over is None or self._is_given_up:
            return
        self._is_given_up = True
        self._waiter = None
        if self._connection.transport is not None:
            self._connection.fail(Aborted("The transfer was broken off."))
        if self._command is None and self._has_marker:
            self._protocol.submit(Exchange(Command("REST", "0")))  # the next transfer is not to begin there
        if self._command is None or self._outcome is not None:
            self._release()
        else:
            self._stop_watching()
            self._expect_last_word()

    def _stop_watching(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _release(self) -> None:
        self._stop_watching()
        if self._over is not None:
            over, self._over = self._over, None
            over()


class StreamReadFile:
    """A download, as a `ReadFile`. `size` is that of the whole file, where the server has told it."""

    def __init__(
        self,
        entry: Entry,
        size: int | None,
        offset: int,
        transfer: Transfer,
        checked: Callable[[str], None] = lambda by: None,
    ) -> None:
        self._entry = entry
        self._size = size
        self._at = offset
        self._transfer = transfer
        self._checked = checked
        self._rest = memoryview(b"")

    @property
    def entry(self) -> Entry:
        return self._entry

    @property
    def facts(self) -> Facts:
        return Facts(self._entry.modified or None, self._entry.mode or None)

    @property
    def last_word(self) -> str:
        """What the server said behind the data."""
        return self._transfer.last_word

    def fileno(self) -> int | None:
        return None

    async def read(self, size: int) -> Buffer:
        if not self._rest:
            self._rest = memoryview(await self._transfer.read())
            self._at += len(self._rest)
            if not self._rest or (self._size is not None and self._at > self._size):  # it may never end
                self._check_size()
                return b""
        chunk, self._rest = self._rest[:size], self._rest[size:]
        return chunk

    def _check_size(self) -> None:
        if self._size not in (None, self._at):
            raise Damaged(f"{self._at} bytes came, and the server had said that there are {self._size}.")
        self._checked("" if self._size is None else "size")

    async def close(self) -> None:
        self._transfer.give_up()


class StreamWriteFile:
    """An upload, as a `WriteFile`. What a server makes of one that breaks off is its own affair."""

    def __init__(self, offset: int, transfer: Transfer, settle: Callable[[int, Facts], Awaitable[None]]) -> None:
        """`settle` does what there is to do behind the 226, given the size of the whole file."""
        self._size = offset
        self._transfer = transfer
        self._settle = settle
        self._digest = Digest()

    async def write(self, chunk: Buffer) -> None:
        self._digest.update(chunk)
        self._size += len(chunk)
        await self._transfer.write(bytes(chunk))

    async def commit(self, facts: Facts = NO_FACTS, digest: str | None = None) -> Stored:
        sent = self._digest.hexdigest()
        if digest not in (None, sent):
            self._transfer.give_up()
            raise Damaged("The data is not what it should be: its digest differs.")
        try:
            await self._transfer.end()
        finally:
            self._transfer.give_up()
        await self._settle(self._size, facts)
        return Stored(self._size, sent)

    async def abort(self, keep: bool = False) -> None:
        self._transfer.give_up()

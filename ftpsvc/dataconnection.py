"""The bytes of one data connection, with back-pressure both ways, at either end.

On the server `way` tells how one comes about, and `stream` moves files and listings over it; on the client both is in
`streamtransfer`.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from OpenSSL import SSL
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ftpsvc.limits import FAREWELL_LIMIT, HANDSHAKE_LIMIT
from ftpsvc.linethenraw import BUFFER, why_no_tls
from ftpsvc.model import ConnectionFailed, HandshakeFailed, TransferError

#: TCP's end says nothing: whoever stands between can send it. TLS has an end of its own (RFC 8446, section 6.1).
CUT = "The data connection ended without the end of TLS (close_notify): what came may be cut."


@implementer(IPushProducer, IHandshakeListener)
class DataConnection(Protocol):
    """The bytes of one data connection. Nothing is read before somebody asks for it."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._waiter: Deferred[None] | None = None
        self._is_clogged = False
        self._is_watched = False
        self._is_secure = False
        self._has_greeted = False
        self._farewell: IDelayedCall | None = None
        self.transport: Any = None
        self.has_ended = False
        self.lost: TransferError | None = None
        self.moved_at: float = clock.seconds()

    def connectionMade(self) -> None:
        self.transport.bufferSize = BUFFER
        self.transport.pauseProducing()

    def moved(self) -> None:
        """Bytes have moved: the one who waits for the other end begins to count anew."""
        self.moved_at = self._clock.seconds()

    @property
    def is_waiting(self) -> bool:
        """Whether it is the other end that has to do something."""
        return self._waiter is not None

    # -- receiving

    def dataReceived(self, data: bytes) -> None:
        self.moved()
        if self._farewell is not None:
            return
        self._chunks.append(data)
        self._waiting += len(data)
        if self._waiting >= BUFFER:
            self.transport.pauseProducing()
        self._wake()

    async def read(self) -> bytes:
        """The next bytes; empty at the end of the data, and only there. Raises `ConnectionFailed`."""
        while not self._chunks:
            if self.has_ended and self.lost is None:
                return b""
            self._demand()
            self.transport.resumeProducing()
            await self._wait()
        chunk = self._chunks.popleft()
        self._waiting -= len(chunk)
        return chunk

    # -- sending

    async def write(self, data: bytes | memoryview) -> None:
        """Send this, and wait as long as too much waits to be sent. Raises `ConnectionFailed`."""
        self._demand()
        if not self._is_watched:
            self._is_watched = True
            self.transport.registerProducer(self, True)
        self.transport.write(bytes(data) if self._is_secure else data)
        while self._is_clogged:
            await self._wait()
            self._demand()

    def pauseProducing(self) -> None:
        self._is_clogged = True

    def resumeProducing(self) -> None:
        self._is_clogged = False
        self.moved()
        self._wake()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` tells whoever waits."""

    async def finish(self) -> None:
        """End the data in order, behind all that was written. Raises `ConnectionFailed` if not all of it has left."""
        self._demand()
        if self._is_watched:
            self._is_watched = False
            self.transport.unregisterProducer()
        if self._is_secure:
            await self._say_farewell()
            return
        self.transport.loseConnection()
        while not self.has_ended:
            await self._wait()
        if self.lost is not None:
            raise self.lost

    # -- TLS

    async def secure(self, tls: Any) -> None:
        """Speak TLS from here on: as its server on the server's side, whoever has connected to whom.

        Raises `HandshakeFailed`.
        """
        self._demand()
        self._is_secure = True
        silence = HandshakeFailed(
            f"There was no TLS handshake on the data connection within {HANDSHAKE_LIMIT:g} seconds."
        )
        call = self._clock.callLater(HANDSHAKE_LIMIT, self.fail, silence)
        try:
            self.transport.startTLS(tls)
            self.transport.resumeProducing()
            while not self._has_greeted:
                await self._wait()
                self._demand()
        finally:
            if call.active():
                call.cancel()

    def handshakeCompleted(self) -> None:
        """TLS stands. It is Twisted that calls this."""
        self._has_greeted = True
        self.transport.pauseProducing()
        self._wake()

    async def _say_farewell(self) -> None:
        """Send the end of TLS behind all the data, and wait until the system has taken both.

        The other end's is not waited for: some close without one, and by then it says nothing about the data.
        """
        # Of the socket, beneath TLS. With a buffer of nothing it pauses for the last byte, and resumes behind it.
        # Nothing is read meanwhile: it would be read in pieces of nothing too, which looks like the end.
        FileDescriptor.registerProducer(self.transport, self, True)
        self.transport.pauseProducing()
        self.transport.bufferSize = 0
        self.transport.loseConnection()
        while self._is_clogged:
            await self._wait()
            self._demand()
        FileDescriptor.unregisterProducer(self.transport)
        self.transport.bufferSize = BUFFER
        if not self.has_ended:
            # Read on, or the system would answer what still comes with a reset, and take back data under way.
            self._farewell = self._clock.callLater(FAREWELL_LIMIT, FileDescriptor.loseConnection, self.transport)
            self.transport.resumeProducing()

    def _lost_for(self, reason: Failure) -> TransferError | None:
        """What the end of the connection means; None if it is the end of the data."""
        if not self._is_secure:
            lost = not reason.check(ConnectionDone)
            return ConnectionFailed(f"The data connection was lost: {reason.getErrorMessage()}") if lost else None
        if not self._has_greeted:
            return HandshakeFailed(f"The TLS handshake on the data connection failed: {why_no_tls(reason)}.")
        # Not the reason: behind the end of TLS, the other end may close its socket as rudely as it likes.
        if self.transport.getHandle().get_shutdown() & SSL.RECEIVED_SHUTDOWN:
            return None
        return ConnectionFailed(CUT)

    # -- the end

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.has_ended = True
        if self._farewell is not None and self._farewell.active():
            self._farewell.cancel()
        if self.lost is None:
            self.lost = self._lost_for(reason)
        self._wake()

    def fail(self, why: TransferError) -> None:
        """Reset it, now and whatever still waits to be sent: the other end must not take what it has for the whole."""
        if self.lost is None:
            self.lost = why
        self._chunks.clear()
        self.transport.abortConnection()
        self._wake()

    def discard(self) -> None:
        """Close it unused."""
        self.transport.loseConnection()

    def _demand(self) -> None:
        if self.lost is not None or self.has_ended:
            raise self.lost or ConnectionFailed("The data connection was closed at the other end.")

    def _wait(self) -> Deferred[None]:
        self._waiter = Deferred(lambda _: setattr(self, "_waiter", None))
        return self._waiter

    def _wake(self) -> None:
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.callback(None)

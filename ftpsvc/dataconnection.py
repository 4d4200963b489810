"""One data connection: how it comes about, and its bytes, with back-pressure both ways.

`passive` and `active` are the two ways to have one; `stream` moves files and listings over it.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from typing import Any

from OpenSSL import SSL
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ftpsvc.limits import FAREWELL_LIMIT, HANDSHAKE_LIMIT
from ftpsvc.linethenraw import BUFFER
from ftpsvc.model import ConnectionFailed, HandshakeFailed, NoDataConnection, TransferError


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
        """Speak TLS from here on, as its server, whoever has connected to whom. Raises `HandshakeFailed`."""
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

        The client's own end is not waited for: some close without one, and by then it says nothing about the data.
        """
        # Of the socket, beneath TLS. With a buffer of nothing it pauses for the last byte, and resumes behind it.
        FileDescriptor.registerProducer(self.transport, self, True)
        self.transport.bufferSize = 0
        self.transport.loseConnection()
        while self._is_clogged:
            await self._wait()
            self._demand()
        FileDescriptor.unregisterProducer(self.transport)
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
            return HandshakeFailed("The TLS handshake on the data connection failed.")
        # Not the reason: behind the end of TLS, the client may close its socket as rudely as it likes.
        if self.transport.getHandle().get_shutdown() & SSL.RECEIVED_SHUTDOWN:
            return None
        return ConnectionFailed("The data connection ended without the end of TLS: what came may be cut.")

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


class Way:
    """How one data connection comes about. It holds a socket until there is one, and both are given back by `close`.

    A descriptor of the reactor's rather than an endpoint: a passive port lives for one connection, and Twisted's own
    would log two lines about each and close a turn of the reactor too late.
    """

    def __init__(self, reactor: Any, peer: str) -> None:
        """`peer` is for messages."""
        self._reactor = reactor
        self._peer = peer
        self._socket: socket.socket | None = None
        self._waiter: Deferred[DataConnection] | None = None
        self._is_closed = False
        self._failed: TransferError | None = None  #: why there won't be a connection, for who asks for it later
        self.connection: DataConnection | None = None

    def begin(self) -> None:
        """Do what has to be done before the connection can be had. Called when somebody waits for it."""

    def connected(self, limit: float) -> Deferred[DataConnection]:
        """The connection, within so many seconds. Raises `NoDataConnection`."""
        waiter: Deferred[DataConnection] = Deferred(lambda _: setattr(self, "_waiter", None))
        if self.connection is not None:
            self.connection.moved()  # that it came long before the command is no stall
            waiter.callback(self.connection)
            return waiter
        if self._failed is not None:
            waiter.errback(self._failed)
            return waiter
        self._waiter = waiter
        call = self._reactor.callLater(limit, self.close, NoDataConnection(self.silence(limit)))

        def stop_the_clock(result: Any) -> Any:
            if call.active():
                call.cancel()
            return result

        waiter.addBoth(stop_the_clock)
        self.begin()
        return waiter

    def silence(self, limit: float) -> str:
        """What to say when no connection came within the limit."""
        raise NotImplementedError

    def close(self, why: TransferError | None = None) -> None:
        """Give everything back. With a reason the transfer is broken off for it; without, nobody had begun one."""
        self._is_closed = True
        self._give_up_socket()
        if self.connection is not None and why is not None:
            self.connection.fail(why)
        elif self.connection is not None:
            self.connection.discard()
        elif self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.errback(why or NoDataConnection("The data connection was given up."))
        else:
            self._failed = why

    def _give_up_socket(self) -> None:
        if self._socket is not None:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._socket.close()
            self._socket = None

    def _adopt(self, connected: socket.socket) -> None:
        """Here is the connection. The one place where a data connection begins, and so where its TLS would."""
        family = connected.family
        factory = _Once(self._reactor)
        with connected:
            connected.setblocking(False)
            try:
                self._reactor.adoptStreamConnection(connected.fileno(), family, factory)  # which makes a copy
            except OSError as error:  # it was reset before we came to it
                self.close(ConnectionFailed(f"The data connection was lost: {os.strerror(error.errno or 0)}."))
                return
        self.connection = factory.connection
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            self.connection.moved()
            waiter.callback(self.connection)

    # -- for the reactor

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        return type(self).__name__

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has let go of the socket: an error of ours, or the end of all."""
        self.close(NoDataConnection(f"The data connection failed: {reason.getErrorMessage()}"))


class _Once(Factory):
    """Makes the one protocol."""

    noisy = False

    def __init__(self, clock: Any) -> None:
        self.connection = DataConnection(clock)

    def buildProtocol(self, addr: Any) -> DataConnection:
        return self.connection

"""The bytes of one data connection, with back-pressure both ways, at either end.

On the server `way` tells how one comes about, and `stream` moves files and listings over it; on the client both is in
`streamtransfer`.
"""

from __future__ import annotations

import os
from collections import deque
from copy import copy
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ftpsvc.bulktls import acknowledge_at_once
from ftpsvc.limits import FAREWELL_LIMIT, HANDSHAKE_LIMIT
from ftpsvc.linethenraw import BUFFER, is_plain, send_now, unsent, why_no_tls
from ftpsvc.model import ConnectionFailed, HandshakeFailed, TransferError
from ftpsvc.tunnel import MAX_ANSWERS, PIECE, Tunnel

#: TCP's end says nothing: whoever stands between can send it. TLS has an end of its own (RFC 8446, section 6.1).
CUT = "The data connection ended without the end of TLS (close_notify): what came may be cut."


@implementer(IPushProducer, IHalfCloseableProtocol)
class DataConnection(Protocol):
    """The bytes of one data connection. Nothing is read before somebody asks for it."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._waiter: Deferred[None] | None = None
        self._is_clogged = False
        self._is_watched = False
        self._tunnel: Tunnel | None = None
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

    @property
    def is_secure(self) -> bool:
        """Whether it speaks TLS: then nothing but `write` may put bytes on it."""
        return self._tunnel is not None

    # -- receiving

    def dataReceived(self, data: bytes) -> None:
        self.moved()
        if self._tunnel is not None:
            data = self._through(self._tunnel, data)
        if self._farewell is not None:
            return
        if data:
            self._chunks.append(data)
            self._waiting += len(data)
            if self._waiting >= BUFFER:
                self.transport.pauseProducing()
        self._wake()  # without data too: it may be the handshake that is waited for, or the end

    async def read(self) -> bytes:
        """The next bytes; empty at the end of the data, and only there. Raises `ConnectionFailed`."""
        while not self._chunks:
            if self.has_ended and self.lost is None:
                return b""
            self._demand()
            if self._tunnel is not None and self._tunnel.has_ended:
                self._end_too(self._tunnel)
            else:
                self.transport.resumeProducing()
            await self._wait()
        chunk = self._chunks.popleft()
        self._waiting -= len(chunk)
        return chunk

    # -- sending

    async def write(self, data: bytes | memoryview) -> None:
        """Send this, and wait as long as too much waits to be sent. Raises `ConnectionFailed`."""
        self._demand()
        if self._tunnel is None and not self._is_watched:
            # Of a small file or a listing that is all, and saves turns of the reactor.
            data = data[send_now(self.transport, data) :]
            if not data:
                return
        self._watch()
        if self._tunnel is None:
            self.transport.write(data)
        else:
            for at in range(0, len(data), PIECE):
                self._tunnel.protect(data[at : at + PIECE])
                self._write_at_once(self._tunnel.outgoing())
                await self._unclogged()
        await self._unclogged()

    def _write_at_once(self, data: bytes) -> None:
        """Give this to the system, and to the transport no more than what the system doesn't take: it would copy it."""
        if rest := data[send_now(self.transport, data) :]:
            self._write_last(rest)

    def _write_last(self, data: bytes) -> None:
        """Be clogged until the system has taken the last byte."""
        # With a buffer of nothing the transport pauses for any, and resumes behind it.
        self.transport.bufferSize = 0
        self.transport.write(data)
        self.transport.bufferSize = BUFFER

    async def _unclogged(self) -> None:
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
        if self._tunnel is not None:
            await self._say_farewell(self._tunnel)
            return
        if not self._is_watched and is_plain(self.transport):
            # All has left: nothing would be waited for but the reactor's next turn.
            self.transport.connectionLost(connectionDone)
        else:
            self._unwatch()
            self.transport.loseConnection()
        while not self.has_ended:
            await self._wait()
        if self.lost is not None:
            raise copy(self.lost)

    def _watch(self) -> None:
        if not self._is_watched:
            self._is_watched = True
            self.transport.registerProducer(self, True)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self.transport.unregisterProducer()

    # -- TLS

    def expect(self, tls: SSL.Connection) -> None:
        """Speak TLS from here on, as the end that `tls` was made for. The end that accepts answers whenever the other
        begins: one that begins before its command, as curl does, may look for that answer first, and for ours to the
        command only when it has waited."""
        self._tunnel = Tunnel(tls)
        if is_plain(self.transport):
            # Else the end of TLS would wait for the acknowledgement of the data before it, which may take 40 ms.
            self.transport.setTcpNoDelay(True)
        self.transport.resumeProducing()

    def stay_clear(self) -> None:
        """Speak no TLS after all. Raises `HandshakeFailed` if the other end has begun with it."""
        if self._tunnel is not None:
            self._demand()
            if self._tunnel.has_begun:
                raise HandshakeFailed("The data connection was to be in clear (PROT C), and TLS came.")
            self._tunnel = None
            self.transport.pauseProducing()

    async def secured(self) -> None:
        """Wait until the TLS that is expected stands. Raises `HandshakeFailed`."""
        tunnel = self._tunnel
        assert tunnel is not None
        if tunnel.has_greeted:
            return  # and an upload may have ended already
        self._demand()
        silence = HandshakeFailed(
            f"There was no TLS handshake on the data connection within {HANDSHAKE_LIMIT:g} seconds."
        )
        call = self._clock.callLater(HANDSHAKE_LIMIT, self.fail, silence)
        try:
            tunnel.begin()
            self.transport.write(tunnel.outgoing())
            self.transport.resumeProducing()
            while not tunnel.has_greeted:
                self._demand()
                await self._wait()  # behind which all of it may have come, the end of the data too
        finally:
            if call.active():
                call.cancel()

    def _through(self, tunnel: Tunnel, data: bytes) -> bytes:
        """What has come for us out of these bytes."""
        if tunnel.is_over:
            return b""
        is_greeting = not tunnel.has_greeted
        clear = tunnel.received(data)
        if answer := tunnel.outgoing():
            if not is_greeting and len(answer) + unsent(self.transport) > MAX_ANSWERS:
                self.fail(ConnectionFailed("The other end asks TLS for more answers than it reads."))
                return b""
            self._write_at_once(answer)
        if not tunnel.has_greeted and is_plain(self.transport):
            acknowledge_at_once(self.transport.getHandle())
        if tunnel.failure is not None:
            self.lost = self.lost or self._lost_for(connectionDone)  # and nobody writes any more: OpenSSL would refuse
        if tunnel.failure is not None or (tunnel.has_ended and self._farewell is not None):
            self.transport.loseConnection()
        elif tunnel.has_ended or (tunnel.has_greeted and is_greeting):
            self.transport.pauseProducing()
        return clear

    def _end_too(self, tunnel: Tunnel) -> None:
        """Answer the end of what was to be read. Not before that is read: who only reads from us may say at once that
        it sends nothing (RFC 8446, section 6.1), and still wants all of it."""
        tunnel.end()
        if answer := tunnel.outgoing():
            self._write_at_once(answer)
        self.transport.loseConnection()

    async def _say_farewell(self, tunnel: Tunnel) -> None:
        """Send the end of TLS behind all the data, and wait until the system has taken both.

        The other end's own is not waited for: some close without one, and by then it says nothing about the data.
        """
        self._watch()
        tunnel.end()
        self._write_last(tunnel.outgoing())
        await self._unclogged()
        self._unwatch()
        if tunnel.has_ended:
            self.transport.loseConnection()
            return
        # Read on, or the system would answer what still comes with a reset, and take back data under way.
        self._farewell = self._clock.callLater(FAREWELL_LIMIT, self.transport.loseConnection)
        self.transport.resumeProducing()

    def _lost_for(self, reason: Failure) -> TransferError | None:
        """What the end of the connection means; None if it is the end of the data."""
        if self._tunnel is None:
            lost = not isinstance(reason.value, ConnectionDone)
            return ConnectionFailed(f"The data connection was lost: {reason.getErrorMessage()}") if lost else None
        if not self._tunnel.has_greeted:
            why = why_no_tls(reason if self._tunnel.failure is None else Failure(self._tunnel.failure))
            return HandshakeFailed(f"The TLS handshake on the data connection failed: {why}.")
        # Not the reason: behind the end of TLS, the other end may close its socket as rudely as it likes.
        if self._tunnel.has_ended:
            return None
        return ConnectionFailed(CUT)

    # -- the end

    def readConnectionLost(self) -> None:
        """Nothing more will come: here it is found out whether that is the end of the data.

        A reset that arrives while the reactor looks is now and then told by the kernel as an error, but not yet as
        something to read, and Twisted takes that for an end in order. To read is what tells them apart: behind an end
        in order there is nothing, and a reset that follows on one takes nothing back.
        """
        reason = connectionDone
        try:
            while data := self.transport.getHandle().recv(BUFFER):
                self.dataReceived(data)
        except OSError as error:
            reason = Failure(ConnectionLost(os.strerror(error.errno or 0)))
        self.transport.connectionLost(reason)

    def writeConnectionLost(self) -> None:
        """Never comes: nobody here closes only the half that sends."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.has_ended = True
        if self._farewell is not None and self._farewell.active():
            self._farewell.cancel()
        if self.lost is None:
            self.lost = self._lost_for(reason)
        if self._tunnel is not None:
            self._tunnel.leave()
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
        if self.lost is not None:
            # Not itself: its traceback would lead back here, and the connection be kept by its own error.
            raise copy(self.lost)
        if self.has_ended:
            raise ConnectionFailed("The data connection was closed at the other end.")

    def _wait(self) -> Deferred[None]:
        self._waiter = Deferred(lambda _: setattr(self, "_waiter", None))
        return self._waiter

    def _wake(self) -> None:
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.callback(None)

"""The base of both protocols: a connection whose bytes are lines, until a line says how many raw bytes follow.

Bytes wait in `incoming` until somebody takes them, as a line or as raw bytes; nothing is parsed ahead of its turn, so
what arrives together can't be confused. Both directions have back-pressure: reading stops while too much waits here,
and `drained` makes a sender wait for the other end.
"""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from ftpsvc.bulktls import move_in_bulk, sent_at_once
from ftpsvc.frames import MAX_LINE, Incoming
from ftpsvc.limits import HANDSHAKE_LIMIT, MAX_WAITING
from ftpsvc.model import ConnectionFailed, TransferError

#: How much is gathered before it goes to the transport.
MAX_GATHERED = 64 * 1024

#: How much one call to recv may bring, and how much may wait to be sent before a sender has to pause. Large, because
#: each recv costs the same, and 1 MiB instead of Twisted's 64 KiB more than doubles an upload's speed.
BUFFER = 1024 * 1024

#: How much one call to recv may bring of somebody who is not logged in. They have nothing to send but a few lines, and
#: what they send waits in memory while a login is examined.
STRANGERS_BUFFER = 8 * 1024


@implementer(IHandshakeListener)
class LineThenRaw(Protocol):
    """A connection with an `Incoming` on one side and back-pressure on both."""

    buffer = BUFFER

    def __init__(self, clock: Any, max_line: int = MAX_LINE, max_waiting: int = MAX_WAITING) -> None:
        """`max_waiting`: how many bytes may wait to be taken before reading stops."""
        self._clock = clock
        self._max_waiting = max_waiting
        self._heard: float = clock.seconds()
        self._gathered: list[bytes | memoryview] = []
        self._gathered_size = 0
        self._flushing: IDelayedCall | None = None
        self._is_gathering = False  #: whoever has others write now flushes behind them
        self.incoming = Incoming(max_line)
        self.transport: Any = None
        self.lost: ConnectionFailed | None = None
        self.has_heard_all = False  #: the other end has said that it sends no more, and still listens
        self._is_reading = True
        self._is_clogged = False
        self._arrival: Deferred[None] | None = None
        self._draining: list[Deferred[None]] = []
        self._handshake: IDelayedCall | None = None
        self.is_secure = False

    # -- incoming

    def progressed(self) -> None:
        """Something has moved: whoever waits for the other end begins to count anew."""
        self._heard = self._clock.seconds()

    def dataReceived(self, data: bytes) -> None:
        self.progressed()
        self.incoming.feed(data)
        self._is_gathering = True
        try:
            self.bytes_arrived()
        finally:
            self._is_gathering = False
        self.flush()
        if self._is_reading and len(self.incoming) >= self._max_waiting:
            self._is_reading = False
            self.transport.pauseProducing()

    def bytes_arrived(self) -> None:
        """More is in `incoming`. Whoever takes some of it calls `resume_reading` afterwards, or waits in `arrival`."""
        if self._arrival is not None:
            waiter, self._arrival = self._arrival, None
            waiter.callback(None)

    def resume_reading(self) -> None:
        """Go on reading, if that had stopped and enough was taken since."""
        if not self._is_reading and self.lost is None and len(self.incoming) < self._max_waiting:
            self._is_reading = True
            self.transport.resumeProducing()

    def arrival(self) -> Deferred[None]:
        """Wait until more has arrived. Raises `ConnectionFailed` if nothing ever will."""
        waiter: Deferred[None] = Deferred(self._give_up_waiting)
        if self.lost is not None:
            waiter.errback(self.lost)
        elif self.has_heard_all:
            waiter.errback(ConnectionFailed("The connection was closed at the other end."))
        else:
            self._arrival = waiter
            self.progressed()  # it is the other end's turn from here on, however long ours was
            self.flush()
            self.resume_reading()
        return waiter

    @property
    def is_waiting(self) -> bool:
        """Whether somebody waits for the other end, in `arrival` or in `drained`."""
        return self._arrival is not None or bool(self._draining)

    # -- outgoing

    def write(self, *pieces: bytes | memoryview) -> None:
        """Send these bytes, one piece behind the other; with the next turn of the reactor at the latest.

        What pipelined commands write is gathered first: one call to the transport for hundreds of small replies.
        """
        if self._flushing is None and not self._is_gathering:  # else it ends with a flush
            self._flushing = self._clock.callLater(0, self.flush)
        self._gathered.extend(pieces)
        for piece in pieces:
            self._gathered_size += len(piece)
        if self._gathered_size >= MAX_GATHERED:
            self.flush()

    def flush(self) -> None:
        """Give what was gathered to the transport, if there still is one."""
        if self._flushing is not None:
            if self._flushing.active():
                self._flushing.cancel()
            self._flushing = None
        if self._gathered:
            gathered, self._gathered, self._gathered_size = self._gathered, [], 0
            data = gathered[0] if len(gathered) == 1 else b"".join(gathered)
            if self.lost is not None:
                return  # some have their last word to say when they hear of it
            if rest := data[send_now(self.transport, data) :]:
                self.transport.write(rest)

    @property
    def is_clogged(self) -> bool:
        """Whether so much waits to be sent that a sender should wait in `drained`."""
        return self._is_clogged

    def drained(self) -> Deferred[None]:
        """Wait until what was written has left. Raises `ConnectionFailed` if it never will.

        More than one may wait: an upload that was refused in the middle does, and the one that is sent behind it.
        """
        waiter: Deferred[None] = Deferred(self._give_up_waiting)
        if self.lost is not None:
            waiter.errback(self.lost)
        elif not self._is_clogged:
            waiter.callback(None)
        else:
            self._draining.append(waiter)
            self.progressed()  # as in `arrival`
        return waiter

    async def pause(self) -> None:
        """Let the other sessions have their turn, and the client read what it has asked for."""
        pause: Deferred[None] = Deferred()
        call = self._clock.callLater(0, pause.callback, None)
        try:
            await pause
        finally:
            if call.active():
                call.cancel()
        if self.is_clogged:
            await self.drained()

    def clogged(self) -> None:
        """The transport has more than it wants."""
        self._is_clogged = True

    def unclogged(self) -> None:
        """All that was written has left."""
        self.progressed()
        self._is_clogged = False
        waiters, self._draining = self._draining, []
        for waiter in waiters:
            if not waiter.called:  # the one before may have had it cancelled
                waiter.callback(None)

    # -- the connection

    def connectionMade(self) -> None:
        if hasattr(self.transport, "setTcpNoDelay"):
            # Without it a reply waits up to 40 ms for the acknowledgement of the one before.
            self.transport.setTcpNoDelay(True)
            # Clients send ABOR as urgent data. Without this its last byte would not arrive, and the line never end.
            beneath(self.transport).getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        beneath(self.transport).bufferSize = self.buffer
        if ISSLTransport.providedBy(self.transport):
            self._expect_handshake()
        self.watch_outgoing()

    def start_tls(self, tls: Any) -> None:
        """Speak TLS from here on, behind all that was written. Nothing may wait in `incoming`."""
        self.flush()
        self.transport.startTLS(tls)
        self._expect_handshake()

    def _expect_handshake(self) -> None:
        self.is_secure = True
        move_in_bulk(self.transport)
        self._handshake = self._clock.callLater(HANDSHAKE_LIMIT, self.transport.abortConnection)

    def handshakeCompleted(self) -> None:
        """TLS stands. It is Twisted that calls this."""
        self._expect_no_handshake()

    def _expect_no_handshake(self) -> None:
        if self._handshake is not None and self._handshake.active():
            self._handshake.cancel()

    def watch_outgoing(self) -> None:
        """Be told when the transport has too much, and when it has sent it all."""
        self._is_clogged = False
        self.transport.registerProducer(_Watch(self), True)

    def close_sending(self, expects_more: bool = True) -> None:
        """Send what was written, and then nothing more. What the other end still sends arrives, where that is possible:
        to close with bytes unread would reset the connection, and what was written last might be lost with it.

        `expects_more`: whether there may be any.
        """
        self.flush()
        half = hasattr(self.transport, "loseWriteConnection") and not (self.is_secure or self.has_heard_all)
        if half and (expects_more or has_unread(self.transport)):
            self.transport.loseWriteConnection()
        else:
            self.hang_up()

    def hang_up(self) -> None:
        """Close once everything is sent."""
        self.transport.unregisterProducer()  # TLS says goodbye only when nobody is left who may write
        self.transport.loseConnection()

    def drop(self) -> None:
        """Cut the connection, with whatever is still to be sent."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._flushing is not None and self._flushing.active():
            self._flushing.cancel()
        self._expect_no_handshake()
        self._gathered = []
        self.lost = ConnectionFailed(f"The connection was lost: {reason.getErrorMessage()}")

    def fail_waiters(self, why: TransferError | None) -> bool:
        """Tell whoever waits in `arrival` or `drained` that it is in vain; whether anybody did."""
        waiters = [*self._draining] if self._arrival is None else [self._arrival, *self._draining]
        self._arrival, self._draining = None, []
        for waiter in waiters:
            waiter.errback(why)
        return bool(waiters)

    def _give_up_waiting(self, waiter: Deferred[None]) -> None:
        if waiter is self._arrival:
            self._arrival = None
        if waiter in self._draining:
            self._draining.remove(waiter)


def why_no_tls(reason: Failure) -> str:
    """Why a handshake failed, in OpenSSL's words where it has some."""
    error = reason.value
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list) and error.args[0]:
        return str(error.args[0][-1][-1]) or "TLS gives no reason"
    return "the connection was closed, or nothing came"


def is_plain(transport: object) -> bool:
    """Whether bytes written to this transport's descriptor arrive as they are.

    A TLS transport has a `fileno` too, and even claims `IReadWriteDescriptor`: what is written there would stand in
    clear text in the middle of TLS.
    """
    return isinstance(transport, FileDescriptor) and not ISSLTransport.providedBy(transport)


def send_now(transport: Any, data: bytes | memoryview) -> int:
    """How much of this the system takes at once; nothing, where it would not arrive as it is.

    The transport would ask the reactor to be told when it may send, and short answers take longer to ask than to send.
    """
    return sent_at_once(transport, data) if is_plain(transport) else 0


def unsent(transport: Any) -> int:
    """How many bytes the transport holds that the system hasn't taken yet; 0 where that can't be known."""
    if not is_plain(transport):
        return 0
    return len(transport.dataBuffer) - int(transport.offset) + int(transport._tempDataLen)


def has_unread(transport: Any) -> bool:
    """Whether something has arrived that nobody has read; True where that can't be known."""
    if not is_plain(transport):
        return True
    try:
        return bool(transport.getHandle().recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    except OSError:
        return True


def beneath(transport: Any) -> Any:
    """The socket's own transport, where another protocol, as TLS by an endpoint, has put itself in between."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


@implementer(IPushProducer)
class _Watch:
    """Tells a protocol of its transport's buffer."""

    def __init__(self, protocol: LineThenRaw) -> None:
        self._protocol = protocol

    def pauseProducing(self) -> None:
        self._protocol.clogged()

    def resumeProducing(self) -> None:
        self._protocol.unclogged()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` tells whoever waits."""

"""Connections in memory: two transports, and the link that moves bytes between them when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure


class MemoryTransport:
    """One end of a connection. Holds what its protocol wrote until the link moves it, and minds its producer."""

    def __init__(self, clock: Any = None, is_client: bool = False) -> None:
        self._clock = clock
        self._is_client = is_client
        self._tls: Any = None
        self.protocol: Any = None
        self.outgoing = bytearray()
        self.bufferSize = 64 * 1024
        self.is_reading = True
        self.is_closing = False
        self.is_write_closed = False
        self.has_heard_all = False
        self.lost: Failure | None = None
        self.most_held = 0
        self._producer: Any = None
        self._is_paused = False

    # -- what Twisted's transports have in common

    def write(self, data: bytes | memoryview) -> None:
        if self._tls is not None:
            self._tls.write(data)
        else:
            self.send(data)

    def send(self, data: bytes | memoryview) -> None:
        if self.lost is not None or self.is_closing or self.is_write_closed:
            return
        self.outgoing += data
        self.most_held = max(self.most_held, len(self.outgoing))
        if self._producer is not None and not self._is_paused and len(self.outgoing) > self.bufferSize:
            self._is_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def getPeerCertificate(self) -> Any:
        return None if self._tls is None else self._tls.getPeerCertificate()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._tls is not None:
            self._tls.registerProducer(producer, streaming)
        else:
            self.watch(producer, streaming)

    def watch(self, producer: Any, streaming: bool) -> None:
        assert streaming, "nothing here has a descriptor to pull from"
        if self._producer is not None:
            raise RuntimeError("there is a producer already")
        if self.lost is not None:
            producer.stopProducing()
            return
        self._producer = producer

    def unregisterProducer(self) -> None:
        if self._tls is not None:
            self._tls.unregisterProducer()
        else:
            self.unwatch()

    def unwatch(self) -> None:
        self._producer = None
        self._is_paused = False

    def pauseProducing(self) -> None:
        self.is_reading = False

    def resumeProducing(self) -> None:
        self.is_reading = True

    def loseConnection(self) -> None:
        if self._tls is not None:
            self._tls.loseConnection()
        else:
            self.is_closing = True

    def loseWriteConnection(self) -> None:
        self.is_write_closed = True

    def abortConnection(self) -> None:
        self.outgoing.clear()
        if self._tls is not None:
            self._clock.callLater(0, self.end, ConnectionAborted())  # as Twisted does, for TLS is in the middle of it
        else:
            self.end(ConnectionAborted())

    def getPeer(self) -> None:
        return None

    getHost = getPeer

    def startTLS(self, tls: Any) -> None:
        factory = TLSMemoryBIOFactory(tls, self._is_client, None, clock=self._clock)  # type: ignore[arg-type]
        wrapped = factory.protocol(factory, self.protocol, False)
        producer = self._producer
        self.unwatch()
        self.protocol, self._tls = wrapped, wrapped
        wrapped.makeConnection(_Beneath(self))  # type: ignore[no-untyped-call]
        if producer is not None:
            wrapped.registerProducer(producer, True)  # type: ignore[no-untyped-call]

    def getHandle(self) -> Any:
        return self._tls.getHandle()

    # -- for the link

    def take(self, most: int) -> bytes:
        data = bytes(self.outgoing[:most])
        del self.outgoing[:most]
        if not self.outgoing and self._is_paused:
            self._is_paused = False
            self._producer.resumeProducing()
        return data

    def end(self, why: Exception) -> None:
        if self.lost is None:
            self.lost = Failure(why)
            if self._producer is not None:
                self._producer.stopProducing()
                self._producer = None
            self.protocol.connectionLost(self.lost)


class _Beneath:
    """A transport as TLS sees it, which is to put its bytes on the way and nowhere else."""

    disconnecting = False

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self.write = transport.send
        self.registerProducer = transport.watch
        self.unregisterProducer = transport.unwatch
        self.abortConnection = transport.abortConnection
        self.getPeer = self.getHost = transport.getPeer

    def loseConnection(self) -> None:
        self._transport.is_closing = True


class Link:
    """A connection between two protocols, made by constructing it. Bytes move when `pump` is called, and only then.

    `cut` says how many bytes the next segment may have, so that a test decides where segments end.
    """

    def __init__(self, clock: Clock, server: Any, client: Any, cut: Callable[[], int] = lambda: 1 << 16) -> None:
        self.clock = clock
        self.server_end, self.client_end = MemoryTransport(clock), MemoryTransport(clock, is_client=True)
        self._cut = cut
        for end, protocol in ((self.server_end, server), (self.client_end, client)):
            end.protocol = protocol
        for end, protocol in ((self.client_end, client), (self.server_end, server)):
            protocol.makeConnection(end)

    def pump(self) -> None:
        """Move everything that can move, in both directions, until both ends wait."""
        ends = (self.client_end, self.server_end)
        moved = True
        while moved:
            moved = False
            for here, there in (ends, ends[::-1]):
                moved = self._move(here, there) or moved
            due = [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()]
            if due:
                self.clock.advance(0)
                moved = True

    def _move(self, here: MemoryTransport, there: MemoryTransport) -> bool:
        if here.outgoing and there.lost is None:
            if not there.is_reading:
                return False
            there.protocol.dataReceived(here.take(self._cut()))
            return True
        if there.lost is None and here.lost is not None:
            clean = isinstance(here.lost.value, ConnectionDone)
            there.end(ConnectionDone() if clean else ConnectionLost())
            return True
        if here.lost is None and here.is_closing:
            here.end(ConnectionDone())
            return True
        if there.lost is None and here.is_write_closed and there.is_reading and not there.has_heard_all:
            there.has_heard_all = True
            if IHalfCloseableProtocol.providedBy(there.protocol):
                there.protocol.readConnectionLost()
            else:
                there.end(ConnectionDone())  # for others the end of reading is the end
            return True
        return False

    def lose(self) -> None:
        """The connection breaks, as by a reset; what was under way is lost with it."""
        for end in (self.server_end, self.client_end):
            end.outgoing.clear()
            end.end(ConnectionLost())

    def close(self) -> None:
        for end in (self.server_end, self.client_end):
            end.is_reading = True
        self.lose()
        self.pump()


class RawPeer(Protocol):
    """The other end of whatever is tested: keeps the bytes that it got."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.is_lost = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.is_lost = True

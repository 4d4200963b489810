"""Where a connection comes from, and connections that a proxy hands on with the PROXY protocol (`haproxy:`).

Twisted's own wrapper lets a protocol speak before the proxy has said for whom it calls. A server that greets must know
that first, so here a session begins when the header has arrived.
"""

from __future__ import annotations

from typing import Any
from typing import Protocol as Interface

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper, HAProxyWrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from ftpsvc.addresses import SOMEBODY, Origin, host_of
from ftpsvc.connections import Connections
from ftpsvc.model import OverLimit

#: For the proxy's header, in seconds. It comes with the connection.
HEADER_LIMIT = 10.0

#: How many bytes tell which version of the header it is: the first that version 2 always has.
FIXED = 16


def origin_of(peer: IAddress | None) -> Origin:
    """Where a peer is. One that can't be told isn't here."""
    if isinstance(peer, UNIXAddress):
        return Origin("a local socket", None, True)
    if not isinstance(peer, IPv4Address | IPv6Address):
        return SOMEBODY
    address = host_of(peer.host)
    if address is None or not peer.host.isprintable():
        return SOMEBODY  # it comes from a proxy's header, and may be any text, also behind the % of an address
    # In one spelling, whatever a proxy's header has; and an IPv4 client of an IPv6 socket as the one that it is.
    host = f"[{address}]" if address.version == 6 else str(address)
    return Origin(f"{host}:{peer.port}", address, address.is_loopback)


class Lobby(Interface):
    """Where connections are counted."""

    @property
    def connections(self) -> Connections:
        """All that there are."""

    @property
    def expected(self) -> set[object]:
        """Those of which the proxy hasn't said yet for whom it calls."""

    def refusal(self, origin: Origin, source: str) -> Protocol | None:
        """Whom a new connection gets to speak to, if there is no room for it."""


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class Proxied(HAProxyProtocolWrapper):
    """A connection from a proxy. What it carries is made and connected once the header has said from where it comes."""

    def __init__(self, factory: Any) -> None:
        super().__init__(factory, Protocol())  # it stands for the one to come
        self._proxied_factory = factory
        self._deadline: IDelayedCall | None = None
        self._has_begun = False
        self._has_greeted = False  #: TLS stands, beneath this
        self._beginning = b""  #: of a header, too short to tell the version
        self.stranger_since: float = factory.clock.seconds()

    def connectionMade(self) -> None:
        self._proxied_factory.lobby.expected.add(self)
        self._deadline = self._proxied_factory.clock.callLater(HEADER_LIMIT, self._give_up)

    def dataReceived(self, data: bytes) -> None:
        if self._has_begun:
            self.wrappedProtocol.dataReceived(data)
            return
        if self._parser is None:
            # Twisted's own takes a header only if it begins in one piece.
            data, self._beginning = self._beginning + data, b""
            if data.startswith(V1Parser.PROXYSTR):
                self._parser = _Version1()
            elif len(data) < FIXED and (V1Parser.PROXYSTR.startswith(data) or V2Parser.PREFIX.startswith(data[:12])):
                self._beginning = data
                return
        rest = _Rest()
        self.wrappedProtocol = rest
        try:
            super().dataReceived(data)
        except ValueError:
            self.loseConnection()  # a header with something in it that is no number, or no text
        if self._proxyInfo is not None:
            self._begin(rest.data)

    def handshakeCompleted(self) -> None:
        """TLS stands: the one of AUTH TLS, which was put between the socket and this, or an endpoint's with the header
        in it."""
        self._has_greeted = True
        if self._has_begun:
            self._tell_of_tls()

    def _tell_of_tls(self) -> None:
        """Who is within waits for it no longer than for any handshake."""
        if IHandshakeListener.providedBy(self.wrappedProtocol):
            self.wrappedProtocol.handshakeCompleted()

    def readConnectionLost(self) -> None:
        """The client sends no more. Who is within may have answers left, if it is no TLS: there an end without its own
        is none. Twisted's TLS provides what its transport does, this one; so it is its class that is asked."""
        within: Any = self.wrappedProtocol
        if self._has_begun and IHalfCloseableProtocol.implementedBy(type(within)):
            within.readConnectionLost()
        else:
            transport: Any = self.transport
            transport.connectionLost(connectionDone)

    def writeConnectionLost(self) -> None:
        """We have said all; that was our own doing."""

    def give_way(self, why: OverLimit) -> None:
        """Its place is needed, and nobody is there yet to be told so."""
        self._give_up()

    def loseConnection(self) -> None:
        """Nobody is there yet to be told anything: end it at once."""
        if self._has_begun:
            super().loseConnection()
        else:
            self._give_up()

    def _begin(self, rest: bytes) -> None:
        self._has_begun = True
        self._stop_waiting()
        self._proxied_factory.lobby.connections.gone(self)  # from here on it is counted with its own address
        protocol: Any = self._proxied_factory.wrappedFactory.buildProtocol(self.peer())
        if protocol is None:
            self._give_up()
            return
        self.wrappedProtocol = protocol
        protocol.makeConnection(self)
        if self._has_greeted:
            self._tell_of_tls()
        if rest:
            protocol.dataReceived(rest)

    def _give_up(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def peer(self) -> IAddress | None:
        """For whom the proxy calls; None if it doesn't say. Only a proxy on this machine may say that it is this one:
        else whoever reaches the port could."""
        assert self._proxyInfo is not None and self.transport is not None
        said: IAddress | None = self._proxyInfo.source
        caller = self.transport.getPeer()
        return caller if origin_of(said).is_local and not origin_of(caller).is_local else said

    def getPeer(self) -> IAddress:
        return self.peer() or super().getPeer()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        self._proxied_factory.lobby.connections.gone(self)
        super().connectionLost(reason)

    def _stop_waiting(self) -> None:
        self._proxied_factory.lobby.expected.discard(self)
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()


class _Version1(V1Parser):
    """Twisted's, which misses the shortest header there is: a balancer that looks whether the server is there has no
    client to tell of (proxy-protocol.txt, section 2.1)."""

    @classmethod
    def parse(cls, line: bytes) -> Any:
        return super().parse(line + b" " if line == b"PROXY UNKNOWN" else line)


class _Rest(Protocol):
    """Takes what came in one piece with the header."""

    data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data


class ProxiedFactory(HAProxyWrappingFactory):
    """Makes a `Proxied` for each connection."""

    noisy = False

    def __init__(self, wrapped: Any, clock: Any, lobby: Lobby) -> None:
        super().__init__(wrapped)
        self.clock = clock
        self.lobby = lobby

    def buildProtocol(self, addr: IAddress | None) -> Any:
        # The address is the proxy's, and stands for all its clients: it has no limit of its own.
        if (refusal := self.lobby.refusal(origin_of(addr), "")) is not None:
            return refusal
        protocol = Proxied(self)
        protocol.factory = self
        self.lobby.connections.came(protocol, "")
        return protocol


@implementer(IStreamServerEndpoint)
class ProxiedEndpoint:
    """Any endpoint, with a proxy before it."""

    def __init__(self, endpoint: IStreamServerEndpoint, clock: Any, lobby: Lobby) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._lobby = lobby

    def listen(self, protocolFactory: Any) -> Any:
        return self._endpoint.listen(ProxiedFactory(protocolFactory, self._clock, self._lobby))

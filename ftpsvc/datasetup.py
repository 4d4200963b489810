"""What PASV, EPSV, PORT and EPRT prepare: the way of the next transfer's data, at most one at a time."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from ftpsvc.active import Active
from ftpsvc.addresses import IP, LAST_RESERVED_PORT, Address, host_of, without_scope
from ftpsvc.model import BadParameter, NoDataConnection, NotImplementedHere
from ftpsvc.passive import ANYWHERE, NotOurs, Passive, PassiveOptions, listen
from ftpsvc.passiveports import PassivePorts
from ftpsvc.way import Expected, Way


class DataSetup:
    """One session's: each new way takes the place of the one before, which is closed."""

    def __init__(self, reactor: Any, options: PassiveOptions, ports: PassivePorts, tls: Expected) -> None:
        self._reactor = reactor
        self.tls = tls
        self._ports = ports
        self._options = options
        self._way: Way | None = None
        self._local: IP | None = None
        self._peer: IP | None = None

    def attach(self, transport: Any) -> None:
        """This is the control connection: its two ends decide who may connect to whom."""
        local, peer = transport.getHost(), transport.getPeer()
        if isinstance(local, IPv4Address | IPv6Address) and isinstance(peer, IPv4Address | IPv6Address):
            self._local, self._peer = host_of(local.host), host_of(peer.host)

    @property
    def local(self) -> IP:
        """This end's address on the control connection. Raises `NoDataConnection`."""
        if self._local is None:
            raise NoDataConnection("This connection is no TCP connection, so there can't be another for data. MODE I.")
        return self._local

    def listen(self, tells_address: bool = True) -> Address:
        """Wait for the client from now on; where to, as it should be told. `tells_address`: whether that tells it more
        than the port. Raises `NoDataConnection`, and `NotImplementedHere` where the client could never come."""
        self.forget()
        local = self.local
        assert self._peer is not None
        self._ports.demand_room()
        try:
            listening = listen(local, self._options.ports)
            told = self._options.advertised(local, self._peer)
        except NotOurs:
            told = self._past_the_balancer(tells_address)
            listening = listen(ANYWHERE, self._options.ports)
        is_scarce = bool(self._options.ports)
        passive = Passive(self._reactor, listening, self._peer, self._ports, self.tls, is_scarce)
        passive.start()
        self._way = passive
        return Address(told, passive.port)

    def _past_the_balancer(self, tells_address: bool) -> IP:
        """The address for a client that has come to another machine's: nobody there would hand data connections on."""
        if self._options.address is None:
            raise NotImplementedHere(
                "You have come to a balancer's address, and this server was told none of its own (--passive-address)."
                " Use MODE I, as the client ftpsvc does, or active mode."
            )
        if not tells_address:
            raise NotImplementedHere("You have come to a balancer's address, and EPSV tells no other. Use PASV.")
        return self._options.address

    def connect_to(self, address: Address) -> None:
        """Connect there when the transfer begins. Raises `BadParameter` for any address but the client's own."""
        self.forget()
        local, peer = self.local, self._peer
        assert peer is not None
        # To connect wherever somebody asks would make this server their tool (RFC 2577, section 3).
        if without_scope(address.host) != without_scope(peer) or address.port <= LAST_RESERVED_PORT:
            raise BadParameter(
                f"Data goes to the address that the commands come from, and to ports above {LAST_RESERVED_PORT}."
            )
        # As we know the peer: how the client calls the link between the two means nothing here.
        self._way = Active(self._reactor, Address(peer, address.port), local, self.tls)

    def take(self) -> Way:
        """The way, for one transfer. Raises `NoDataConnection`."""
        if self._way is None:
            raise NoDataConnection("Where should the data go? Send EPSV, PASV, EPRT or PORT first, or MODE I.")
        way, self._way = self._way, None
        return way

    def forget(self) -> bool:
        """Close what was prepared and not used; whether there was any."""
        way, self._way = self._way, None
        if way is not None:
            way.close()
        return way is not None

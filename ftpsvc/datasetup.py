"""What PASV, EPSV, PORT and EPRT prepare: the way of the next transfer's data, at most one at a time."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address

from ftpsvc.active import Active
from ftpsvc.addresses import IP, LAST_RESERVED_PORT, Address, host_of
from ftpsvc.model import BadParameter, NoDataConnection
from ftpsvc.passive import Passive, PassiveOptions, listen
from ftpsvc.passiveports import PassivePorts
from ftpsvc.way import Way


class DataSetup:
    """One session's: each new way takes the place of the one before, which is closed."""

    def __init__(self, reactor: Any, options: PassiveOptions, ports: PassivePorts) -> None:
        self._reactor = reactor
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

    def listen(self) -> Address:
        """Wait for the client from now on; where to, as it should be told."""
        self.forget()
        local = self.local
        assert self._peer is not None
        self._ports.demand_room()
        passive = Passive(self._reactor, listen(local, self._options.ports), self._peer, self._ports)
        passive.start()
        self._way = passive
        return Address(self._options.advertised(local, self._peer), passive.port)

    def connect_to(self, address: Address) -> None:
        """Connect there when the transfer begins. Raises `BadParameter` for any address but the client's own."""
        self.forget()
        # To connect wherever somebody asks would make this server their tool (RFC 2577, section 3).
        if address.host != self._peer or address.port <= LAST_RESERVED_PORT:
            raise BadParameter(
                f"Data goes to the address that the commands come from, and to ports above {LAST_RESERVED_PORT}."
            )
        self._way = Active(self._reactor, address, self.local)

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

"""Data connections that the client makes: PASV and EPSV."""

from __future__ import annotations

import errno
import functools
import os
import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from zope.interface import implementer

from ftpsvc.addresses import IP, host_of, socket_name, without_scope
from ftpsvc.model import NoDataConnection
from ftpsvc.oserrors import NO_MORE
from ftpsvc.passiveports import PassivePorts
from ftpsvc.way import Expected, Way

#: How many ports of a range are tried. Enough to find a free one among a few, and few enough that a full range of
#: sixty thousand doesn't hold up the other sessions.
MAX_TRIES = 256

#: How many of them are simply guessed, before they are listed.
GUESSES = 8

#: Connections that may wait to be accepted. One is the client's; a few more, so that strangers can't keep it out.
BACKLOG = 5

#: How many are accepted before others have their turn.
MAX_ACCEPTS = 8

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class PassiveOptions:
    """Where the server listens for data connections, and what it says of it."""

    ports: range = range(0)  #: empty: whatever port the system gives
    address: IP | None = None  #: what PASV tells; None: the control connection's own
    local: tuple[Network, ...] = ()  #: clients from here are told the control connection's own address all the same

    def advertised(self, local: IP, peer: IP) -> IP:
        """The address to tell to a client."""
        if self.address is None or peer.is_loopback or any(peer in network for network in self.local):
            return local
        return self.address


@implementer(IReadDescriptor)
class Passive(Way):
    """Listens for one connection, from one peer. Others are closed, and the waiting goes on."""

    mode = "passive"

    def __init__(
        self,
        reactor: Any,
        listening: socket.socket,
        peer: IP,
        ports: PassivePorts,
        tls: Expected,
        is_scarce: bool = False,
    ) -> None:
        """`is_scarce`: somebody else may wait for the port to be free again."""
        super().__init__(reactor, tls)
        self._peer = peer
        self._ports = ports
        self._is_scarce = is_scarce
        self._socket = listening
        self._closing: IDelayedCall | None = None
        self._from = without_scope(peer)  # who accepts is told none, and listens on one interface
        self.port: int = listening.getsockname()[1]

    def start(self) -> None:
        """The client may connect before it says for what."""
        self._reactor.addReader(self)
        self._ports.opened(self)
        # curl looks for the answer once as soon as it has asked, and if that is there already it sleeps for a second
        # (7.88). On one machine the system may run us in its place before it has looked: it goes first.
        os.sched_yield()

    def look(self) -> None:
        # Whoever connects and sends the command behind that often finds both looked at in the same turn, this one last.
        self.doRead()

    def doRead(self) -> None:
        for _ in range(MAX_ACCEPTS):
            if self._socket is None or self.connection is not None:
                return
            try:
                accepted, name = self._socket.accept()
            except OSError as error:
                if error.errno in NO_MORE:
                    # Else the reactor would come back at once, over and over, for one that can't be let in.
                    self.close(_refusal("accept", error))
                return  # none is left, or one that has gone already
            if host_of(name[0]) == self._from:
                self._give_up_socket_soon()
                self._adopt(accepted)
            else:
                accepted.close()

    def _give_up_socket_soon(self) -> None:
        if self._is_scarce:
            self._give_up_socket()
        else:
            # In the next turn: the command is often here too, and its client waits for the file, not for this.
            self._ports.closed(self)
            self._closing = self._reactor.callLater(0, self._give_up_socket)

    def _give_up_socket(self) -> None:
        """Whoever has connected and was not let in yet is sent off in order: to close the port alone is a reset."""
        while self._socket is not None:
            try:
                accepted, _ = self._socket.accept()
            except OSError:
                break
            accepted.close()
        if self._closing is not None:
            if self._closing.active():
                self._closing.cancel()
            self._closing = None  # which would lead back here, and keep the session for Python's collector
        self._ports.closed(self)
        super()._give_up_socket()

    def _unwatch(self) -> None:
        self._reactor.removeReader(self)

    def silence(self, limit: float) -> str:
        return f"No data connection came from {self._peer} within {limit:g} seconds."


#: Where data connections are waited for that come to whichever address of this machine.
ANYWHERE = ip_address("0.0.0.0")


class NotOurs(Exception):
    """The address to listen at isn't this machine's."""


def listen(host: IP, ports: range) -> socket.socket:
    """Listen on a random port of the range. Raises `NoDataConnection` and `NotOurs`."""
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    for port in _candidates(ports):
        listening = _new_socket(family)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(socket_name(host, port))
            listening.listen(BACKLOG)
            return listening
        except OSError as error:
            listening.close()
            if error.errno == errno.EADDRNOTAVAIL:
                raise NotOurs from error
            if error.errno != errno.EADDRINUSE:
                raise _refusal("listen for", error) from error
    raise NoDataConnection("All ports for data connections are in use. Try again in a moment.")


def _new_socket(family: int) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError as error:  # too many are open
        raise _refusal("listen for", error) from error


def _refusal(what: str, error: OSError) -> NoDataConnection:
    return NoDataConnection(f"Can't {what} a data connection: {os.strerror(error.errno or 0)}. Try again later.")


def _candidates(ports: range) -> Iterator[int]:
    """At random, so that nobody can tell where the next transfer will be waited for (RFC 2577, section 8).

    Where no range is given the system chooses; but only if a few guesses were wrong. It passes over all ports of the
    last minute's connections (TIME_WAIT), which to listen again is no harm on, and behind some ten thousand transfers
    it may look for milliseconds, and the other sessions wait.
    """
    likely = ports or ports_of_the_system()
    for _ in range(GUESSES if likely else 0):
        yield likely[_draw() * len(likely) >> 32]
    yield from _random.sample(ports, min(len(ports), MAX_TRIES)) if ports else [0]


@functools.cache
def ports_of_the_system() -> range:
    """Those that the system gives out by itself; none where that isn't known, or where some of them are reserved."""
    told = Path("/proc/sys/net/ipv4")
    try:
        first, last = map(int, (told / "ip_local_port_range").read_text().split())
        reserved = (told / "ip_local_reserved_ports").read_text().strip()
    except (OSError, ValueError):
        return range(0)
    return range(0) if reserved else range(first, last + 1)


_random = random.SystemRandom()

_drawn: list[int] = []


def _draw() -> int:
    """A random number below 2**32. From stock: each trip to the system for some costs as much as to listen."""
    if not _drawn:
        _drawn.extend(struct.unpack("64I", os.urandom(256)))
    return _drawn.pop()

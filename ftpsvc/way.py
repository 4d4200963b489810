"""How a data connection comes about on the server. `passive` and `active` are the two ways."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ftpsvc.dataconnection import DataConnection
from ftpsvc.model import NoDataConnection, TransferError

#: What makes the TLS of a data connection that has just come; None while data travels in clear.
Expected = Callable[[], Callable[[], SSL.Connection] | None]


class Way:
    """How one data connection comes about. It holds a socket until there is one, and both are given back by `close`.

    A descriptor of the reactor's rather than an endpoint: a passive port lives for one connection, and Twisted's own
    would log two lines about each and close a turn of the reactor too late.
    """

    mode = ""  #: what it is called in records

    def __init__(self, reactor: Any, tls: Expected) -> None:
        self._reactor = reactor
        self._tls = tls
        self._socket: socket.socket | None = None
        self._waiter: Deferred[DataConnection] | None = None
        self._is_closed = False
        self._failed: TransferError | None = None  #: why there won't be a connection, for who asks for it later
        self.connection: DataConnection | None = None

    def look(self) -> None:
        """Take the connection, if it is here already and the reactor just hasn't come to it."""

    def begin(self) -> None:
        """Do what has to be done before the connection can be had. Called when somebody waits for it."""

    def connected(self, limit: float) -> Deferred[DataConnection]:
        """The connection, which isn't here yet, within so many seconds. Raises `NoDataConnection`."""
        waiter: Deferred[DataConnection] = Deferred(lambda _: setattr(self, "_waiter", None))
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

    async def secured(self, connection: DataConnection) -> None:
        """Have TLS on it, or not, as the client wants it by now. Raises `HandshakeFailed`."""
        tls = self._tls()
        if tls is None:
            connection.stay_clear()
            return
        if not connection.is_secure:
            connection.expect(tls())
        await connection.secured()

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
            self._unwatch()
            self._socket.close()
            self._socket = None

    def _unwatch(self) -> None:
        """Have the reactor look at the socket no more."""
        raise NotImplementedError

    def _adopt(self, connected: socket.socket) -> None:
        """Here is the connection. The one place where a data connection begins, and its TLS."""
        self.connection = DataConnection(self._reactor)
        self.connection.makeConnection(_Transport(connected, self.connection, self._reactor))
        if (tls := self._tls()) is not None:
            self.connection.expect(tls())
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.callback(self.connection)

    # -- for the reactor

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        return type(self).__name__

    # Each kind of way has one of the two, and the reactor may call the other: of all that epoll tells at once, some
    # may be about one whose descriptor was closed a moment ago, and whose number this one has got.

    def doRead(self) -> None:
        """Nothing can have come for us."""

    def doWrite(self) -> None:
        """Nothing can be sent yet."""

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has let go of the socket: an error of ours, or the end of all."""
        self.close(NoDataConnection(f"The data connection failed: {reason.getErrorMessage()}"))


class _Transport(tcp.Connection):
    """What `adoptStreamConnection` makes too, but that makes a copy of the descriptor, and begins to read from it.

    For a small file this was a tenth of all the work.
    """

    logstr = "DataConnection"
    connected = 1
    _shouldShutdown = False  # to close it is the end of it: nobody else has it

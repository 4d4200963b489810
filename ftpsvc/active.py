"""Data connections that the server makes: PORT and EPRT."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.interfaces import IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ftpsvc.addresses import IP, Address, socket_name
from ftpsvc.model import NoDataConnection, TransferError
from ftpsvc.way import Expected, Way


@implementer(IWriteDescriptor)
class Active(Way):
    """Connects to where the client listens, once there is something to move."""

    mode = "active"

    def __init__(self, reactor: Any, target: Address, local: IP, tls: Expected) -> None:
        super().__init__(reactor, tls)
        self._target = target
        self._local = local

    def begin(self) -> None:
        family = socket.AF_INET if self._target.host.version == 4 else socket.AF_INET6
        try:
            self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self._bind()
            code = self._socket.connect_ex(socket_name(*self._target))
        except OSError as error:
            code = error.errno or errno.EIO
        if code in (0, errno.EINPROGRESS):
            self._reactor.addWriter(self)
        else:
            self.close(self._failure(code))

    def _bind(self) -> None:
        """From the address that the client knows: a firewall on its side may let in no other."""
        assert self._socket is not None
        try:
            self._socket.bind(socket_name(self._local, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            # It is a balancer's. From our own it may get there all the same.

    def doWrite(self) -> None:
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.close(self._failure(code))
            return
        self._unwatch()
        connected, self._socket = self._socket, None
        self._adopt(connected)

    def _unwatch(self) -> None:
        self._reactor.removeWriter(self)

    def connectionLost(self, reason: Failure) -> None:
        """How the reactor may tell of a refusal."""
        assert self._socket is not None
        self.close(self._failure(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNREFUSED))

    def _failure(self, code: int) -> TransferError:
        return NoDataConnection(f"{self._vain}: {os.strerror(code)}.")

    def silence(self, limit: float) -> str:
        return f"{self._vain}: no answer within {limit:g} seconds."

    @property
    def _vain(self) -> str:
        return f"Can't connect to {self._target.host} port {self._target.port}"

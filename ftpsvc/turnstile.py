"""Where a worker lets clients in: on sockets that the others listen on too.

All wait for the same connections, and whoever comes first has the next one. So that the first in the row doesn't have
them all, one who has more than another lets that one go first, for a moment.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ftpsvc.closing import last_of, let_in
from ftpsvc.oserrors import NO_MORE

#: How many are accepted before others of this process have their turn.
MAX_ACCEPTS = 16

#: For how many seconds the others go first. One that does nothing else takes a connection in a fraction of that. Where
#: each lets the other go first, all wait: two workers had 1,340 logins a second with 5 ms, and 2,600 with 1.
AFTER_YOU = 0.001

#: For how many seconds nobody is let in when the system has no descriptors left: clients wait in the socket's queue.
OUT_OF_DESCRIPTORS = 1.0


@implementer(IReadDescriptor)
class Turnstile:
    """Accepts connections on one socket. Twisted's own port would have all that it can get."""

    _log = Logger()

    def __init__(self, reactor: Any, listening: socket.socket, factory: Any, is_ahead: Callable[[], bool]) -> None:
        """`is_ahead`: whether another worker had better have the next."""
        self._reactor = reactor
        self._socket = listening
        self._factory = factory
        self._is_ahead = is_ahead
        self._resting: IDelayedCall | None = None
        self._has_rested = False

    def start(self) -> None:
        self._socket.setblocking(False)
        self._reactor.addReader(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "Turnstile"

    def doRead(self) -> None:
        for _ in range(MAX_ACCEPTS):
            if not self._has_rested and self._is_ahead():
                self._rest(AFTER_YOU)
                return
            try:
                accepted, _ = self._socket.accept()
            except OSError as error:
                if error.errno in NO_MORE:
                    self._log.error("Nobody can be let in: {why}", why=os.strerror(error.errno))
                    self._rest(OUT_OF_DESCRIPTORS)
                break
            let_in(self._reactor, accepted, self._factory)
        self._has_rested = False

    def _rest(self, seconds: float) -> None:
        self._reactor.removeReader(self)
        self._resting = self._reactor.callLater(seconds, self._come_back)

    def _come_back(self) -> None:
        self._resting = None
        self._has_rested = True  # who is still there then nobody else has taken
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Let nobody in any more but who waits by now. The others go on: the socket is closed here, and not shut
        down."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        self._reactor.removeReader(self)
        for accepted in last_of(self._socket):
            let_in(self._reactor, accepted, self._factory)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, or can't watch the socket."""
        self._socket.close()

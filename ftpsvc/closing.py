"""The last of letting people in when the server stops: notice is given, and whoever has come by then gets in."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from ftpsvc.limits import Limits

#: How many are let in at the most when a port closes: as many as its queue holds where it is longest (`BACKLOG` in
#: deploy/ftpsvc.socket). In a flood of them the last one would never come.
MAX_LAST = 4096

_log = Logger()


class Closing:
    """The end of all ports of one server."""

    _log = Logger()

    def __init__(self, ports: Sequence[IListeningPort], reactor: Any, limits: Limits) -> None:
        self._ports = ports
        self._reactor = reactor
        self._limits = limits
        self._notice: Deferred[None] | None = None
        self._is_hurried = False

    async def notice(self) -> None:
        """Wait for those who send clients here to notice that they shouldn't: they have been told (503) by now."""
        seconds = self._limits.notice
        if seconds and not self._is_hurried:
            self._log.info("Stopping: in {s:g} s (drain-notice) nobody is let in any more, as /readyz says", s=seconds)
            self._notice = Deferred()
            call = self._reactor.callLater(seconds, self._over)
            await self._notice
            if call.active():
                call.cancel()

    async def close(self, lets_in: bool) -> None:
        """Close all ports. `lets_in`: whether it is this process that lets in who comes to them."""
        for port in self._ports:
            spare = _spare(port) if lets_in else None
            await stop_listening(port)
            if spare is not None:
                for accepted in last_of(spare):
                    let_in(self._reactor, accepted, port.factory)  # type: ignore[attr-defined]

    def hurry(self) -> None:
        """Wait no longer."""
        self._is_hurried = True
        self._over()

    def _over(self) -> None:
        if self._notice is not None:
            notice, self._notice = self._notice, None
            notice.callback(None)


async def stop_listening(port: IListeningPort) -> None:
    """Close a port, be it a Unix socket whose file somebody has removed: Twisted would remove it, and fails."""
    with contextlib.suppress(FileNotFoundError):
        await maybeDeferred(port.stopListening)


def _spare(port: Any) -> socket.socket | None:
    """Another descriptor for a port's socket, so that its queue outlives what Twisted closes a turn of the reactor
    after it has let in the last; None where it is no socket."""
    try:
        return socket.socket(fileno=os.dup(port.fileno()))
    except (AttributeError, OSError):
        return None


def last_of(listening: socket.socket) -> list[socket.socket]:
    """Close a socket that doesn't block, and return whom the system has connected to it by then.

    If it were closed with somebody in its queue, that would be a reset for who had been connected already.
    """
    found: list[socket.socket] = []
    with listening, contextlib.suppress(OSError):  # the queue is empty; or there are no descriptors left
        while len(found) < MAX_LAST:
            found.append(listening.accept()[0])
    return found


def let_in(reactor: Any, accepted: socket.socket, factory: Any) -> None:
    """Have somebody served who was accepted outside of a port of the reactor's."""
    with accepted:
        try:
            accepted.setblocking(False)
            reactor.adoptStreamConnection(accepted.fileno(), accepted.family, factory)
        except OSError:
            pass  # one that has gone already
        except Exception:
            # As a port of the reactor's does: a fault of ours costs this client, and not all who come later.
            _log.failure("Somebody could not be let in by a fault of ours")

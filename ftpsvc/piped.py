"""What comes from a pipe, a terminal or a file, whole or in lines, read without ever holding up the reactor."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ftpsvc.model import BadCommand, LocalFault, decode_name
from ftpsvc.threads import Run, done_with

#: How much one read may bring.
_CHUNK = 64 * 1024

#: The longest line: several paths of the greatest length. It bounds what a pipe without line ends can fill.
MAX_LINE = 64 * 1024


async def lines(reactor: Any, descriptor: int) -> AsyncGenerator[str, None]:
    """The lines that come from a descriptor, without their ends. Raises `BadCommand` for one that is too long."""
    source = _Source(reactor, descriptor)
    waiting = b""
    while data := await _lasting(source):
        *whole, waiting = (waiting + data).split(b"\n")
        for line in whole:
            yield decode_name(line.removesuffix(b"\r"))
        if len(waiting) > MAX_LINE:
            raise BadCommand(f"A line can't be longer than {MAX_LINE} bytes.")
    if waiting:
        yield decode_name(waiting)


async def _lasting(source: _Source) -> bytes:
    await source.ready()
    try:
        return os.read(source.fileno(), _CHUNK)
    except OSError:
        return b""  # a terminal that went away; there are no more lines


async def chunks(reactor: Any, descriptor: int, run: Run, size: int) -> AsyncGenerator[bytes, None]:
    """What comes from a descriptor, at most so many bytes at a time. Raises `LocalFault`."""
    source = _Source(reactor, descriptor)
    try:
        # A thread that waits for somebody to type could not be stopped; one that waits for a disk need not be.
        kind = os.fstat(descriptor).st_mode
        is_on_disk = stat.S_ISREG(kind) or stat.S_ISBLK(kind)
        while True:
            if not is_on_disk:
                await source.ready()
            chunk = await done_with(run(os.read, descriptor, size)) if is_on_disk else os.read(descriptor, size)
            if not chunk:
                return
            yield chunk
    except OSError as error:
        raise LocalFault(f"standard input can't be read: {error.strerror}.") from error


@implementer(IReadDescriptor)
class _Source:
    """A descriptor of any kind, left as it is: `StandardIO` would make the terminal behind it non-blocking for all."""

    def __init__(self, reactor: Any, descriptor: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._waiter: Deferred[None] = Deferred()

    def ready(self) -> Deferred[None]:
        """Fires when there is something to read, or the end."""
        self._waiter = Deferred(lambda _: self._reactor.removeReader(self))
        self._reactor.addReader(self)
        return self._waiter

    def doRead(self) -> None:
        self._reactor.removeReader(self)
        self._waiter.callback(None)

    def fileno(self) -> int:
        return self._descriptor

    def connectionLost(self, reason: Failure) -> None:
        """The other end of a pipe was closed, as epoll's reactor says it; or the reactor stops."""
        if reason.check(ConnectionDone):
            self.doRead()

    def logPrefix(self) -> str:
        return "input"

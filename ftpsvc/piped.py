"""Lines from a pipe or a file, read without ever holding up the reactor."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ftpsvc.model import BadCommand, decode_name

#: How much one read may bring.
_CHUNK = 64 * 1024

#: The longest line: several paths of the greatest length. It bounds what a pipe without line ends can fill.
MAX_LINE = 64 * 1024


async def lines(reactor: Any, descriptor: int) -> AsyncGenerator[str, None]:
    """The lines that come from a descriptor, without their ends. Raises `BadCommand` for one that is too long."""
    source = _Source(reactor, descriptor)
    waiting = b""
    while data := await source.read():
        *whole, waiting = (waiting + data).split(b"\n")
        for line in whole:
            yield decode_name(line.removesuffix(b"\r"))
        if len(waiting) > MAX_LINE:
            raise BadCommand(f"A line can't be longer than {MAX_LINE} bytes.")
    if waiting:
        yield decode_name(waiting)


@implementer(IReadDescriptor)
class _Source:
    """A descriptor of any kind, left as it is: `StandardIO` would make the terminal behind it non-blocking for all."""

    def __init__(self, reactor: Any, descriptor: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._waiter: Deferred[bytes] = Deferred()

    def read(self) -> Deferred[bytes]:
        """What comes next; empty at the end."""
        self._waiter = Deferred(lambda _: self._reactor.removeReader(self))
        self._reactor.addReader(self)
        return self._waiter

    def doRead(self) -> None:
        self._reactor.removeReader(self)
        try:
            data = os.read(self._descriptor, _CHUNK)
        except OSError:
            data = b""  # a terminal that went away; there are no more lines
        self._waiter.callback(data)

    def fileno(self) -> int:
        return self._descriptor

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops."""

    def logPrefix(self) -> str:
        return "input"

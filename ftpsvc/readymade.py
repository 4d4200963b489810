"""A protocol that is there before its connection is."""

from __future__ import annotations

from typing import Generic, TypeVar

from twisted.internet.protocol import Factory, Protocol

P = TypeVar("P", bound=Protocol)


class ReadyMade(Factory, Generic[P]):
    """Hands it out, to the one connection that it is for."""

    noisy = False

    def __init__(self, protocol: P) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> P:
        return self._protocol

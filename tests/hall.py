"""A server in memory that many clients come to, from addresses of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import support
from links import RawPeer
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock

from ftpsvc.accounts import AnonymousOnly
from ftpsvc.commons import Common
from ftpsvc.factory import ServerFactory
from ftpsvc.limits import Limits
from ftpsvc.records import Happening, Record, SessionEvent


class Visitor:
    """One client of bare bytes."""

    def __init__(self, hall: Hall, host: str, cut: Callable[[], int]) -> None:
        family = IPv6Address if ":" in host else IPv4Address
        self.peer = RawPeer()
        self.protocol: Any = hall.factory.buildProtocol(family("TCP", host, 40_000))
        self.link = support.linked(hall.clock, self.protocol, self.peer, cut)
        self.link.pump()

    def ask(self, *parts: bytes) -> list[str | support.Sequence]:
        self.link.client_end.write(b"".join(parts))
        self.link.pump()
        received = bytes(self.peer.received)
        self.peer.received.clear()
        return support.parse_answers(received)

    def codes(self, *parts: bytes) -> list[int | str]:
        return [int(a[:3]) if isinstance(a, str) else a.end[:4] for a in self.ask(*parts)]

    def log_in(self, name: str = "anonymous", password: str = "x") -> list[int | str]:
        return self.codes(f"USER {name}\r\nPASS {password}\r\n".encode())

    def leave(self) -> None:
        self.link.close()

    @property
    def is_closed(self) -> bool:
        return self.peer.is_lost


class Hall:
    """The server."""

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        accounts: Any = None,
        run: Any = support.at_once,
        clock: Clock | None = None,
        common: Common | None = None,
    ) -> None:
        self.clock = clock or support.make_clock()
        disk = support.local_disk(folder, run)
        self.factory = ServerFactory(accounts or AnonymousOnly(disk), self.clock, run, limits, common=common)
        support.LEFT_OPEN.append(self)

    def visit(self, host: str = "192.0.2.1", cut: Callable[[], int] = lambda: 1 << 16) -> Visitor:
        return Visitor(self, host, cut)

    def close(self) -> None:
        self.factory._refusals.flush()


class Kept(list[Record]):
    """All records of a server, from now on."""

    def __init__(self, factory: Any) -> None:
        super().__init__()
        self._flush = factory.records.flush
        factory.records.listeners.append(self.extend)

    def of(self, kind: type[Any]) -> list[Any]:
        self._flush()
        return [record for record in self if isinstance(record, kind)]

    def happenings(self) -> list[Happening]:
        return [event.happening for event in self.of(SessionEvent)]

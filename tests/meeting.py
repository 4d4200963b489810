"""A client that connects in memory, with TLS as it likes, to a server of ours or to one that the test plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import support
from authority import HOST
from links import Link, RawPeer
from twisted.internet.defer import Deferred, succeed

from ftpsvc.accounts import AnonymousOnly
from ftpsvc.clienttls import ClientTLS, Protection
from ftpsvc.factory import ServerFactory
from ftpsvc.knownservers import KnownServers
from ftpsvc.remote import Remote
from ftpsvc.tls import ServerTLS

PORT = 5000


class Meeting:
    """An endpoint in memory: what is connected to is `server`, or a `RawPeer` that the test speaks for."""

    def __init__(self, folder: Path, server: Any = None) -> None:
        self.clock = support.make_clock()
        self.known = KnownServers(folder / "state" / "known_servers")
        self.peer = RawPeer()
        self.server = server or self.peer
        self.link: Link

    def connect(self, factory: Any) -> Deferred[Any]:
        protocol = factory.buildProtocol(None)
        self.link = support.linked(self.clock, self.server, protocol)
        return succeed(protocol)

    def begin(self, protection: Protection = Protection.OFFERED, expected: str = "", host: str = HOST) -> Began:
        self.tls = ClientTLS(host, PORT, self.known, protection, expected)
        work = support.start(Remote.connect_endpoint(self.clock, self, tls=self.tls))  # type: ignore[arg-type]
        return Began(self, work)

    # -- as a server that is played

    def say(self, *lines: str) -> None:
        self.link.server_end.write("".join(f"{line}\r\n" for line in lines).encode())
        self.link.pump()

    def agree(self, tls: ServerTLS) -> None:
        """Say yes to AUTH, and do it."""
        self.link.server_end.write(b"234 x\r\n")
        self.link.server_end.startTLS(tls)
        self.link.pump()

    def heard(self) -> str:
        """What has come since the last time, in clear or out of TLS."""
        self.link.pump()
        received = self.peer.received.decode()
        self.peer.received.clear()
        return received


class Began:
    """A connection that is being made."""

    def __init__(self, meeting: Meeting, work: support.Started) -> None:
        self._meeting = meeting
        self._work = work

    def result(self) -> Remote:
        if hasattr(self._meeting, "link"):
            self._meeting.link.pump()
        remote = self._work.result()
        assert isinstance(remote, Remote)
        return remote

    @property
    def is_over(self) -> bool:
        self._meeting.link.pump()
        return self._work.is_over


def meeting_ours(folder: Path, tls: ServerTLS | None) -> Meeting:
    """With a server of ours, over `folder / "root"`."""
    root = folder / "root"
    root.mkdir(exist_ok=True)
    meeting = Meeting(folder)
    factory = ServerFactory(AnonymousOnly(support.local_disk(root)), meeting.clock, support.at_once, tls=tls)
    meeting.server = factory.buildProtocol(None)
    return meeting

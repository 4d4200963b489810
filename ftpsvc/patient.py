"""The server that `ftpsvc doctor` examines: the connection with it, and what is known of it so far."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from ftpsvc.client import ClientProtocol
from ftpsvc.clienttls import ClientTLS, Protection
from ftpsvc.credentials import Login, Person, Run
from ftpsvc.knownservers import KnownServers
from ftpsvc.model import TransferError
from ftpsvc.remote import Remote
from ftpsvc.streamclient import REFUSALS
from ftpsvc.targets import Target
from ftpsvc.wire import Reply, features_of

#: How many seconds one address may take to accept a connection. Three lost packets, or a firewall that drops them.
CONNECT_TIME = 8.0

#: How many seconds a server may be silent in the middle of something. A login may be delayed by ten.
SILENCE = 20.0

#: How many seconds a good-bye may take.
FAREWELL = 3.0


class Looking(KnownServers):
    """The servers that are known. Who only looks trusts nobody in the place of the person."""

    def remember(self, host: str, port: int, what: str) -> None:
        pass


@dataclass(slots=True)
class Patient:
    """A server, and how far it has been examined."""

    reactor: Any
    target: Target
    known: Looking
    run: Run
    person: Person | None = None
    addresses: list[str] = field(default_factory=list)
    is_greeted: bool = False
    is_proven: bool = False  #: it is the server that is meant: only then it gets a password
    is_inline: bool = False  #: MODE I has been seen to work
    data_port: int = 0
    folder: str = "/"
    permissions: str | None = None  #: in this folder; the letters of RFC 3659, section 7.5.5
    stored: str = ""  #: what is still to be removed
    login: Login | None = None
    endpoint: IStreamClientEndpoint = field(init=False)
    protocol: ClientProtocol = field(init=False)
    tls: ClientTLS = field(init=False)
    remote: Remote = field(init=False)
    secured: Deferred[Reply] | None = None  #: TLS from the first byte
    features: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        """A protocol and its TLS, for a connection that is about to be made."""
        target = self.target
        self.tls = ClientTLS(target.host, target.port, self.known, target.protection, target.fingerprint)
        self.protocol = ClientProtocol(self.reactor, SILENCE)
        if target.protection is Protection.IMPLICIT:
            self.secured = self.protocol.expect_tls()

    def way(self, host: str, port: int) -> IStreamClientEndpoint:
        kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        way: IStreamClientEndpoint = kind(self.reactor, host, port, CONNECT_TIME)
        return way

    def dial(self, port: int) -> IStreamClientEndpoint:
        """A data connection, always to the server itself."""
        self.data_port = port
        return self.way(self.peer, port)

    @property
    def peer(self) -> str:
        host: str = self.protocol.transport.getPeer().host
        return host

    async def ask_features(self) -> None:
        self.features = {}
        with contextlib.suppress(*REFUSALS):
            self.features = features_of(await self.protocol.ask("FEAT"))

    async def leave(self) -> None:
        """Remove what may have been left, say good-bye, and close."""
        if not hasattr(self, "protocol") or self.protocol.transport is None:
            return
        if not self.is_greeted:
            self.protocol.close()
            return
        commands = [("DELE", self.stored)] if self.stored else []
        try:
            for verb, argument in [*commands, ("QUIT", None)]:
                with contextlib.suppress(*REFUSALS):
                    await self.protocol.ask(verb, argument).addTimeout(FAREWELL, self.reactor)
        except (TransferError, TimeoutError):
            pass  # who doesn't answer is left all the same
        finally:
            self.protocol.close()

"""What all sessions of one server share, and the making of a session for each connection."""

from __future__ import annotations

import time
from typing import Any
from weakref import WeakSet

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from ftpsvc.digests import KnownDigests
from ftpsvc.limits import Limits
from ftpsvc.passive import PassiveOptions
from ftpsvc.proxied import origin_of
from ftpsvc.records import TransferLog
from ftpsvc.server import ServerProtocol
from ftpsvc.session import Accounts, Required
from ftpsvc.threads import Run, few_at_once
from ftpsvc.tls import ServerTLS

#: How many threads of the pool may compute digests for HASH at once. The others are left to those who move files.
MAX_ASIDE = 2


class ServerFactory(Factory):
    """Makes a `ServerProtocol` for each connection, and holds what all of them share."""

    _log = Logger()
    noisy = False

    def __init__(
        self,
        accounts: Accounts,
        reactor: Any,
        run: Run,
        limits: Limits | None = None,
        passive: PassiveOptions = PassiveOptions(),  # noqa: B008 (frozen)
        tls: ServerTLS | None = None,
        required: Required = Required.NONE,
    ) -> None:
        """`reactor` is the clock, and makes data connections; `run` is where work that waits for a disk is done."""
        self.accounts = accounts
        self.clock = reactor
        self.run = run
        self.aside = few_at_once(run, MAX_ASIDE)
        self.limits = limits or Limits()
        self.passive = passive
        self.tls = tls
        self.required = required
        self.digests = KnownDigests(time.time)
        self._sessions: WeakSet[ServerProtocol] = WeakSet()
        self.transfers = TransferLog(lambda lines: self._log.info("{transfers}", transfers=lines), reactor)

    def buildProtocol(self, addr: IAddress | None) -> ServerProtocol:
        protocol = ServerProtocol(self, origin_of(addr))
        protocol.factory = self
        self._sessions.add(protocol)
        return protocol

    async def stop(self) -> None:
        """End all sessions. Back when each has cleaned up behind itself, and every commit has come to its end."""
        endings = [Deferred.fromCoroutine(session.stop()) for session in self._sessions]
        for ending in endings:
            ending.addErrback(lambda failure: self._log.failure("A session did not end in order", failure))
        await DeferredList(endings)
        self.transfers.flush()

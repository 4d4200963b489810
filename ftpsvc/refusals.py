"""Connections that are turned away: a 421 that says why, at little cost, and a log that can still be read."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from ftpsvc.counts import Counts
from ftpsvc.limits import FAREWELL_LIMIT
from ftpsvc.model import OverLimit
from ftpsvc.recording import Recorder, Visit
from ftpsvc.records import Happening
from ftpsvc.wire import format_reply, reply_for

#: How many are told over TLS at a time. Each handshake costs a millisecond, and that is what a limit is to save; beyond
#: these the connection just ends.
MAX_TOLD_BY_TLS = 20

#: For how many seconds further connections that a limit turns away are counted, before a line says how many.
GATHER = 10.0


class Refusals:
    """Those of one server."""

    _log = Logger()

    def __init__(self, clock: Any, records: Recorder, counts: Counts) -> None:
        self.clock = clock
        self._records = records
        self._counts = counts
        self.told_by_tls = 0
        self._more: dict[str, int] = {}  #: by limit, those that were not logged yet
        self._calls: dict[str, IDelayedCall] = {}

    def turn_away(self, peer: str, why: OverLimit) -> Protocol:
        """Whom a new connection gets to speak to. All are counted, and recorded as far as the log can still be read."""
        self._counts.refused(why.limit)
        if why.limit in self._more:
            self._more[why.limit] += 1
        else:
            self._more[why.limit] = 0
            self._calls[why.limit] = self.clock.callLater(GATHER, self._log_more, why.limit)
            Visit(self._records, self.clock, peer, 0).tell(Happening.REFUSED, cause=str(why), limit=why.limit)
            self._records.flush()
        return TurnedAway(self, why)

    def _log_more(self, limit: str) -> None:
        del self._calls[limit]
        count = self._more.pop(limit)
        if count:
            self._log.warn("{limit} has turned away {count} more connections", limit=limit, count=count)

    def flush(self) -> None:
        """Log what was counted. To be called once more at the end."""
        for limit, call in list(self._calls.items()):
            call.cancel()
            self._log_more(limit)


class TurnedAway(Protocol):
    """Says why, and closes."""

    def __init__(self, refusals: Refusals, why: OverLimit) -> None:
        self._refusals = refusals
        self._why = why
        self._deadline: IDelayedCall | None = None
        self.transport: Any = None

    def connectionMade(self) -> None:
        if ISSLTransport.providedBy(self.transport):
            if self._refusals.told_by_tls >= MAX_TOLD_BY_TLS:
                self.transport.abortConnection()
                return
            self._refusals.told_by_tls += 1
            self._deadline = self._refusals.clock.callLater(FAREWELL_LIMIT, self.transport.abortConnection)
        self.transport.write(format_reply(reply_for(self._why)))
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._deadline is not None:
            self._refusals.told_by_tls -= 1
            if self._deadline.active():
                self._deadline.cancel()

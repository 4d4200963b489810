"""What all sessions of one server share, and the making of a session for each connection."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakSet

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger, LogLevel

from ftpsvc.addresses import Origin
from ftpsvc.bans import Bans
from ftpsvc.blocklist import Blocklist
from ftpsvc.commons import Common
from ftpsvc.connections import Connections, source_of
from ftpsvc.counts import Counts
from ftpsvc.digests import KnownDigests
from ftpsvc.draining import Draining
from ftpsvc.jsonlog import RECORDS
from ftpsvc.limits import Limits
from ftpsvc.logins import Door
from ftpsvc.model import Busy, OverLimit
from ftpsvc.passive import PassiveOptions
from ftpsvc.passiveports import PassivePorts
from ftpsvc.proxied import origin_of
from ftpsvc.rates import Rates
from ftpsvc.recording import Recorder
from ftpsvc.records import Record
from ftpsvc.refusals import Refusals
from ftpsvc.server import ServerProtocol
from ftpsvc.session import Accounts
from ftpsvc.states import Required
from ftpsvc.threads import Run, few_at_once
from ftpsvc.tls import ServerTLS
from ftpsvc.verbs import VERBS

#: How many threads of the pool may compute digests for HASH at once. The others are left to those who move files.
MAX_ASIDE = 2

#: How many files may be under a HASH at once. They take turns, a chunk each, so the size of one is no burden to the
#: others, and has no limit. Their number has: each holds a descriptor and a chunk, and each makes the others slower.
MAX_DIGESTS = 16


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
        common: Common | None = None,
    ) -> None:
        """`reactor` is the clock, and makes data connections; `run` is where work that waits for a disk is done;
        `common` is where all that limits hold together is counted."""
        common = common or Common()
        self.accounts = accounts
        self.clock = reactor
        self.run = run
        self.aside = few_at_once(run, MAX_ASIDE)
        self.limits = limits or Limits()
        self.tls = tls
        self.required = required
        self.digests = KnownDigests(time.time)
        self.connections = Connections(self.limits, reactor, common)
        self.bans = Bans(self.limits, reactor, common)
        self.blocklist = Blocklist(reactor)
        self.door = Door(self.limits, reactor, self.connections, self.bans, common)
        self.passive_ports = PassivePorts(0, reactor, common)
        self.take_data_connections(passive)
        self.rates = Rates(self.limits, reactor, common)
        self.counts = Counts(VERBS)
        self.records = Recorder(reactor, self.counts.recorded, self._log_records)
        self.next_number = itertools.count(1).__next__
        self._refusals = Refusals(reactor, self.records, self.counts)
        self._digests_under_way = 0
        self._sessions: WeakSet[ServerProtocol] = WeakSet()
        self.expected: set[object] = set()
        self.draining = Draining(self._sessions, reactor, self.limits, self.expected)

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        origin = origin_of(addr)
        source = source_of(addr, self.limits)
        if (refusal := self.refusal(origin, source)) is not None:
            return refusal
        protocol = ServerProtocol(self, origin, source)
        protocol.factory = self
        self.connections.came(protocol, source)
        self._sessions.add(protocol)
        return protocol

    def refusal(self, origin: Origin, source: str) -> Protocol | None:
        """Whom a new connection gets to speak to, if there is no room for it."""
        try:
            self.draining.demand_not_begun()
            self.blocklist.demand_welcome(origin.address)
            self.bans.demand_none(source)
            self.connections.demand_room(source)
        except OverLimit as why:
            return self._refusals.turn_away(origin.name, why)
        return None

    def take_data_connections(self, passive: PassiveOptions) -> None:
        """In this way from now on, and no more at once than the limit allows; for sessions that are to come."""
        self.passive = passive
        self.passive_ports.most = min((most for most in (self.limits.passive, len(passive.ports)) if most), default=0)

    @contextlib.contextmanager
    def digesting(self) -> Iterator[None]:
        """One more digest is computed. Raises `Busy` while too many are."""
        if self._digests_under_way >= MAX_DIGESTS:
            raise Busy("The server is computing digests for others. Try again in a moment.")
        self._digests_under_way += 1
        try:
            yield
        finally:
            self._digests_under_way -= 1

    def _log_records(self, records: Sequence[Record]) -> None:
        """A line each. Those of the same moment share an event, for that is what a log costs."""
        level = LogLevel.debug if all(record.is_quiet for record in records) else LogLevel.info
        self._log.emit(level, "{lines}", lines="\n".join(map(str, records)), **{RECORDS: records})

    def heard(self, records: Sequence[Record]) -> None:
        """Records of another process of this server, which were logged as they came."""
        self.records.hand_on(records, but=self._log_records)

    @property
    def sessions(self) -> Iterable[ServerProtocol]:
        """All that are connected, and some that have just gone."""
        return self._sessions

    @property
    def transfers_under_way(self) -> int:
        """How many transfers there are at the moment."""
        return sum(session.is_transferring for session in self._sessions)

    async def stop(self) -> None:
        """See all sessions out. Nobody else may be let in by then."""
        await self.draining.run()
        self._refusals.flush()
        self.records.flush()

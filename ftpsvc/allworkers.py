"""What an operator sees of a server of several processes, and may do there: the same as of one."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from ftpsvc.diskspace import DiskSpace
from ftpsvc.factory import ServerFactory
from ftpsvc.limits import Network
from ftpsvc.livelist import Row
from ftpsvc.overview import Daemon, Glimpse, Now, Overview, shown
from ftpsvc.throughput import LOOK_EVERY, Moved
from ftpsvc.workerlink import Handlers, Unanswered
from ftpsvc.workers import Workers

NOTHING = Now(0, 0, 0.0, 0, 0)


class AllWorkers(Overview):
    """The parent's. What has ended it knows from the records; what goes on it asks the workers."""

    def __init__(self, factory: ServerFactory, space: DiskSpace, daemon: Daemon, workers: Workers) -> None:
        super().__init__(factory, space, daemon)
        self._workers = workers
        self.last = NOTHING  #: how much went on when it was looked last
        self._looking = LoopingCall(self._look)
        self._looking.clock = factory.clock
        workers.banned = self._banned

    def start(self) -> None:
        super().start()
        self._looking.start(LOOK_EVERY, now=False)

    def stop(self) -> None:
        if self._looking.running:
            self._looking.stop()
        super().stop()

    def _look(self) -> Deferred[Now]:
        """For the throughput, which can't wait for an answer."""
        return Deferred.fromCoroutine(self.now())

    async def now(self) -> Now:
        answers = (await self._workers.ask_all("now")).values()
        self.last = Now(*map(sum, zip(NOTHING, *answers, strict=True)))
        return self.last

    def _finished(self) -> Moved:
        over = super()._finished()
        return Moved(over.up + self.last.up, over.down + self.last.down)

    async def rows(self) -> Iterable[Row]:
        answers = await self._workers.ask_all("rows")
        return sorted(Row(*row) for rows in answers.values() for row in rows)

    async def glimpse(self, most: int) -> Glimpse:
        answers = (await self._workers.ask_all("glimpse", most=most)).values()
        transfers, others = (sorted(Row(*row) for answer in answers for row in answer[n]) for n in (0, 1))
        return Glimpse(transfers[:most], others[:most])

    async def kick(self, number: int) -> Row | None:
        try:
            row = await self._workers.ask(self._workers.number_of(number), "kick", session=number)
        except Unanswered:
            return None
        return None if row is None else Row(*row)

    async def ban(self, network: Network, seconds: float | None) -> int:
        self.block(network, seconds)
        return sum((await self._workers.ask_all("ban", network=shown(network), seconds=seconds)).values())

    async def unban(self, network: Network) -> bool:
        # Failed logins are counted in common, so whoever comes first forgives them, and the others find none.
        lifted = (await self._workers.ask_all("unban", network=shown(network))).values()
        return await super().unban(network) or any(lifted)

    async def drain(self) -> dict[str, Any]:
        now = await self.now()
        return await super().drain() | {"sessions": now.sessions, "transfers": now.transfers}

    def _banned(self) -> list[tuple[str, float | None]]:
        return [(shown(network), left) for network, left in self._factory.blocklist.listed()]


def answers_of(overview: Overview) -> Handlers:
    """What a worker answers its parent."""

    async def rows() -> list[Any]:
        return list(await overview.rows())

    async def kick(session: int) -> Row | None:
        return await overview.kick(session)

    async def ban(network: str, seconds: float | None) -> int:
        return await overview.ban(ip_network(network), seconds)

    async def unban(network: str) -> bool:
        return await overview.unban(ip_network(network))

    asked = {"now": overview.now, "rows": rows, "glimpse": overview.glimpse}
    return {name: _deferred(what) for name, what in {**asked, "kick": kick, "ban": ban, "unban": unban}.items()}


def _deferred(asked: Any) -> Any:
    return lambda **about: Deferred.fromCoroutine(asked(**about))

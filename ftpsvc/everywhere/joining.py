"""One process's part in what holds over all nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall, deferLater

from ftpsvc.blocklist import Blocklist
from ftpsvc.commons import Common
from ftpsvc.connections import ALL
from ftpsvc.everywhere import scripts
from ftpsvc.everywhere.address import Address
from ftpsvc.everywhere.banning import Banning
from ftpsvc.everywhere.claims import UsageEverywhere
from ftpsvc.everywhere.counting import CountsEverywhere, Mirror, is_everywhere
from ftpsvc.everywhere.link import Link
from ftpsvc.everywhere.resp import Away, Word
from ftpsvc.everywhere.scripts import Script
from ftpsvc.usage import Used

#: How often, in seconds, a run says that it is there; and for how long it may be silent before the others forget what
#: it has counted. A process that lives is never late by half of that.
BEAT = 2.0
EXPIRE = 10.0

#: For how many seconds changes of counts are gathered before they are told, and for how many more for each run that
#: hears of them: what is told grows with the square of their number, and Redis tells some hundred thousand a second.
GATHER = 0.005
GATHER_FOR_EACH = 0.001

#: How many counts are told in one go, so that Redis serves others in between.
BATCH = 500

#: For how many seconds to wait before asking again for a turn that another node has.
TURN_POLL = 0.01

#: For how many seconds the last words may take.
LAST_WORDS = 1.0


class Joined:
    """Counts and remembers with the other nodes."""

    def __init__(self, reactor: Any, address: Address, run: str, common: Common, room: int | None) -> None:
        """`run`: what this process is called, the node's name and a dot in front. `common`: where the node counts;
        from now on it does so with the others. `room`: how many connections it may have whatever may be in all."""
        self.clock = reactor
        self._link = Link(reactor, address, run)
        self._link.greeted = self._greeted
        self._link.heard = self._heard
        self._node = run.partition(".")[0]
        self._mirror = Mirror(self._node)
        self._counts = CountsEverywhere(common.counts, self._mirror, {ALL: room}, self._changed)
        self._banning = Banning(self._link, common.failures, reactor)
        self.failed, self.forgiven = self._banning.failed, self._banning.forgiven
        self.block, self.unblock = self._banning.block, self._banning.unblock
        self._usages: dict[str, UsageEverywhere] = {}
        self._flushing: IDelayedCall | None = None
        self._beating = LoopingCall(self._beat)
        self._beating.clock = reactor
        self._since = 0.0  #: when the connection came about
        self._ahead = 0.0  #: by how many seconds Redis' clock is ahead of the one here
        common.counts = self._counts
        common.everywhere = self
        common.pause = lambda: deferLater(reactor, TURN_POLL)

    # -- its life

    def start(self) -> None:
        self._link.start()
        self._beating.start(BEAT, now=False)

    async def stop(self) -> None:
        """Have nothing counted for this process any more."""
        self._beating.stop()
        for usage in self._usages.values():
            usage.settle()
        self.flush()
        if self._flushing is not None:
            self._flushing.cancel()
        left = self._link.tell(scripts.LEAVE, self._link.run)
        left.addTimeout(LAST_WORDS, self.clock, lambda *_: None)
        await left
        await self._link.stop()

    def holds(self, blocklist: Blocklist, send_away: Callable[[Any], object]) -> None:
        """Whom operators have banned goes there from now on; `send_away` ends the sessions from a network."""
        self._banning.blocklist = blocklist
        self._banning.send_away = send_away

    def usage(self, count: Callable[[], Deferred[Used]], _: object, common: Common, home: str) -> UsageEverywhere:
        """What lies in a home, for whoever has accounts with quotas there."""
        usage = self._usages[home] = UsageEverywhere(self, count, common, home)
        return usage

    @property
    def is_up(self) -> bool:
        """Whether Redis is there to be asked."""
        return self._link.is_up

    @property
    def others(self) -> int:
        """How many other nodes there are, as far as is known."""
        return self._mirror.nodes

    def now(self) -> float:
        return float(self.clock.seconds()) + self._ahead

    def ask(self, script: Script, *words: Word) -> Deferred[Any]:
        return self._link.ask(script, *words)

    def neighbour_died(self, run: str) -> None:
        """Nobody need wait for what another process of this node has counted to be forgotten."""
        self._link.tell(scripts.LEAVE, f"{self._node}.{run}")

    # -- counts

    async def more(self, key: str, most: int | None = None) -> bool:
        """One more in one step over all nodes, unless there are `most` already; whether it was counted."""
        counts = self._counts
        if not counts.here.more(key, most):
            return False
        if not is_everywhere(key):
            return True
        own = counts.add(key)
        try:
            answer = await self.ask(scripts.MORE, key, own, -1 if most is None else most)
        except Away:
            answer = None
        except BaseException:
            counts.less(key)
            raise
        if answer == _UNKNOWN:
            self._tell_all()
        if answer is None or answer == _UNKNOWN:
            answer = most is None or counts.count(key) <= most
        if not answer:
            counts.less(key)
        return bool(answer)

    def _changed(self) -> None:
        """There is something to tell. What changes while nobody hears of it is told with all else afterwards."""
        if not self._link.is_up:
            self._counts.unsaid.clear()
        elif self._flushing is None:
            delay = max(GATHER, self._mirror.runs * GATHER_FOR_EACH)
            self._flushing = self.clock.callLater(delay, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        self.flush()

    def flush(self) -> None:
        while batch := self._counts.take_unsaid(BATCH):
            told = self.ask(scripts.TOLD, *(word for pair in batch.items() for word in pair))
            told.addCallbacks(self._was_told, _ignore)

    def _was_told(self, answer: int) -> None:
        if answer == _UNKNOWN:
            self._tell_all()

    def _tell_all(self) -> None:
        """The others have forgotten this run, which was asleep or couldn't be heard for too long."""
        self.ask(scripts.BEAT, 0).addErrback(_ignore)
        self._counts.unsaid.update(self._counts.own)
        self.flush()

    def _beat(self) -> None:
        if self._link.is_up:
            # Whoever has just come knows nothing of who else had no connection.
            may_forget = self.clock.seconds() - self._since > EXPIRE
            beat = self.ask(scripts.BEAT, round(EXPIRE * 1000) if may_forget else 0)
            beat.addCallbacks(lambda was_known: None if was_known else self._tell_all(), _ignore)

    # -- what is heard

    def _heard(self, news: dict[str, Any]) -> None:
        kind, is_mine = news["kind"], news["by"] == self._link.run
        if "version" in news:
            self._banning.heard(news, is_mine)
        elif kind == "gone" and news["run"] != self._link.run:
            self._mirror.gone(news["run"])  # also if it was this process that has noticed
        elif kind == "gone" and not is_mine and self._link.is_up:
            self._tell_all()
        elif kind == "wanted" and (usage := self._usages.get(news["home"])) is not None:
            usage.settle()
        elif is_mine:
            return
        elif kind == "counts":
            self._mirror.told(news["run"], news["counts"])
        elif kind == "come":
            self._mirror.told(news["run"], {})

    async def _greeted(self) -> str:
        """Be up to date, and tell what there is to tell. For the log. Raises `Away`."""
        now, runs, keys, *bans = await self.ask(scripts.JOIN)
        self._since = self.clock.seconds()
        self._ahead = now / 1000 - self._since
        others = {run.decode() for run in runs} - {self._link.run}
        self._mirror.those(others)
        self._banning.catch_up(now, *bans)
        asked = [(run, self.ask(scripts.COUNTS_OF, run)) for run in sorted(others) if self._mirror.is_elsewhere(run)]
        for run, counts in asked:
            flat = await counts
            self._mirror.replace(run, dict(zip(map(_text, flat[::2]), flat[1::2], strict=True)))
        self._counts.unsaid.update(self._counts.own, map(_text, keys))
        self.flush()
        for usage in self._usages.values():
            usage.catch_up()
        return f"holds the limits for this node and {self.others} more"


#: What Redis says to a run that it has forgotten.
_UNKNOWN = -1


def _ignore(failure: Any) -> None:
    failure.trap(Away, CancelledError)


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")

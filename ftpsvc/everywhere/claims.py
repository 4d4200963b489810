"""What lies in a home that has a quota, over all nodes.

Redis has the numbers, and lets the home grow or not. So that not each piece of an upload has to ask, a process claims
some ahead, but only a sixteenth of what is left; so a quota is used to its end, and never beyond. What was claimed
ahead is given back when nobody uploads any more, or as soon as another node would have to refuse somebody for want of
it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater

from ftpsvc.commons import Common
from ftpsvc.everywhere import scripts
from ftpsvc.everywhere.resp import Away, Word
from ftpsvc.everywhere.scripts import Script
from ftpsvc.model import Busy
from ftpsvc.threads import done_with
from ftpsvc.usage import COUNT_AGAIN, UPLOADS, Usage, Used

#: How much is claimed ahead, in bytes and in files: a gigabyte a second asks Redis a hundred times.
AHEAD = 8 * 1024 * 1024
FILES_AHEAD = 64

#: For how many seconds it is kept when nobody uploads: the next file of a tree comes within that.
LINGER = 1.0

#: For how many seconds to wait for what others have claimed ahead, before somebody is refused.
WANTED_TIME = 0.05


class Asked(Protocol):
    """What does the asking."""

    clock: Any

    def ask(self, script: Script, *words: Word) -> Deferred[Any]:
        """Have Redis do something. Fails with `Away`."""

    def flush(self) -> None:
        """Tell it what was counted here, before anything that is asked next."""

    def now(self) -> float:
        """Its time."""


class UsageEverywhere(Usage):
    """What lies in one home. What is remembered here (`Common.homes`) is what Redis has said last."""

    def __init__(self, asked: Asked, count: Callable[[], Deferred[Used]], common: Common, home: str) -> None:
        super().__init__(count, asked.now, common, home)
        self._asked = asked
        self._ahead = Used()  #: what was claimed ahead and is left
        self._terms: tuple[int | None, int | None] = None, None  #: the quota that this was claimed under
        self._alone = Used()  #: by how much the home has grown of which Redis doesn't know
        self._uploading = 0
        self._settling: IDelayedCall | None = None

    @property
    def size(self) -> int:
        return max(super().size - self._ahead.size, 0)

    @property
    def files(self) -> int:
        return max(super().files - self._ahead.files, 0)

    # -- counting

    def look_again(self) -> None:
        if self._counting is None:
            done = self._counting = Deferred()
            look = Deferred.fromCoroutine(self._look_again())
            look.addErrback(self._not_counted).addBoth(self._has_looked, done)

    def _has_looked(self, _: object, done: Deferred[Any]) -> None:
        self._counting = None
        done.callback(None)

    async def _look_again(self) -> None:
        await self.look()
        known = self._known
        if known is None or self._clock() - known.counted > COUNT_AGAIN:
            changes = known.changes if known else 0
            used = await self._count()
            self._asked.flush()  # who uploads here
            try:
                self._note(await self._asked.ask(scripts.LEARN, self._home, used.size, used.files, round(changes)))
            except Away:
                self._learn(used, changes)

    async def look(self) -> None:
        try:
            self._note(await self._asked.ask(scripts.LOOK, self._home))
        except Away:
            pass  # then by what is known

    def _note(self, state: list[int] | None) -> None:
        note = None if state is None else (state[0], state[1], state[2] / 1000, state[3])
        self._common.homes.change(self._home, lambda _: note)

    # -- growing

    async def claim(self, size: int, files: int, most: int | None, most_files: int | None) -> str:
        if self._terms != (most, most_files):
            self.settle()
            self._terms = most, most_files
        need = self._take_of_what_is_ahead(Used(size, files))
        if need.size <= 0 and need.files <= 0:
            if any(need):
                self.add(*need)
            return ""
        taken = Used(size - need.size, files - need.files)
        claim = Deferred.fromCoroutine(self._claim_everywhere(need, taken, most, most_files))
        try:
            return await done_with(claim)
        except CancelledError:
            # Nobody writes what is claimed there.
            claim.addCallback(lambda over: None if over else self.add(-size, -files))
            raise

    def _take_of_what_is_ahead(self, need: Used) -> Used:
        """What still has to be claimed."""
        ahead = self._ahead
        taken = Used(min(max(need.size, 0), ahead.size), min(max(need.files, 0), ahead.files))
        self._ahead = Used(ahead.size - taken.size, ahead.files - taken.files)
        return Used(need.size - taken.size, need.files - taken.files)

    async def _claim_everywhere(self, need: Used, taken: Used, most: int | None, most_files: int | None) -> str:
        """What there would be too much of; and then what was taken of what is ahead is there again."""
        over = ""
        try:
            over = await self._ask_for(need, Used(AHEAD, FILES_AHEAD), most, most_files)
            if over:
                await self._asked.ask(scripts.WANTED, self._home)
                await deferLater(self._asked.clock, WANTED_TIME)
                over = await self._ask_for(need, Used(), most, most_files)
        except Away:
            over = self.claim_here(*need, most, most_files)
            if not over:
                self._alone = Used(self._alone.size + need.size, self._alone.files + need.files)
        except Busy:
            self._hold(taken)
            raise
        if over:
            self._hold(taken)
        return over

    async def _ask_for(self, need: Used, ahead: Used, most: int | None, most_files: int | None) -> str:
        self._asked.flush()  # who uploads here
        limits = (-1 if limit is None else limit for limit in (most, most_files))
        outcome, *granted = await self._asked.ask(scripts.CLAIM, self._home, *need, *ahead, *limits)
        if outcome:
            if outcome < 0:
                self._note(None)
                return self.claim_here(*need, most, most_files)  # which says that it has to be counted
            return OVER[outcome]
        self._note(granted[2:])
        self._hold(Used(granted[0] - need.size, granted[1] - need.files))
        return ""

    def add(self, size: int, files: int = 0) -> None:
        super().add(size, files)
        grown = self._asked.ask(scripts.GROW, self._home, size, files)
        grown.addCallbacks(self._note, self._was_alone, errbackArgs=(size, files))

    def _was_alone(self, failure: Any, size: int, files: int) -> None:
        failure.trap(Away)
        self._alone = Used(self._alone.size + size, self._alone.files + files)

    # -- what is claimed ahead

    def _hold(self, more: Used) -> None:
        if not any(more):
            return
        self._ahead = Used(self._ahead.size + more.size, self._ahead.files + more.files)
        if self._settling is None:
            # As long as there is some, no count of the home is right.
            self._common.counts.more(UPLOADS + self._home)
            self._settling = self._asked.clock.callLater(LINGER, self._settle_unless_busy)

    def _settle_unless_busy(self) -> None:
        if self._uploading:
            self._settling = self._asked.clock.callLater(LINGER, self._settle_unless_busy)
        else:
            self.settle()

    def settle(self) -> None:
        """Give back what was claimed ahead."""
        if self._settling is None:
            return
        if self._settling.active():
            self._settling.cancel()
        self._settling = None
        ahead, self._ahead = self._ahead, Used()
        if any(ahead):
            self.add(-ahead.size, -ahead.files)
        self._common.counts.less(UPLOADS + self._home)

    def begin(self, is_resumed: bool = False) -> None:
        super().begin(is_resumed)
        self._uploading += 1

    def end(self, is_resumed: bool = False) -> None:
        super().end(is_resumed)
        self._uploading -= 1

    def _usable(self, counted: int | None) -> float:
        return counted or 0  # the other nodes tell neither what they keep nor what an upload has

    def left_parts_alone(self, since: float) -> bool:
        return False  # what uploads at other nodes have isn't told

    # -- when there is a connection again

    def catch_up(self) -> None:
        """Tell Redis what has changed without it."""
        known = self._known
        if known is not None:
            alone, self._alone = self._alone, Used()
            told = self._asked.ask(scripts.BACK, self._home, round(known.size), round(known.files), *alone)
            told.addCallbacks(self._note, self._was_alone, errbackArgs=alone)


#: What there would be too much of, by what `CLAIM` says.
OVER = {1: "bytes", 2: "files and folders"}

"""Carrying out what a comparison of two trees says: while the comparison goes on, many files at a time.

It knows no network and no disk. What fails is noted, and the rest goes on; removals come behind everything else.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore

from ftpsvc import display, model
from ftpsvc.copying import copy_known
from ftpsvc.lines import GIVEN_UP, UNBREAKABLE, Line
from ftpsvc.model import Entry, Facts, Stored, TransferError
from ftpsvc.parallel import Room, for_each
from ftpsvc.plans import Plan
from ftpsvc.removing import listed, remove
from ftpsvc.reports import Report
from ftpsvc.resuming import NOT_VERIFIED, Advance, Known, bring, demand_algorithm, is_same
from ftpsvc.steps import Do, Rules, Side, Step
from ftpsvc.storage import SMALL
from ftpsvc.targetfacts import TargetFacts
from ftpsvc.threads import done_with
from ftpsvc.trees import Comparison

T = TypeVar("T")

#: Files under way at once. What one recv brings is some 250 small ones; with several times that neither end waits. Each
#: of at most `SMALL` bytes, and most of a few KiB.
FILES_AT_ONCE = 2000

#: How many bytes of small files may be in memory at once.
BYTES_AT_ONCE = 16 * 1024 * 1024

#: Larger files at once: each has a file open, and they share one connection. Several, so that one can be compared or
#: synced while another moves.
LARGE_AT_ONCE = 6

#: Removing more than this share of what the target has needs a word.
BRAKE = 0.5


class Memory(Protocol):
    """What remembers, until all is done, which large files were begun."""

    def known(self, path: str) -> Known | None:
        """How the source was when an earlier attempt began, and what was at the target."""

    def began(self, path: str, source: Known) -> None:
        """The first bytes of a large file are at the target. May be told again, with something else."""


async def _nobody(removals: int, present: int) -> bool:
    return False


class Mirror:
    """Makes one tree like another. To be used once."""

    def __init__(
        self,
        source: Side,
        target: Side,
        rules: Rules,
        *,
        line: Line = UNBREAKABLE,
        top: Entry | None = None,
        memory: Memory | None = None,
        progress: Advance = lambda count, has_moved: None,
        compared: Callable[[Plan], None] = lambda plan: None,
        may_remove: Callable[[int, int], Awaitable[bool]] = _nobody,
    ) -> None:
        """`top` is the source's folder, where it is known already.

        `progress` is told of bytes; `compared`, once all was looked at, what there is to do.

        `may_remove` is asked when more than `BRAKE` of what the target has is to be removed, with both numbers.
        """
        self.report = Report()
        self.plan = Plan()
        self._source = source
        self._target = target
        self._rules = rules
        self._line = line
        self._top = top
        self._memory = memory
        self._progress = progress
        self._compared = compared
        self._may_remove = may_remove
        self._comparison = Comparison(source, target, rules, self._line.through)
        self._making: dict[str, Deferred[bool]] = {}
        self._is_stopped = False
        self._facts = TargetFacts(target, line, self.report, source.times.with_modes and target.times.with_modes)
        self._room = Room(BYTES_AT_ONCE)
        self._large = DeferredSemaphore(LARGE_AT_ONCE)

    async def run(self) -> Report:
        """Do it. Raises what ends all of it: no such source, a connection that is lost for good."""
        top, is_there = await self._tops()
        if not is_there:
            step = Step(Do.MAKE, "", top)
            self.plan.add(step)
            await self._make(step)
        await self._carry_out(self._planned(self._comparison.steps("", is_there, top.unique)))
        for step in self.plan.keep(self._comparison.staying):
            self.report.failed.add(step.path, step.why, step.cause)
        self._compared(self.plan)
        if await self._is_removal_wanted():
            is_extra = listed if self._source.times.are_exact else self._is_extra
            await remove(self.plan.removals, self._target, self._line, self.report, is_extra)
            await self._carry_out(self._exchanged())
        await self._facts.finish()
        self.report.same += self._comparison.seen.same
        return self.report

    async def dry_run(self) -> AsyncGenerator[Step, None]:
        """The plan, step by step; nothing is changed. Raises what would end all of it."""
        folders: list[Step] = []  # told at the end, as only then it is known which of them something stays in
        top, is_there = await self._tops()
        if not is_there:
            above = self._target.top.rpartition("/")[0] or "/"  # where the run would make it
            if not (await self._through(lambda: self._target.storage.stat(above))).is_directory:
                raise model.NotADirectory(f"{above} is a file, and only folders have trees.")
            step = Step(Do.MAKE, "", top)
            self.plan.add(step)
            yield step
        async with contextlib.aclosing(self._comparison.steps("", is_there, top.unique)) as steps:
            async for step in steps:
                if step.do is Do.COMPARE:
                    if await self._has_same_bytes(step):
                        self._comparison.seen.same += 1
                        continue
                    step = step._replace(do=Do.REPLACE, why="digest")
                self.plan.add(step)
                if step.do is Do.REMOVE_FOLDER:
                    folders.append(step)
                elif step.do is not Do.EXCHANGE:
                    yield step
        failed = self.plan.keep(self._comparison.staying)
        for step in folders:
            if step.path not in self._comparison.staying:
                yield step
        for step in (*failed, *self.plan.exchanges):
            yield step
        self.report.same += self._comparison.seen.same

    async def _through(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self._line.through(work)

    async def _tops(self) -> tuple[Entry, bool]:
        """The source's folder, and whether there is one at the target. Raises what stands in the way of all of it."""
        if self._rules.by_digest:
            demand_algorithm(self._source.storage, self._target.storage)
        top = self._top
        if top is None:
            top = await self._through(lambda: self._source.storage.stat(self._source.top))
        try:
            there = await self._through(lambda: self._target.storage.stat(self._target.top))
        except model.Unavailable:
            there = None  # most likely it isn't there; if 550 means anything else, making it says so
        for side, entry in ((self._source, top), (self._target, there)):
            if entry is not None and not entry.is_directory:
                raise model.NotADirectory(f"{side.top} is a file, and only folders have trees.")
        return top, there is not None

    # -- carrying out

    async def _planned(self, steps: AsyncGenerator[Step, None]) -> AsyncGenerator[Step, None]:
        """Those steps that are for now; the others wait in the plan."""
        async with contextlib.aclosing(steps):
            async for step in steps:
                self.plan.add(step)
                if step.do in _LATER:
                    continue
                if step.do is Do.MAKE:
                    self._making[step.path] = Deferred()  # what is in it has to wait for that
                yield step

    async def _carry_out(self, steps: AsyncGenerator[Step, None]) -> None:
        async with contextlib.aclosing(steps):
            await for_each(steps, self._step, FILES_AT_ONCE)

    async def _step(self, step: Step) -> None:
        try:
            if not await self._has_folder(step.path):
                if not self._is_stopped:  # else nobody knows whether it could
                    self.report.failed.add(step.path, "its folder could not be made.")
            elif step.do is Do.COPY or step.do is Do.REPLACE:
                await self._copy(step)
            elif step.do is Do.MAKE:
                await self._make(step)
            elif step.do is Do.COMPARE:
                await self._compare(step)
            elif step.do is Do.TOUCH:
                await self._touch(step)
            elif step.do is Do.SKIP:
                self.report.skipped.add(step.path, step.why)
            else:
                self.report.failed.add(step.path, step.why, step.cause)
        except (*GIVEN_UP, CancelledError):
            self._is_stopped = True  # or somebody has enough: that ends all
            raise
        except TransferError as error:
            self.report.failed.add(step.path, display.reason(error), error)
        finally:
            if step.do is Do.MAKE and (making := self._making.get(step.path)) and not making.called:
                making.callback(False)  # it stays, so that what comes later for this folder sees it

    async def _has_folder(self, path: str) -> bool:
        making = self._making.get(path.rpartition("/")[0]) if self._making else None
        return making is None or await done_with(making)

    async def _make(self, step: Step) -> None:
        path = self._target.at(step.path)
        try:
            await self._through(lambda: self._target.storage.make_dir(path))
        except model.Unavailable:
            # A lost connection may have made it, and then it is there the second time.
            if not await self._is_folder(path):
                raise
        self.report.made += 1
        # Sent before what is to be in it, because nobody knows whether this run comes to its end; and not waited for by
        # that, or each level of a tree would take a round trip more.
        facts = Deferred.fromCoroutine(self._facts.of_new_folder(step))
        if making := self._making.pop(step.path, None):
            making.callback(True)
        await facts

    async def _is_folder(self, path: str) -> bool:
        try:
            return (await self._through(lambda: self._target.storage.stat(path))).is_directory
        except model.Unavailable:
            return False  # why it couldn't be made is what matters

    async def _copy(self, step: Step) -> None:
        size = step.entry.size
        if size > SMALL:
            async with self._large:
                stored = await self._copy_large(step)
        else:
            await self._room.enter(size)
            try:
                stored = await self._line.through(lambda: self._copy_small(step))
            finally:
                self._room.leave(size)
            self._progress(stored.size, True)
        self.report.bytes += stored.size
        if step.do is Do.COPY:
            self.report.copied += 1
        else:
            self.report.replaced += 1
        await self._facts.of_file(step)

    def _copy_small(self, step: Step) -> Awaitable[Stored]:
        source, target, entry = self._source, self._target, step.entry
        return copy_known(
            source.read, source.at(step.path), entry.size, target.storage, target.at(step.path), entry.modified
        )

    async def _copy_large(self, step: Step) -> Stored:
        source, target, entry, memory = self._source, self._target, step.entry, self._memory
        brought = await bring(
            source.storage,
            source.at(step.path),
            entry,
            target.storage,
            target.at(step.path),
            self._progress,
            memory.known(step.path) if memory else None,
            line=self._line,
            via=source.via,
            begun=lambda known: memory.began(step.path, known) if memory else None,
        )
        self.report.resumed += brought.resumed
        self.report.unverified += brought.note == NOT_VERIFIED
        if brought.note:
            self.report.notes.add(step.path, brought.note)
        return brought.stored

    async def _compare(self, step: Step) -> None:
        if not await self._has_same_bytes(step):
            await self._copy(step._replace(do=Do.REPLACE))
        else:
            self.report.same += 1

    async def _has_same_bytes(self, step: Step) -> bool:
        source, target = self._source, self._target
        return await self._through(
            lambda: is_same(source.storage, source.at(step.path), target.storage, target.at(step.path), step.entry.size)
        )

    async def _touch(self, step: Step) -> None:
        await self._facts.set(step.path, Facts(step.entry.modified or None, step.entry.mode or None))
        self.report.touched += 1

    # -- removing

    @property
    def removals(self) -> tuple[int, int]:
        """How many names are to be removed, and of how many, once all was compared."""
        return self.plan.removals.count, self._comparison.seen.at_target

    @property
    def is_braked(self) -> bool:
        """Whether that is so much that somebody has to want it."""
        count, present = self.removals
        return count > present * BRAKE

    async def _is_removal_wanted(self) -> bool:
        count, present = self.removals
        if not self.is_braked or await self._may_remove(count, present):
            return True
        why = f"{count} of {present} names were to be removed, and none was. For more than half, use --force."
        self.report.failed.add("", why)
        for step in self.plan.exchanges:
            self.report.failed.add(step.path, step.why, step.cause)
        return False

    async def _is_extra(self, path: str) -> bool:
        """Whether the source doesn't have it, asked of the source itself.

        What LIST shows is no proof: there are names that it hides, and lines that nobody understands.
        """
        if any(step.path == path for step in self.plan.exchanges):
            return True
        try:
            await self._through(lambda: self._source.storage.stat(self._source.at(path)))
        except (model.NotListed, model.NotImplementedHere, model.BadCommand, model.BadArgument, model.BadParameter):
            return False  # nobody can tell
        except model.Unavailable:
            return True
        return False

    async def _exchanged(self) -> AsyncGenerator[Step, None]:
        """What takes the place of what had to be removed first."""
        for step in self.plan.exchanges:
            if step.entry.is_file:
                yield step._replace(do=Do.COPY)
                continue
            self._making[step.path] = Deferred()
            yield step._replace(do=Do.MAKE)
            async for below in self._planned(self._comparison.steps(step.path, False, step.entry.unique)):
                yield below


#: What is done at the end, and not where it is found.
_LATER = frozenset((Do.REMOVE, Do.REMOVE_FOLDER, Do.EXCHANGE))

"""A tree carried between here and a server: the connections, the journal, the progress, and the report."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ftpsvc import display
from ftpsvc.crew import lasting
from ftpsvc.healing import Redial
from ftpsvc.journal import Unfinished
from ftpsvc.mirroring import Mirror
from ftpsvc.model import Entry
from ftpsvc.places import Here, There
from ftpsvc.plans import Plan, described, step_event
from ftpsvc.progress import Progress
from ftpsvc.reports import Report
from ftpsvc.steps import Side
from ftpsvc.storage import Storage
from ftpsvc.treeoptions import TreeOptions
from ftpsvc.words import escape, quote

#: Connections for one command, where the server has no MODE I.
PARALLEL = 4

#: How many steps of a plan are told. A longer one scrolls away.
MAX_STEPS_TOLD = 100_000


#: Puts a question, and says whether the answer is yes.
Ask = Callable[[str], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command needs to talk to whoever gave it.

    `say` is for what was asked for, `note` for how it went, `tell` for news of the connection, `report` for what became
    of the tree in so many seconds. `ask` puts a question that is answered with yes or no; None where nobody is there to
    answer. `slowed` gives what is to be read in a storage's place.
    """

    clock: Any
    say: Callable[..., None]
    note: Callable[[str], None]
    tell: Callable[[str], None]
    show: Callable[[Progress, str], AbstractContextManager[None]]
    report: Callable[[Report, float], None]
    ask: Ask | None = None
    slowed: Callable[[Storage], Storage | None] = lambda storage: None


@dataclass(frozen=True, slots=True)
class TreeJob:
    """Two folders, and what is to be done. Paths are absolute."""

    here: Here
    there: There
    local: str
    remote: str
    options: TreeOptions
    redial: Redial
    top: Entry | None = None  #: the source's folder, where it was looked at just now

    @property
    def label(self) -> str:
        """The folder's name as it can be shown."""
        return escape((self.local if self.options.up else self.remote).rpartition("/")[2]) or "/"


async def carry(job: TreeJob, desk: Desk, memory: Unfinished | None = None) -> Report:
    """Do the job, or with --dry-run say what it would do. Raises what ended all of it, when what was done is told."""
    progress = Progress(0, desk.clock.seconds)
    shown = _Shown(lambda: desk.show(progress, job.label))

    there, wanted = job.there, job.options.parallel or (1 if job.there.remote.is_inline else PARALLEL)
    async with lasting(there, job.redial, desk.clock, progress.telling(desk.tell), wanted) as line:
        sides = Side(job.here.storage, job.local), Side(line, job.remote)
        source, target = sides if job.options.up else reversed(sides)
        source = source._replace(via=desk.slowed(source.storage))
        rules = job.options.comparison()
        if job.options.dry_run:
            return await _told(Mirror(source, target, rules, line=line, top=job.top), desk, job.options.force)

        def moved(count: int, just_now: bool) -> None:
            # What there is to do is known better and better while the trees are compared.
            progress.total = max(mirror.plan.bytes, progress.done + count)
            progress.advance(count, just_now)

        def compared(plan: Plan) -> None:
            if plan.removals.count or desk.ask is not None:
                desk.note(plan.text())

        async def may_remove(removals: int, present: int) -> bool:
            share = f"{display.percent(removals, present)} %"
            question = f"Remove {removals} of {present} names ({share}) in {quote(target.top)}?"
            if job.options.force or desk.ask is None:
                return job.options.force
            with shown.hidden():
                return await desk.ask(question)

        mirror = Mirror(
            source,
            target,
            rules,
            line=line,
            top=job.top,
            memory=memory,
            progress=moved,
            compared=compared,
            may_remove=may_remove,
        )
        try:
            with shown:
                return await mirror.run()
        finally:
            desk.report(mirror.report, progress.elapsed)


class _Shown:
    """The progress while it is shown, which is drawn over and over, and so has to go while something else is said."""

    def __init__(self, show: Callable[[], AbstractContextManager[None]]) -> None:
        self._show = show
        self._now: AbstractContextManager[None] | None = None

    def __enter__(self) -> None:
        self._now = self._show()
        self._now.__enter__()

    def __exit__(self, *error: object) -> None:
        if self._now is not None:
            self._now.__exit__(None, None, None)
            self._now = None

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        was_shown = self._now is not None
        self.__exit__()
        try:
            yield
        finally:
            if was_shown:
                self.__enter__()


async def _told(mirror: Mirror, desk: Desk, is_forced: bool) -> Report:
    told = 0
    async with contextlib.aclosing(mirror.dry_run()) as steps:
        async for step in steps:
            told += 1
            if told <= MAX_STEPS_TOLD:
                desk.say(described(step), step_event(step))
    if told > MAX_STEPS_TOLD:
        desk.note(f"and {told - MAX_STEPS_TOLD} more")
    desk.note(f"{mirror.plan.text()}, {mirror.report.same} the same already. Nothing was changed.")
    if mirror.is_braked and not is_forced:
        what = "removes none of them without --force" if desk.ask is None else "asks first, or needs --force"
        count, present = mirror.removals
        desk.tell(f"{count} of {present} names are to be removed. That is more than half: the real run {what}.")
    return mirror.report

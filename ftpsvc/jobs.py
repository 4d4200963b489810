"""Lines that are carried out: one in the foreground, any number behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from ftpsvc.places import There
from ftpsvc.progress import Progress

#: How many jobs may be in the background. Each has a connection of its own, and servers limit those.
MAX_JOBS = 8


@dataclass(slots=True, eq=False)
class Job:
    """A line that is being carried out, with what it works on.

    A job keeps the connection that it began with when it moves to the background; the next command gets another.
    """

    line: str
    server: There | None = None
    wants_background: bool = False  #: the line ended with &
    number: int = 0  #: that of a job in the background; else 0
    is_interrupted: bool = False
    has_questions: bool = False  #: it may ask, and so stays in the foreground until it has begun
    has_terminal: bool = False  #: another program has the terminal meanwhile
    is_parting: bool = False  #: the next line begins within a step of this one, which can't be cancelled then
    has_ended: bool = False  #: also with what it does when it is stopped
    progress: Progress | None = None
    label: str = ""
    view: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    work: Deferred[bool] = field(default_factory=Deferred)
    #: Fires when the next line may come: with True behind the last one. The job is over, or in the background.
    floor: Deferred[bool] = field(default_factory=Deferred)
    over: list[Deferred[None]] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to be stopped."""
        return self.work.called

    @property
    def has_floor(self) -> bool:
        return not self.floor.called

    def ended(self) -> Deferred[None]:
        """Fires when the job is over. To be cancelled without harm to the job."""
        waiter: Deferred[None] = Deferred(lambda waiter: self.over.remove(waiter))
        self.over.append(waiter)
        if self.has_ended:
            self.tell()
        return waiter

    def tell(self) -> None:
        """It is over: tell those who wait."""
        self.has_ended = True
        waiters, self.over[:] = list(self.over), []
        for waiter in waiters:
            waiter.callback(None)

    def stop(self) -> None:
        """Stop it, wherever it is."""
        if not self.is_over:
            self.is_interrupted = True
            if not self.is_parting:
                self.work.cancel()


class Jobs:
    """Those in the background, by number."""

    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}

    def add(self, job: Job) -> None:
        job.number = next(number for number in range(1, MAX_JOBS + 2) if number not in self._jobs)
        self._jobs[job.number] = job

    def remove(self, job: Job) -> None:
        self._jobs.pop(job.number, None)

    def get(self, number: int) -> Job | None:
        return self._jobs.get(number)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def is_full(self) -> bool:
        return len(self._jobs) >= MAX_JOBS

"""Work that may wait for a disk, run beside the reactor."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

T = TypeVar("T")

#: How many threads a server has for jobs, and how many of them one disk may take: enough for two that hang to leave
#: some to a third, to passwords and to the monitor. They are begun when they are needed.
THREADS = 24
THREADS_OF_A_DISK = 10


class Run(Protocol):
    """Runs a function where waiting harms nobody. The job goes on to its end whatever happens to the caller."""

    def __call__(self, function: Callable[..., T], /, *args: Any) -> Deferred[T]: ...


def pool_of(reactor: Any) -> Run:
    """Run jobs in the reactor's own thread pool."""

    def run(function: Callable[..., T], /, *args: Any) -> Deferred[T]:
        job: Deferred[T] = deferToThreadPool(reactor, reactor.getThreadPool(), function, *args)
        return job

    return run


def few_at_once(run: Run, most: int) -> Run:
    """The same place for jobs, with at most so many of these in it at a time. Who comes later waits for a turn.

    A job whose caller is cancelled keeps its turn until its thread is done, or takes it when it comes.
    """
    turns = DeferredSemaphore(most)

    def limited(function: Callable[..., T], /, *args: Any) -> Deferred[T]:
        job: Deferred[T] = turns.run(run, function, *args)
        return done_with(job)

    return limited


def by_device(run: Run, most: int) -> Callable[[str], Run]:
    """For each folder the same place for jobs, but all folders of one device have at most so many in it at a time.

    So a disk that is slow, or hangs, doesn't take the threads that others need. The place raises `OSError` if there is
    no such folder.
    """
    places: dict[int, Run] = {}

    def place(folder: str) -> Run:
        device = os.stat(folder).st_dev
        if device not in places:
            places[device] = few_at_once(run, most)
        return places[device]

    return place


def done_with(job: Deferred[T]) -> Deferred[T]:
    """Wait for a job without owning it: cancelling this wait leaves the job alone.

    A thread can't be stopped, so what it works on (a descriptor, a buffer) must outlive it. The one who cleans up
    waits for the same job again.
    """
    waiter: Deferred[T] = Deferred()

    def fire(result: T | Failure) -> T | Failure | None:
        if waiter.called:
            return result
        if isinstance(result, Failure):
            waiter.errback(result)
            return None
        waiter.callback(result)
        return result

    job.addBoth(fire)
    return waiter


def owning(function: Callable[..., T], descriptor: int, *args: Any) -> T:
    """For a thread, which owns the descriptor: nobody has to wait for it before closing one.

    In whatever had its number otherwise, when nobody waits any more, the same name would be something else.
    """
    try:
        return function(descriptor, *args)
    finally:
        os.close(descriptor)


async def close_behind(job: Deferred[Any] | None, close: Callable[[], None]) -> None:
    """Close what a job works with: behind the job, and not behind this wait for it, which may be cancelled.

    What the job came to is nobody's affair any more.
    """
    if job is None:
        close()
    else:
        await done_with(job.addBoth(lambda _: close()))


async def to_its_end(work: Coroutine[Deferred[Any], Any, T]) -> T:
    """Do this to its end, even if whoever waits for it is cancelled meanwhile: they hear of that behind it.

    For cleaning up: an error begins it, and a connection that is lost a moment later must not break it off.
    """
    job = Deferred.fromCoroutine(work)
    try:
        return await done_with(job)
    except CancelledError:
        await done_with(job)
        raise

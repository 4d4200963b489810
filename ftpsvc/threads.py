"""Work that may wait for a disk, run beside the reactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

T = TypeVar("T")


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
    """The same place for jobs, with at most so many of these in it at a time. Who comes later waits for a turn."""
    turns = DeferredSemaphore(most)

    def limited(function: Callable[..., T], /, *args: Any) -> Deferred[T]:
        job: Deferred[T] = turns.run(run, function, *args)
        return job

    return limited


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

"""Doing many things at once, but not too many."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator
from typing import Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList

from ftpsvc.model import ConnectionFailed, ProtocolViolation, ServiceClosing, TransferError

T = TypeVar("T")


async def for_each(items: AsyncIterable[T], work: Callable[[T], Awaitable[object]], at_once: int) -> None:
    """Do `work` for every item, for up to `at_once` of them at a time, while the items still arrive.

    The first error ends it: no more are begun, those under way come to their end, and then it is raised. Whoever
    cancels it stops those under way, too; it is over when all of them are.
    """
    feed = _Feed(items)
    workers: list[Deferred[None]] = []

    async def go_on(item: T) -> None:
        try:
            await work(item)
            while (later := await feed.next()) is not None:
                await work(later[0])
        except BaseException as error:
            feed.stop(error)

    try:
        while len(workers) < at_once and (first := await feed.next()):
            workers.append(Deferred.fromCoroutine(go_on(first[0])))
    except CancelledError as error:
        feed.stop(error)
    all_over = DeferredList(workers)
    if isinstance(feed.error, CancelledError):
        all_over.cancel()
    await all_over
    if feed.error is not None:
        raise feed.error


class _Feed(Generic[T]):
    """Hands out the items of an asynchronous iterator to many, one after the other."""

    def __init__(self, items: AsyncIterable[T]) -> None:
        self._items = aiter(items)
        self._is_busy = False
        self._is_over = False
        self._is_waking = False
        self._queue: deque[Deferred[None]] = deque()
        self.error: BaseException | None = None

    def stop(self, error: BaseException) -> None:
        self.error = self.error or error
        self._is_over = True

    async def next(self) -> tuple[T] | None:
        """The next item, wrapped so that it can be anything; None at the end."""
        if self._is_busy:
            turn: Deferred[None] = Deferred()
            self._queue.append(turn)
            await turn
        if self._is_over:
            return None
        self._is_busy = True
        try:
            return (await anext(self._items),)
        except StopAsyncIteration:
            self._is_over = True
            return None
        except BaseException as error:
            self.stop(error)
            return None
        finally:
            self._is_busy = False
            self._wake()

    def _wake(self) -> None:
        """Let those who wait have their turn. In a loop: if each woke the next, thousands would be stacked up."""
        if self._is_waking:
            return
        self._is_waking = True
        while self._queue and not self._is_busy:
            self._queue.popleft().callback(None)
        self._is_waking = False


async def each(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """What is at hand, for `for_each`."""
    for item in items:
        yield item


@contextlib.contextmanager
def telling(failed: Callable[[TransferError], object]) -> Iterator[None]:
    """Around one of many: tell of its error, if that isn't one that ends all of them."""
    try:
        yield
    except (ConnectionFailed, ServiceClosing, ProtocolViolation):
        raise
    except TransferError as error:
        failed(error)


class Room:
    """A room for so many bytes; who brings more than are free waits for a turn."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._waiting: deque[tuple[int, Deferred[None]]] = deque()

    async def enter(self, size: int) -> None:
        if size > self._left or self._waiting:
            turn: Deferred[None] = Deferred()
            self._waiting.append((size, turn))
            try:
                await turn
            except BaseException:
                self._waiting = deque(waiting for waiting in self._waiting if waiting[1] is not turn)
                raise
        else:
            self._left -= size

    def leave(self, size: int) -> None:
        self._left += size
        while self._waiting and self._waiting[0][0] <= self._left:
            size, turn = self._waiting.popleft()
            self._left -= size
            turn.callback(None)

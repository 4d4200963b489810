"""Doing many things at once: no more than allowed, and what becomes of errors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from twisted.internet.defer import CancelledError, Deferred

from ftpsvc.parallel import for_each


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


class Work:
    """Work that ends when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[None]] = []
        self.begun: list[int] = []

    async def __call__(self, number: int) -> None:
        self.begun.append(number)
        self.waiting.append(Deferred())
        await self.waiting[-1]

    def end_all(self) -> None:
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.callback(None)


def test_no_more_are_under_way_than_allowed_and_all_get_done() -> None:
    work = Work()
    done = Deferred.fromCoroutine(for_each(numbers(10), work, 3))
    assert work.begun == [0, 1, 2]
    while work.waiting:
        assert len(work.waiting) <= 3
        work.end_all()
    assert work.begun == list(range(10))
    assert done.called


def test_work_that_ends_at_once_needs_no_waiting() -> None:
    seen = []

    async def work(number: int) -> None:
        seen.append(number)

    assert Deferred.fromCoroutine(for_each(numbers(5), work, 1)).called
    assert seen == [0, 1, 2, 3, 4]


def test_the_first_error_begins_no_more_and_is_raised_when_the_others_have_ended() -> None:
    work = Work()
    outcome: list[object] = []
    done = Deferred.fromCoroutine(for_each(numbers(10), work, 2))
    done.addErrback(lambda failure: outcome.append(failure.value))
    first, second = work.waiting
    first.errback(ValueError("broken"))
    assert not outcome
    second.callback(None)
    for later in work.waiting[2:]:
        later.callback(None)
    assert [type(error) for error in outcome] == [ValueError]
    assert len(work.begun) <= 3


def test_thousands_can_wait_for_the_next_item() -> None:
    more: list[Deferred[None]] = []
    seen: list[int] = []

    async def slow() -> AsyncIterator[int]:
        for number in range(5000):
            if number == 3000:
                more.append(Deferred())
                await more[0]
            yield number

    work = Work()

    async def noted(number: int) -> None:
        seen.append(number)
        if number < 3000:
            await work(number)

    done = Deferred.fromCoroutine(for_each(slow(), noted, 4000))
    work.end_all()
    assert not done.called
    more[0].callback(None)
    assert done.called
    assert sorted(seen) == list(range(5000))


def test_an_error_in_what_yields_the_items_is_raised_too() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise OSError("no more")

    async def work(number: int) -> None: ...

    outcome: list[object] = []
    Deferred.fromCoroutine(for_each(broken(), work, 2)).addErrback(lambda failure: outcome.append(failure.value))
    with pytest.raises(OSError, match="no more"):
        raise outcome[0]  # type: ignore[misc]


async def one_and_then_a_long_wait() -> AsyncIterator[int]:
    yield 0
    await Deferred()


def test_who_cancels_it_while_it_waits_for_an_item_stops_what_is_under_way() -> None:
    work = Work()
    outcome: list[object] = []
    done = Deferred.fromCoroutine(for_each(one_and_then_a_long_wait(), work, 3))
    done.addErrback(lambda failure: outcome.append(failure.type))
    done.cancel()
    assert outcome == [CancelledError]
    assert work.waiting[0].called


def test_who_cancels_it_while_another_waits_for_an_item_leaves_nobody_behind_who_goes_on() -> None:
    gate: Deferred[None] = Deferred()
    begun, stopped, outcome = [], [], []

    async def items() -> AsyncIterator[int]:
        yield 0
        yield 1
        await gate
        yield 2

    async def work(number: int) -> None:
        begun.append(number)
        if number != 1:  # which is over at once, and waits for the next one
            try:
                await Deferred()
            except CancelledError:
                stopped.append(number)
                raise

    done = Deferred.fromCoroutine(for_each(items(), work, 3))
    done.addErrback(lambda failure: outcome.append(failure.type))
    done.cancel()
    assert outcome == [CancelledError]
    assert (begun, stopped) == ([0, 1], [0])

"""Errors at their end: what the functions held that they came through is let go."""

from __future__ import annotations

import weakref

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ftpsvc.traces import clean, without_trace

pytestmark = pytest.mark.usefixtures("no_collector")


class Buffer:
    """What a transfer has in its hands."""


async def transfer(held: list[weakref.ref[Buffer]], data: Deferred[None]) -> None:
    buffer = Buffer()
    held.append(weakref.ref(buffer))
    await data


@pytest.mark.parametrize("is_cleaned", [False, True])
def test_what_was_cancelled_is_let_go(is_cleaned: bool) -> None:
    held: list[weakref.ref[Buffer]] = []

    def end(failure: Failure) -> None:
        if is_cleaned:
            clean(failure)

    work = Deferred.fromCoroutine(transfer(held, Deferred())).addErrback(end)
    work.cancel()
    del work
    assert (held[0]() is None) == is_cleaned


def test_what_an_error_came_from_is_let_go_too() -> None:
    held: list[weakref.ref[Buffer]] = []

    def fail() -> None:
        buffer = Buffer()
        held.append(weakref.ref(buffer))
        raise KeyError

    def translate() -> None:
        try:
            fail()
        except KeyError as error:
            raise ConnectionError("gone") from error

    with pytest.raises(ConnectionError) as caught:
        translate()
    assert held[0]() is not None
    without_trace(caught.value)
    del caught
    assert held[0]() is None

"""How the programs that carry out commands are ended before their time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ftpsvc import assembly


class Reactor(Clock):
    """One that is run only as far as the clock is moved."""

    is_stopped = False

    def callWhenRunning(self, start: Callable[[], None]) -> None:
        start()

    def run(self, installSignalHandlers: bool) -> None:
        pass

    def stop(self) -> None:
        self.is_stopped = True


class Program:
    """One that waits for a line, while a job of its own is under way."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.stopped = 0
        self.job: Deferred[None] = Deferred()
        self.ends: list[Callable[[int], None]] = []
        assembly.run(self.reactor, self._talk(), self._broken, self._stop, self.ends.append)

    async def _talk(self) -> None:
        await Deferred[None]()

    def _broken(self, failure: Any) -> None:
        raise AssertionError(failure)

    def _stop(self) -> list[Deferred[None]]:
        self.stopped += 1
        return [self.job]

    def hears(self, number: int) -> bool:
        """Whether the program is over with that signal."""
        self.ends[0](number)
        return self.reactor.is_stopped


@pytest.fixture
def program() -> Program:
    return Program()


def test_what_a_signal_stops_comes_to_its_end_first(program: Program) -> None:
    assert not program.hears(signal.SIGINT)
    program.job.callback(None)
    assert program.reactor.is_stopped


def test_a_second_signal_waits_for_nothing(program: Program) -> None:
    assert not program.hears(signal.SIGTERM)
    assert program.hears(signal.SIGINT)
    assert program.stopped == 1


def test_what_does_not_come_to_its_end_is_left(program: Program) -> None:
    assert not program.hears(signal.SIGTERM)
    program.reactor.advance(assembly.PUTTING_AWAY)
    assert program.reactor.is_stopped

"""Where workers let clients in: who goes first, and what happens when there is nothing left to let them in with."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import support
from twisted.internet.task import Clock

from ftpsvc.turnstile import AFTER_YOU, MAX_ACCEPTS, OUT_OF_DESCRIPTORS, Turnstile


class FakeReactor(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()
        self.adopted: list[int] = []

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)

    def adoptStreamConnection(self, fileno: int, family: int, factory: Any) -> None:
        self.adopted.append(fileno)


class Place:
    def __init__(self) -> None:
        self.reactor = FakeReactor()
        support.CLOCKS.append(self.reactor)
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.is_ahead = False
        self.turnstile = Turnstile(self.reactor, self.listening, None, lambda: self.is_ahead)
        self.turnstile.start()
        self.clients: list[socket.socket] = []

    def come(self, count: int = 1) -> None:
        self.clients += [socket.create_connection(self.listening.getsockname()) for _ in range(count)]

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.turnstile.stop()


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.close()


def test_all_that_wait_are_let_in_in_turns(place: Place) -> None:
    place.come(MAX_ACCEPTS + 3)
    place.turnstile.doRead()
    assert len(place.reactor.adopted) == MAX_ACCEPTS
    place.turnstile.doRead()
    assert len(place.reactor.adopted) == MAX_ACCEPTS + 3
    place.turnstile.doRead()


def test_one_that_has_more_lets_the_others_go_first_and_then_takes_who_is_left(place: Place) -> None:
    place.is_ahead = True
    place.come(2)
    place.turnstile.doRead()
    assert (place.reactor.adopted, place.reactor.readers) == ([], set())
    place.reactor.advance(AFTER_YOU)
    assert place.reactor.readers == {place.turnstile}
    place.turnstile.doRead()
    assert len(place.reactor.adopted) == 2
    place.come()
    place.turnstile.doRead()
    assert len(place.reactor.adopted) == 2
    assert place.reactor.readers == set()


def test_without_descriptors_it_waits_and_says_so(place: Place, logged_errors: Any) -> None:
    class Full:
        def accept(self) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

        def close(self) -> None:
            pass

    place.turnstile._socket = Full()  # type: ignore[assignment]
    place.turnstile.doRead()
    (event,) = logged_errors.events
    assert event["why"] == "Too many open files"
    logged_errors.events.clear()
    assert place.reactor.readers == set()
    place.reactor.advance(OUT_OF_DESCRIPTORS)
    assert place.reactor.readers == {place.turnstile}
    place.turnstile._socket = place.listening


def test_who_has_gone_before_being_let_in_harms_nobody(place: Place) -> None:
    taken: list[Any] = []

    def gone(*connection: Any) -> None:
        taken.append(connection)
        raise OSError(errno.ENOTCONN, "not connected")

    place.reactor.adoptStreamConnection = gone  # type: ignore[method-assign]
    place.come(2)
    place.turnstile.doRead()
    place.turnstile.doRead()
    assert len(taken) == 2


def test_who_waits_when_it_ends_is_let_in(place: Place) -> None:
    place.is_ahead = True
    place.come(MAX_ACCEPTS + 3)
    place.turnstile.stop()
    assert len(place.reactor.adopted) == MAX_ACCEPTS + 3


def test_its_end_is_not_that_of_the_socket(place: Place) -> None:
    shared = socket.socket(fileno=socket.dup(place.listening.fileno()))
    place.turnstile.stop()
    with socket.create_connection(shared.getsockname()), shared:
        pass


def test_a_fault_costs_one_client_and_not_those_who_come_later(
    place: Place, monkeypatch: pytest.MonkeyPatch, logged_errors: Any
) -> None:
    adopt, faults = place.reactor.adoptStreamConnection, [ZeroDivisionError("a defect")]

    def failing(*about: Any) -> None:
        if faults:
            raise faults.pop()
        adopt(*about)

    monkeypatch.setattr(place.reactor, "adoptStreamConnection", failing)
    place.come(3)
    place.turnstile.doRead()
    assert len(place.reactor.adopted) == 2
    assert [event["log_failure"].type for event in logged_errors.events] == [ZeroDivisionError]
    logged_errors.events.clear()

"""The last of letting people in: how long notice is given, and who still gets in when a port closes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import support
from support import start
from test_turnstile import FakeReactor

from ftpsvc import closing
from ftpsvc.closing import Closing
from ftpsvc.limits import Limits


class Port:
    """What a listening port of Twisted's is, as far as it matters here."""

    factory = None

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.socket.setblocking(False)
        self.address: Any = self.socket.getsockname()

    def fileno(self) -> int:
        return self.socket.fileno()

    def stopListening(self) -> None:
        self.socket.close()


class Place:
    def __init__(self, seconds: float = 0) -> None:
        self.reactor = FakeReactor()
        support.CLOCKS.append(self.reactor)
        self.port = Port()
        self.closing = Closing([self.port], self.reactor, Limits(notice=seconds))  # type: ignore[list-item]
        self.clients = [socket.create_connection(self.port.address) for _ in range(20)]

    def close(self) -> None:
        self.port.stopListening()
        for client in self.clients:
            client.close()


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place(5)
    yield place
    place.close()


def is_closed(place: Place) -> bool:
    try:
        socket.create_connection(place.port.address).close()
    except ConnectionRefusedError:
        return True
    return False


def test_whom_the_system_has_connected_by_then_is_let_in(place: Place) -> None:
    assert start(place.closing.close(lets_in=True)).is_over
    assert len(place.reactor.adopted) == len(place.clients)
    assert is_closed(place)


def test_they_are_not_waited_for_without_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "MAX_LAST", 3)
    start(place.closing.close(lets_in=True))
    assert len(place.reactor.adopted) == 3
    assert is_closed(place)


def test_where_others_let_in_who_comes_nobody_is(place: Place) -> None:
    others = socket.socket(fileno=socket.dup(place.port.fileno()))
    start(place.closing.close(lets_in=False))
    assert place.reactor.adopted == []
    with others:
        assert not is_closed(place)


def test_a_port_that_is_no_socket_is_closed_all_the_same(place: Place) -> None:
    def nothing() -> int:
        raise AttributeError

    place.port.fileno = nothing  # type: ignore[method-assign]
    start(place.closing.close(lets_in=True))
    assert is_closed(place)


def test_a_unix_socket_whose_file_has_been_removed_keeps_nobody_from_being_served(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise FileNotFoundError  # Twisted's port removes the file

    with monkeypatch.context() as patched:
        patched.setattr(place.port, "stopListening", gone)
        start(place.closing.close(lets_in=True)).result()
    assert len(place.reactor.adopted) == len(place.clients)


def test_notice_is_given_for_so_many_seconds(place: Place) -> None:
    waiting = start(place.closing.notice())
    place.reactor.advance(4.9)
    assert not waiting.is_over
    place.reactor.advance(0.1)
    assert waiting.is_over


@pytest.mark.parametrize("is_early", [True, False])
def test_who_is_in_a_hurry_ends_it(place: Place, is_early: bool) -> None:
    if is_early:
        place.closing.hurry()
    waiting = start(place.closing.notice())
    place.closing.hurry()
    assert waiting.is_over
    assert not place.reactor.getDelayedCalls()


def test_none_is_given_where_nobody_asked_for_it() -> None:
    place = Place()
    assert start(place.closing.notice()).is_over
    place.close()

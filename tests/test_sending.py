"""What is sent at once, and what has to wait behind what the transport holds."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import support
from twisted.internet.abstract import FileDescriptor
from twisted.internet.task import Clock

from ftpsvc.linethenraw import LineThenRaw


class Plain(FileDescriptor):
    """A transport over a socket, with a reactor that never has a turn."""

    connected = 1

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(reactor=self)  # type: ignore[arg-type]
        self.socket = connected

    def getHandle(self) -> socket.socket:
        return self.socket

    def writeSomeData(self, data: Any) -> int:
        return self.socket.send(data)

    def addWriter(self, writer: Any) -> None:
        """Which never comes to it by itself."""

    removeWriter = addWriter


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


@pytest.fixture
def clock() -> Clock:
    return support.make_clock()


def line_then_raw(transport: Any, clock: Clock) -> LineThenRaw:
    protocol = LineThenRaw(clock)
    protocol.transport = transport
    return protocol


def test_an_answer_leaves_without_the_reactor(ends: tuple[socket.socket, socket.socket], clock: Clock) -> None:
    near, far = ends
    protocol = line_then_raw(Plain(near), clock)
    protocol.write(b"226 Sent", b" 5 bytes.\r\n")
    protocol.flush()
    assert far.recv(100) == b"226 Sent 5 bytes.\r\n"


def test_nothing_overtakes_what_the_transport_still_holds(
    ends: tuple[socket.socket, socket.socket], clock: Clock
) -> None:
    near, far = ends
    transport = Plain(near)
    protocol = line_then_raw(transport, clock)
    transport.write(b"first ")
    protocol.write(b"second")
    protocol.flush()
    transport.doWrite()
    assert far.recv(100) == b"first second"


def test_what_the_system_does_not_take_waits_in_the_transport(
    ends: tuple[socket.socket, socket.socket], clock: Clock
) -> None:
    near, far = ends
    transport = Plain(near)
    protocol = line_then_raw(transport, clock)
    data = bytes(5_000_000)
    protocol.write(data)
    protocol.flush()
    held = sum(map(len, transport._tempDataBuffer))
    assert 0 < held < len(data)
    far.setblocking(False)
    received = 0
    while received < len(data) - held:
        received += len(far.recv(1 << 20))
    with pytest.raises(BlockingIOError):
        far.recv(1)
    near.close()


def test_a_socket_that_is_gone_is_left_to_the_transport(
    ends: tuple[socket.socket, socket.socket], clock: Clock
) -> None:
    near, far = ends
    transport = Plain(near)
    protocol = line_then_raw(transport, clock)
    far.close()
    protocol.write(b"221 Goodbye.\r\n")
    protocol.flush()
    assert transport._tempDataBuffer == [b"221 Goodbye.\r\n"]

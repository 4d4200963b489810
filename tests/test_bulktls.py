"""TLS of a control connection, in bulk: Twisted's class and ours in its place, with OpenSSL at the other end."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from secured import key_updates
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from ftpsvc import bulktls, certificates
from ftpsvc.tls import ServerTLS


class Inner(Protocol):
    """Keeps what arrives, call by call."""

    def __init__(self) -> None:
        self.arrived: list[bytes] = []
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.arrived.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class Wire(StringTransport):
    """Counts the pieces."""

    pieces = 0

    def write(self, data: bytes) -> None:
        self.pieces += 1
        super().write(data)


class Ends:
    """A server's end, and OpenSSL's as its client."""

    def __init__(self, folder: Path, wire: Any = None) -> None:
        tls = ServerTLS(*certificates.ensure(folder))
        factory = TLSMemoryBIOFactory(tls, False, None, clock=Clock())  # type: ignore[arg-type]
        self.inner, self.wire = Inner(), wire or Wire()
        self.server: Any = factory.protocol(factory, self.inner, False)
        self.server.makeConnection(self.wire)
        bulktls.move_in_bulk(self.server)
        context, self.secrets = SSL.Context(SSL.TLS_METHOD), dict[bytes, bytes]()
        context.set_keylog_callback(lambda _, line: self.secrets.update([line.split()[::2]]))
        self.client = SSL.Connection(context, None)
        self.client.set_connect_state()

    def greet(self) -> Ends:
        for _ in range(3):
            self._listen()
            with contextlib.suppress(SSL.WantReadError):
                self.client.do_handshake()
            self.speak()
        return self

    def _listen(self) -> None:
        if said := self.wire.value():
            self.wire.clear()
            self.client.bio_write(said)

    def speak(self, *behind: bytes) -> None:
        """Deliver what the client has to say, and what comes behind it, in one piece."""
        said = [*behind]
        with contextlib.suppress(SSL.WantReadError):
            said.insert(0, self.client.bio_read(1 << 24))
        if said:
            self.server.dataReceived(b"".join(said))

    def heard(self) -> bytes:
        self._listen()
        clear = []
        with contextlib.suppress(SSL.WantReadError):
            while True:
                clear.append(self.client.recv(1 << 16))
        return b"".join(clear)


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    return Ends(tmp_path)


CONTENT = bytes(range(256)) * 4000


def test_all_that_has_come_goes_on_at_once(ends: Ends) -> None:
    ends.greet().client.sendall(CONTENT)
    ends.speak()
    assert ends.inner.arrived == [CONTENT]


def test_what_is_written_leaves_in_large_pieces(ends: Ends) -> None:
    ends.greet()
    ends.heard()
    ends.wire.pieces = 0
    ends.server.write(CONTENT[:500_000])
    ends.server.writeSequence([CONTENT[500_000:], b"end"])
    assert ends.wire.pieces <= len(CONTENT) // bulktls.PIECE + 2
    assert ends.heard() == CONTENT + b"end"


def test_what_is_written_before_the_handshake_is_kept_until_then(ends: Ends) -> None:
    ends.server.write(b"early")
    assert ends.greet().heard() == b"early"


@pytest.mark.parametrize(("count", "is_cut"), [(30, False), (3000, True)])
def test_answers_of_tls_are_not_heaped_up_for_who_does_not_read_them(ends: Ends, count: int, is_cut: bool) -> None:
    ends.greet()
    assert ends.client.get_cipher_name() == "TLS_AES_256_GCM_SHA384"
    secret = bytes.fromhex(ends.secrets[b"CLIENT_TRAFFIC_SECRET_0"].decode())
    ends.server.dataReceived(key_updates(secret, count))
    assert ends.wire.disconnecting is is_cut
    assert len(ends.wire.value()) < bulktls.MAX_ANSWERS


def test_what_came_before_the_end_of_tls_arrives_before_it(ends: Ends) -> None:
    ends.greet().client.sendall(CONTENT)
    ends.client.shutdown()
    ends.speak()
    assert ends.inner.arrived == [CONTENT]
    assert ends.wire.disconnecting
    ends.server.connectionLost(connectionDone)
    assert ends.inner.lost is connectionDone


def test_what_came_before_something_else_than_tls_arrives_and_nothing_behind_it(ends: Ends) -> None:
    ends.greet().client.sendall(CONTENT)
    ends.speak(b"this is no TLS" * 100)
    assert ends.inner.arrived == [CONTENT]
    assert ends.wire.disconnecting
    ends.server.connectionLost(connectionDone)
    assert ends.inner.lost is not None
    assert ends.inner.lost.check(SSL.Error)


def test_a_connection_that_ends_without_the_end_of_tls_is_lost(ends: Ends) -> None:
    ends.greet().client.sendall(b"some")
    ends.speak()
    ends.server.connectionLost(connectionDone)
    assert ends.inner.arrived == [b"some"]
    assert ends.inner.lost is not None
    assert ends.inner.lost.check(ConnectionLost)


def test_nothing_is_sent_on_a_socket_that_has_gone() -> None:
    class Gone(FileDescriptor):
        connected = 0

    assert bulktls.sent_at_once(Gone(Clock()), b"alert") == 0


def test_what_ends_the_handshake_is_acknowledged_at_once(tmp_path: Path) -> None:
    class Plain(FileDescriptor):
        connected = 1

    with socket.create_server(("127.0.0.1", 0)) as port, socket.create_connection(port.getsockname()) as client:
        wire: Any = Plain(Clock())
        wire.socket, _ = port.accept()
        with wire.socket:
            ends = Ends(tmp_path, wire)
            with contextlib.suppress(SSL.WantReadError):
                ends.client.do_handshake()
            client.sendall(ends.client.bio_read(1 << 16))
            ends.server.dataReceived(wire.socket.recv(1 << 16))
            assert client.recv(1 << 16)
            assert wire.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)

"""TLS in memory, where time is a clock: handshakes that don't come, and MODE I byte by byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import support
from links import Link, RawPeer
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from ftpsvc import certificates
from ftpsvc.accounts import AnonymousOnly
from ftpsvc.factory import ServerFactory
from ftpsvc.limits import HANDSHAKE_LIMIT
from ftpsvc.tls import ServerTLS


@implementer(IOpenSSLClientConnectionCreator)
class Trusting:
    """The client's side, which takes any certificate."""

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        return SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)


@pytest.fixture
def clock() -> Clock:
    return support.make_clock()


@pytest.fixture
def server(tmp_path: Path, clock: Clock) -> Any:
    """A server's end, with TLS from the first byte."""
    (tmp_path / "root").mkdir()
    tls = ServerTLS(*certificates.ensure(tmp_path / "state"))
    storage = support.local_disk(tmp_path / "root")
    factory = ServerFactory(AnonymousOnly(storage), clock, support.at_once, tls=tls)
    return TLSMemoryBIOFactory(tls, False, factory, clock=clock).buildProtocol(None)


def joined(clock: Clock, server: Any, peer: RawPeer, cut: int) -> tuple[Link, Any]:
    factory = Factory.forProtocol(lambda: peer)  # type: ignore[arg-type]
    client = TLSMemoryBIOFactory(Trusting(), True, factory, clock=clock).buildProtocol(None)
    return support.linked(clock, server, client, lambda: cut), client


@pytest.mark.parametrize("cut", [1, 7, 65536])
def test_a_session_in_mode_i_however_its_bytes_are_cut(server: Any, clock: Clock, tmp_path: Path, cut: int) -> None:
    peer = RawPeer()
    link, client = joined(clock, server, peer, cut)
    link.pump()
    client.write(b"USER ftp\r\nPASS x\r\nMODE I\r\nSTOR file\r\n" + support.frames(b"hello") + b"NLST\r\nQUIT\r\n")
    link.pump()
    answers = support.parse_answers(bytes(peer.received))
    assert [
        str(answer)[:3] for answer in answers if isinstance(answer, str)
    ] == "220 331 230 200 150 226 150 226 221".split()
    assert (tmp_path / "root" / "file").read_bytes() == b"hello"
    assert peer.is_lost


def test_nothing_of_the_session_can_be_read_on_the_way(server: Any, clock: Clock) -> None:
    peer = RawPeer()
    link = support.linked(clock, server, peer)
    link.pump()
    assert bytes(peer.received) == b""  # the greeting waits for TLS


def test_a_client_that_never_begins_its_handshake_is_dropped(server: Any, clock: Clock) -> None:
    peer = RawPeer()
    link = support.linked(clock, server, peer)
    link.pump()
    clock.advance(HANDSHAKE_LIMIT - 1)
    link.pump()
    assert not peer.is_lost
    clock.advance(1)
    link.pump()
    assert peer.is_lost
    assert bytes(peer.received) == b""


def test_clear_text_in_place_of_a_handshake_ends_it(server: Any, clock: Clock) -> None:
    peer = RawPeer()
    link = support.linked(clock, server, peer)
    link.client_end.write(b"USER ftp\r\nNOOP\r\n")
    link.pump()
    assert peer.is_lost
    assert b"331" not in peer.received

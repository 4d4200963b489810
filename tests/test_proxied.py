"""Connections that a proxy hands on: from where they come, and what they count as."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import support
from daemon import DEADLINE
from links import MemoryTransport
from OpenSSL import SSL
from secured import serving, trusting
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from ftpsvc import certificates, throughput
from ftpsvc.accounts import AnonymousOnly
from ftpsvc.addresses import Origin, passive_host, passive_port
from ftpsvc.connections import GRACE
from ftpsvc.draining import LOOK_EVERY, WORD
from ftpsvc.factory import ServerFactory
from ftpsvc.limits import HANDSHAKE_LIMIT, Limits
from ftpsvc.model import EVERYTHING
from ftpsvc.overview import Overview
from ftpsvc.proxied import HEADER_LIMIT, ProxiedFactory
from ftpsvc.refusals import GATHER
from ftpsvc.tls import ServerTLS

REAL = b"PROXY TCP4 198.51.100.9 192.0.2.1 4711 5000\r\n"
LOCAL = b"PROXY TCP4 127.0.0.1 127.0.0.1 4711 5000\r\n"
VERSION_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([127, 0, 0, 1, 127, 0, 0, 1, 18, 103, 19, 136])
UNKNOWN = b"PROXY UNKNOWN " + b" ".join([b"ffff" + b":ffff" * 7] * 2) + b" 65535 65535\r\n"


def a_server(folder: Path, limits: Limits | None = None) -> ServerFactory:
    guests = AnonymousOnly(support.local_disk(folder), EVERYTHING, only_from_here=True)
    return ServerFactory(guests, support.make_clock(), support.at_once, limits)


class FromProxy:
    """A connection of a proxy to a server in memory."""

    def __init__(self, folder: Path, proxy: str = "127.0.0.1", server: ServerFactory | None = None) -> None:
        factory = self.server = server or a_server(folder)
        self.clock = factory.clock
        self.protocol: Any = ProxiedFactory(factory, self.clock, factory).buildProtocol(None)
        self.transport = MemoryTransport()
        address = IPv4Address("TCP", proxy, 999)
        self.transport.getPeer = lambda: address  # type: ignore[method-assign, assignment, return-value]
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def said(self, *pieces: bytes) -> str:
        for piece in pieces:
            self.protocol.dataReceived(piece)
            self.clock.advance(0)
        return bytes(self.transport.outgoing).decode()

    def close(self) -> None:
        self.transport.abortConnection()
        self.server.records.flush()


@pytest.mark.parametrize(
    ("proxy", "header", "code"),
    [
        ("127.0.0.1", REAL, "421"),
        ("127.0.0.1", LOCAL, "220"),
        ("192.0.2.66", REAL, "421"),
        ("192.0.2.66", LOCAL, "421"),  # whoever reaches the port could say that
        ("127.0.0.1", UNKNOWN, "421"),
        ("127.0.0.1", b"PROXY UNKNOWN\r\n", "421"),
        ("127.0.0.1", VERSION_2, "220"),
        ("127.0.0.1", b"PROXY TCP4 \x1b[2J 127.0.0.1 4711 5000\r\n", "421"),
    ],
)
@pytest.mark.parametrize("size", [1000, 16, 1])
def test_a_peer_is_whom_the_proxy_says(tmp_path: Path, proxy: str, header: bytes, code: str, size: int) -> None:
    one = FromProxy(tmp_path, proxy)
    support.LEFT_OPEN.append(one)
    assert one.said() == ""  # nobody is greeted before it is known who it is
    assert one.said(*(header[at : at + size] for at in range(0, len(header), size))).startswith(code)


def test_what_comes_with_the_header_is_not_lost(tmp_path: Path) -> None:
    one = FromProxy(tmp_path)
    support.LEFT_OPEN.append(one)
    assert re.fullmatch(r"220 .*\r\n331 .*\r\n", one.said(LOCAL + b"USER ftp\r\n"))


@pytest.mark.parametrize(
    "data",
    [
        b"USER anonymous\r\n",
        b"\r\nX",
        b"PRIXY",
        VERSION_2[:12] + b"\x11\x11\0\x0c",
        b"PROXY TCP4 nonsense\r\n",
        b"PROXY " + b"x" * 200,
        b"PROXY TCP4 127.0.0.1 127.0.0.1 here 5000\r\n",
        b"PROXY TCP4 \xff 127.0.0.1 1 2\r\n",
    ],
)
def test_what_is_no_header_ends_the_connection(tmp_path: Path, data: bytes) -> None:
    one = FromProxy(tmp_path)
    support.LEFT_OPEN.append(one)
    assert one.said(data) == ""
    assert one.transport.lost is not None


def test_a_proxy_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    one = FromProxy(tmp_path)
    one.clock.advance(HEADER_LIMIT)
    assert one.transport.lost is not None


def test_who_has_not_said_for_whom_it_calls_counts_as_a_connection(tmp_path: Path) -> None:
    server = a_server(tmp_path, Limits(connections=2))
    first, second, third = (FromProxy(tmp_path, server=server) for _ in range(3))
    support.LEFT_OPEN.extend([first, second, third])
    assert third.said().startswith("421 There are 2 connections already")
    assert first.said(LOCAL).startswith("220"), "a header takes no second place"
    assert len(server.connections) == 2
    first.close()
    second.close()
    assert len(server.connections) == 0
    server.clock.advance(GATHER)


@pytest.mark.parametrize("is_within", [False, True])
def test_tls_behind_a_proxy_outlasts_the_time_for_its_handshake(tmp_path: Path, is_within: bool) -> None:
    """With AUTH TLS, and with the proxy's header within TLS (`haproxy:tls:`)."""
    (tmp_path / "root").mkdir()
    server = a_server(tmp_path / "root")
    tls = server.tls = ServerTLS(*certificates.ensure(tmp_path / "state"))
    transport = MemoryTransport(server.clock)
    transport.getPeer = lambda: IPv4Address("TCP", "127.0.0.1", 999)  # type: ignore[method-assign, assignment, return-value]
    transport.protocol = ProxiedFactory(server, server.clock, server).buildProtocol(None)
    if is_within:
        factory = TLSMemoryBIOFactory(tls, False, None, clock=server.clock)  # type: ignore[arg-type]
        transport.protocol = TLSMemoryBIOProtocol(factory, transport.protocol)
    transport.protocol.makeConnection(transport)
    if not is_within:
        transport.protocol.dataReceived(LOCAL + b"AUTH TLS\r\n")
        server.clock.advance(0)
        assert transport.take(1000).startswith(b"220 ")
    client = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    client.set_connect_state()

    def exchange() -> None:
        with contextlib.suppress(SSL.WantReadError):
            transport.protocol.dataReceived(client.bio_read(1 << 16))
        server.clock.advance(0)
        if said := transport.take(1 << 16):
            client.bio_write(said)

    for _ in range(2):
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
        exchange()
    client.send((LOCAL if is_within else b"") + b"NOOP\r\n")
    exchange()
    server.clock.advance(HANDSHAKE_LIMIT)
    assert transport.lost is None
    said = [client.recv(1000) for _ in range(1 + is_within)]  # a record each: the greeting, and the answer
    assert said[-1].startswith(b"200 ")
    transport.end(ConnectionDone())
    server.records.flush()


def test_operators_see_sessions_and_not_who_has_yet_to_be_named(tmp_path: Path) -> None:
    server = a_server(tmp_path)
    first, second = (FromProxy(tmp_path, server=server) for _ in range(2))
    support.LEFT_OPEN.extend([first, second])
    assert first.said(LOCAL).startswith("220")
    nobody: Any = None  # asks for disks and orders, of which there are none here
    overview = Overview(server, nobody, nobody)
    overview.start()
    assert [row.address for row in support.start(overview.rows()).result()] == ["127.0.0.1:4711"]
    assert support.start(overview.ban(ip_network("192.0.2.0/24"), None)).result() == 0
    assert support.start(overview.now()).result().sessions == 2
    server.clock.advance(throughput.LOOK_EVERY)
    assert len(overview.throughput._looks) == 2, "it goes on looking"
    overview.stop()


def test_a_server_that_stops_waits_for_the_header_of_who_was_let_in(tmp_path: Path) -> None:
    server = a_server(tmp_path)
    expected, late, lost = (FromProxy(tmp_path, server=server) for _ in range(3))
    support.LEFT_OPEN.extend([expected, late])
    stopping = support.start(server.stop())
    lost.close()
    server.clock.advance(WORD / 2)
    assert expected.said(LOCAL).startswith("220")
    server.clock.advance(WORD / 2)
    server.clock.advance(LOOK_EVERY)
    assert late.said(LOCAL).startswith("421 The server is stopping")
    expected.close()
    server.clock.advance(LOOK_EVERY)
    assert stopping.is_over
    server.clock.advance(GATHER)


def test_who_waits_for_the_header_gives_way_as_any_stranger(tmp_path: Path) -> None:
    server = a_server(tmp_path, Limits(connections=1))
    first = FromProxy(tmp_path, server=server)
    server.clock.advance(GRACE)
    second = FromProxy(tmp_path, server=server)
    support.LEFT_OPEN.extend([first, second])
    assert first.transport.lost is not None
    assert second.said(LOCAL).startswith("220")


@pytest.mark.parametrize("endpoint", ["haproxy:tcp:0:interface=127.0.0.1", "tls:haproxy:tcp:0:interface=127.0.0.1"])
def test_a_proxy_on_real_sockets(tmp_path: Path, endpoint: str) -> None:
    with serving(tmp_path / "root", "--anonymous", "read", endpoint=endpoint) as server:
        connection: Any = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
        connection.sendall(REAL)
        if endpoint.startswith("tls:"):
            connection = trusting().wrap_socket(connection)
        with connection, connection.makefile("rb") as lines:
            assert lines.readline().startswith(b"220 ")
            connection.sendall(b"USER ftp\r\nPASS x\r\nRETR nothing\r\n")
            assert [lines.readline()[:3] for _ in range(3)] == [b"331", b"230", b"550"]
        server.expect("anonymous@198.51.100.9:4711: RETR")


def test_a_session_in_tls_ends_with_its_connection_also_without_the_end_of_tls(tmp_path: Path) -> None:
    with serving(tmp_path / "root", "--anonymous", "read", endpoint="tls:haproxy:tcp:0:interface=127.0.0.1") as server:
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as connection:
            connection.sendall(REAL)
            with trusting().wrap_socket(connection) as secure:
                assert secure.recv(1000).startswith(b"220 ")
        server.expect("198.51.100.9:4711: The connection was lost")
        assert "Traceback" not in server.ended()


@pytest.mark.parametrize(
    ("said", "codes"), [(REAL + b"USER ftp\r\nPASS x\r\nNOOP\r\n", [b"220", b"331", b"230", b"200"]), (REAL[:20], [])]
)
def test_what_came_before_a_proxy_has_ended_its_side_is_answered(
    tmp_path: Path, said: bytes, codes: list[bytes]
) -> None:
    endpoint = "haproxy:tcp:0:interface=127.0.0.1"
    with serving(tmp_path / "root", "--anonymous", "read", endpoint=endpoint) as server:
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as connection:
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as lines:
                assert [line[:3] for line in lines] == codes
        assert "Traceback" not in server.ended()


#: A client on this machine that has come to a balancer on another (RFC 5737).
BALANCED = b"PROXY TCP4 127.0.0.1 198.51.100.1 4711 5000\r\n"


@contextlib.contextmanager
def balanced(folder: Path, *options: str) -> Iterator[Callable[[str], str]]:
    """A way to ask there, in stream mode."""
    endpoint = "haproxy:tcp:0:interface=127.0.0.1"
    with serving(folder / "root", "--anonymous", "read", *options, endpoint=endpoint) as server:
        connection = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
        with connection, connection.makefile("r") as lines:

            def ask(line: str) -> str:
                connection.sendall(f"{line}\r\n".encode())
                return lines.readline()

            connection.sendall(BALANCED)
            assert lines.readline().startswith("220 ")
            assert [ask(line)[:3] for line in ("USER ftp", "PASS x")] == ["331", "230"]
            yield ask


def test_behind_a_balancer_passive_mode_is_refused_with_the_reason_and_active_mode_tried(tmp_path: Path) -> None:
    with balanced(tmp_path) as ask, socket.create_server(("127.0.0.1", 0)) as waiting:
        for verb in ("PASV", "EPSV"):
            said = ask(verb)
            assert said.startswith("502 You have come to a balancer's address") and "--passive-address" in said
        assert ask("NLST").startswith("425 Where should the data go?")
        waiting.settimeout(DEADLINE)
        assert ask(f"EPRT |1|127.0.0.1|{waiting.getsockname()[1]}|").startswith("200")
        assert ask("NLST").startswith("150")
        with waiting.accept()[0] as data:
            assert data.recv(100) == b""


def test_with_an_address_of_its_own_pasv_goes_past_the_balancer_and_epsv_says_to_use_it(tmp_path: Path) -> None:
    with balanced(tmp_path, "--passive-address", "127.0.0.2") as ask:
        assert ask("EPSV").startswith("502 You have come to a balancer's address, and EPSV tells no other. Use PASV.")
        said = ask("PASV")
        assert said.startswith("227 ")
        assert str(passive_host(said)) == "127.0.0.2", "and not the one that a local client has come to"
        with socket.create_connection(("127.0.0.2", passive_port(said)), DEADLINE, ("127.0.0.1", 0)) as data:
            assert ask("NLST").startswith("150")
            assert data.recv(100) == b""


def test_a_local_socket_is_this_machine(tmp_path: Path) -> None:
    with serving(tmp_path / "root", "--port", f"unix:{tmp_path}/socket"), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(f"{tmp_path}/socket")
        assert connection.recv(100).startswith(b"220 ")


def test_no_header_writes_into_the_log(tmp_path: Path) -> None:
    """Behind a % in an address the name of an interface stands, of which Python takes any for one."""
    told: list[Any] = []
    one = FromProxy(tmp_path)
    support.LEFT_OPEN.append(one)
    one.server.records.listeners.append(told.extend)
    assert one.said(b"PROXY TCP6 fe80::1%\n\x1b[2J ::1 4711 5000\r\n").startswith("421")
    one.server.records.flush()
    assert told
    assert all(str(record).isprintable() for record in told)


def test_an_origin_has_a_name_for_people() -> None:
    assert Origin("somebody") == Origin("somebody", None, False)

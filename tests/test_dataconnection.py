"""Where a data connection is waited for, and how it ended where the reactor can't tell: real sockets, and the test in
the reactor's place."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import weakref
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import cast

import pytest
import support
from OpenSSL import SSL
from ports import free_ports
from secured import key_updates
from streams import reset
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from ftpsvc import certificates, passive
from ftpsvc.active import Active
from ftpsvc.addresses import Address
from ftpsvc.dataconnection import DataConnection
from ftpsvc.limits import Limits
from ftpsvc.model import Aborted, ConnectionFailed, HandshakeFailed, NoDataConnection
from ftpsvc.passive import Passive, listen
from ftpsvc.passiveports import PassivePorts
from ftpsvc.rates import Rates
from ftpsvc.storage import Buffer, WriteFile
from ftpsvc.stream import LAST_WORD, Stream
from ftpsvc.tls import ServerTLS
from ftpsvc.tunnel import Tunnel

HERE = ipaddress.ip_address("127.0.0.1")


@pytest.fixture
def ends() -> tuple[DataConnection, socket.socket]:
    """The server's end of a data connection, and the client's."""
    reactor = MemoryReactorClock()
    way, client = met(reactor)
    reactor.advance(0)
    assert way.connection is not None
    return way.connection, client


def met(reactor: MemoryReactorClock, is_scarce: bool = False) -> tuple[Passive, socket.socket]:
    """A passive port whose client has just come, and that client's end."""
    ports = PassivePorts(0, reactor)
    way = Passive(reactor, listen(HERE, range(0)), HERE, ports, lambda: None, is_scarce)
    way.start()
    client = socket.create_connection((str(HERE), way.port))
    way.look()
    assert way.connection is not None
    return way, client


def part(way: Passive, client: socket.socket) -> None:
    """Both ends of its connection go."""
    assert way.connection is not None
    client.close()
    way.close()
    way.connection.transport.connectionLost(Failure(ConnectionDone()))


def test_an_event_for_whoever_had_the_descriptor_before_is_no_failure() -> None:
    reactor = MemoryReactorClock()
    with socket.create_server((str(HERE), 0)) as client:
        active = Active(reactor, Address(HERE, client.getsockname()[1]), HERE, lambda: None)
        active.begin()
        active.doRead()
        assert active in reactor.writers
        active.doWrite()
        assert active.connection is not None
        active.connection.transport.connectionLost(Failure(ConnectionDone()))
    passive_way = Passive(reactor, listen(HERE, range(0)), HERE, PassivePorts(0, reactor), lambda: None)
    passive_way.start()
    passive_way.doWrite()
    assert passive_way in reactor.readers
    passive_way.close()


def say_that_nothing_more_will_come(connection: DataConnection) -> None:
    """As Twisted's reactor does for an event of epoll's with an error in it and nothing to read."""
    connection.transport.readConnectionLost(Failure(ConnectionDone()))


def hello() -> bytes:
    """How a client begins TLS."""
    connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    connection.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(1 << 16)


def test_a_reset_that_the_reactor_takes_for_an_end_in_order_is_none(ends: tuple[DataConnection, socket.socket]) -> None:
    connection, client = ends
    reading = support.start(connection.read())
    reset(client)
    say_that_nothing_more_will_come(connection)
    with pytest.raises(ConnectionFailed, match="reset"):
        reading.result()


def test_an_end_in_order_is_the_end_of_the_data(ends: tuple[DataConnection, socket.socket]) -> None:
    connection, client = ends
    reading = support.start(connection.read())
    client.close()
    say_that_nothing_more_will_come(connection)
    assert reading.result() == b""


def test_a_reset_behind_an_end_in_order_takes_nothing_back(ends: tuple[DataConnection, socket.socket]) -> None:
    connection, client = ends
    reading = support.start(connection.read())
    client.sendall(b"all")
    client.shutdown(socket.SHUT_WR)
    reset(client)
    say_that_nothing_more_will_come(connection)
    assert reading.result() == b"all"
    assert support.result_of(connection.read()) == b""


def test_what_came_before_a_reset_is_not_all(ends: tuple[DataConnection, socket.socket]) -> None:
    connection, client = ends
    reading = support.start(connection.read())
    client.sendall(b"some")
    reset(client)
    say_that_nothing_more_will_come(connection)
    assert reading.result() == b"some"
    with pytest.raises(ConnectionFailed, match="reset"):
        support.result_of(connection.read())


def test_the_end_of_tls_waits_for_no_acknowledgement(ends: tuple[DataConnection, socket.socket]) -> None:
    connection, client = ends
    connection.expect(SSL.Connection(SSL.Context(SSL.TLS_METHOD), None))
    assert connection.transport.getTcpNoDelay()
    client.close()
    say_that_nothing_more_will_come(connection)


def accepting(folder: Path) -> SSL.Connection:
    """The server's side of a data connection's TLS."""
    tls = ServerTLS(*certificates.ensure(folder))
    return tls.accepting(tls.serverConnectionForTLS(None))


def greet(connection: DataConnection, client: socket.socket, folder: Path, behind: bytes = b"") -> None:
    """The client begins TLS, and the server answers."""
    connection.expect(accepting(folder))
    client.sendall(hello() + behind)
    connection.transport.doRead()


def test_what_ends_a_handshake_is_acknowledged_at_once(
    ends: tuple[DataConnection, socket.socket], tmp_path: Path
) -> None:
    """The state of the system says so: it is 0 for one that has just answered, and may wait for what it says next."""
    connection, client = ends
    greet(connection, client, tmp_path)
    assert client.recv(1 << 16)
    assert connection.transport.getHandle().getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)
    client.close()
    say_that_nothing_more_will_come(connection)


def test_an_end_of_tls_within_its_handshake_is_a_handshake_that_failed(
    ends: tuple[DataConnection, socket.socket], tmp_path: Path
) -> None:
    connection, client = ends
    greet(connection, client, tmp_path, behind=b"\x15\x03\x03\x00\x02\x01\x00")
    client.close()
    say_that_nothing_more_will_come(connection)
    with pytest.raises(HandshakeFailed, match="closed"):
        support.result_of(connection.secured())


def test_a_session_outlives_a_data_connection_that_is_broken_off(tmp_path: Path) -> None:
    """Or a server that insists on it would refuse all that comes behind a transfer that somebody has stopped."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    tls = ServerTLS(*certificates.ensure(tmp_path))
    session, keys = None, set()
    for _ in range(3):
        client = SSL.Connection(context, None)
        client.set_connect_state()
        if session is not None:
            client.set_session(session)
        far, transport = Tunnel(tls.accepting(tls.serverConnectionForTLS(None))), StringTransport()
        connection = DataConnection(Clock())
        connection.makeConnection(transport)
        connection.expect(client)
        securing = support.start(connection.secured())
        while not securing.is_over:
            far.received(transport.value())
            transport.clear()
            connection.dataReceived(far.outgoing())
        session = session or client.get_session()
        keys.add(client.master_key())
        connection.fail(Aborted("The transfer was broken off."))
        connection.connectionLost(Failure(ConnectionAborted()))
        del connection, client
    assert len(keys) == 1, "TLS 1.2 has the same for a session that is resumed"


def test_answers_of_tls_are_not_heaped_up_for_who_does_not_read_them(
    ends: tuple[DataConnection, socket.socket], tmp_path: Path
) -> None:
    connection, client = ends
    connection.expect(accepting(tmp_path))
    context, secrets = SSL.Context(SSL.TLS_METHOD), {}
    context.set_keylog_callback(lambda _, line: secrets.update([line.split()[::2]]))
    tls = SSL.Connection(context, None)
    tls.set_connect_state()
    while True:
        with contextlib.suppress(SSL.WantReadError):
            tls.do_handshake()
            break
        client.sendall(tls.bio_read(1 << 16))
        connection.transport.doRead()
        tls.bio_write(client.recv(1 << 16))
    assert tls.get_cipher_name() == "TLS_AES_256_GCM_SHA384"
    client.sendall(tls.bio_read(1 << 16))
    connection.transport.doRead()
    reading = support.start(connection.read())
    client.sendall(key_updates(bytes.fromhex(secrets[b"CLIENT_TRAFFIC_SECRET_0"].decode()), 3000))
    for _ in range(10):  # loopback may bring them in several pieces
        connection.transport.doRead()
    with pytest.raises(ConnectionFailed, match="answers"):
        reading.result()
    client.close()
    say_that_nothing_more_will_come(connection)


@pytest.mark.usefixtures("no_collector")
def test_a_port_whose_client_has_come_leaves_nothing_behind() -> None:
    reactor = MemoryReactorClock()
    way, client = met(reactor)
    reactor.advance(0)
    left = weakref.ref(way)
    part(way, client)
    del way
    assert left() is None


def test_a_port_that_others_may_wait_for_is_free_as_soon_as_its_client_has_come() -> None:
    way, client = met(MemoryReactorClock(), is_scarce=True)
    listen(HERE, range(way.port, way.port + 1)).close()
    part(way, client)


def test_any_other_is_free_in_the_next_turn() -> None:
    reactor = MemoryReactorClock()
    way, client = met(reactor)
    with pytest.raises(NoDataConnection, match="All ports"):
        listen(HERE, range(way.port, way.port + 1))
    reactor.advance(0)
    listen(HERE, range(way.port, way.port + 1)).close()
    part(way, client)


def test_the_one_port_that_is_free_is_found() -> None:
    ports = free_ports(4)
    with contextlib.ExitStack() as stack:
        for port in ports[:3]:
            stack.enter_context(socket.create_server((str(HERE), port)))
        for _ in range(10):
            with listen(HERE, range(ports[0], ports[-1] + 1)) as found:
                assert found.getsockname()[1] == ports[3]
        with socket.create_server((str(HERE), ports[3])), pytest.raises(NoDataConnection, match="in use"):
            listen(HERE, range(ports[0], ports[-1] + 1))


def test_where_no_port_is_given_the_system_finds_one_behind_bad_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((str(HERE), 0)) as busy:
        port = busy.getsockname()[1]
        monkeypatch.setattr(passive, "ports_of_the_system", lambda: range(port, port + 1))
        with listen(HERE, range(0)) as found:
            assert found.getsockname()[1] != port
        monkeypatch.undo()
        with listen(HERE, range(0)) as found:
            assert found.getsockname()[1] in passive.ports_of_the_system()


def test_a_client_for_whom_there_is_no_descriptor_is_told_so_and_waited_for_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def accept(_: socket.socket) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    reactor = MemoryReactorClock()
    way = Passive(reactor, listen(HERE, range(0)), HERE, PassivePorts(0, reactor), lambda: None)
    way.start()
    with socket.create_connection((str(HERE), way.port)):
        monkeypatch.setattr(socket.socket, "accept", accept)
        way.doRead()
        assert way not in reactor.readers
        monkeypatch.undo()
    with pytest.raises(NoDataConnection, match="Too many open files"):
        support.result_of(way.connected(30))


# -- when a transfer ends, or stands still


@pytest.mark.parametrize("syncs", [0.0, 30.0])
def test_whose_control_connection_ends_a_moment_behind_the_data_was_killed_in_the_middle(syncs: float) -> None:
    reactor = MemoryReactorClock()
    way, client = met(reactor)
    stream = Stream(way, reactor, support.at_once, 30.0, False, Rates(Limits(), reactor).free)
    file = SlowFile()
    upload = support.start(stream.receive_file(cast(WriteFile, file)))
    assert way.connection is not None
    way.connection.transport.connectionLost(Failure(ConnectionDone()))
    if not syncs:
        file.syncing.callback(None)
    reactor.advance(max(syncs, LAST_WORD * 0.9))  # a disk may take as long as it wants to, and all the time is looked
    stream.fail(ConnectionFailed("The client was killed."))
    if syncs:
        file.syncing.callback(None)
    reactor.advance(LAST_WORD)
    with pytest.raises(ConnectionFailed, match="killed"):
        upload.result()
    client.close()


class SlowFile:
    """Takes each chunk, and syncs, when the test lets it."""

    def __init__(self) -> None:
        self.writing: Deferred[None] = Deferred()
        self.syncing: Deferred[None] = Deferred()

    async def write(self, chunk: Buffer) -> None:
        await self.writing

    async def sync(self) -> None:
        await self.syncing


def test_an_upload_stands_still_since_its_last_byte_and_not_since_somebody_looked() -> None:
    reactor = MemoryReactorClock()
    way, client = met(reactor)
    stream = Stream(way, reactor, support.at_once, 30.0, False, Rates(Limits(), reactor).free)
    file = SlowFile()
    upload = Deferred.fromCoroutine(stream.receive_file(cast(WriteFile, file)))
    reactor.advance(10)
    assert way.connection is not None
    way.connection.dataReceived(b"x")
    reactor.advance(300)
    assert stream.stalled_since is None  # it is the disk that is waited for
    file.writing.callback(None)
    reactor.advance(200)
    assert stream.stalled_since == 310
    upload.addErrback(lambda failure: failure.trap(Aborted))
    stream.fail(Aborted("enough"))
    part(way, client)


def test_a_download_stands_still_since_there_was_something_to_read() -> None:
    reactor = MemoryReactorClock()
    way, client = met(reactor)
    stream = Stream(way, reactor, support.at_once, 30.0, False, Rates(Limits(), reactor).free)
    found: Deferred[bytes] = Deferred()

    async def blocks() -> AsyncGenerator[bytes, None]:
        yield await found

    download = Deferred.fromCoroutine(stream.send_lines(blocks()))
    reactor.advance(300)
    assert stream.stalled_since is None  # it is the disk that is waited for
    found.callback(bytes(64 << 20))
    reactor.advance(200)
    assert stream.stalled_since == 300
    download.addErrback(lambda failure: failure.trap(Aborted))
    stream.fail(Aborted("enough"))
    part(way, client)

"""TLS as bytes in and bytes out: both ends in memory, and what goes wrong between them."""

from __future__ import annotations

import contextlib
import os
import ssl

import pytest
from OpenSSL import SSL

from ftpsvc import certificates
from ftpsvc.tls import ServerTLS
from ftpsvc.tunnel import PIECE, Tunnel


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ServerTLS:
    return ServerTLS(*certificates.ensure(tmp_path_factory.mktemp("state")))


def accepting(tls: ServerTLS) -> SSL.Connection:
    """A data connection's, beside a control connection."""
    return tls.accepting(tls.serverConnectionForTLS(None))


def connecting() -> SSL.Connection:
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    connection.set_connect_state()
    return connection


def joined(tls: ServerTLS) -> tuple[Tunnel, Tunnel]:
    """A server's end and a client's, behind their handshake."""
    server, client = Tunnel(accepting(tls)), Tunnel(connecting())
    greet(server, client)
    return server, client


def greet(server: Tunnel, client: Tunnel) -> None:
    server.begin()
    client.begin()
    while not (server.has_greeted and client.has_greeted):
        server.received(client.outgoing())
        client.received(server.outgoing())


def test_what_one_end_protects_the_other_receives(tls: ServerTLS) -> None:
    server, client = joined(tls)
    for near, far in ((server, client), (client, server)):
        data = os.urandom(PIECE)
        near.protect(memoryview(data))
        sent = near.outgoing()
        assert near.outgoing() == b""
        assert data[:100] not in sent
        assert far.received(sent) == data


def test_data_and_its_end_may_be_cut_anywhere(tls: ServerTLS) -> None:
    server, client = joined(tls)
    client.protect(b"hello")
    client.end()
    sent = client.outgoing()
    received = b""
    for at in range(len(sent)):
        assert not server.has_ended
        received += server.received(sent[at : at + 1])
    assert (received, server.has_ended, server.failure) == (b"hello", True, None)


def test_data_may_come_with_the_last_of_the_handshake_and_its_end_too(tls: ServerTLS) -> None:
    server, client = Tunnel(accepting(tls)), Tunnel(connecting())
    client.begin()
    assert server.received(client.outgoing()) == b""
    client.received(server.outgoing())
    client.protect(b"hello")
    client.end()
    assert not server.has_greeted
    assert server.received(client.outgoing()) == b"hello"
    assert server.has_greeted
    assert server.has_ended


def test_what_came_before_a_fault_is_not_lost_and_the_fault_is_no_end(tls: ServerTLS) -> None:
    server, client = joined(tls)
    client.protect(b"hello")
    sent = client.outgoing()
    assert server.received(sent + sent) == b"hello"  # the second time its number is wrong
    assert server.failure is not None
    assert server.is_over
    assert not server.has_ended


def test_a_fatal_alert_is_not_the_end_of_data(tls: ServerTLS) -> None:
    server, client = joined(tls)
    client.protect(b"the first half")
    sent = client.outgoing()
    client.received(b"\x17\x03\x03\x00\x20" + bytes(32))  # no record of the server's: the client says so, and is gone
    assert server.received(sent + client.outgoing()) == b"the first half"
    assert server.failure is not None
    assert not server.has_ended


def test_clear_text_in_place_of_a_handshake_is_a_failure(tls: ServerTLS) -> None:
    server = Tunnel(accepting(tls))
    assert server.received(b"USER ftp\r\n") == b""
    assert server.failure is not None
    assert not server.has_greeted


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_of_one_connection_is_resumed_on_another(tls: ServerTLS, version: ssl.TLSVersion) -> None:
    """Clients demand it of data connections, to know that the same server is behind both."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    session, servers = None, []
    for is_resumed in (False, True):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, session=session)
        server = Tunnel(accepting(tls))
        servers.append(server)  # the connection is still there, as the control connection is
        while not server.has_greeted:
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
            server.received(outgoing.read())
            incoming.write(server.outgoing())
        server.protect(b"x")
        incoming.write(server.outgoing())
        assert client.read(1) == b"x"  # and the tickets that come before it
        assert client.session_reused is is_resumed
        session = client.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_that_only_uploads_leaves_nothing_unread_when_it_closes(
    tls: ServerTLS, version: ssl.TLSVersion
) -> None:
    """Else its system would end the connection with a reset, and with it what of the upload had not left yet."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(version.value)
    uploading = SSL.Connection(context, None)
    uploading.set_connect_state()
    server, client = Tunnel(accepting(tls)), Tunnel(uploading)
    client.begin()
    while not client.has_greeted:
        server.received(client.outgoing())
        client.received(server.outgoing())
    for data in (b"one", b"two"):
        client.protect(data)
        assert server.received(client.outgoing()) == data
        assert server.outgoing() == b""
    client.end()
    server.received(client.outgoing())
    server.end()
    client.received(server.outgoing())
    assert client.has_ended


def test_a_session_stands_whatever_becomes_of_a_connection_that_the_server_has_dropped(tls: ServerTLS) -> None:
    """It is the client's to keep, in a ticket: the server's own memory would forget it, and there is none."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    control, session = SSL.Connection(context, None), None
    for _ in range(3):
        client, server = SSL.Connection(context, None), Tunnel(accepting(tls))
        client.set_connect_state()
        if session is not None:
            client.set_session(session)
        near = Tunnel(client)
        greet(server, near)
        near.end()
        control, session = (client, client.get_session()) if session is None else (control, session)
        assert client.master_key() == control.master_key(), "that of TLS 1.2 tells a resumed session"
        del server

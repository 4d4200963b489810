"""TLS on data connections, on real sockets: what is protected, and what the end of TLS says of a transfer."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import time

import pytest
import support
from OpenSSL import SSL
from secured import Server, Talk, running, server, trusting, upload

__all__ = ["running", "server"]  # fixtures, which pytest finds by their names


def test_clear_text_on_a_data_connection_is_522_and_nothing_is_stored_or_sent(server: Server) -> None:
    (server.folder / "file").write_bytes(b"old")
    with Talk(server).secure().log_in() as talk:
        for command in ("STOR file", "RETR file"):
            with talk.data() as data:
                assert talk.codes(command) == [150]
                data.sendall(b"this is no handshake at all" * 10)
                with contextlib.suppress(ConnectionResetError):
                    assert b"old" not in data.recv(1000)
                assert talk.code() == 522
    assert (server.folder / "file").read_bytes() == b"old"
    assert support.parts_in(server.folder) == []


@pytest.mark.parametrize("asked_for", ["PROT P", "PROT C"])
def test_a_client_may_begin_tls_on_a_data_connection_before_its_command(server: Server, asked_for: str) -> None:
    """As curl does: it sends the command, and looks for the answer to that when it has one to its handshake."""
    (server.folder / "file").write_bytes(b"content")
    with Talk(server).secure().log_in() as talk:
        assert talk.codes(asked_for) == [200]
        data = talk.data()
        assert talk.codes("PROT P", "NOOP") == [200, 200]  # a connection that came in clear has time until the command
        if asked_for == "PROT C":
            talk.send("RETR file")
        protected = trusting().wrap_socket(data, suppress_ragged_eofs=False)
        if asked_for == "PROT P":
            talk.send("RETR file")
        assert talk.code() == 150
        assert protected.recv(100) + protected.recv(100) == b"content"
        protected.close()
        assert talk.code() == 226


def greeted(data: socket.socket) -> SSL.Connection:
    """A client's side of TLS that has yet to send the last word of the handshake, with whatever goes behind that."""
    client = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    client.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        client.do_handshake()
    data.sendall(client.bio_read(1 << 16))
    while True:
        client.bio_write(data.recv(1 << 16))
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
            return client


@pytest.mark.parametrize("content", [b"", b"small"])
def test_an_upload_may_be_over_before_its_command(server: Server, content: bytes) -> None:
    with Talk(server).secure().log_in() as talk, talk.data() as data:
        client = greeted(data)
        if content:
            client.send(content)
        client.shutdown()
        data.sendall(client.bio_read(1 << 16))  # the last word of the handshake, the data and its end, all in one
        assert talk.codes("NOOP", "STOR early") == [200, 150]
        assert talk.code() == 226
    assert (server.folder / "early").read_bytes() == content


@pytest.mark.parametrize(("command", "wanted"), [("RETR file", b"content"), ("RETR empty", b""), ("NLST", b"file\r\n")])
def test_who_says_with_the_handshake_that_it_sends_no_data_gets_what_it_wants_to_read(
    server: Server, command: str, wanted: bytes
) -> None:
    (server.folder / "file").write_bytes(b"content")
    (server.folder / "empty").write_bytes(b"")
    with Talk(server).secure().log_in() as talk, talk.data() as data:
        client = greeted(data)
        client.shutdown()
        data.sendall(client.bio_read(1 << 16))
        assert talk.codes("NOOP", command) == [200, 150]
        client.bio_write(b"".join(iter(lambda: data.recv(1 << 16), b"")))
        received = b""
        with contextlib.suppress(SSL.ZeroReturnError):  # it ends in order
            while True:
                received += client.recv(1 << 16)
        assert talk.code() == 226
        assert wanted in received


def test_what_is_no_tls_behind_a_handshake_breaks_the_transfer_off(server: Server) -> None:
    (server.folder / "file").write_bytes(b"content")
    with Talk(server).secure().log_in() as talk:
        for _ in range(10):
            with talk.data() as data:
                data.sendall(greeted(data).bio_read(1 << 16) + b"\x17\x03\x03\x00\x20" + bytes(32))
                assert talk.codes("RETR file") == [150]  # often it is looked at in the same turn
                assert talk.code() == 426


def test_data_is_in_clear_if_the_client_asks_for_that_before_its_command(server: Server) -> None:
    (server.folder / "file").write_bytes(b"content")
    with Talk(server).secure().log_in() as talk, talk.data() as data:
        assert talk.codes("PROT C", "RETR file") == [200, 150]
        assert data.recv(100) + data.recv(100) == b"content"
        assert talk.code() == 226


def test_tls_on_a_data_connection_that_is_to_be_in_clear_is_522(server: Server) -> None:
    (server.folder / "file").write_bytes(b"content")
    with Talk(server).secure().log_in() as talk, trusting().wrap_socket(talk.data()) as protected:
        assert talk.codes("PROT C", "RETR file") == [200, 150]
        assert talk.code() == 522
        with contextlib.suppress(OSError):
            assert protected.recv(100) == b""


def test_an_upload_without_the_end_of_tls_is_426_and_the_old_file_is_kept(server: Server) -> None:
    (server.folder / "file").write_bytes(b"old")
    with Talk(server).secure().log_in() as talk:
        for _ in range(3):
            assert upload(talk, "STOR file", b"new" * 1000, in_order=False) == 426
            assert (server.folder / "file").read_bytes() == b"old"
            for part in support.parts_in(server.folder):
                part.unlink()
        assert upload(talk, "STOR file", b"new" * 1000, in_order=True) == 226
    assert (server.folder / "file").read_bytes() == b"new" * 1000


def test_a_download_ends_with_the_end_of_tls_and_needs_no_answer_to_it(server: Server) -> None:
    content = os.urandom(5_000_000)
    (server.folder / "file").write_bytes(content)
    with Talk(server).secure().log_in() as talk:
        for _ in range(3):
            data = talk.data()
            assert talk.codes("RETR file") == [150]
            protected = trusting().wrap_socket(data, suppress_ragged_eofs=False)
            # With ragged ends not suppressed, an empty read is a close_notify and nothing else.
            assert b"".join(iter(lambda: protected.recv(1 << 16), b"")) == content  # noqa: B023
            protected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            protected.close()
            assert talk.code() == 226


def test_a_download_is_whole_whatever_the_client_sends_meanwhile(server: Server) -> None:
    content = os.urandom(1_000_000)
    (server.folder / "file").write_bytes(content)
    with Talk(server).secure().log_in() as talk:
        for _ in range(3):
            data = talk.data()
            assert talk.codes("RETR file") == [150]
            data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)  # most of it waits at the server
            protected = trusting().wrap_socket(data, suppress_ragged_eofs=False)
            protected.sendall(b"nobody asked for this" * 1000)
            time.sleep(0.1)
            assert b"".join(iter(lambda: protected.recv(1 << 16), b"")) == content  # noqa: B023
            protected.close()
            assert talk.code() == 226


def test_a_download_that_is_reset_in_the_middle_is_426(server: Server) -> None:
    (server.folder / "file").write_bytes(os.urandom(50_000_000))
    with Talk(server).secure().log_in() as talk:
        data = talk.data()
        assert talk.codes("RETR file") == [150]
        protected = trusting().wrap_socket(data)
        protected.recv(1000)
        protected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        protected.close()
        assert talk.code() == 426


def test_an_upload_that_ends_in_a_fatal_alert_is_426_and_the_old_file_is_kept(server: Server) -> None:
    (server.folder / "file").write_bytes(b"old")
    with Talk(server).secure().log_in() as talk, talk.data() as data:
        assert talk.codes("STOR file") == [150]
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        protected = trusting().wrap_bio(incoming, outgoing)
        while True:
            try:
                protected.do_handshake()
                break
            except ssl.SSLWantReadError:
                data.sendall(outgoing.read())
                incoming.write(data.recv(65536))
        protected.write(b"new" * 1000)
        incoming.write(b"\x17\x03\x03\x00\x20" + bytes(32))  # nothing that the server has sent
        with pytest.raises(ssl.SSLError):
            while True:
                protected.read()
        data.sendall(outgoing.read())
        assert talk.code() == 426
    assert (server.folder / "file").read_bytes() == b"old"
    for part in support.parts_in(server.folder):
        part.unlink()


def test_an_upload_of_nothing_whose_end_comes_with_the_handshake(server: Server) -> None:
    (server.folder / "file").write_bytes(b"old")
    with Talk(server).secure().log_in() as talk:
        assert upload(talk, "STOR file", b"", in_order=True) == 226
    assert (server.folder / "file").read_bytes() == b""


def test_many_small_files_in_each_direction(server: Server) -> None:
    with Talk(server).secure().log_in() as talk:
        for number in range(30):
            content = bytes([number]) * number
            assert upload(talk, f"STOR {number}", content, in_order=True) == 226
            data = talk.data()
            assert talk.codes(f"RETR {number}") == [150]
            with trusting().wrap_socket(data, suppress_ragged_eofs=False) as protected:
                assert b"".join(iter(lambda: protected.recv(1 << 16), b"")) == content
            assert talk.code() == 226

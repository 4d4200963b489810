"""TLS on real sockets: what is protected, what is refused, and what the end of TLS says."""

from __future__ import annotations

import contextlib
import ftplib
import hashlib
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from daemon import DEADLINE, ENVIRONMENT, FOREGROUND
from OpenSSL import SSL
from secured import Server, Talk, serving, trusting, upload


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("root")) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    """One for all tests, and nothing in its folder."""
    for path in running.folder.iterdir():
        path.unlink()
    return running


def test_ftplib_up_down_and_list_with_active_and_passive_data(server: Server) -> None:
    content = os.urandom(3_000_000)
    for passive in (True, False):
        with ftplib.FTP_TLS(context=trusting(), timeout=DEADLINE) as client:
            client.connect("127.0.0.1", server.port)
            client.set_pasv(passive)
            client.login()
            client.prot_p()
            for name, data in (("file", content), ("empty", b"")):
                (server.folder / "local").write_bytes(data)
                with open(server.folder / "local", "rb") as file:
                    assert client.storbinary(f"STOR {name}", file).startswith("226")
                assert (server.folder / name).read_bytes() == data
                got = bytearray()
                assert client.retrbinary(f"RETR {name}", got.extend).startswith("226")
                assert got == data
            assert set(client.nlst()) == {"file", "empty", "local"}


def test_the_certificate_is_the_one_that_was_announced(server: Server) -> None:
    with Talk(server).secure() as talk:
        digest = hashlib.sha256(talk.socket.getpeercert(binary_form=True)).hexdigest()
        assert digest.upper() == server.fingerprint.replace(":", "")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_versions_that_are_spoken(server: Server, version: ssl.TLSVersion) -> None:
    context = trusting()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["ftp"])
    with Talk(server).secure(context) as talk:
        assert talk.socket.selected_alpn_protocol() == "ftp"
        assert talk.socket.compression() is None
        assert talk.codes("NOOP") == [200]


def test_a_client_that_wants_another_protocol_is_refused(server: Server) -> None:
    context = trusting()
    context.set_alpn_protocols(["http/1.1"])
    with Talk(server) as talk, pytest.raises(ssl.SSLError):
        talk.secure(context)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_older_versions_are_refused(server: Server) -> None:
    context = trusting()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with Talk(server) as talk, pytest.raises(ssl.SSLError):
        talk.secure(context)


def test_renegotiation_is_refused(server: Server) -> None:
    """Each would cost the server more than the client; TLS 1.3 has none."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    with Talk(server) as talk:
        assert talk.codes("AUTH TLS") == [234]
        talk.socket.settimeout(None)
        connection = SSL.Connection(context, talk.socket)
        connection.set_connect_state()
        connection.do_handshake()
        connection.renegotiate()
        with pytest.raises(SSL.Error, match="no renegotiation"):
            connection.do_handshake()
        connection.close()


def test_the_commands_of_protection_in_and_out_of_their_order(server: Server) -> None:
    with Talk(server) as talk:
        assert talk.codes("PBSZ 0", "PROT P", "CCC", "AUTH", "AUTH KERBEROS") == [503, 503, 533, 501, 504]
        assert talk.codes("USER ftp", "PASS x", "MODE I") == [331, 230, 200]
        talk.secure()
        assert talk.codes("PWD", "AUTH TLS", "PROT P", "PBSZ x", "PBSZ 0") == [530, 503, 503, 501, 200]
        assert talk.codes("PROT S", "PROT E", "PROT X", "PROT", "PROT C", "PROT P", "CCC") == [
            536, 536, 504, 501, 200, 200, 534,
        ]  # fmt: skip
        assert talk.codes("USER ftp", "PASS x", "REIN", "EPSV", "QUIT") == [331, 230, 534, 229, 221]
        assert talk.socket.recv(1) == b""  # the end of TLS, in order


def test_a_host_is_the_one_that_tls_has_begun_for(server: Server) -> None:
    with Talk(server) as talk:
        assert talk.codes("AUTH TLS") == [234]
        talk.file.close()
        talk.socket = trusting().wrap_socket(talk.socket, server_hostname="files.example.org")
        talk.file = talk.socket.makefile("rb")
        names = ["Files.Example.org.", "other.example.org", "[::1]"]
        assert talk.codes(*(f"HOST {name}" for name in names)) == [220, 504, 504]
    with Talk(server).secure() as talk:
        assert talk.codes("HOST other.example.org") == [220]


@pytest.mark.parametrize("name", ["tls", "TLS-C", "SSL"])
def test_other_names_of_tls(server: Server, name: str) -> None:
    with Talk(server) as talk:
        assert talk.codes(f"AUTH {name}") == [234]


def test_what_was_sent_in_clear_behind_auth_is_never_carried_out(server: Server) -> None:
    with Talk(server) as talk:
        talk.send("AUTH TLS", "USER ftp", "PASS x", "MODE I", "STOR injected", "DONE")
        assert talk.code() == 421
        assert talk.file.read() == b""
    assert os.listdir(server.folder) == []


def test_clear_text_in_place_of_a_handshake_gets_no_clear_answer(server: Server) -> None:
    with Talk(server) as talk:
        assert talk.codes("AUTH TLS") == [234]
        talk.send("USER ftp", "NOOP")
        with contextlib.suppress(ConnectionResetError):
            assert not re.search(rb"[0-9]{3} ", talk.file.read())


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


def test_mode_i_has_the_protection_of_the_control_connection(tmp_path: Path) -> None:
    with serving(tmp_path / "root", "--require-tls", "data") as server, Talk(server).secure() as talk:
        content = os.urandom(3_000_000)
        assert talk.codes("USER ftp", "PASS x", "MODE I") == [331, 230, 200]
        talk.socket.sendall(b"STOR file\r\n" + support.frames(content) + b"RETR file\r\n")
        assert [talk.code(), talk.code(), talk.code()] == [150, 226, 150]
        got = bytearray()
        while (line := talk.file.readline()).startswith(b"DATA "):
            got += talk.file.read(int(line[5:]))
        assert line.startswith(b"DONE ")
        assert (talk.code(), got) == (226, content)


def test_tls_can_be_required_for_the_login(tmp_path: Path) -> None:
    with serving(tmp_path / "root", "--require-tls", "login") as server, Talk(server) as talk:
        talk.send("USER ftp")
        answer = talk.file.readline()
        assert answer.startswith(b"530 ")
        assert b"AUTH TLS" in answer
        assert talk.codes("PASS x", "FEAT") == [530, 211]
        talk.secure()
        assert talk.codes("USER ftp", "PASS x") == [331, 230]


def test_tls_can_be_required_for_data(tmp_path: Path) -> None:
    with serving(tmp_path / "root", "--require-tls", "data") as server, Talk(server).secure() as talk:
        assert talk.codes("USER ftp", "PASS x", "EPSV", "NLST", "STOR x", "PWD") == [331, 230, 229, 521, 521, 257]
        assert talk.codes("PBSZ 0", "PROT P") == [200, 200]
        assert upload(talk, "STOR x", b"x", in_order=True) == 226


def test_tls_from_the_first_byte(tmp_path: Path) -> None:
    content = os.urandom(2_000_000)
    with (
        serving(tmp_path / "root", endpoint="tls:0:interface=127.0.0.1") as server,
        Talk(server, implicit=True).log_in() as talk,
    ):
        assert talk.codes("AUTH TLS") == [503]
        assert upload(talk, "STOR file", content, in_order=True) == 226
        assert (server.folder / "file").read_bytes() == content
        assert talk.codes("QUIT") == [221]
        assert talk.socket.recv(1) == b""


def test_sighup_reads_the_certificate_again_and_drops_nobody(tmp_path: Path) -> None:
    with serving(tmp_path / "root") as server, Talk(server).secure().log_in() as talk:
        server.process.send_signal(signal.SIGHUP)
        server.expect("read again")
        assert talk.codes("NOOP") == [200]


def test_a_certificate_that_can_not_be_used_refuses_the_start_in_one_line(tmp_path: Path) -> None:
    command = [*FOREGROUND, "ftpsvc", "--root", str(tmp_path), "--certificate", str(tmp_path / "missing")]
    ended = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE)
    assert ended.returncode == 1
    assert ended.stderr.startswith("ftpsvc: can't use the certificate: ")
    assert ended.stderr.count("\n") == 1


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

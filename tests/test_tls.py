"""TLS on real sockets: who gets it, what is refused, what can be required; test_tls_data.py has data connections."""

from __future__ import annotations

import contextlib
import ftplib
import hashlib
import os
import re
import shutil
import signal
import socket
import ssl
import urllib.request
from pathlib import Path

import nursery
import pytest
import support
from daemon import DEADLINE, ENVIRONMENT, FOREGROUND, LOCAL
from OpenSSL import SSL
from secured import Server, Talk, running, server, serving, trusting, upload

from ftpsvc import certificates

__all__ = ["running", "server"]  # fixtures, which pytest finds by their names


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


def test_browsers_come_to_the_monitor_by_tls_and_none_is_led_there_or_here_by_another(tmp_path: Path) -> None:
    def chosen(port: int, *protocols: str) -> str | None:
        context = trusting()
        context.set_alpn_protocols(list(protocols))
        clear = socket.create_connection(("127.0.0.1", port), DEADLINE)
        with clear, context.wrap_socket(clear) as secured:
            return secured.selected_alpn_protocol()

    with serving(tmp_path / "root", "--monitor", f"tls:{LOCAL}", endpoint=f"tls:{LOCAL}") as server:
        found = re.search(r"Site \(TLS\) starting on (\d+)", server.log)
        assert found is not None
        pages = int(found[1])
        assert chosen(pages, "h2", "http/1.1") == "http/1.1"
        assert chosen(server.port, "ftp") == "ftp"
        for port, protocol in ((pages, "ftp"), (server.port, "http/1.1")):
            with pytest.raises(ssl.SSLError):
                chosen(port, protocol)
        page = f"https://127.0.0.1:{pages}/healthz"
        with urllib.request.urlopen(page, None, DEADLINE, context=trusting()) as answer:
            assert answer.read() == b"ok\n"


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
        assert f"connect with: ftpsvc --implicit 127.0.0.1 {server.port}, or any" in server.log
        assert talk.codes("AUTH TLS") == [503]
        assert upload(talk, "STOR file", content, in_order=True) == 226
        assert (server.folder / "file").read_bytes() == content
        assert talk.codes("QUIT") == [221]
        assert talk.socket.recv(1) == b""


def test_sighup_reads_the_certificate_again_and_drops_nobody(tmp_path: Path) -> None:
    """A session that is there keeps its certificate, also on its data connections, and may be resumed on them."""
    files, state = tmp_path / "files", tmp_path / "state"
    certificates.ensure(state)
    shutil.copytree(state, files)
    names = [str(files / file.name) for file in certificates.ensure(files)]
    options = ("--certificate", names[0], "--key", names[1])
    context = trusting()
    with serving(tmp_path / "root", *options) as server, Talk(server).secure(context).log_in() as talk:
        for file in (shutil.rmtree(state), certificates.ensure(state))[1]:
            shutil.copy(file, files)
        server.process.send_signal(signal.SIGHUP)
        server.expect("read again")
        data = talk.data()
        assert talk.codes("NLST") == [150]
        with context.wrap_socket(data, session=talk.socket.session) as protected:
            assert protected.recv(1) == b""
            assert talk.code() == 226
            assert protected.session_reused
            assert protected.getpeercert(True) == talk.socket.getpeercert(True)
        with Talk(server).secure() as another:
            assert another.socket.getpeercert(True) != talk.socket.getpeercert(True)


def test_a_certificate_that_can_not_be_used_refuses_the_start_in_one_line(tmp_path: Path) -> None:
    command = [*FOREGROUND, "ftpsvc", "--root", str(tmp_path), "--certificate", str(tmp_path / "missing")]
    ended = nursery.run(command, cwd=tmp_path, env=ENVIRONMENT, text=True, timeout=DEADLINE)
    assert ended.returncode == 1
    assert ended.stderr.startswith("ftpsvc: can't use the certificate: ")
    assert ended.stderr.count("\n") == 1

"""A server with TLS in a process of its own, and a client of blocking sockets that speaks it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from daemon import DEADLINE, LOCAL, Daemon


def trusting() -> ssl.SSLContext:
    """Takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Server(Daemon):
    """A twistd process over a folder. At its end it waits for nobody."""

    host = "127.0.0.1"

    def __init__(self, folder: Path, *options: str, endpoint: str = LOCAL) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder, "--drain-time", "0", *options, endpoint=endpoint)
        self.folder = folder
        self.serving()
        found = re.search(r"fingerprint is ([0-9A-F:]+)", self.expect("fingerprint is "))
        assert found is not None
        self.fingerprint = found[1]


@contextlib.contextmanager
def serving(folder: Path, *options: str, endpoint: str = LOCAL) -> Iterator[Server]:
    with Server(folder, *options, endpoint=endpoint) as server:
        yield server


class Talk:
    """A control connection of blocking sockets."""

    def __init__(self, server: Server, implicit: bool = False) -> None:
        self.port = server.port
        self.socket: Any = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
        if implicit:
            self.socket = trusting().wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")
        assert self.code() == 220

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def code(self) -> int:
        while (line := self.file.readline())[3:4] == b"-" or line[:1] == b" ":
            pass
        return int(line[:3] or b"0")

    def send(self, *lines: str) -> None:
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def codes(self, *lines: str) -> list[int]:
        answers = []
        for line in lines:
            self.send(line)
            answers.append(self.code())
        return answers

    def secure(self, context: ssl.SSLContext | None = None) -> Talk:
        assert self.codes("AUTH TLS") == [234]
        self.file.close()
        self.socket = (context or trusting()).wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")
        return self

    def log_in(self) -> Talk:
        assert self.codes("USER ftp", "PASS x", "TYPE I", "PBSZ 0", "PROT P") == [331, 230, 200, 200, 200]
        return self

    def data(self) -> socket.socket:
        self.send("EPSV")
        found = re.search(rb"\|\|\|([0-9]+)\|", self.file.readline())
        assert found
        return socket.create_connection(("127.0.0.1", int(found[1])), DEADLINE)


def upload(talk: Talk, command: str, content: bytes, in_order: bool) -> int:
    """Store, and end TLS in order or only the connection; the final code."""
    data = talk.data()
    assert talk.codes(command) == [150]
    protected = trusting().wrap_socket(data)
    protected.sendall(content)
    if in_order:
        protected.unwrap().close()
    else:
        os.close(protected.detach())
    return talk.code()


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


def key_updates(secret: bytes, count: int) -> bytes:
    """So many records that each ask for an answer (RFC 8446, section 4.6.3), of a client with this traffic secret."""

    def expanded(name: str, size: int) -> bytes:
        label = b"tls13 " + name.encode()
        info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
        return HKDFExpand(hashes.SHA384(), size, info).derive(secret)

    header, records = b"\x17\x03\x03\x00\x16", []
    for _ in range(count):
        message = b"\x18\x00\x00\x01\x01" + b"\x16"  # update_requested, in a record of the handshake's
        records.append(header + AESGCM(expanded("key", 32)).encrypt(expanded("iv", 12), message, header))
        secret = expanded("traffic upd", 48)
    return b"".join(records)

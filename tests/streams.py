"""A server process and a client of blocking sockets, for MODE S and MODE I alike."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nursery
import secured
import serverprocess

#: How long, in seconds, anything may take before the test fails. Only failures take this long.
DEADLINE = 20.0

WAYS = ("PASV", "EPSV", "PORT", "EPRT")


def eventually(condition: Callable[[], Any]) -> Any:
    """Wait until a condition holds, and return what it gave."""
    end = time.monotonic() + DEADLINE
    while not (result := condition()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)
    return result


def reset(connection: socket.socket) -> None:
    """Close it so that the other end sees a reset, and no end of data."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Server:
    """A server of its own over a folder."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", **options: object) -> None:
        self.host = host
        given = [f"{name}={value}" for name, value in {"interface": host, **options}.items()]
        with serverprocess.python_path() as environment:
            command = (sys.executable, "-c", serverprocess.RUN, str(folder), *given)
            self.process = nursery.Child(command, stdout=subprocess.PIPE, env=environment)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def descriptors(self) -> list[str]:
        """What sockets the process has open."""
        folder = f"/proc/{self.process.pid}/fd"
        found = []
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if "socket" in os.readlink(f"{folder}/{name}"):
                    found.append(name)
        return found


class Client:
    """Logged in, in TYPE I and MODE S; with `tls` all is protected, data connections too."""

    def __init__(self, server: Server | secured.Server, tls: bool = False) -> None:
        self.server = server
        self.socket = socket.create_connection((server.host, server.port), DEADLINE)
        self.file = self.socket.makefile("rb")
        assert self.codes(1) == [220]
        self.tls = secured.trusting() if tls else None
        if self.tls is not None:
            assert self.ask("AUTH TLS").startswith("234")
            self.file.close()
            self.socket = self.tls.wrap_socket(self.socket)
            self.file = self.socket.makefile("rb")
            assert self.ask("PBSZ 0").startswith("200")
            assert self.ask("PROT P").startswith("200")
        self.send(b"USER ftp\r\nPASS x\r\nTYPE I\r\n")
        assert self.codes(3) == [331, 230, 200]

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self) -> str:
        return self.file.readline().decode()

    def codes(self, count: int) -> list[int]:
        return [int(self.reply()[:3]) for _ in range(count)]

    def ask(self, line: str) -> str:
        self.send(line.encode() + b"\r\n")
        return self.reply()

    def passive(self) -> socket.socket:
        answer = self.ask("EPSV")
        found = re.search(r"\|\|\|([0-9]+)\|", answer)
        assert found, answer
        return socket.create_connection((self.server.host, int(found[1])), DEADLINE)

    def begin(self, way: str, command: str) -> socket.socket:
        """Send a command that moves data; its data connection. The 150 has been read."""
        if way == "EPSV":
            data = self.passive()
        elif way == "PASV":
            found = re.search(r"\((.*)\)", self.ask("PASV"))
            assert found
            *host, high, low = found[1].split(",")
            data = socket.create_connection((".".join(host), int(high) * 256 + int(low)), DEADLINE)
        else:
            with socket.create_server((self.server.host, 0), family=self.socket.family) as listening:
                listening.settimeout(DEADLINE)
                port = listening.getsockname()[1]
                family = "2" if ":" in self.server.host else "1"
                argument = f"|{family}|{self.server.host}|{port}|"
                if way == "PORT":
                    argument = ",".join([*self.server.host.split("."), str(port >> 8), str(port & 255)])
                assert self.ask(f"{way} {argument}").startswith("200 ")
                self.send(command.encode() + b"\r\n")
                data, _ = listening.accept()
                data.settimeout(DEADLINE)
                assert self.reply().startswith("150 ")
                return self.protected(data)
        assert self.ask(command).startswith("150 ")
        return self.protected(data)

    def protected(self, data: socket.socket) -> socket.socket:
        """A data connection as it is used behind the 150. In TLS only TLS's own end is an end, and not an error."""
        return data if self.tls is None else self.tls.wrap_socket(data, suppress_ragged_eofs=False)

    def finish(self, data: socket.socket) -> None:
        """End the data in order."""
        if isinstance(data, ssl.SSLSocket):
            data = data.unwrap()
        data.close()

    def download(self, way: str, command: str) -> bytes:
        with self.begin(way, command) as data:
            received = b"".join(iter(lambda: data.recv(1 << 20), b""))
        assert self.codes(1) == [226]
        return received

    def upload(self, way: str, command: str, content: bytes) -> None:
        data = self.begin(way, command)
        data.sendall(content)
        self.finish(data)
        assert self.codes(1) == [226]

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def reset(self) -> None:
        self.file.close()
        reset(self.socket)

"""A server that loses data connections in mid-transfer, and keeps the other: the client goes on, on a new one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nursery
import pytest
from ports import free_port
from serverprocess import python_path
from streams import eventually

from .test_peers import answers

#: How often the server loses a connection, and behind how many bytes.
CUTS, AFTER = 2, 3_000_000

SERVER = f"""\
import logging, os, sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.servers import FTPServer

logging.basicConfig(level=logging.CRITICAL)
left = {{"up": {CUTS}, "down": {CUTS}}}


class Cut(DTPHandler):
    def lose(self, way, moved):
        if left[way] and moved > {AFTER}:
            left[way] -= 1
            raise OSError("cut")

    def send(self, data):
        self.lose("down", self.tot_bytes_sent)
        return super().send(data)

    def recv(self, size):
        self.lose("up", self.tot_bytes_received)
        return super().recv(size)


class Apart(AbstractedFS):
    def open(self, filename, mode):
        return super().open(filename + ".in" if "w" in mode else filename, mode)


class KeepsOld(FTPHandler):
    abstracted_fs = Apart

    def on_file_received(self, file):
        os.replace(file, file.removesuffix(".in"))


root, port, manner = sys.argv[1:]
handler = KeepsOld if manner == "apart" else FTPHandler
handler.dtp_handler, handler.use_sendfile = Cut, False
handler.authorizer = DummyAuthorizer()
handler.authorizer.add_anonymous(root, perm="elradfmwMT")
FTPServer(("127.0.0.1", int(port)), handler).serve_forever()
"""


@pytest.fixture
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """Where the server is. With the parameter `apart` it writes uploads to a file of another name until they end."""
    (tmp_path / "there").mkdir()
    port = free_port()
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        SERVER,
        str(tmp_path / "there"),
        str(port),
        getattr(request, "param", ""),
    ]
    with subprocess.Popen(command) as process:
        eventually(lambda: answers(port, False))
        yield port
        process.kill()


def carry(folder: Path, *words: str) -> list[dict[str, object]]:
    """What `ftpsvc` says as JSON when it carries a file."""
    program = "import sys; from ftpsvc.program import main; sys.exit(main())"
    with python_path() as environment:
        environment = {**environment, "XDG_STATE_HOME": str(folder.parent / "state")}
        command = [sys.executable, "-c", program, *words, "--json"]
        done = nursery.run(command, cwd=folder, env=environment, timeout=60)
    assert done.returncode == 0, done
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("way", ["get", "put"])
def test_a_file_is_whole_though_its_connection_was_lost_twice(tmp_path: Path, port: int, way: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    source, target = (there, here) if way == "get" else (here, there)
    (source / "large").write_bytes(os.urandom(10_000_000))
    url = f"ftp://127.0.0.1:{port}/"
    words = [f"{url}large"] if way == "get" else ["large", url]
    said = carry(here, way, *words)
    assert said[-1]["event"] == "done"
    assert (target / "large").read_bytes() == (source / "large").read_bytes()
    assert [name for name in os.listdir(target) if not name.startswith(".")] == ["large"]


@pytest.mark.parametrize("port", ["apart"], indirect=True)
def test_an_old_file_that_such_a_server_keeps_does_not_get_into_the_new_one(tmp_path: Path, port: int) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    (here / "large").write_bytes(os.urandom(10_000_000))
    (there / "large").write_bytes(bytes(1_000_000))
    said = carry(here, "put", "large", f"ftp://127.0.0.1:{port}/")
    assert (said[-1]["event"], said[-1]["resumed"]) == ("done", 0)
    assert (there / "large").read_bytes() == (here / "large").read_bytes()
    assert os.listdir(there) == ["large"]

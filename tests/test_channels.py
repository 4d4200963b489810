"""The contract of a channel, on real sockets: what a transfer moves doesn't depend on the way that it takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from streams import WAYS, Client, Server
from test_sockets import Client as InlineClient

#: A client, the way of its data, and the folder that it sees.
Channel = tuple[Client, str, Path]


class Inline(InlineClient):
    """The same questions in MODE I."""

    def download(self, way: str, command: str) -> bytes:
        self.send(command.encode() + b"\r\n")
        assert self.code() == 150
        data = self.sequence()
        assert self.code() == 226
        return data

    def upload(self, way: str, command: str, content: bytes) -> None:
        self.send(command.encode() + b"\r\n", support.frames(content, 1 << 20))
        assert [self.code(), self.code()] == [150, 226]

    def ask(self, line: str) -> str:
        self.send(line.encode() + b"\r\n")
        return self.file.readline().decode()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Server, Path]]]:
    servers = {}
    for host in ("127.0.0.1", "::1"):
        folder = tmp_path_factory.mktemp("served")
        servers[host] = (Server(folder, host), folder)
    yield servers
    for server, _ in servers.values():
        server.kill()


@pytest.fixture(params=["MODE I", *(f"{way} 127.0.0.1" for way in WAYS), "EPSV ::1", "EPRT ::1"])
def channel(request: pytest.FixtureRequest, served: dict[str, tuple[Server, Path]]) -> Iterator[Channel]:
    way, _, host = request.param.partition(" ")
    server, folder = served["127.0.0.1" if way == "MODE" else host]
    client = Inline(server.port) if way == "MODE" else Client(server)
    yield client, way, folder  # type: ignore[misc]
    client.close()


SIZES = (0, 1, 65_536, 65_537, 300_000, 5_000_001)


@pytest.mark.parametrize("size", SIZES)
def test_a_file_goes_up_and_comes_down_as_it_was(channel: Channel, size: int) -> None:
    client, way, folder = channel
    content = os.urandom(size)
    client.upload(way, "STOR file", content)
    assert (folder / "file").read_bytes() == content
    assert client.download(way, "RETR file") == content


def test_a_transfer_goes_on_from_where_it_was(channel: Channel) -> None:
    client, way, folder = channel
    content = os.urandom(1_000_000)
    (folder / "half").write_bytes(content[:400_000])
    if way == "MODE":
        assert client.ask("REST 400000").startswith("350")
        client.upload(way, "STOR half", content[400_000:])
        assert client.ask("REST 600000").startswith("350")
        assert client.download(way, "RETR half") == content[600_000:]
        return
    data = _restarted(client, 400_000, "STOR half")
    data.sendall(content[400_000:])
    data.close()
    assert client.codes(1) == [226]
    data = _restarted(client, 600_000, "RETR half")
    assert b"".join(iter(lambda: data.recv(1 << 20), b"")) == content[600_000:]
    data.close()
    assert client.codes(1) == [226]


def _restarted(client: Client, offset: int, command: str):  # type: ignore[no-untyped-def]
    data = client.passive()
    assert client.ask(f"REST {offset}").startswith("350")
    assert client.ask(command).startswith("150")
    return data


def test_what_is_added_stands_behind_what_was_there(channel: Channel) -> None:
    client, way, folder = channel
    (folder / "log").write_bytes(b"one")
    client.upload(way, "APPE log", b"two")
    assert (folder / "log").read_bytes() == b"onetwo"


def test_listings_take_the_same_way(channel: Channel) -> None:
    client, way, folder = channel
    (folder / "folder").mkdir(exist_ok=True)
    for name in ("a b", "é", 'a"b'):
        (folder / "folder" / name).touch()
    names = client.download(way, "NLST folder").decode().splitlines()
    assert sorted(names) == ["folder/a b", 'folder/a"b', "folder/é"]
    assert client.download(way, "MLSD folder").count(b"\r\n") == 3
    assert client.download(way, "LIST folder").count(b"\r\n") == 3


def test_a_text_is_converted_both_ways(channel: Channel) -> None:
    client, way, folder = channel
    assert client.ask("TYPE A").startswith("200")
    text = b"one\ntwo\rthree\n" * 100_000
    wire = text if way == "MODE" else text.replace(b"\n", b"\r\n")
    client.upload(way, "STOR text", wire)
    assert (folder / "text").read_bytes() == text
    assert client.download(way, "RETR text") == wire

"""Attacks by many sessions, by slow ones, and by what they leave in the log."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
import support
from links import Link, RawPeer
from streams import DEADLINE, Client, Server
from support import Conversation, frames
from twisted.logger import formatEvent, globalLogPublisher

from ftpsvc.limits import Limits
from ftpsvc.linethenraw import BUFFER
from ftpsvc.model import Entry, Kind

# -- in memory


def test_a_thousand_who_send_a_byte_now_and_then_are_gone_when_their_time_is_over(tmp_path: Path) -> None:
    honest = Conversation(support.local_disk(tmp_path), limits=Limits(login=60))
    slow: list[tuple[Link, RawPeer]] = []
    for _ in range(1000):
        peer = RawPeer()
        slow.append((support.linked(honest.clock, honest.factory.buildProtocol(None), peer), peer))
    honest.log_in()
    for _ in range(7):
        honest.clock.advance(9)
        for link, _peer in slow:
            link.client_end.write(b"x")
            link.pump()
        assert honest.codes(b"STOR file\r\n", frames(b"hello")) == [150, 226]
    assert all(peer.is_lost for _, peer in slow)
    assert {bytes(peer.received).split(b"\r\n")[-2][:4] for _, peer in slow} == {b"421 "}


class Endless:
    """A storage with a folder that has more entries than anybody could hold."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.produced = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def list(self, path: str) -> AsyncGenerator[Entry, None]:
        while True:
            self.produced += 1
            yield Entry(f"file{self.produced}", Kind.FILE)


@pytest.mark.parametrize("line", [b"LIST", b"NLST", b"MLSD", b"NLST *9*", b"LIST -R"])
def test_a_folder_without_an_end_is_listed_as_far_as_the_client_reads(tmp_path: Path, line: bytes) -> None:
    endless = Endless(support.local_disk(tmp_path))
    talk = Conversation(endless).log_in()
    talk.link.client_end.is_reading = False
    talk.send(line + b"\r\n")
    produced = endless.produced
    talk.clock.advance(10)
    talk.link.pump()
    assert endless.produced == produced < BUFFER
    assert talk.link.server_end.most_held < 2 * BUFFER
    talk.send(b"ABOR\r\nNOOP\r\n")
    talk.link.client_end.is_reading = True
    answers = talk.codes()
    assert answers == [150, "FAIL", 426, 226, 200]


def test_no_text_of_a_clients_writes_into_the_log(tmp_path: Path) -> None:
    logged: list[str] = []

    def keep(event: dict[str, Any]) -> None:
        logged.append(formatEvent(event))

    globalLogPublisher.addObserver(keep)
    try:
        talk = Conversation(support.local_disk(tmp_path))
        for name in (b"a\x1b[2Jb", b"a\x07\x9b31m", b"\xe2\x80\xae", b"a\x0b\x0cb\xff\xff", b"\xc2\x85x"):
            for verb in (b"", b"USER ", b"PASS ", b"HOST ", b"CLNT ", b"AUTH "):
                talk.ask(verb + name + b"\r\n")
            talk.log_in()
            talk.ask(b"RETR " + name + b"\r\n")
            talk.ask(b"STOR " + name + b"\r\n", frames(b"x"))
            talk.ask(b"RNFR " + name + b"\r\nRNTO " + name + b"2\r\n")
            talk.ask(b"STOR x\r\nFAIL " + name + b"\r\n")
        talk.factory.records.flush()
    finally:
        globalLogPublisher.removeObserver(keep)
    lines = "\n".join(logged).split("\n")
    assert any("x1b[2J" in line for line in lines)
    assert all(line.isprintable() for line in lines)
    assert sum("STOR" in line for line in lines) == 10


# -- on sockets

#: For how many seconds nothing may happen. With less than this a busy machine keeps the client itself from its turn.
IDLE = 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "file").write_bytes(b"hello")
    server = Server(tmp_path, idle=IDLE, connecting=5)
    yield server
    server.kill()


def test_a_client_that_connects_for_data_and_never_says_for_what_is_sent_away(server: Server, client: Client) -> None:
    with client.passive() as data:
        assert client.codes(1) == [421]
        assert data.recv(1) == b""
    assert client.reply() == ""


def test_who_reads_a_byte_now_and_then_holds_up_nobody_and_is_cut_off(
    server: Server, client: Client, tmp_path: Path
) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 32)
    other = Client(server)
    with client.begin("EPSV", "RETR huge") as data:
        client.socket.setblocking(False)
        end = time.monotonic() + DEADLINE
        while True:
            data.recv(1)
            assert other.download("EPSV", "RETR file") == b"hello"
            try:
                answer = client.socket.recv(1000)
            except BlockingIOError:
                assert time.monotonic() < end
                time.sleep(0.05)
            else:
                break
    assert answer.startswith(b"426 ")
    other.close()


def test_who_reads_slowly_and_steadily_gets_all_of_it(server: Server, tmp_path: Path) -> None:
    content = os.urandom(20_000_000)
    (tmp_path / "large").write_bytes(content)
    client = Client(server)  # not before: on a busy machine half a second is over when the file is there
    with client.begin("EPSV", "RETR large") as data:
        began, got = time.monotonic(), bytearray()
        while len(got) < len(content):
            got += data.recv(1 << 20, socket.MSG_WAITALL)
            time.sleep(IDLE / 15)
        assert time.monotonic() - began > IDLE
    assert client.codes(1) == [226]
    assert got == content
    client.close()


def test_when_no_more_files_can_be_opened_the_server_says_so_and_recovers(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    server = Server(tmp_path, idle=60)
    pid = server.process.pid
    client, other = Client(server), Client(server)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, before[1]))
    assert client.ask("EPSV").startswith("425")
    assert client.ask("PASV").startswith("425")
    assert client.ask("MODE I").startswith("200")
    assert client.ask("RETR file").startswith("450")
    assert client.ask("STAT .").startswith("450")
    strangers = [socket.create_connection((server.host, server.port), DEADLINE) for _ in range(20)]
    assert other.ask("NOOP").startswith("200")
    for stranger in strangers:
        stranger.close()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert client.ask("MODE S").startswith("200")
    assert client.download("EPSV", "RETR file") == b"hello"
    Client(server).close()
    client.close()
    other.close()
    server.kill()

"""A client that ends its side of the connection behind its last line: what it has sent is carried out and answered."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from streams import Client, Server, eventually
from support import Conversation, frames

from ftpsvc.limits import Limits


def says_and_ends(talk: Conversation, *parts: bytes) -> list[int | str]:
    talk.link.client_end.write(b"".join(parts))
    talk.link.client_end.loseWriteConnection()
    return talk.codes()


@pytest.mark.parametrize("cut", [1, 1 << 16])
def test_all_that_came_before_the_end_is_answered(tmp_path: Path, cut: int) -> None:
    talk = Conversation(support.local_disk(tmp_path), cut=lambda: cut).log_in()
    said = b"STOR file\r\n" + frames(b"hello") + b"RETR file\r\nMKD d\r\nPWD\r\nthis line has no end"
    assert says_and_ends(talk, said) == [150, 226, 150, "DONE", 226, 257, 257]
    assert (tmp_path / "file").read_bytes() == b"hello"
    assert talk.is_closed


def test_the_answer_to_an_upload_waits_for_its_commit(tmp_path: Path) -> None:
    run = support.by_hand()
    talk = Conversation(support.local_disk(tmp_path, run)).log_in()
    assert says_and_ends(talk, b"STOR file\r\n", frames(b"hello")) == [150]
    assert not talk.is_closed
    run.fire()
    assert talk.codes() == [226]
    assert talk.is_closed


def test_an_upload_that_ends_in_its_middle_is_none_and_its_part_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    talk = Conversation(support.local_disk(tmp_path)).log_in()
    assert says_and_ends(talk, b"STOR file\r\nDATA 5\r\nhel") == [150, 426]
    assert (tmp_path / "file").read_bytes() == b"old"
    assert support.take_part(tmp_path) == b"hel"
    assert talk.is_closed


def test_an_end_with_nothing_before_it_closes(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path))
    assert says_and_ends(talk) == [220]
    assert talk.is_closed


def test_a_client_that_ends_and_never_reads_is_dropped(tmp_path: Path) -> None:
    talk = Conversation(support.local_disk(tmp_path), limits=Limits(closing=5)).log_in()
    talk.link.client_end.is_reading = False
    assert says_and_ends(talk, b"NOOP\r\n" * 1000) == []
    assert not talk.is_closed
    talk.clock.advance(5)
    talk.link.client_end.is_reading = True
    talk.link.pump()
    assert talk.is_closed
    talk.peer.received.clear()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.kill()


def test_on_a_socket_all_is_answered_and_closed(server: Server, client: Client) -> None:
    before = len(server.descriptors)
    for ending in (b"", b"QUIT\r\n"):
        with socket.create_connection((server.host, server.port)) as talk:
            talk.sendall(b"USER ftp\r\nPASS x\r\nMODE I\r\nSTOR file\r\n" + frames(os.urandom(100_000)) + ending)
            talk.shutdown(socket.SHUT_WR)
            with talk.makefile("rb") as file:
                codes = [int(line[:3]) for line in file]
        assert codes == [220, 331, 230, 200, 150, 226] + [221] * bool(ending)
    eventually(lambda: len(server.descriptors) == before)


@pytest.mark.parametrize("command", ["STOR file", "APPE file", "RETR huge"])
def test_a_transfer_on_its_own_connection_does_not_outlive_the_control_connection(
    client: Client, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 32)
    data = client.begin("EPSV", command)
    if command != "RETR huge":
        data.sendall(b"new" * 1000)
    client.socket.shutdown(socket.SHUT_WR)
    assert client.codes(1) == [426]
    data.close()
    assert client.reply() == ""
    assert (tmp_path / "file").read_bytes() == b"old"
    for part in support.parts_in(tmp_path):
        assert part.read_bytes() == b"new" * 1000
        part.unlink()


def test_no_transfer_begins_behind_the_end(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        client.send(
            f"PORT 127,0,0,1,{port >> 8},{port & 255}\r\nNOOP\r\n".encode() + b"STAT\r\n" * 200 + b"STOR file\r\n"
        )
        client.socket.shutdown(socket.SHUT_WR)
        answers = [line for line in client.file.read().decode().splitlines() if line[3:4] == " " and line[:3].isdigit()]
    assert answers[0].startswith("200") and answers[-1][:3] in ("425", "426")
    assert (tmp_path / "file").read_bytes() == b"old"

"""Floods: of bytes, of commands, of connections and of logins, and that somebody else is served meanwhile."""

from __future__ import annotations

import gc
import os
import socket
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from hall import Hall
from streams import Client, Server, eventually
from test_logins import Doorman

from ftpsvc.limits import Limits
from ftpsvc.linethenraw import STRANGERS_BUFFER, beneath


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    (tmp_path / "mebibyte").write_bytes(os.urandom(1 << 20))
    return Hall(tmp_path, Limits())


def is_served(hall: Hall, host: str = "203.0.113.9") -> bool:
    """Whether somebody from there can log in and fetch a mebibyte."""
    visitor = hall.visit(host)
    codes = visitor.log_in() + visitor.codes(b"MODE I\r\nRETR mebibyte\r\n")
    visitor.leave()
    return codes == [220, 331, 230, 200, 150, "DONE", 226]


def test_a_password_of_a_megabyte_is_never_examined(tmp_path: Path) -> None:
    doorman = Doorman(support.local_disk(tmp_path))
    visitor = Hall(tmp_path, Limits(), doorman).visit()
    assert visitor.codes(b"USER ann\r\nPASS " + b"x" * 1_000_000 + b"\r\n") == [220, 331, 500]
    assert visitor.is_closed
    assert doorman.examined == []


@pytest.mark.parametrize("most", [512, 1000])
def test_how_long_a_line_may_be_is_the_operators_choice(tmp_path: Path, most: int) -> None:
    hall = Hall(tmp_path, Limits(line=most))
    visitor = hall.visit()
    assert visitor.codes(b"NOOP " + b"x" * (most - 7) + b"\r\n") == [220, 200]
    (refusal,) = visitor.ask(b"NOOP " + b"x" * (most - 6) + b"\r\n")
    assert str(refusal) == f"500 A line can't be longer than {most} bytes."
    assert visitor.is_closed


def test_thousands_of_slow_connections_from_one_address_are_told_and_others_served(hall: Hall) -> None:
    crowd = [hall.visit("198.51.100.1", cut=lambda: 1) for _ in range(500)]
    assert sum(slow.is_closed for slow in crowd) == 500 - Limits().per_address
    for slow in crowd:
        slow.codes() if slow.is_closed else slow.ask(b"U")
    assert is_served(hall)
    hall.clock.advance(60)
    for slow in crowd:
        slow.link.pump()
    assert all(slow.is_closed for slow in crowd), "the time to log in is over, whatever they send"
    assert len(hall.factory.connections) == 0


def test_a_flood_of_logins_is_banned_and_others_served(tmp_path: Path) -> None:
    (tmp_path / "mebibyte").write_bytes(os.urandom(1 << 20))
    doorman = Doorman(support.local_disk(tmp_path))
    hall = Hall(tmp_path, Limits(), doorman)
    for _ in range(100):
        guesser = hall.visit("198.51.100.1")
        guesser.link.client_end.write(b"USER root\r\nPASS guess\r\n" * 10)
        guesser.link.pump()
        while not guesser.is_closed:
            hall.clock.advance(1)
            guesser.link.pump()
    assert len(doorman.examined) == Limits().ban_after
    assert hall.visit("198.51.100.1").codes() == [421]
    visitor = hall.visit("203.0.113.9")
    assert visitor.log_in("ann", "secret") == [220, 331, 230]
    assert visitor.codes(b"MODE I\r\nRETR mebibyte\r\n") == [200, 150, "DONE", 226]


def test_what_a_stranger_sends_behind_a_login_that_is_examined_is_bounded(tmp_path: Path) -> None:
    doorman = Doorman(support.local_disk(tmp_path), slow=True)
    hall = Hall(tmp_path, Limits(), doorman)
    visitor = hall.visit()
    visitor.ask(b"USER ann\r\nPASS secret\r\n")
    gc.collect()
    flood = b"NOOP\r\n" * 50_000
    visitor.link.client_end.outgoing += flood
    tracemalloc.start()
    visitor.link.pump()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(visitor.link.client_end.outgoing) > len(flood) - 200_000, "the rest is still with the client"
    assert grown < 400_000
    assert beneath(visitor.protocol.transport).bufferSize == STRANGERS_BUFFER
    doorman.answer(hall)
    assert visitor.codes().count(200) == 50_000


def test_how_much_may_wait_is_the_operators_choice(tmp_path: Path) -> None:
    doorman = Doorman(support.local_disk(tmp_path), slow=True)
    hall = Hall(tmp_path, Limits(line=512, waiting=1000), doorman)
    visitor = hall.visit(cut=lambda: 100)
    visitor.ask(b"USER ann\r\nPASS secret\r\n")
    assert visitor.codes(b"NOOP\r\n" * 1000) == []
    assert len(visitor.link.client_end.outgoing) == 5_000
    doorman.answer(hall)
    assert visitor.codes() == [230] + [200] * 1000


# -- on real sockets


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "file").write_bytes(b"hello")
    server = Server(tmp_path, connections=4, per_address=3)
    yield server
    server.kill()


def test_a_connection_beyond_a_limit_is_told_and_costs_nothing(server: Server) -> None:
    def come(host: str) -> socket.socket:
        return socket.create_connection((server.host, server.port), 20, (host, 0))

    def said(connection: socket.socket) -> bytes:
        with connection, connection.makefile("rb") as file:
            return file.read()

    before = len(server.descriptors)
    crowd = [come("127.0.0.2") for _ in range(3)]
    for connection in crowd:
        assert connection.recv(100).startswith(b"220 ")
    for _ in range(100):
        assert said(come("127.0.0.2")).startswith(b"421 There are 3 connections from your address")
    client = Client(server)
    assert said(come("127.0.0.1")).startswith(b"421 There are 4 connections already")
    assert client.download("EPSV", "RETR file") == b"hello"
    eventually(lambda: len(server.descriptors) == before + 4)
    client.close()
    for connection in crowd:
        connection.close()

"""Attacks by data connections: ports that are taken, guessed or left, and ends that come at the wrong moment."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from streams import DEADLINE, Client, Server, eventually, reset


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "file").write_bytes(b"hello")
    server = Server(tmp_path, connecting=20, idle=20)
    yield server
    server.kill()


def listening_port(client: Client) -> int:
    found = re.search(r"\|\|\|([0-9]+)\|", client.ask("EPSV"))
    assert found
    return int(found[1])


def test_a_thousand_ports_asked_for_are_one_port_open(server: Server, client: Client) -> None:
    before = len(server.descriptors)
    client.send(b"EPSV\r\nPASV\r\nPORT 127,0,0,1,200,1\r\nEPSV\r\n" * 250)
    assert client.codes(1000) == [229, 227, 200, 229] * 250
    assert len(server.descriptors) == before + 1
    assert client.download("EPSV", "RETR file") == b"hello"


def test_ports_can_not_be_told_from_those_before(tmp_path: Path) -> None:
    server = Server(tmp_path, ports="20000-29999")
    client = Client(server)
    ports = [listening_port(client) for _ in range(20)]
    client.close()
    server.kill()
    assert all(20_000 <= port <= 29_999 for port in ports)
    assert len({later - earlier for earlier, later in pairwise(ports)}) > 10


def test_two_transfers_on_one_port_are_one_transfer_and_a_425(client: Client) -> None:
    with client.passive() as data:
        client.send(b"RETR file\r\nRETR file\r\n")
        assert data.recv(10) == b"hello"
        assert data.recv(10) == b""
    assert client.codes(3) == [150, 226, 425]


@pytest.mark.parametrize("command", ["RETR file", "LIST", "STOR new"])
def test_a_reset_before_the_command_is_426_and_the_session_goes_on(
    client: Client, tmp_path: Path, command: str
) -> None:
    reset(client.passive())
    client.send(command.encode() + b"\r\n")
    assert client.codes(2) == [150, 426]
    assert not (tmp_path / "new").exists()
    assert client.download("EPSV", "RETR file") == b"hello"


def test_an_end_of_data_from_the_one_who_only_reads_is_no_fault(client: Client) -> None:
    with client.begin("PORT", "RETR file") as data:
        data.shutdown(socket.SHUT_WR)
        assert data.recv(10) == b"hello"
    assert client.codes(1) == [226]


@pytest.mark.parametrize("line", ["REIN", "USER ftp"])
def test_what_ends_a_login_waits_for_the_transfer(client: Client, tmp_path: Path, line: str) -> None:
    with client.begin("EPSV", "STOR new") as data:
        client.send(line.encode() + b"\r\nSTOR other\r\n")
        data.sendall(b"x" * 1000)
    assert client.codes(3) == [226, 220 if line == "REIN" else 331, 530]
    assert (tmp_path / "new").read_bytes() == b"x" * 1000
    assert not (tmp_path / "other").exists()


def test_a_client_that_does_not_read_holds_up_nobody_else(server: Server, client: Client, tmp_path: Path) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 30)
    with client.begin("EPSV", "RETR huge"):
        other = Client(server)
        assert other.download("EPSV", "RETR file") == b"hello"
        other.close()
        client.send(b"ABOR\r\n")
        assert client.codes(2) == [426, 226]


def test_connections_that_go_at_once_leave_nothing_open(server: Server, client: Client) -> None:
    before = len(server.descriptors)
    for _ in range(20):
        reset(socket.create_connection((server.host, server.port), DEADLINE))
        socket.create_connection((server.host, server.port), DEADLINE).close()
    eventually(lambda: len(server.descriptors) == before)
    assert client.download("EPSV", "RETR file") == b"hello"

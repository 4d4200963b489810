"""Attacks by data connections: ports that are taken, guessed or left, and ends that come at the wrong moment."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import support
from streams import DEADLINE, Client, Server, eventually, reset
from test_data_connections import is_open


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    server = Server(root, connecting=20, idle=20)
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def folder(root: Path) -> Iterator[Path]:
    """What the server serves, with one file in it."""
    for path in root.iterdir():
        path.unlink()
    (root / "file").write_bytes(b"hello")
    yield root
    assert not support.parts_in(root)


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


def test_ports_can_not_be_told_from_those_before(folder: Path) -> None:
    server = Server(folder, ports="20000-29999")
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
def test_a_reset_before_the_command_is_426_and_the_session_goes_on(client: Client, folder: Path, command: str) -> None:
    reset(client.passive())
    client.send(command.encode() + b"\r\n")
    assert client.codes(2) == [150, 426]
    assert not (folder / "new").exists()
    assert client.download("EPSV", "RETR file") == b"hello"


def test_an_end_of_data_from_the_one_who_only_reads_is_no_fault(client: Client) -> None:
    with client.begin("PORT", "RETR file") as data:
        data.shutdown(socket.SHUT_WR)
        assert data.recv(10) == b"hello"
    assert client.codes(1) == [226]


@pytest.mark.parametrize("line", ["REIN", "USER ftp"])
def test_what_ends_a_login_waits_for_the_transfer(client: Client, folder: Path, line: str) -> None:
    with client.begin("EPSV", "STOR new") as data:
        client.send(line.encode() + b"\r\nSTOR other\r\n")
        data.sendall(b"x" * 1000)
    assert client.codes(3) == [226, 220 if line == "REIN" else 331, 530]
    assert (folder / "new").read_bytes() == b"x" * 1000
    assert not (folder / "other").exists()


def test_a_client_that_does_not_read_holds_up_nobody_else(server: Server, client: Client, folder: Path) -> None:
    with open(folder / "huge", "wb") as file:
        file.truncate(1 << 30)
    with client.begin("EPSV", "RETR huge"):
        other = Client(server)
        assert other.download("EPSV", "RETR file") == b"hello"
        other.close()
        client.send(b"ABOR\r\n")
        assert client.codes(2) == [426, 226]


def test_in_mode_i_a_port_that_was_opened_before_is_not_used(server: Server, client: Client, folder: Path) -> None:
    before = len(server.descriptors)
    with client.passive() as data:
        assert client.ask("MODE I").startswith("200")
        client.send(b"STOR new\r\n" + support.frames(b"inline") + b"RETR file\r\n")
        assert client.codes(2) == [150, 226]
        assert client.reply().startswith("150 ")
        assert client.file.read(len(b"DATA 5\r\nhello")) == b"DATA 5\r\nhello"
        assert client.reply().startswith("DONE ")
        assert client.codes(1) == [226]
        assert data.recv(10) == b""
    assert (folder / "new").read_bytes() == b"inline"
    assert client.ask("PASV").startswith("503")
    assert client.ask("MODE S").startswith("200")
    assert client.ask("RETR file").startswith("425")
    eventually(lambda: len(server.descriptors) == before)


@pytest.mark.parametrize("command", ["STOR new", "STOR file"])
def test_a_restart_behind_the_end_makes_no_hole(client: Client, folder: Path, command: str) -> None:
    with client.passive() as data:
        assert client.ask("REST 1000000000000").startswith("350")
        assert client.ask(command).startswith("554")
        assert data.recv(1) == b""
    assert (folder / "file").read_bytes() == b"hello"
    assert sorted(os.listdir(folder)) == ["file"]


@pytest.mark.parametrize("command", ["RETR large", "LIST", "STOR new"])
@pytest.mark.parametrize("moment", ["before the 150", "behind the 150", "in the middle", "behind the last byte"])
@pytest.mark.parametrize("how", ["reset", "close", "ABOR"])
def test_every_command_has_its_replies_whenever_the_data_ends(
    client: Client, folder: Path, command: str, moment: str, how: str
) -> None:
    """However it ends: one 150, one final reply, one for ABOR if there was one, and then the next command's."""
    with open(folder / "large", "wb") as file:
        file.truncate(50_000_000)  # more than the system takes when nobody reads
    data = client.passive()
    if moment == "before the 150" and how != "ABOR":
        (reset if how == "reset" else socket.socket.close)(data)
        client.send(command.encode() + b"\r\n")
    elif moment == "before the 150":
        client.send(command.encode() + b"\r\nABOR\r\n")
    else:
        client.send(command.encode() + b"\r\n")
    assert client.codes(1) == [150]
    if moment in ("in the middle", "behind the last byte"):
        if command == "STOR new":
            data.sendall(b"x" * 100_000)
        elif moment == "in the middle":
            data.recv(10)
        else:
            while data.recv(1 << 20):
                pass
    if how == "ABOR" and moment != "before the 150":
        client.send(b"ABOR\r\n")
    elif how == "reset" and moment != "before the 150":
        reset(data)
    data.close()
    client.send(b"PWD\r\n")
    codes = []
    while not codes or codes[-1] != 257:
        codes += client.codes(1)
    final, *rest = codes
    assert final in (226, 426)
    assert rest == ([225] if rest[0] == 225 else [226] if how == "ABOR" else []) + [257]
    if how == "ABOR" and moment != "behind the last byte":
        assert final == 426 or command == "LIST"
    (folder / "new").unlink(missing_ok=True)
    for part in support.parts_in(folder):
        part.unlink()


@pytest.mark.parametrize("line", ["AUTH TLS", "PROT P", "TYPE A", "MODE I", "EPSV"])
def test_what_would_change_a_transfer_waits_for_its_end(client: Client, folder: Path, line: str) -> None:
    content = b"one\r\ntwo\r\n" * 1000
    with client.begin("EPSV", "STOR new") as data:
        data.sendall(content)
        client.send(line.encode() + b"\r\n")
        data.sendall(content)
    assert client.codes(2) == [226, {"AUTH TLS": 234, "PROT P": 503, "EPSV": 229}.get(line, 200)]
    assert (folder / "new").read_bytes() == content * 2


def test_who_comes_behind_the_client_finds_no_port(client: Client) -> None:
    port = listening_port(client)
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as data:
        eventually(lambda: not is_open(port))
        assert client.ask("RETR file").startswith("150")
        assert data.recv(10) == b"hello"
    assert client.codes(1) == [226]


def test_connections_that_go_at_once_leave_nothing_open(server: Server, client: Client) -> None:
    before = len(server.descriptors)
    for _ in range(20):
        reset(socket.create_connection((server.host, server.port), DEADLINE))
        socket.create_connection((server.host, server.port), DEADLINE).close()
    eventually(lambda: len(server.descriptors) == before)
    assert client.download("EPSV", "RETR file") == b"hello"

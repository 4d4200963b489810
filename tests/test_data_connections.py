"""How data connections come about and end: the replies, the limits, and who may have one."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from ports import free_ports
from streams import DEADLINE, Client, Server, eventually

PORTS = free_ports(3)


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    server = Server(root, ports=f"{PORTS[0]}-{PORTS[-1]}")
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def folder(root: Path) -> Path:
    """What the server serves, with one file in it."""
    for path in root.iterdir():
        path.unlink()
    (root / "file").write_bytes(b"hello")
    return root


def port_in(reply: str) -> int:
    found = re.search(r"\|\|\|([0-9]+)\|", reply)
    assert found, reply
    return int(found[1])


def is_open(port: int, source: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), DEADLINE, (source, 0)).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("facts", ["type;size;modify;perm;unique;UNIX.mode;X.link;", "modify;"])
def test_times_in_listings_are_exact_in_mode_i_and_such_as_every_client_takes_without_it(
    client: Client, folder: Path, facts: str
) -> None:
    os.utime(folder / "file", ns=(0, 1_795_327_140_987_635_374))
    client.ask(f"OPTS MLST {facts}")
    listed = client.download("EPSV", "MLSD")
    assert b"modify=20261122055900.987;" in listed
    client.send(b"MLST file\r\nMODE I\r\nMLST file\r\n")
    told = [line for line in (client.reply() for _ in range(7)) if line.startswith(" ")]
    assert ["modify=20261122055900.987;" in line for line in told] == [True, False]
    assert "modify=20261122055900.987635374;" in told[1]


def link_local() -> str:
    """An address of this machine's that is good on one of its links only, with that; empty if it has none."""
    with contextlib.suppress(FileNotFoundError), open("/proc/net/if_inet6", encoding="ascii") as table:
        for digits, *_, interface in map(str.split, table):
            if digits.startswith("fe80"):
                return f"{ip_address(bytes.fromhex(digits))}%{interface}"
    return ""


@pytest.mark.skipif(not link_local(), reason="no interface has a link-local address")
def test_data_goes_the_way_of_the_commands_where_the_address_is_good_on_one_link_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    server = Server(tmp_path, link_local())
    client = Client(server)
    assert client.download("EPSV", "NLST") == b"file\r\n"
    with socket.socket(socket.AF_INET6) as listening:
        host, _, *link = client.socket.getsockname()
        listening.bind((host, 0, *link))
        listening.listen()
        listening.settimeout(DEADLINE)
        port = listening.getsockname()[1]
        assert client.ask(f"EPRT |2|{host}|{port}|").startswith("200 ")
        assert client.ask("NLST").startswith("150 ")
        with listening.accept()[0] as data:
            assert data.recv(100) == b"file\r\n"
    assert client.codes(1) == [226]
    client.close()
    server.kill()


def test_a_new_way_takes_the_place_of_the_one_before(client: Client) -> None:
    first = port_in(client.ask("EPSV"))
    client.ask("PORT 127,0,0,1,200,1")
    assert not is_open(first)
    assert port_in(client.ask("EPSV")) in PORTS


def test_ports_that_have_run_out_are_said_so_and_come_back(tmp_path: Path) -> None:
    ports = free_ports(3)
    server = Server(tmp_path, ports=f"{ports[0]}-{ports[-1]}")
    clients = [Client(server) for _ in range(4)]
    replies = [client.ask("EPSV")[:3] for client in clients]
    assert replies == ["229", "229", "229", "425"]
    clients[0].close()
    eventually(lambda: clients[3].ask("EPSV")[:3] == "229")
    for client in clients[1:]:
        client.close()
    server.kill()


@pytest.mark.parametrize("line", ["RETR missing", "STOR missing/file", "QUIT", "USER ftp", "ABOR", "LIST missing"])
def test_what_was_prepared_is_given_back(server: Server, line: str) -> None:
    client = Client(server)
    data = client.passive()
    client.ask(line)
    assert data.recv(1) == b""
    data.close()
    client.close()


def test_a_port_is_given_back_with_its_session(server: Server) -> None:
    client = Client(server)
    port = port_in(client.ask("EPSV"))
    assert is_open(port, "127.0.0.2")  # who is a stranger to it, and leaves it as it was
    client.reset()
    eventually(lambda: not is_open(port, "127.0.0.2"))


def test_strangers_are_turned_away_and_the_client_is_served(client: Client) -> None:
    port = port_in(client.ask("EPSV"))
    with socket.create_connection(("127.0.0.1", port), DEADLINE, ("127.0.0.2", 0)) as stranger:
        assert stranger.recv(1) == b""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as data:
        assert client.ask("RETR file").startswith("150")
        assert data.recv(10) == b"hello"
    assert client.codes(1) == [226]


def test_one_connection_is_for_one_transfer(client: Client) -> None:
    assert client.download("EPSV", "RETR file") == b"hello"
    assert client.ask("RETR file").startswith("425")


def test_the_client_may_connect_behind_its_command(client: Client) -> None:
    port = port_in(client.ask("EPSV"))
    assert client.ask("RETR file").startswith("150")
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as data:
        assert data.recv(10) == b"hello"
    assert client.codes(1) == [226]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("PORT 192,0,2,1,200,1", "504"),
        ("PORT 0,0,0,0,200,1", "504"),
        ("PORT 127,0,0,1,3,255", "504"),
        ("PORT 127,0,0,1,4,0", "200"),
        ("PORT 1,2,3", "501"),
        ("EPRT |1|192.0.2.1|50000|", "504"),
        ("EPRT |1|127.0.0.1|1023|", "504"),
        ("EPRT |2|::1|50000|", "522"),
        ("EPRT |9|x|50000|", "522"),
        ("EPRT x", "501"),
        ("EPSV 1", "229"),
        ("EPSV 2", "522"),
        ("EPSV x", "501"),
        ("EPSV ALL", "200"),
    ],
)
def test_what_is_answered(client: Client, line: str, code: str) -> None:
    assert client.ask(line)[:3] == code


@pytest.mark.parametrize("line", ["PASV", "PORT 127,0,0,1,200,1", "EPRT |1|127.0.0.1|50000|"])
def test_after_epsv_all_there_is_nothing_else(client: Client, line: str) -> None:
    assert client.ask("EPSV ALL").startswith("200")
    assert client.ask(line).startswith("503")
    assert client.download("EPSV", "RETR file") == b"hello"


@pytest.mark.parametrize("line", ["PASV", "EPSV", "PORT 127,0,0,1,200,1", "EPRT |1|127.0.0.1|50000|"])
def test_nothing_is_to_be_prepared_in_mode_i(client: Client, line: str) -> None:
    assert client.ask("MODE I").startswith("200")
    assert client.ask(line).startswith("503")


def test_pasv_is_no_command_for_ipv6(tmp_path: Path) -> None:
    server = Server(tmp_path, "::1")
    client = Client(server)
    assert client.ask("PASV").startswith("522")
    client.close()
    server.kill()


def test_nobody_listens_where_the_data_should_go(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert client.ask(f"EPRT |1|127.0.0.1|{port}|").startswith("200")
    assert client.ask("RETR file").startswith("150")
    assert client.codes(1) == [425]


def test_a_restart_in_type_a_is_refused(client: Client) -> None:
    client.ask("TYPE A")
    client.ask("EPSV")
    assert client.ask("REST 2").startswith("350")
    assert client.ask("RETR file").startswith("504")


@pytest.mark.parametrize(("type_", "size"), [("I", " (5 bytes)"), ("A", "")])
def test_the_150_tells_the_size_where_it_is_known(client: Client, type_: str, size: str) -> None:
    client.ask(f"TYPE {type_}")
    with client.passive():
        assert client.ask("RETR file") == f"150 Sending /file{size}\r\n"
        assert client.codes(1) == [226]


@pytest.mark.parametrize("way", ["EPSV", "PASV", "PORT"])
def test_a_marker_may_come_before_the_data_connection(client: Client, way: str) -> None:
    assert client.ask("REST 2").startswith("350")
    assert client.download(way, "RETR file") == b"llo"
    assert client.download(way, "RETR file") == b"hello"
    assert client.ask("RANG 1 2").startswith("350")
    assert client.download(way, "RETR file") == b"el"
    assert client.ask("RNFR file").startswith("350")
    client.passive().close()
    assert client.ask("RNTO other").startswith("503")


def test_status_is_told_while_data_moves(client: Client) -> None:
    with client.begin("EPSV", "STOR new") as data:
        data.sendall(b"x" * 1000)
        eventually(lambda: client.ask("STAT") == "213 Status: 1000 bytes transferred\r\n")
    assert client.codes(1) == [226]
    assert client.ask("NOOP").startswith("200")


def test_quit_lets_the_transfer_finish(server: Server, folder: Path) -> None:
    client = Client(server)
    with client.begin("EPSV", "STOR new") as data:
        client.send(b"QUIT\r\n")
        data.sendall(b"x" * 1000)
    assert client.codes(2) == [226, 221]
    assert (folder / "new").read_bytes() == b"x" * 1000
    client.close()


@pytest.mark.parametrize("command", ["RETR huge", "STOR new"])
def test_a_transfer_that_stands_still_is_broken_off_and_the_session_goes_on(folder: Path, command: str) -> None:
    with open(folder / "huge", "wb") as file:
        file.truncate(1 << 32)
    server = Server(folder, idle=2)  # no less: the client has to get its commands out in that time
    client = Client(server)
    with client.begin("EPSV", command):
        assert client.codes(1) == [426]
    assert client.ask("NOOP").startswith("200")
    client.close()
    server.kill()

"""Passive ports that wait: how many there may be, and what becomes of those that nobody uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import support
from streams import Client, Server, eventually

from ftpsvc.model import NoDataConnection, TransferError
from ftpsvc.passiveports import GRACE, PassivePorts


class Port:
    """Remembers why it was closed, and says so to the ports as a real one does."""

    def __init__(self, ports: PassivePorts) -> None:
        self.ports = ports
        self.why: TransferError | None = None
        ports.demand_room()
        ports.opened(self)

    def close(self, why: TransferError | None = None) -> None:
        self.why = why
        self.ports.closed(self)


def test_one_more_than_may_wait_is_refused_while_all_are_new() -> None:
    clock = support.make_clock()
    ports = PassivePorts(2, clock)
    first, second = Port(ports), Port(ports)
    with pytest.raises(NoDataConnection, match="All 2 ports"):
        Port(ports)
    first.close()
    Port(ports)
    assert second.why is None


def test_the_one_that_has_waited_longest_makes_room() -> None:
    clock = support.make_clock()
    ports = PassivePorts(2, clock)
    first = Port(ports)
    clock.advance(GRACE)
    second = Port(ports)
    third = Port(ports)
    assert isinstance(first.why, NoDataConnection)
    assert (second.why, third.why) == (None, None)
    with pytest.raises(NoDataConnection):
        Port(ports)


def test_without_a_limit_any_number_may_wait() -> None:
    ports = PassivePorts(0, support.make_clock())
    assert all(Port(ports).why is None for _ in range(5000))


# -- on real sockets


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "file").write_bytes(b"hello")
    server = Server(tmp_path, passive=3)
    yield server
    server.kill()


def test_ports_that_are_hoarded_are_no_more_than_the_limit_and_come_back(server: Server) -> None:
    hoarders = [Client(server) for _ in range(3)]
    assert [hoarder.ask("EPSV")[:3] for hoarder in hoarders] == ["229"] * 3
    client = Client(server)
    answer = client.ask("EPSV")
    assert answer.startswith("425 All 3 ports")
    assert client.ask("NOOP").startswith("200"), "the session goes on"
    hoarders[0].reset()
    eventually(lambda: client.ask("EPSV").startswith("229"))
    assert hoarders[1].ask("EPSV").startswith("229"), "who asks again gives back the one before"
    for other in (*hoarders[1:], client):
        other.close()


def test_a_port_counts_only_until_its_client_has_come(server: Server) -> None:
    clients = [Client(server) for _ in range(3)]
    connected = [client.passive() for client in clients]
    last = Client(server)
    assert last.download("EPSV", "RETR file") == b"hello"
    for open_one in (*connected, *clients, last):
        open_one.close()

"""Two nodes over one folder behind HAProxy: drained one by one, killed, and passed by data connections."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .balanced import DEADLINE, Inline, Site, demand_haproxy, eventually

#: How many clients come and go at the same time, and for how many seconds each stays away in between: the processors
#: are others' too.
CROWD = 4
PAUSE = 0.005


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def site(root: Path, tmp_path: Path) -> Iterator[Site]:
    demand_haproxy()
    made = Site(tmp_path, "--root", str(root), "--sync", "off", "--drain-notice", "4")
    yield made
    made.stop()


class Crowd:
    """Clients that come, store a file, fetch it, and go; over and over."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_over = threading.Event()
        self.served = 0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._come_and_go, args=(number,)) for number in range(CROWD)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _come_and_go(self, number: int) -> None:
        count = 0
        while not self._is_over.wait(PAUSE):
            count += 1
            try:
                self._visit(f"c{number}".encode(), b"%08d" % count)
            except OSError as error:
                self.failures.append(repr(error))
            self.served += 1

    def _visit(self, name: bytes, data: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self._port), DEADLINE) as connection:
            lines = connection.makefile("rb")
            connection.sendall(
                b"USER ftp\r\nPASS x\r\nMODE I\r\nSTOR %s\r\nDATA 8\r\n%sDONE\r\nRETR %s\r\nQUIT\r\n"
                % (name, data, name)
            )
            said = lines.read()
        wanted = rb"220 .*331 .*230 .*200 .*150 .*226 .*150 .*DATA 8\r\n%sDONE .*226 .*221 .*" % data
        if not re.fullmatch(wanted, said, re.DOTALL):
            self.failures.append(repr(said))

    def wait_for(self, more: int) -> None:
        wanted = self.served + more
        eventually(lambda: self.served >= wanted)


def test_nodes_are_drained_one_by_one_and_nobody_notices(site: Site, root: Path) -> None:
    with Crowd(site.port) as crowd:
        for number, node in enumerate(site.nodes, 1):
            crowd.wait_for(50)
            session = site.session(number)
            storing = Inline(session)
            storing.begin(f"held{number}", b"begun ")
            node.drain()
            eventually(lambda number=number: site.state(number) == "DOWN")
            assert not node.is_ready
            crowd.wait_for(2 * CROWD)  # those who were on their way
            before = node.connections
            crowd.wait_for(50)
            assert node.connections == before, "everybody new comes to the other"
            assert "nobody is let in any more; sessions left" not in node.said, "it would still let them in"
            eventually(lambda node=node: "nobody is let in any more; sessions left" in node.said)
            storing.go_on(b"and ended")
            assert storing.end().startswith("226")
            session.close()
            node.has_ended()
            assert before > 10
            node.start()
            eventually(lambda number=number: site.state(number) == "UP")
        crowd.wait_for(50)
    assert crowd.failures == []
    assert crowd.served > 200
    for number in (1, 2):
        assert (root / f"held{number}").read_bytes() == b"begun and ended"
    assert len(list(root.iterdir())) == CROWD + 2

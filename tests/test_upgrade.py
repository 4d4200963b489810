"""A new process takes the place of an old one on the same socket, and nobody who connects meanwhile is turned away."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from crowd import Crowd
from daemon import DEADLINE, Conversation
from handed import Shared

#: How many connect at the same time, over and over.
CROWD = 6

WORDS = ("-n", "--pidfile=", "ftpsvc", "--port", "systemd:domain=INET6:name=ftp", "--anonymous", "write")


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    shared = Shared(tmp_path_factory.mktemp("logs"))
    yield shared
    shared.close()


def crowd_at(port: int) -> Crowd:
    """Clients that connect, say good-bye, and connect again."""

    def visit(number: int, count: int) -> str | None:
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
            lines = connection.makefile("rb")
            connection.sendall(b"USER ftp\r\nPASS x\r\n")
            codes = [lines.readline()[:3] for _ in range(3)]
            connection.sendall(b"QUIT\r\n")
        # Where this machine is so busy that we were not heard for a second, the last is 421, as it should.
        is_right = codes[:2] == [b"220", b"331"] and codes[2] in (b"230", b"421")
        return None if is_right else f"answered with {codes}"

    return Crowd(CROWD, visit)


def test_nobody_is_turned_away_while_one_process_takes_the_place_of_another(shared: Shared, tmp_path: Path) -> None:
    old = shared.serve(tmp_path, *WORDS)
    with crowd_at(shared.port) as crowd:
        with Conversation(shared.port) as storing:
            storing.say("USER ftp", "PASS x", "MODE I", "STOR file", "DATA 10", "begun")
            storing.expect("220", "331", "230", "200", "150")
            crowd.wait_for(50)
            new = shared.serve(tmp_path, *WORDS)
            old.process.send_signal(signal.SIGTERM)
            old.wait_for("Stopping: ")
            crowd.wait_for(100)
            storing.say("donDONE", "QUIT")
            storing.expect("226", "221")
        old.has_stopped()
        crowd.wait_for(50)
    new.stop()
    assert crowd.failures == []
    assert old.log.count(": connected") > 50 and new.log.count(": connected") > 50, "both had their share"
    assert (tmp_path / "file").read_bytes() == b"begun\r\ndon"


def test_who_comes_between_the_end_and_the_start_waits(shared: Shared, tmp_path: Path) -> None:
    shared.serve(tmp_path, *WORDS).stop()
    connections = [socket.create_connection(("127.0.0.1", shared.port), DEADLINE) for _ in range(50)]
    new = shared.serve(tmp_path, *WORDS)
    for connection in connections:
        with connection:
            assert connection.recv(4) == b"220 "
    new.stop()

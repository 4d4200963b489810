"""The control socket: what may be said on it, and by whom."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import streams
from daemon import Daemon

from ftpsvc.controlsocket import LOCK, MAX_REQUEST, SOCKET, address_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@contextlib.contextmanager
def line(state: Path) -> Iterator[Callable[[bytes], list[dict[str, Any]]]]:
    """Sends bytes to a server's socket, and gives what is answered up to its end or `done`."""
    with contextlib.ExitStack() as opened:
        raw = opened.enter_context(socket.socket(socket.AF_UNIX))
        raw.settimeout(streams.DEADLINE)
        raw.connect(opened.enter_context(address_of(state)))
        file = opened.enter_context(raw.makefile("rb"))

        def ask(request: bytes) -> list[dict[str, Any]]:
            if request:  # who is refused has no chance to ask, and none to hear of it if he tries
                raw.sendall(request)
            said = []
            for one in map(json.loads, iter(file.readline, b"")):
                said.append(one)
                if "done" in one or "error" in one:
                    break
            return said

        yield ask


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (b"\n", "a request is a JSON object on one line"),
        (b"[1]\n", "a request is a JSON object on one line"),
        (b"[" * 4000 + b"\n", "a request is a JSON object on one line"),
        (b"\xff\xfe\n", "a request is a JSON object on one line"),
        (b"{}\n", "this server knows no order None"),
        (b'{"order": ["who"]}\n', "this server knows no order"),
        (b'{"order": "shout"}\n', "this server knows no order 'shout'; those it does: who, kick"),
        (b'{"order": "kick"}\n', "kick takes the number of a session"),
        (b'{"order": "kick", "id": "1"}\n', "kick takes the number of a session"),
        (b'{"order": "kick", "id": true}\n', "kick takes the number of a session"),
        (b'{"order": "ban", "network": 1}\n', "1 is no address or network"),
        (b'{"order": "ban", "network": "192.0.2.7/24"}\n', "192.0.2.7/24 is no address or network"),
        (b'{"order": "ban", "network": "192.0.2.7", "seconds": -1}\n', "a number of seconds above 0"),
        (b'{"order": "ban", "network": "192.0.2.7", "seconds": NaN}\n', "a number of seconds above 0"),
    ],
)
def test_a_request_that_makes_no_sense_is_told_so_and_the_next_is_answered(
    server: Path, request_: bytes, error: str
) -> None:
    with line(server) as ask:
        (said,) = ask(request_)
        assert error in said["error"]
        assert ask(b'{"order": "who"}\n') == [{"done": True}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of one that all of these ask."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "root").mkdir()
    with Daemon(folder / "root", "--state", str(folder / "state")) as daemon:
        daemon.serving()
        yield folder / "state"


def test_requests_that_come_together_are_answered_one_after_the_other(server: Path) -> None:
    with line(server) as ask:
        assert ask(b'{"order": "who"}\n{"order": "shout"}\n{"order": "who"}\n') == [{"done": True}]
        assert "error" in ask(b"")[0]
        assert ask(b"") == [{"done": True}]


def test_a_request_without_an_end_is_cut_off(server: Path) -> None:
    with line(server) as ask:
        said = ask(b"x" * (MAX_REQUEST + 1))
        assert "at most" in said[0]["error"]
        with contextlib.suppress(ConnectionError):
            assert ask(b'{"order": "who"}\n') == []


def test_the_lock_is_held_while_the_server_lives(server: Path) -> None:
    with open(server / LOCK) as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_refused_whatever_the_modes_are(root: Path) -> None:
    with tempfile.TemporaryDirectory() as parent:
        state = Path(parent, "state")
        with Daemon(root, "--state", str(state)) as daemon:
            daemon.serving()
            for path in (state / SOCKET, state, Path(parent)):
                path.chmod(0o777)
            os.seteuid(65534)
            try:
                with line(state) as ask:
                    assert ask(b"") == [{"error": "only the server's own user and root may control it"}]
            finally:
                os.seteuid(0)

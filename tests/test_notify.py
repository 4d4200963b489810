"""What a manager is told of the service, over a socket of the test's own in the manager's place."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import support
from daemon import Start, start
from gang import ctl

from ftpsvc.notify import LOOK_EVERY, SLACK, Manager

__all__ = ["start"]  # a fixture, which pytest finds by its name


class Listening:
    """The manager's end."""

    def __init__(self, address: str) -> None:
        """`address`: as NOTIFY_SOCKET has it."""
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(20)

    def heard(self) -> list[str]:
        """All that has come by now, a line each."""
        lines = []
        self._socket.setblocking(False)
        try:
            while True:
                lines += self._socket.recv(4096).decode().splitlines()
        except BlockingIOError:
            self._socket.settimeout(20)
            return lines

    def wait_for(self, line: str) -> list[str]:
        """What comes, up to a line that begins so."""
        lines: list[str] = []
        while not any(one.startswith(line) for one in lines):
            lines += self._socket.recv(4096).decode().splitlines()
        return lines

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def listening(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    folder = tmp_path_factory.mktemp("notify")  # its name is short: 107 bytes is all that an address may have
    listening = Listening(str(folder / "socket") if request.param == "file" else f"@ftpsvc-test-{os.getpid()}")
    yield listening
    listening.close()


def test_the_start_the_status_and_the_end_are_told(listening: Listening) -> None:
    texts = iter(["0 sessions", "0 sessions", "1 session", "1 session"])
    clock = support.make_clock()
    told = Manager({"NOTIFY_SOCKET": listening.address}, clock, lambda: next(texts))
    told.ready()
    assert listening.heard() == ["READY=1", "STATUS=0 sessions"]
    clock.advance(LOOK_EVERY)
    assert listening.heard() == ["STATUS=1 session"]
    told.stopping(60)
    assert listening.heard() == ["STOPPING=1", f"EXTEND_TIMEOUT_USEC={int((60 + SLACK) * 1e6)}"]
    told.gone()
    clock.advance(10 * LOOK_EVERY)
    assert listening.heard() == []


def test_a_reload_has_a_beginning_with_its_time_and_an_end(listening: Listening) -> None:
    told = Manager({"NOTIFY_SOCKET": listening.address}, support.make_clock(), lambda: "fine")
    told.ready()
    listening.heard()
    before = time.monotonic_ns() // 1000
    told.reloading()
    first, second = listening.heard()
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    told.ready()
    assert listening.heard() == ["READY=1"]
    told.gone()


def test_a_watchdog_hears_twice_as_often_as_it_wants(listening: Listening) -> None:
    clock = support.make_clock()
    environment = {"NOTIFY_SOCKET": listening.address, "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}
    told = Manager(environment, clock, lambda: "fine")
    told.ready()
    assert listening.heard() == ["READY=1", "STATUS=fine", "WATCHDOG=1"]
    clock.advance(1.9)
    assert listening.heard() == []
    clock.advance(0.1)
    assert listening.heard() == ["WATCHDOG=1"]
    told.gone()


def test_a_watchdog_hears_of_a_server_that_has_no_descriptors_left(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = support.make_clock()
    told = Manager({"NOTIFY_SOCKET": listening.address, "WATCHDOG_USEC": "4000000"}, clock, lambda: "fine")
    told.ready()
    listening.heard()

    def out_of_descriptors(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as full:
        full.setattr(socket, "socket", out_of_descriptors)
        clock.advance(2)
    clock.advance(2)
    assert listening.heard() == ["WATCHDOG=1", "WATCHDOG=1"]
    told.gone()


@pytest.mark.parametrize(
    "environment", [{}, {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "often"}]
)
def test_a_watchdog_of_nobody_or_of_somebody_else_hears_nothing(
    listening: Listening, environment: dict[str, str]
) -> None:
    clock = support.make_clock()
    told = Manager({"NOTIFY_SOCKET": listening.address, **environment}, clock, lambda: "fine")
    told.ready()
    clock.advance(LOOK_EVERY)
    assert "WATCHDOG=1" not in listening.heard()
    told.gone()


def test_without_a_manager_nothing_is_done() -> None:
    clock = support.make_clock()
    told = Manager({"WATCHDOG_USEC": "4000000"}, clock, lambda: "fine")
    for tell in (told.ready, told.reloading, told.gone):
        tell()
    told.stopping(60)
    assert clock.getDelayedCalls() == []


def test_a_manager_who_has_gone_harms_nobody(tmp_path: Path) -> None:
    clock = support.make_clock()
    told = Manager({"NOTIFY_SOCKET": str(tmp_path / "gone")}, clock, lambda: "fine")
    told.ready()
    told.reloading()
    told.gone()


def test_a_manager_who_is_busy_is_told_later_all_of_it_and_nobody_waits(listening: Listening) -> None:
    clock = support.make_clock()
    texts = map(str, range(10**9))
    told = Manager({"NOTIFY_SOCKET": listening.address, "WATCHDOG_USEC": "4000000"}, clock, lambda: next(texts))
    told.ready()
    clock.pump([2.0] * 1000)  # more than any queue has room for
    told.reloading()
    before = len(listening.heard())
    assert before < 2000
    clock.advance(2)
    heard = listening.heard()
    assert [line.partition("=")[0] for line in heard] == [
        *("WATCHDOG", "STATUS", "RELOADING", "MONOTONIC_USEC", "WATCHDOG", "STATUS")
    ]
    assert int(heard[-1].removeprefix("STATUS=")) == int(heard[1].removeprefix("STATUS=")) + 1
    told.gone()


def test_a_drain_is_no_end(listening: Listening, start: Start, tmp_path: Path) -> None:
    """Who says STOPPING is killed when the time for that is over, and is started again, as one that has failed."""
    often = {"WATCHDOG_USEC": "1000000"}  # so that it has something to tell, and looks, twice a second
    server = start(f"--state={tmp_path / 'state'}", environment={"NOTIFY_SOCKET": listening.address, **often})
    server.serving()
    ctl(tmp_path / "state", "drain")
    assert "STOPPING=1" not in listening.wait_for("STATUS=nobody is let in any more; 0 sessions")
    server.ended()
    assert "STOPPING=1" in listening.heard()


def test_a_real_service_tells_of_its_start_its_reload_its_sessions_and_its_end(
    listening: Listening, start: Start
) -> None:
    server = start(environment={"NOTIFY_SOCKET": listening.address, "WATCHDOG_USEC": "1000000"})
    server.serving()
    assert "STATUS=0 sessions, 0 transfers" in listening.wait_for("READY=1")
    with server.session() as storing:
        storing.say("STOR file", "DATA 7", "begun")
        storing.expect("150")
        listening.wait_for("STATUS=1 sessions, 1 transfers")
        server.process.send_signal(signal.SIGHUP)
        listening.wait_for("RELOADING=1")
        listening.wait_for("READY=1")
        server.process.send_signal(signal.SIGTERM)
        assert any(re.match(r"EXTEND_TIMEOUT_USEC=9\d000000$", line) for line in listening.wait_for("STOPPING=1"))
        listening.wait_for("WATCHDOG=1")  # which still listens while the transfer finishes
        storing.say("DONE")
        storing.expect("226", "421")
    server.died_of(signal.SIGTERM)

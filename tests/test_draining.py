"""The server stops: who is at rest is told, who moves something may finish, and who doesn't is cut off and keeps it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import support
from hall import Hall, Visitor
from support import Started, frames, read_all, start

from ftpsvc.draining import GRACE, HURRY, QUIET
from ftpsvc.limits import Limits
from ftpsvc.model import ServiceClosing
from ftpsvc.rates import PIECES
from ftpsvc.recording import Recorder
from ftpsvc.records import Record, Transfer

#: A frame that is there, of an upload whose end isn't.
BEGUN = b"DATA 5\r\nbegun"


class Stopping(Hall):
    """A server that is told to stop."""

    def __init__(self, folder: Path, run: Any = support.at_once, **limits: Any) -> None:
        super().__init__(folder, Limits(**limits), run=run)
        self.visitors: list[Visitor] = []

    def visit(self, host: str = "192.0.2.1", cut: Callable[[], int] = lambda: 1 << 16) -> Visitor:
        """Somebody who has logged in, in MODE I."""
        visitor = super().visit(host, cut)
        self.visitors.append(visitor)
        assert visitor.ask(b"USER ftp\r\nPASS x\r\nMODE I\r\n")
        return visitor

    def stop(self) -> Started:
        return start(self.factory.stop())

    def wait(self, seconds: float) -> None:
        """Let so much time go by, in which what is sent arrives."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            for visitor in self.visitors:
                visitor.link.pump()


@pytest.fixture
def hall(tmp_path: Path) -> Stopping:
    return Stopping(tmp_path)


def test_where_nobody_is_it_takes_no_time(hall: Stopping) -> None:
    assert hall.stop().is_over


def test_who_has_said_nothing_for_a_second_is_told_at_once(hall: Stopping) -> None:
    idle = hall.visit()
    hall.wait(QUIET + 0.1)
    ending = hall.stop()
    (farewell,) = idle.ask()
    assert str(farewell).startswith("421 The server is stopping. ")
    assert idle.is_closed
    hall.wait(0.1)
    assert ending.is_over


def test_who_has_not_logged_in_is_told_too(hall: Stopping) -> None:
    stranger = Hall.visit(hall)
    hall.visitors.append(stranger)
    hall.wait(QUIET + 0.1)
    ending = hall.stop()
    assert stranger.codes() == [220, 421]
    hall.wait(0.1)
    assert ending.is_over


def test_who_is_between_two_commands_may_give_the_next(hall: Stopping) -> None:
    hall.wait(QUIET)
    busy = hall.visit()
    ending = hall.stop()
    assert busy.codes(b"STOR file\r\n" + frames(b"data")) == [150, 226]
    assert busy.codes(b"QUIT\r\n") == [221]
    hall.wait(0.1)
    assert ending.is_over


def test_who_goes_on_and_on_is_told_behind_a_few_seconds(hall: Stopping) -> None:
    busy = hall.visit()
    hall.stop()
    for _ in range(round(GRACE / 0.1) - 1):
        assert busy.codes(b"NOOP\r\n") == [200]
        hall.wait(0.1)
    hall.wait(0.2)
    assert busy.codes(b"STOR file\r\n" + frames(b"data") + b"NOOP\r\n") == [421]
    assert busy.is_closed


def test_a_transfer_may_finish_and_then_the_client_is_told(hall: Stopping, tmp_path: Path) -> None:
    storing = hall.visit()
    assert storing.codes(b"STOR file\r\n" + BEGUN) == [150]
    ending = hall.stop()
    hall.wait(50)
    assert not ending.is_over
    assert storing.codes(b"DATA 6\r\n, done", b"DONE\r\n") == [226]
    hall.wait(2)
    assert storing.codes() == [421]
    assert ending.is_over
    assert (tmp_path / "file").read_bytes() == b"begun, done"


def test_behind_a_transfer_that_took_long_no_command_is_carried_out_but_quit(hall: Stopping) -> None:
    storing, leaving = hall.visit(), hall.visit()
    for client in (storing, leaving):
        assert client.codes(b"STOR " + str(id(client)).encode() + b"\r\n" + BEGUN) == [150]
    ending = hall.stop()
    hall.wait(GRACE + 1)
    assert storing.codes(b"DONE\r\nNOOP\r\nNOOP\r\n") == [226, 421]
    assert leaving.codes(b"DONE\r\nQUIT\r\n") == [226, 221]
    hall.wait(1)
    assert ending.is_over


def test_what_is_pipelined_behind_the_grace_is_answered_in_its_order(hall: Stopping, tmp_path: Path) -> None:
    storing = hall.visit()
    storing.ask(b"STOR 0\r\n" + BEGUN)
    hall.stop()
    hall.wait(GRACE + 1)
    uploads = b"".join(b"STOR %d\r\n" % n + frames(b"data") for n in range(1, 5))
    assert storing.codes(b"DONE\r\n" + uploads) == [226, 421]
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


@pytest.mark.parametrize("limits", [{}, {"drain": 7}, {"drain": 0}])
def test_an_upload_that_does_not_finish_is_cut_off_with_421_and_its_part_kept(
    tmp_path: Path, limits: dict[str, Any], records: list[str]
) -> None:
    hall = Stopping(tmp_path, **limits)
    (tmp_path / "file").write_bytes(b"old")
    storing = hall.visit()
    assert storing.codes(b"STOR file\r\n" + BEGUN) == [150]
    ending = hall.stop()
    hall.wait(hall.factory.limits.drain - 0.2 if hall.factory.limits.drain else 0)
    assert storing.codes() == ([] if hall.factory.limits.drain else [421])
    hall.wait(0.5)
    assert storing.codes() == ([421] if hall.factory.limits.drain else [])
    hall.wait(0.2)
    assert ending.is_over
    assert (tmp_path / "file").read_bytes() == b"old"
    assert support.take_part(tmp_path) == b"begun"
    assert "STOR /file aborted, 5 bytes" in records[-1] and "The server is stopping" in records[-1]


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was recorded of transfers."""
    found: list[str] = []

    def add(_: Recorder, record: Record) -> None:
        if isinstance(record, Transfer):
            found.append(str(record))

    monkeypatch.setattr(Recorder, "add", add)
    return found


def test_a_download_that_does_not_finish_ends_in_fail_and_421(tmp_path: Path) -> None:
    hall = Stopping(tmp_path, session_down=10_000)
    (tmp_path / "file").write_bytes(bytes(2_000_000))
    reading = hall.visit()
    reading.link.client_end.write(b"RETR file\r\n")
    ending = hall.stop()
    hall.wait(60 + 2 / PIECES)
    assert ending.is_over
    received = bytes(reading.peer.received)
    assert received.endswith(b"FAIL The server is stopping. Connect again in a moment.\r\n"
                             b"421 The server is stopping. Connect again in a moment.\r\n")  # fmt: skip


def test_who_does_not_read_is_dropped_when_the_time_for_the_last_reply_is_over(hall: Stopping, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(20_000_000))
    deaf = hall.visit()
    deaf.link.client_end.is_reading = False
    deaf.ask(b"RETR file\r\n")
    ending = hall.stop()
    hall.wait(60 + Limits().closing - 0.2)
    assert not ending.is_over
    hall.wait(0.5)
    assert ending.is_over


def test_a_second_signal_cuts_off_at_once(hall: Stopping, tmp_path: Path) -> None:
    storing, deaf = hall.visit(), hall.visit()
    storing.ask(b"STOR file\r\n" + BEGUN)
    (tmp_path / "large").write_bytes(bytes(20_000_000))
    deaf.link.client_end.is_reading = False
    deaf.ask(b"RETR large\r\n")
    ending = hall.stop()
    hall.wait(3)
    assert not ending.is_over
    hall.factory.draining.hurry()
    assert storing.codes() == [421]
    hall.wait(HURRY + 0.1)
    assert ending.is_over
    assert support.take_part(tmp_path) == b"begun"


def stopped_in_a_commit(folder: Path) -> tuple[Stopping, support.ByHand, Visitor, Started]:
    """Somebody's upload waits for its commit, and nobody has the time."""
    run = support.by_hand()
    hall = Stopping(folder, run)
    storing = hall.visit()
    storing.ask(b"STOR file\r\n" + frames(b"data"))
    ending = hall.stop()
    hall.factory.draining.hurry()
    return hall, run, storing, ending


def test_a_commit_that_is_under_way_is_waited_for_however_long(tmp_path: Path) -> None:
    hall, run, _, ending = stopped_in_a_commit(tmp_path)
    hall.wait(10)
    assert not ending.is_over
    while run.jobs:
        run.fire()
    assert ending.is_over
    assert (tmp_path / "file").read_bytes() == b"data"


def test_who_is_told_of_a_commit_in_the_last_moment_is_told_of_the_end_too(tmp_path: Path) -> None:
    hall, run, storing, ending = stopped_in_a_commit(tmp_path)
    while run.jobs:
        run.fire()
    hall.wait(HURRY / 2)
    assert storing.codes() == [226, 421]
    assert storing.is_closed and ending.is_over


def test_who_comes_when_it_has_begun_is_turned_away(hall: Stopping) -> None:
    hall.stop()
    assert Hall.visit(hall).codes() == [421]


def test_the_client_takes_it_for_a_server_that_goes_and_may_try_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(3_000_000))
    remote, link = support.connected_remote(support.local_disk(tmp_path))
    opening = start(remote.open_read("/file"))
    link.pump()
    reading = start(read_all(opening.result()))
    link.server_end.protocol.break_off()
    link.pump()
    with pytest.raises(ServiceClosing, match="421 The server is stopping"):
        reading.result()

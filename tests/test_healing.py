"""A connection that is made again when it is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import support
from support import Started, start

from ftpsvc import healing, model
from ftpsvc.crew import Crew
from ftpsvc.healing import DELAYS, MAX_STANDSTILLS, MAX_TRIES, HealingRemote
from ftpsvc.model import ConnectionFailed


class Line:
    """A healing remote over connections in memory, which the test cuts and allows again."""

    def __init__(self, folder: Path) -> None:
        self.disk = support.local_disk(folder)
        self.links: list[Any] = []
        self.refusal: Exception | None = None
        self.dialled = 0
        self.told: list[tuple[str, bool]] = []
        self.clock = support.make_clock()
        self.healing = HealingRemote(self._connected(), self._redial, self.clock, lambda *news: self.told.append(news))

    def _connected(self) -> Any:
        remote, link = support.connected_remote(self.disk)
        self.links.append(link)
        return remote

    async def _redial(self) -> Any:
        self.dialled += 1
        if self.refusal is not None:
            raise self.refusal
        return self._connected()

    def cut(self) -> None:
        self.links[-1].lose()

    def look(self) -> Started:
        looking = start(self.healing.through(lambda: self.healing.stat("/")))
        self.pump()
        return looking

    def pump(self) -> None:
        for link in self.links:
            link.pump()

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.pump()
            self.clock.advance(1)
            self.pump()


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def test_what_was_asked_is_done_on_a_new_connection(line: Line) -> None:
    line.cut()
    looking = line.look()
    assert not looking.is_over and line.dialled == 0
    assert line.told == [("Trying again in 1 s: The server has gone, or the network to it.", True)]
    line.wait(1)
    assert looking.result().is_directory and line.dialled == 1
    assert line.told[-1] == ("", True)


def test_the_delays_grow_and_are_counted_down(line: Line) -> None:
    line.refusal = ConnectionFailed("refused.")
    line.cut()
    looking = line.look()
    line.wait(1 + 2)
    assert line.dialled == 2
    line.told.clear()
    line.wait(4)
    assert [text for text, _ in line.told[:4]] == [
        "Trying again in 3 s: refused.",
        "Trying again in 2 s: refused.",
        "Trying again in 1 s: refused.",
        "Connecting again",
    ]
    assert line.dialled == 3
    line.refusal = None
    line.wait(8)
    assert looking.result().is_directory


def test_it_comes_to_an_end(line: Line) -> None:
    line.refusal = ConnectionFailed("refused.")
    line.cut()
    looking = line.look()
    line.wait(sum(DELAYS) + DELAYS[-1] * (MAX_TRIES - len(DELAYS)))
    with pytest.raises(ConnectionFailed, match=f"refused. Given up after {MAX_TRIES} tries"):
        looking.result()
    with pytest.raises(ConnectionFailed, match="Given up"):
        line.look().result()
    assert line.dialled == MAX_TRIES


@pytest.mark.parametrize("refusal", [model.NotLoggedIn("530 no."), model.NoTLS("530 no."), model.Denied("530 no.")])
def test_what_the_server_refuses_is_never_tried_again(line: Line, refusal: Exception) -> None:
    line.refusal = refusal
    line.cut()
    first, second = line.look(), line.look()
    line.wait(60)
    for looking in (first, second, line.look()):
        with pytest.raises(ConnectionFailed, match="530 no"):
            looking.result()
    assert line.dialled == 1
    asked = 0

    async def refused() -> None:
        nonlocal asked
        asked += 1
        raise model.NotFound("550 not there.")

    with pytest.raises(model.NotFound):
        start(line.healing.through(refused)).result()
    assert asked == 1


def test_many_that_wait_cost_one_connection(line: Line) -> None:
    line.cut()
    looking = [line.look() for _ in range(5)]
    line.wait(1)
    assert all(one.result().is_directory for one in looking) and line.dialled == 1


def test_a_work_that_never_gets_on_is_given_up_and_one_that_does_is_not(line: Line) -> None:
    tries = moved = 0

    async def breaks() -> None:
        nonlocal tries
        tries += 1
        line.cut()
        await line.healing.stat("/")

    with pytest.raises(model.Aborted, match="given up: 5 tries in a row"):
        working = start(line.healing.through(breaks))
        line.wait(200)
        working.result()
    assert tries == MAX_STANDSTILLS

    async def breaks_and_moves() -> str:
        nonlocal moved
        moved += 1
        if moved <= 3 * MAX_STANDSTILLS:
            line.cut()
            await line.healing.stat("/")
        return "done"

    line.healing.got_on()
    working = start(line.healing.through(breaks_and_moves, lambda: moved))
    line.wait(600)
    assert working.result() == "done"


def test_whoever_gets_on_waits_no_longer_than_the_first_time(line: Line) -> None:
    moved = 0

    async def breaks_and_moves() -> None:
        nonlocal moved
        moved += 1
        if moved <= 4:
            line.cut()
            await line.healing.stat("/")

    working = start(line.healing.through(breaks_and_moves, lambda: moved))
    line.wait(60)
    working.result()
    assert [text[:19] for text, is_new in line.told if is_new and text] == ["Trying again in 1 s"] * 4


def test_a_busy_server_is_asked_a_few_times_more(line: Line) -> None:
    asked = 0

    async def busy() -> None:
        nonlocal asked
        asked += 1
        raise model.Busy("450 later.")

    working = start(line.healing.through(busy))
    line.wait(60)
    with pytest.raises(model.Busy):
        working.result()
    assert asked == 1 + len(healing.BUSY_DELAYS)


def test_it_can_be_stopped_while_it_waits(line: Line) -> None:
    line.cut()
    looking = line.look()
    looking.deferred.cancel()
    line.healing.close()
    line.wait(60)
    assert looking.is_over and line.dialled == 0


def test_a_crew_shares_the_work_and_heals_each_of_its_connections(line: Line, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    other = Line(tmp_path)
    crew = Crew([line.healing, other.healing], line.clock)
    reading = [start(crew.through(lambda: crew.open_read("/a"))) for _ in range(2)]
    for one in (line, other):
        one.wait(1)
    assert line.links[0] is not other.links[0]
    assert [hand.tasks for hand in crew._hands] == [1, 1]
    for one in reading:
        start(one.result().close())
        start(one.result().close())
    assert [hand.tasks for hand in crew._hands] == [0, 0]
    other.cut()
    looking = [start(crew.through(lambda: crew.stat("/a"))) for _ in range(2)]
    for _ in range(3):
        line.wait(1)
        other.wait(1)
    assert [one.result().size for one in looking] == [100, 100]

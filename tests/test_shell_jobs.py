"""Jobs in the background, and what else goes on in the shell meanwhile."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any

import pytest
import support
from desk import Desk
from twisted.internet.defer import Deferred

from ftpsvc import model, views
from ftpsvc.jobs import MAX_JOBS
from ftpsvc.targets import Target

DATA = os.urandom(300_000)


@pytest.fixture
def paced(desk: Desk) -> Desk:
    """Connected, with a file that takes ten seconds."""
    (desk.there / "big").write_bytes(DATA)
    desk.type("set limit-rate 30k")
    return desk


def let_pass(desk: Desk, seconds: float) -> None:
    for _ in range(int(seconds * 8)):
        desk.clock.advance(1 / 8)
        desk.pump()


def test_a_line_that_ends_with_an_ampersand_goes_on_in_the_background(paced: Desk) -> None:
    assert paced.type("get big &") == "[1] get big\n"
    let_pass(paced, 5)
    assert re.fullmatch(
        r"\[1\] get big: \d+\.\d kB of 300\.0 kB, 5\d %, \d+\.\d kB/s, 0:0\d left\n", paced.type("jobs")
    )
    let_pass(paced, 6)
    said = paced.said()
    assert "retrieved big: 300.0 kB" in said and said.endswith("[1] done: get big\n")
    assert (paced.here / "big").read_bytes() == DATA
    assert paced.type("jobs") == "Nothing is under way in the background.\n"


def test_what_is_under_way_moves_to_the_background(paced: Desk) -> None:
    started = paced.start("get big")
    let_pass(paced, 2)
    assert not started.is_over
    paced.shell.to_background()
    assert started.result() is False
    assert paced.said() == "[1] get big\n"
    let_pass(paced, 10)
    assert "[1] done: get big" in paced.said()


def test_a_command_does_not_wait_for_what_is_in_the_background(paced: Desk) -> None:
    paced.type("cd /")
    paced.type("get big &")
    assert paced.type("ls").endswith("1 file, 300.0 kB\n")
    assert len(paced.links) == 2, "the job has the first connection for itself"
    let_pass(paced, 11)
    assert paced.links[0].client_end.lost is not None, "the job's connection is closed behind it"
    assert paced.type("ls") and len(paced.links) == 2


def dials_slowly(desk: Desk) -> Deferred[None]:
    """From now on there are connections behind this only."""
    waiting: Deferred[None] = Deferred()
    dial = desk.shell._dial

    async def slow(target: Target) -> Any:
        await waiting
        return await dial(target)

    desk.shell._dial = slow
    return waiting


def test_completion_and_the_next_command_share_the_new_connection(paced: Desk) -> None:
    waiting = dials_slowly(paced)
    paced.type("get big &")
    completing = support.start(paced.shell.completions("get b"))
    listing = paced.start("ls")
    assert not completing.is_over and not listing.is_over
    completing.deferred.cancel()
    completing.deferred.addErrback(lambda _: None)
    waiting.callback(None)
    paced.pump()
    assert listing.is_over and "1 file" in paced.said()
    assert len(paced.links) == 2
    paced.shell.stop()


def test_a_connection_that_is_refused_takes_none_from_a_job(paced: Desk) -> None:
    paced.type("get big &")
    paced.refuses = model.OverLimit("421 One connection is the limit.")
    assert paced.type("ls") == "ls: files.example.org 5000: 421 One connection is the limit.\n"
    let_pass(paced, 11)
    assert "[1] done: get big" in paced.said() and len(paced.dialled) == 2
    assert "1 file" in paced.type("ls")


def test_what_a_job_has_is_closed_without_another(paced: Desk) -> None:
    paced.type("get big &")
    paced.refuses = model.OverLimit("421 One connection is the limit.")
    assert paced.type("close") == "Closed the connection to files.example.org.\n"
    assert paced.type("close") == "close: Not connected. Use: connect <host> [port]\n"
    let_pass(paced, 11)
    assert "[1] done: get big" in paced.said() and paced.link.client_end.lost is not None


def test_a_connection_that_is_refused_takes_none_that_a_job_has_given_back_meanwhile(paced: Desk) -> None:
    waiting = dials_slowly(paced)
    paced.type("get big &")
    listing = paced.start("ls")
    let_pass(paced, 11)
    paced.refuses = model.OverLimit("421 One connection is the limit.")
    waiting.callback(None)
    assert listing.result() is False
    assert paced.said().endswith("ls: files.example.org 5000: 421 One connection is the limit.\n")
    assert "1 file" in paced.type("ls")


def test_the_connection_comes_back_where_nothing_else_was_asked_meanwhile(paced: Desk) -> None:
    paced.type("get big &")
    let_pass(paced, 11)
    paced.said()
    paced.type("ls")
    assert len(paced.links) == 1


def test_a_job_is_killed_and_leaves_only_a_part(paced: Desk) -> None:
    paced.type("get big &")
    let_pass(paced, 2)
    said = paced.type("kill 1")
    assert re.match(
        r"\[1\] get: stopped at .* of 300\.0 kB \(\d+ %\)\. Nothing was written locally\. What came is kept", said
    )
    assert support.take_part(paced.here) and os.listdir(paced.here) == []
    assert paced.type("kill 1") == 'kill: there is no job "1". Use: jobs\n'


def test_several_jobs_are_waited_for_and_killed(paced: Desk) -> None:
    for name in "abc":
        paced.type(f"get big {name} &")
    assert paced.type("kill 1 4") == 'kill: there is no job "4". Use: jobs\n'
    waiting = paced.start("wait 1 3")
    said = paced.completed("kill 1 ")
    assert said == ["kill 1 1", "kill 1 2", "kill 1 3"]
    assert len(paced.shell.jobs) == 3
    paced.shell.interrupt()
    assert waiting.result() is False and len(paced.shell.jobs) == 3
    paced.type("kill 1 3")
    assert [job.number for job in paced.shell.jobs] == [2]
    paced.type("kill 2")
    for part in support.parts_in(paced.here):
        part.unlink()


def test_a_line_that_is_there_already_has_a_connection_of_its_own(paced: Desk) -> None:
    first = paced.shell.onecmd("get big a &")
    # As from a pipe, or pasted: it comes as soon as it may.
    second = support.start(first.addCallback(lambda _: paced.shell.onecmd("get big b &")))
    let_pass(paced, 1)
    assert second.result() is False and len(paced.links) == 2
    paced.type("kill 1")
    let_pass(paced, 12)
    assert "[2] done: get big b" in paced.said() and (paced.here / "b").read_bytes() == DATA
    support.parts_in(paced.here)[0].unlink()


@pytest.mark.parametrize("line", ["kill 1", "kill 1 1"])
def test_a_line_that_is_there_already_may_stop_the_job(paced: Desk, line: str) -> None:
    stopping = support.start(paced.shell.onecmd("get big &").addCallback(lambda _: paced.shell.onecmd(line)))
    paced.pump()
    assert stopping.result() is False and not len(paced.shell.jobs)
    assert paced.said().startswith("[1] get big\n[1] get: stopped at 0 B of 300.0 kB (0 %). ")
    assert paced.type("jobs") == "Nothing is under way in the background.\n"


@pytest.mark.parametrize("line", ["wait", "wait 1", "kill 1"])
def test_a_job_that_was_stopped_is_waited_for_until_it_has_put_all_in_order(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    in_order: Deferred[None] = Deferred()

    async def work() -> None:
        try:
            await Deferred()
        finally:
            await in_order

    monkeypatch.setattr(desk.shell, "do_du", work)
    desk.type("du &")
    killing = desk.start("kill 1")
    waiting = desk.start(line)
    assert not killing.is_over and not waiting.is_over
    in_order.callback(None)
    assert killing.result() is waiting.result() is False and len(desk.shell.jobs) == 0


def test_a_job_that_had_to_wait_for_a_connection_has_it_for_itself(paced: Desk) -> None:
    waiting = dials_slowly(paced)
    paced.type("get big &")
    assert paced.type("tail -f big &") == "[2] tail -f big\n"
    waiting.callback(None)
    let_pass(paced, 1)
    paced.type("ls")
    assert len(paced.links) == 3
    paced.shell.stop()
    paced.pump()
    support.parts_in(paced.here)[0].unlink()


def test_waiting_ends_with_the_job_and_can_be_given_up(paced: Desk) -> None:
    paced.type("get big &")
    started = paced.start("wait")
    let_pass(paced, 2)
    assert not started.is_over
    paced.shell.interrupt()
    assert started.result() is False
    assert paced.said() == "wait: stopped.\n"
    started = paced.start("wait 1")
    let_pass(paced, 10)
    assert started.result() is False
    assert "[1] done" in paced.said()


def test_a_lost_connection_ends_the_job_and_not_the_shell(paced: Desk) -> None:
    (paced.there / "big").write_bytes(DATA * 20)  # more than the client takes in ahead
    paced.type("set limit-rate 1M")
    paced.type("get big &")
    assert paced.type("ls").endswith("1 file, 6.0 MB\n")
    paced.refuses = model.NotLoggedIn("530 not any more.")
    paced.links[0].lose()
    let_pass(paced, 5)
    said = paced.said()
    assert re.search(r"^\[1\] get: connection lost at .* of 6\.0 MB .* 530 not any more\.", said, re.M)
    assert paced.type("ls").endswith("1 file, 6.0 MB\n")
    support.take_part(paced.here)


def test_quit_says_that_there_are_jobs_and_a_second_one_ends_them(paced: Desk) -> None:
    paced.type("get big &")
    assert "There is a job in the background." in paced.type("quit")
    assert paced.type("pwd") == "/\n"
    assert "There is a job in the background." in paced.type("quit")
    assert paced.start("quit").result() is True
    assert os.listdir(paced.here) == []


def test_there_are_only_so_many_jobs(paced: Desk) -> None:
    for number in range(MAX_JOBS):
        assert paced.type(f"get big big{number} &") == f"[{number + 1}] get big big{number}\n"
    assert paced.type("get big again &") == f"get: {MAX_JOBS} jobs are in the background already. Use: wait\n"
    paced.shell.stop()


def test_a_stopped_shell_tells_when_all_is_over(paced: Desk) -> None:
    over: list[Any] = []
    for line in ("get big big1 &", "get big big2"):
        paced.start(line)
    for ended in paced.shell.stop():
        ended.addCallback(over.append)
    assert paced.said().count("get: stopped at") == len(over) == 2
    assert paced.shell.stop() == []


def test_a_question_is_asked_before_a_job_goes_to_the_background(paced: Desk) -> None:
    (paced.here / "big").write_bytes(b"old")
    paced.is_attended("s")
    assert paced.type("get big &") == "skipped big: kept the one that is there\n"
    assert len(paced.asked) == 1


def test_a_job_of_several_folders_stays_with_its_server(paced: Desk) -> None:
    for name in ("a", "b"):
        (paced.here / name).mkdir()
        (paced.here / name / "x").write_bytes(DATA[:30_000])
    assert paced.type("put -r * &") == "[1] put -r *\n"
    let_pass(paced, 0.5)
    other = paced.there.parent / "other"
    other.mkdir()
    paced._disk = support.local_disk(other)
    paced.type("close")
    paced.type("connect other")
    assert paced.type("ls") == "The folder is empty.\n"
    let_pass(paced, 5)
    assert paced.said().endswith("[1] done: put -r *\n")
    assert (paced.there / "b" / "x").read_bytes() == DATA[:30_000]
    assert os.listdir(other) == []


def test_what_a_job_replaces_is_asked_before_it_goes_to_the_background(paced: Desk) -> None:
    (paced.there / "a").mkdir()
    (paced.there / "a" / "x").write_bytes(DATA[:30_000])
    (paced.here / "big").write_bytes(b"old")
    paced.is_attended("s")
    assert paced.type("get -r * &") == "skipped big: kept the one that is there\n[1] get -r *\n"
    let_pass(paced, 5)
    assert (paced.here / "big").read_bytes() == b"old"
    assert (paced.here / "a" / "x").exists()


@pytest.mark.parametrize("line", ["rm -r a", "mv big b", "g big"])
def test_whatever_may_ask_does_so_before_it_goes_to_the_background(paced: Desk, line: str) -> None:
    (paced.there / "a").mkdir()
    (paced.there / "b").touch()
    (paced.here / "big").write_bytes(b"old")
    paced.type("alias g get")
    floors: list[bool] = []

    async def ask(question: str, answers: Any) -> str:
        floors.append(bool(paced.shell._front and paced.shell._front.has_floor))
        return str(answers[0])

    paced.shell._around = replace(paced.shell._around, ask=ask)
    said = paced.type(f"{line} &")
    assert said.startswith(f"[1] {line}\n") and floors == [True]
    let_pass(paced, 12)
    assert (said + paced.said()).endswith(f"[1] done: {line}\n")


@pytest.mark.parametrize("line", ["edit big", "more big", "local true", "connect h", "user mia"])
def test_what_needs_the_terminal_stays_in_the_foreground(paced: Desk, line: str) -> None:
    paced.is_attended()
    if line == "connect h":
        paced.type("close")
    started = paced.start(f"{line} &")
    paced.shell.to_background()
    let_pass(paced, 12)
    assert started.result() is False
    assert "[1]" not in paced.said()


def test_commands_that_carry_nothing_go_to_the_background_too(desk: Desk) -> None:
    desk.link.server_end.is_reading = False
    assert desk.type("du &") == "[1] du\n"
    desk.link.server_end.is_reading = True
    desk.pump()
    assert desk.said() == "0 B  /\n0 files in all\n[1] done: du\n"


def test_a_name_that_is_an_ampersand(desk: Desk) -> None:
    (desk.there / "&").write_bytes(b"x")
    assert desk.type(r"get \&").startswith(r"retrieved \&: 1 B")
    assert desk.type("jobs").startswith("Nothing")


@pytest.mark.parametrize("name", ["a &", "a "])
def test_a_name_that_ends_with_what_a_line_may_end_with(desk: Desk, name: str) -> None:
    (desk.there / "a").touch()
    (desk.there / name).touch()
    (line,) = [line for line in desk.completed("rm a") if line.rstrip() != "rm a"]
    assert desk.type(line) == "removed 1 file\n"
    assert os.listdir(desk.there) == ["a"]


def test_the_toolbar_shows_as_many_as_there_is_room_for(paced: Desk) -> None:
    for number in range(3):
        paced.type(f"get big big{number} &")
    let_pass(paced, 2)
    wide = views.toolbar(list(paced.shell.jobs), 300)
    assert [f"[{number}] big: " in wide for number in (1, 2, 3)] == [True] * 3
    narrow = views.toolbar(list(paced.shell.jobs), 75)
    assert narrow.startswith("[1] big: ") and narrow.endswith("+2") and len(narrow) < 75
    (job, *_) = paced.shell.jobs
    assert views.toolbar(list(paced.shell.jobs), 42).endswith(" left   +2")
    assert views.toolbar([job], 40).startswith("[1] big: ") and "/s, 0:" in views.toolbar([job], 40)
    job.label = "harbour at night, seen from the bridge.jpg"
    crowded = views.toolbar([job], 50)
    assert crowded.startswith("[1] harbour") and "…: " in crowded and crowded.endswith(" left") and len(crowded) < 50
    rows = [views.toolbar(list(paced.shell.jobs), columns) for columns in range(44, 300)]
    assert [row for row in rows if not re.search(r"\+2$|\+1$|\[3\].* left$", row)] == []
    let_pass(paced, 20)
    paced.link.server_end.is_reading = False
    paced.shell.stop()
    for part in support.parts_in(paced.here):
        part.unlink()

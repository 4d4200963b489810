"""Work that was broken off and is gone on with, typed at a shell: `resume`, `reget`, `reput`, and what is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from desk import Desk
from test_resuming import Ends
from twotrees import content, write

from ftpsvc import model
from ftpsvc.clienttls import Protection
from ftpsvc.journal import Job
from ftpsvc.model import Stored
from ftpsvc.resuming import NOTHING, Brought, Known
from ftpsvc.targets import Target

DATA = os.urandom(300_000)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Connected, with a journal."""
    return Desk(tmp_path).connected()


def lost_for_good(desk: Desk, line: str) -> str:
    """What is said to a line whose connection is lost, and not to be had again."""
    desk.refuses = model.NotLoggedIn("530 no more.")
    started = desk.begun(line)
    desk.link.lose()
    for _ in range(100):
        desk.clock.advance(1)
    assert started.result() is False
    desk.refuses = None
    return desk.said()


def test_what_is_lost_for_good_is_resumed_when_one_is_connected_again(desk: Desk) -> None:
    write(desk.there / "pub" / "a", DATA)
    assert "530 no more." in lost_for_good(desk, "mirror --exclude=*.o pub")
    (job,) = desk.unfinished()
    assert (job.target.host, job.remote, job.local) == ("h", "/pub", f"{desk.here}/pub")
    assert job.words == ("--exclude=*.o",)
    said = desk.type("resume")
    assert "h 5000: retrieve -r --exclude=*.o /pub" in said and said.endswith("1 job unfinished. Use: resume all\n")
    assert "no job 2" in desk.type("resume 2") and "no job 0000010" in desk.type("resume 0000010")
    assert desk.completed("resume a") == ["resume all "] and desk.completed("resume 1") == ["resume 1 "]
    assert desk.shell.prompt == "ftpsvc> "
    said = desk.type("resume 1")
    assert "copied 1 file" in said
    assert desk.shell.prompt == "ftpsvc> "  # its connection was its own
    assert content(desk.here / "pub") == {"a": DATA} and desk.unfinished() == []
    assert desk.type("resume") == desk.type("resume all") == "0 jobs unfinished.\n"
    assert "no job 1" in desk.type("resume 1") and "no job al" in desk.type("resume al")


def upload_to(desk: Desk, target: Target) -> Job:
    return Job.of(target, True, True, f"{desk.here}/a", "/b")


def test_unfinished_work_goes_to_the_server_and_the_user_it_began_with(desk: Desk) -> None:
    write(desk.here / "a" / "file", b"1")
    desk.remember(upload_to(desk, Target("elsewhere", 2121, "mia", Protection.REQUIRED, "AB:CD")))
    assert "--tls mia@elsewhere 2121: store -r" in desk.type("resume")
    assert "copied 1 file" in desk.type("resume all")
    assert desk.dialled[-1] == ("elsewhere", 2121) and desk.users[-1] == "mia"
    assert (desk.there / "b" / "file").read_bytes() == b"1"
    assert desk.shell.prompt == "h:/> "
    assert desk.unfinished() == []


def test_unfinished_work_whose_server_is_away_stays_and_does_not_keep_the_rest(desk: Desk) -> None:
    desk.remember(upload_to(desk, Target("away")))
    desk.remember(upload_to(desk, Target("away2")))
    desk.refuses = model.ConnectionRefused("nothing listens there.")
    assert desk.type("resume all").count("nothing listens there.") == 2
    assert len(desk.unfinished()) == 2 and desk.type("pwd") == "/\n"
    assert desk.type("resume forget").startswith("Forgot 2 jobs.")
    assert desk.unfinished() == []


def test_a_file_that_was_stopped_is_resumed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    write(desk.there / "big", DATA * 10)
    opened = desk.shell._here.storage.open_write

    async def breaking(path: str, offset: int = 0) -> Any:
        file = await opened(path, offset)
        if offset:
            return file
        await file.write((DATA * 10)[:1_234_567])
        await file.abort(keep=True)
        desk.link.lose()
        return file

    monkeypatch.setattr(desk.shell._here.storage, "open_write", breaking)
    desk.refuses = model.NotLoggedIn("530 no more.")
    started = desk.start("retrieve big")
    desk.clock.advance(1)
    assert started.is_over
    desk.refuses = None
    assert "connection lost" in desk.said() and [job.is_tree for job in desk.unfinished()] == [False]
    assert ", went on from 1.2 MB, digest checked" in desk.type("resume all")
    assert (desk.here / "big").read_bytes() == DATA * 10
    assert desk.unfinished() == []


def test_why_a_file_was_started_over_commands_no_terminal(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    write(desk.there / "a", b"1")

    async def brought(*ends: object, **how: object) -> Brought:
        return Brought(Stored(1, ""), 0, "started over: 501 no REST \x1b]0;owned\x07")

    monkeypatch.setattr("ftpsvc.transfers.bring", brought)
    assert "started over: 501 no REST \\x1b]0;owned\\x07\n" in desk.type("retrieve a")


def test_a_file_that_the_server_broke_off_is_resumed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    write(desk.there / "big", DATA * 10)
    opened = desk._disk.open_read

    async def ending(path: str, offset: int = 0) -> Any:
        file = await opened(path, offset)
        read = file.read

        async def shorter(size: int) -> Any:
            if file._at > 1_000_000:
                raise model.LocalFault("big became shorter while it was read.")
            return await read(size)

        monkeypatch.setattr(file, "read", shorter)
        return file

    monkeypatch.setattr(desk._disk, "open_read", ending)
    assert desk.type("retrieve big") == (
        "retrieve: The server ended the transfer: big became shorter while it was read. Nothing was written locally. "
        "What came is kept, and resume, or the same command, goes on from there.\n"
    )
    assert len(desk.unfinished()) == 1
    monkeypatch.setattr(desk._disk, "open_read", opened)
    assert ", went on from 1." in desk.type("resume all")
    assert (desk.here / "big").read_bytes() == DATA * 10 and desk.unfinished() == []


@pytest.mark.parametrize(
    ("remote", "local", "why"),
    [
        ("/[1].iso", "got", 'no "[1].iso" in /'),
        ("/1.iso", "folder", "folder is a folder by now, and was to be a file."),
    ],
)
def test_what_is_resumed_is_the_file_itself_and_none_that_its_name_could_mean(
    desk: Desk, remote: str, local: str, why: str
) -> None:
    write(desk.there / "1.iso", b"another")
    (desk.here / "folder").mkdir()
    desk.remember(Job.of(Target("h"), False, False, f"{desk.here}/{local}", remote))
    assert why in desk.type("resume all")
    assert content(desk.here) == {"folder": None}


def test_what_was_refused_is_not_remembered(desk: Desk) -> None:
    write(desk.here / "big", DATA)
    assert "550" in desk.type("store big no/b") or desk.shell.failures == 1
    assert desk.unfinished() == []


def test_a_mirror_that_was_stopped_says_how_far_it_got_and_is_resumed(desk: Desk) -> None:
    for number in range(30):
        write(desk.there / "pub" / str(number), DATA)
    started = desk.begun("mirror pub")
    while not (desk.here / "pub").exists() or len(content(desk.here / "pub")) < 3:
        desk.step()
    desk.shell.interrupt()
    desk.pump()
    assert started.result() is False
    said = desk.said()
    assert "copied " in said and said.endswith("mirror: stopped.\n")
    assert len(desk.unfinished()) == 1
    assert "the same already" in desk.type("resume all")
    assert content(desk.here / "pub") == content(desk.there / "pub")
    assert desk.unfinished() == []


def test_a_file_that_is_there_in_part_is_gone_on_from(desk: Desk) -> None:
    (desk.there / "big").write_bytes(DATA)
    (desk.here / "big").write_bytes(DATA[:123_456])
    desk.is_attended("r")
    said = desk.type("get big")
    assert said.endswith(", went on from 123.5 kB, digest checked\n")
    assert (desk.here / "big").read_bytes() == DATA


@pytest.mark.parametrize("line", ["reget big", "reput big"])
def test_the_fingers_know_reget_and_reput(desk: Desk, line: str) -> None:
    source, target = (desk.there, desk.here) if line == "reget big" else (desk.here, desk.there)
    (source / "big").write_bytes(DATA)
    assert "went on" not in desk.type(line)
    (target / "big").write_bytes(DATA[:1000])
    assert "went on from 1.0 kB, digest checked" in desk.type(line)
    assert (target / "big").read_bytes() == DATA
    assert "went on from 300.0 kB" in desk.type(line)
    (target / "big").write_bytes(b"x" + DATA[1:1000])
    assert "started over: what was there is not how the source begins, replaced the old one" in desk.type(line)
    assert (target / "big").read_bytes() == DATA
    (target / "big").write_bytes(DATA + b"more")
    assert "started over: 300.0 kB were there" in desk.type(line)
    assert (target / "big").read_bytes() == DATA


def test_what_is_resumed_after_a_stop_needs_no_question(desk: Desk) -> None:
    (desk.there / "big").write_bytes(DATA)
    desk.type("set limit-rate 100k")
    started = desk.start("retrieve big")
    for _ in range(10):
        desk.clock.advance(0.1)
        desk.pump()
    desk.shell.interrupt()
    desk.pump()
    assert started.result() is False and "resume, or the same command" in desk.said()
    assert [job.is_tree for job in desk.unfinished()] == [False]
    desk.type("set limit-rate off")
    assert " kB, digest checked" in desk.type("resume 1").partition("went on from ")[2]
    assert (desk.here / "big").read_bytes() == DATA and desk.unfinished() == []


def test_what_begins_anew_in_spite_of_rest_does_not_become_a_file_with_its_beginning_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = Ends(tmp_path, "disks")
    monkeypatch.setattr("ftpsvc.resuming.common_algorithm", lambda source, target: None)
    ends.part.write_bytes(ends.path.read_bytes()[:100_000])
    opened = ends.source_storage.open_read
    monkeypatch.setattr(ends.source_storage, "open_read", lambda path, offset=0: opened(path))
    size, modified = ends.path.stat().st_size, ends.path.stat().st_mtime_ns
    with pytest.raises(model.Damaged, match=f"^{size + 100_000} bytes came, with what was kept, and {size} were said"):
        ends.bring(Known(size, modified, NOTHING))
    assert not (ends.target / "f").exists()


def test_the_size_that_is_told_is_that_of_the_file_that_came(desk: Desk) -> None:
    write(desk.there / "a", DATA * 10)
    started = desk.begun("get a")
    desk.link.lose()
    write(desk.there / "a", DATA[:200_000])
    for _ in range(3):
        desk.clock.advance(1)
        desk.pump()
    assert started.result() is False
    assert "retrieved a: 200.0 kB" in desk.said()

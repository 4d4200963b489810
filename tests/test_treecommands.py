"""`mirror`, `retrieve -r`, `store -r` and `resume`, typed at a shell."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import support
from desk import Desk
from twotrees import content, write

from ftpsvc import model
from ftpsvc.clienttls import Protection
from ftpsvc.journal import Job
from ftpsvc.targets import Target

DATA = os.urandom(300_000)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Connected, with a journal."""
    return Desk(tmp_path).connected()


def journal_of(desk: Desk) -> list[Job]:
    jobs = desk.journal.unfinished()
    for job in jobs:
        job.close()
    return [job.job for job in jobs]


def test_a_folder_is_mirrored_here_and_back(desk: Desk) -> None:
    write(desk.there / "pub" / "sub" / "a", b"1")
    write(desk.there / "pub" / "b", DATA)
    assert desk.type("mirror pub") == "copied 2 files (300.0 kB in 0 ms), made 2 folders\n"
    assert content(desk.here / "pub") == content(desk.there / "pub")
    assert desk.type("mirror pub").startswith("copied 0 files (0 B in 0 ms), 2 the same already")
    assert desk.type("mirror -R pub copy") == "copied 2 files (300.0 kB in 0 ms), made 2 folders\n"
    assert content(desk.there / "copy") == content(desk.there / "pub")
    assert journal_of(desk) == [] and desk.shell.failures == 0


def test_folders_are_retrieved_and_stored_into_those_that_are_there(desk: Desk) -> None:
    write(desk.there / "pub" / "a", b"1")
    (desk.here / "papers").mkdir()
    desk.type("retrieve -r pub papers")
    desk.type("get pub new -r")
    assert (desk.here / "papers" / "pub" / "a").exists() and (desk.here / "new" / "a").exists()
    (desk.there / "in").mkdir()
    desk.type("store -r papers in")
    assert (desk.there / "in" / "papers" / "pub" / "a").exists()
    assert "no folder" in desk.type("store -r papers nowhere/")
    assert "only mirror removes" in desk.type("store -r papers --delete")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mirror", "it takes one folder"),
        ("mirror a b c", "it takes one folder"),
        ("mirror --frob a", "there is no option --frob"),
        ("mirror a --exclude", "--exclude needs a value"),
        ("mirror a --exclude ''", "--exclude needs a pattern"),
        ("mirror a --links=keep", "--links is follow"),
        ("mirror a --parallel 0", "--parallel is a number"),
        ("mirror nosuch", 'no "nosuch" in / (550)'),
        ("mirror -R nosuch", 'no "nosuch" in'),
        ("retrieve -r", "it takes one folder"),
        ("resume 7", "0 jobs unfinished."),
        ("retrieve a b c", "too many words"),
    ],
)
def test_what_is_wrong_is_said(desk: Desk, line: str, said: str) -> None:
    assert said in desk.type(line)


def test_what_this_machine_refuses_is_said_in_its_own_words(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    write(desk.there / "pub" / "a", b"1")
    write(desk.there / "pub" / "sub" / "b", b"1")
    storage = desk.shell._here.storage

    async def refusing(path: str, *args: Any) -> Any:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise model.NoSpace(f"{path}: no space is left on the server's disk.") from full

    monkeypatch.setattr(storage, "make_dir", refusing)
    assert f"mirror: {desk.here}/pub on this machine: No space left on device.\n" in desk.type("mirror pub")
    (desk.here / "pub").mkdir()
    monkeypatch.setattr(storage, "put", refusing)
    said = desk.type("mirror pub")
    assert "failed a: on this machine: No space left on device.\n" in said
    assert "failed sub: on this machine: No space left on device.\n" in said


def test_a_name_with_a_dash_goes_behind_two(desk: Desk) -> None:
    write(desk.there / "-r" / "a", b"1")
    desk.type("mirror -- -r")
    assert (desk.here / "-r" / "a").exists()


def test_patterns_and_a_dry_run(desk: Desk) -> None:
    write(desk.there / "pub" / "a.o", b"1")
    write(desk.there / "pub" / "b.c", b"22")
    said = desk.type("mirror --dry-run --exclude='*.o' pub")
    assert said == "make ./\ncopy b.c (2 B)\nplan: 1 file to copy; 2 B, 0 the same already. Nothing was changed.\n"
    assert not (desk.here / "pub").exists() and journal_of(desk) == []


def test_without_anybody_to_ask_too_much_is_removed_only_by_force(desk: Desk) -> None:
    write(desk.there / "pub" / "a")
    for name in ("a", "b", "c"):
        write(desk.here / "pub" / name)
    said = desk.type("mirror --delete pub")
    assert "failed .: 2 of 3 names were to be removed, and none was. For more than half, use --force." in said
    assert desk.shell.failures == 1 and set(content(desk.here / "pub")) == {"a", "b", "c"}
    assert "removed 2" in desk.type("mirror --delete --force pub")
    assert set(content(desk.here / "pub")) == {"a"}


def test_a_person_is_asked(desk: Desk) -> None:
    write(desk.there / "pub" / "a")
    for name in ("a", "b", "c"):
        write(desk.here / "pub" / name)
    desk.is_attended("n", "y")
    assert "none was" in desk.type("mirror --delete pub")
    assert desk.asked == [f"Remove 2 of 3 names (66 %) in {desk.here}/pub? [y]es, [n]o"]
    assert "plan: 2 names to remove" in desk.type("mirror --delete pub")
    assert set(content(desk.here / "pub")) == {"a"}


def begun(desk: Desk, line: str) -> support.Started:
    """A line that is carried out as far as the first change here."""
    started = support.start(desk.shell.onecmd(line))
    ends = (desk.link.client_end, desk.link.server_end)
    while not os.listdir(desk.here):
        desk.link._move(*ends)
        desk.link._move(*ends[::-1])
        desk.link.clock.advance(0)
    assert not started.is_over
    return started


def test_a_lost_connection_is_healed_and_told(desk: Desk) -> None:
    for number in range(5):
        write(desk.there / "pub" / str(number), DATA)
    started = begun(desk, "mirror pub")
    desk.link.lose()
    desk.clock.advance(0)
    desk.clock.advance(1)
    desk.pump()
    assert started.result() is False
    said = desk.said()
    assert "Trying again in 1 s" in said and "copied 5 files" in said
    assert content(desk.here / "pub") == content(desk.there / "pub")
    assert desk.type("pwd") == "/\n"


def lost_for_good(desk: Desk, line: str) -> str:
    """What is said to a line whose connection is lost, and not to be had again."""
    desk.refuses = model.NotLoggedIn("530 no more.")
    started = begun(desk, line)
    desk.link.lose()
    for _ in range(100):
        desk.clock.advance(1)
    assert started.result() is False
    desk.refuses = None
    return desk.said()


def test_what_is_lost_for_good_is_resumed_when_one_is_connected_again(desk: Desk) -> None:
    write(desk.there / "pub" / "a", DATA)
    assert "530 no more." in lost_for_good(desk, "mirror --exclude=*.o pub")
    (job,) = journal_of(desk)
    assert (job.target.host, job.remote, job.local) == ("h", "/pub", f"{desk.here}/pub")
    assert job.words == ("--exclude=*.o",)
    said = desk.type("resume")
    assert "h 5000: retrieve -r --exclude=*.o /pub" in said and said.endswith("1 job unfinished. Use: resume all\n")
    assert "no job 2" in desk.type("resume 2")
    assert desk.completed("resume a") == ["resume all "] and desk.completed("resume 1") == ["resume 1 "]
    assert desk.shell.prompt == "ftpsvc> "
    said = desk.type("resume 1")
    assert "copied 1 file" in said
    assert desk.shell.prompt == "ftpsvc> "  # its connection was its own
    assert content(desk.here / "pub") == {"a": DATA} and journal_of(desk) == []
    assert desk.type("resume") == "0 jobs unfinished.\n"


def unfinished(desk: Desk, target: Target) -> None:
    memory = desk.journal.begin(Job.of(target, True, True, f"{desk.here}/a", "/b"))
    assert memory is not None
    memory.close()


def test_unfinished_work_goes_to_the_server_and_the_user_it_began_with(desk: Desk) -> None:
    write(desk.here / "a" / "file", b"1")
    unfinished(desk, Target("elsewhere", 2121, "mia", Protection.REQUIRED, "AB:CD"))
    assert "--tls mia@elsewhere 2121: store -r" in desk.type("resume")
    assert "copied 1 file" in desk.type("resume all")
    assert desk.dialled[-1] == ("elsewhere", 2121) and desk.users[-1] == "mia"
    assert (desk.there / "b" / "file").read_bytes() == b"1"
    assert desk.shell.prompt == "h:/> "
    assert journal_of(desk) == []


def test_unfinished_work_whose_server_is_away_stays_and_does_not_keep_the_rest(desk: Desk) -> None:
    unfinished(desk, Target("away"))
    unfinished(desk, Target("away2"))
    desk.refuses = model.ConnectionRefused("nothing listens there.")
    assert desk.type("resume all").count("nothing listens there.") == 2
    assert len(journal_of(desk)) == 2 and desk.type("pwd") == "/\n"
    assert desk.type("resume forget").startswith("Forgot 2 jobs.")
    assert journal_of(desk) == []


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
    assert "connection lost" in desk.said() and [job.is_tree for job in journal_of(desk)] == [False]
    assert ", went on from 1.2 MB, digest checked" in desk.type("resume all")
    assert (desk.here / "big").read_bytes() == DATA * 10
    assert journal_of(desk) == []


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
    assert len(journal_of(desk)) == 1
    monkeypatch.setattr(desk._disk, "open_read", opened)
    assert ", went on from 1." in desk.type("resume all")
    assert (desk.here / "big").read_bytes() == DATA * 10 and journal_of(desk) == []


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
    memory = desk.journal.begin(Job.of(Target("h"), False, False, f"{desk.here}/{local}", remote))
    assert memory is not None
    memory.close()
    assert why in desk.type("resume all")
    assert content(desk.here) == {"folder": None}


def test_what_was_refused_is_not_remembered(desk: Desk) -> None:
    write(desk.here / "big", DATA)
    assert "550" in desk.type("store big no/b") or desk.shell.failures == 1
    assert journal_of(desk) == []


def test_options_and_folders_are_completed(desk: Desk) -> None:
    write(desk.there / "pub" / "a")
    assert desk.completed("mirror --ex") == ["mirror --exclude "]
    assert desk.completed("mirror --delete pu") == ["mirror --delete pub/"]


def test_a_mirror_that_was_stopped_says_how_far_it_got_and_is_resumed(desk: Desk) -> None:
    for number in range(30):
        write(desk.there / "pub" / str(number), DATA)
    started = begun(desk, "mirror pub")
    ends = (desk.link.client_end, desk.link.server_end)
    while not (desk.here / "pub").exists() or len(content(desk.here / "pub")) < 3:
        desk.link._move(*ends)
        desk.link._move(*ends[::-1])
        desk.link.clock.advance(0)
    desk.shell.interrupt()
    desk.pump()
    assert started.result() is False
    said = desk.said()
    assert "copied " in said and said.endswith("mirror: stopped.\n")
    assert len(journal_of(desk)) == 1
    assert "the same already" in desk.type("resume all")
    assert content(desk.here / "pub") == content(desk.there / "pub")
    assert journal_of(desk) == []


def test_a_rate_holds_for_trees_too(desk: Desk) -> None:
    for number in range(3):
        write(desk.there / "pub" / str(number), DATA)
    desk.type("set limit-rate 100k")
    started = desk.start("mirror pub")
    for _ in range(80):
        assert not started.is_over
        desk.clock.advance(0.1)
        desk.pump()
    for _ in range(20):
        desk.clock.advance(0.1)
        desk.pump()
    assert started.result() is False and content(desk.here / "pub") == content(desk.there / "pub")


def test_a_dry_run_says_that_the_real_run_will_not_remove_so_much_by_itself(desk: Desk) -> None:
    write(desk.there / "pub" / "a")
    for name in ("a", "b", "c"):
        write(desk.here / "pub" / name)
    said = desk.type("mirror --delete --dry-run pub")
    assert said.endswith(
        "2 of 3 names are to be removed. That is more than half: the real run removes none of them without --force.\n"
    )
    assert "more than half" not in desk.type("mirror --delete --dry-run --force pub")
    desk.is_attended()
    assert "the real run asks first, or needs --force." in desk.type("mirror --delete --dry-run pub")
    write(desk.there / "pub" / "b")
    assert "more than half" not in desk.type("mirror --delete --dry-run pub")
    assert desk.shell.failures == 0 and set(content(desk.here / "pub")) == {"a", "b", "c"}


def test_a_mirror_in_the_background_asks_nobody(desk: Desk) -> None:
    write(desk.there / "pub" / "a")
    for name in ("a", "b", "c"):
        write(desk.here / "pub" / name)
    desk.is_attended()
    desk.start("mirror --delete pub &")
    assert "and none was. For more than half, use --force." in desk.said()
    assert not desk.asked and set(content(desk.here / "pub")) == {"a", "b", "c"}


# -- going on with a file that is there ----------------------------------------------------------------------


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


@pytest.mark.parametrize("line", ["retrieve big", "store big", "mirror pub", "mirror -R pub"])
def test_a_rate_holds_for_what_is_under_way(desk: Desk, line: str) -> None:
    for side in (desk.here, desk.there) if "big" in line else (desk.here if "-R" in line else desk.there,):
        write(side / "big", DATA, 1_000_000_000 + (side == desk.here))
        for number in range(20):
            write(side / "pub" / str(number), DATA[:15_000])
    desk.type("set overwrite replace")
    desk.type("set limit-rate 1k")
    desk.start(f"{line} &")
    desk.advance(30)
    desk.type("set limit-rate 100k")
    desk.advance(25)
    assert "done" not in desk.said()
    desk.advance(30)
    assert "[1] done" in desk.said(), "it has gone on at the old rate"
    desk.type("set limit-rate 1k")
    desk.start(f"{line.replace('pub', 'pub again')} &")
    desk.advance(30)
    assert "done" not in desk.said()
    desk.type("set limit-rate off")
    desk.advance(11)
    assert "[1] done" in desk.said(), "it doesn't know that there is no rate any more"


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
    assert [job.is_tree for job in journal_of(desk)] == [False]
    desk.type("set limit-rate off")
    assert " kB, digest checked" in desk.type("resume 1").partition("went on from ")[2]
    assert (desk.here / "big").read_bytes() == DATA and journal_of(desk) == []

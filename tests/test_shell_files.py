"""Files carried by the shell: what is said, what is left behind, and what becomes of it all in mid-transfer."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import support
from desk import Desk

from ftpsvc import display, model
from ftpsvc.accounts import AnonymousOnly
from ftpsvc.model import Permission
from ftpsvc.remote import Remote
from ftpsvc.targets import Target

# -- files ---------------------------------------------------------------------------------------------------

DATA = os.urandom(300_000)


def test_retrieve(desk: Desk) -> None:
    (desk.there / "a b").write_bytes(DATA)
    assert desk.type("get 'a b'") == "retrieved a\\ b: 300.0 kB in 0 ms, digest checked\n"
    assert (desk.here / "a b").read_bytes() == DATA
    assert desk.type("get 'a b'").endswith("digest checked, replaced the old one\n")
    assert desk.shell.failures == 0


def test_retrieve_into_a_folder_and_under_another_name(desk: Desk) -> None:
    (desk.there / "a").write_bytes(DATA)
    (desk.here / "papers").mkdir()
    assert desk.type("retrieve a papers").startswith(f"retrieved a as {desk.here}/papers/a: ")
    assert desk.type("retrieve a papers/b").startswith(f"retrieved a as {desk.here}/papers/b: ")
    assert (desk.here / "papers" / "a").read_bytes() == (desk.here / "papers" / "b").read_bytes() == DATA


def test_a_name_that_is_no_text_is_retrieved_as_it_is_shown(desk: Desk) -> None:
    Path(os.fsdecode(bytes(desk.there) + b"/caf\xe9")).write_bytes(DATA)
    shown = desk.type("list").splitlines()[0].split("  ")[-1]
    assert desk.type(f"retrieve {shown}").startswith(r"retrieved $'caf\xe9': ")
    assert os.listdir(os.fsencode(desk.here)) == [b"caf\xe9"]


def test_store(desk: Desk) -> None:
    (desk.here / "a b").write_bytes(DATA)
    (desk.there / "pub").mkdir()
    desk.type("cd pub")
    assert desk.type('put "a b"') == "stored a\\ b: 300.0 kB in 0 ms, digest checked\n"
    assert desk.type('put "a b" /c').startswith("stored a\\ b as /c: ")
    assert (desk.there / "pub" / "a b").read_bytes() == (desk.there / "c").read_bytes() == DATA
    assert desk.type('store "a b" /c').endswith(", replaced the old one\n")


def test_nothing_is_said_to_be_checked_that_was_not(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.there / "a").write_bytes(DATA)
    for checked, word in (("size", ", size checked\n"), ("", " in 0 ms\n")):
        monkeypatch.setattr(desk.remote._files, "checked", checked)
        (desk.here / "a").unlink(missing_ok=True)
        assert desk.type("get a").endswith(word)


def test_nothing_is_promised_of_a_server_that_promises_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.here / "a").write_bytes(DATA)

    async def open_write(path: str, offset: int = 0, replace: bool = True) -> Any:
        raise model.NoSpace("452 Full.")

    monkeypatch.setattr(desk.remote, "open_write", open_write)
    monkeypatch.setattr(Remote, "is_inline", False)
    assert "Full. Look what /a is now" in desk.type("put a")


def test_what_is_missing_there_is_named_with_what_is_close(desk: Desk) -> None:
    (desk.there / "pub").mkdir()
    (desk.there / "pub" / "nosuch2.txt").touch()
    assert desk.type("retrieve pub/nosuch.txt") == ('retrieve: no "nosuch.txt" in /pub (550). Close: nosuch2.txt.\n')
    assert desk.type("retrieve pub/nos") == 'retrieve: no "nos" in /pub (550). Close: nosuch2.txt.\n'
    assert os.listdir(desk.here) == []


def test_a_file_in_the_place_of_a_folder(desk: Desk) -> None:
    (desk.there / "a").write_bytes(DATA)
    assert desk.type("get a/b") == "get: there is no folder /a (550).\n"


def test_what_is_missing_here(desk: Desk) -> None:
    (desk.here / "report.pdf").touch()
    assert desk.type("store reprt.pdf") == f'store: no "reprt.pdf" in {desk.here}. Close: report.pdf.\n'


def test_folders_are_not_carried(desk: Desk) -> None:
    (desk.there / "pub").mkdir()
    assert desk.type("retrieve pub") == "retrieve: /pub is a folder. Use -r to carry it with all that is in it.\n"


def test_a_target_folder_must_be_there(desk: Desk) -> None:
    (desk.there / "a").touch()
    assert desk.type("retrieve a nodir/") == f"retrieve: there is no folder {desk.here}/nodir.\n"
    (desk.here / "a").mkdir()
    assert "a folder is not replaced by a file" in desk.type("retrieve a")


def test_a_disk_without_room_is_seen_before_the_first_byte(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.there / "a").write_bytes(DATA)

    async def space(path: str) -> int:
        return 8192

    monkeypatch.setattr(desk.shell._here.storage, "space", space)
    assert desk.type("retrieve a") == "retrieve: need 300.0 kB, the disk has 8.2 kB free. Nothing transferred.\n"
    assert os.listdir(desk.here) == []


def test_what_this_machine_forbids_is_said_in_its_own_words(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.there / "a").write_bytes(DATA)

    async def open_write(path: str, offset: int = 0, replace: bool = True) -> Any:
        raise model.Denied("the server's system does not permit it") from PermissionError(13, "Permission denied")

    monkeypatch.setattr(desk.shell._here.storage, "open_write", open_write)
    assert desk.type("retrieve a") == (
        f"retrieve: {desk.here}/a on this machine: Permission denied. Choose another folder with lcd, or name one at "
        "the end of the command. Nothing was written locally.\n"
    )
    assert desk.type("list").endswith("1 file, 300.0 kB\n")


def test_what_may_not_be_read_here_needs_no_other_folder(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.here / "a").write_bytes(DATA)

    async def open_read(path: str, offset: int = 0) -> Any:
        raise model.Denied("the server's system does not permit it") from PermissionError(13, "Permission denied")

    monkeypatch.setattr(desk.shell._here.storage, "open_read", open_read)
    assert desk.type("store a") == (
        f"store: {desk.here}/a on this machine: Permission denied. Nothing was stored on the server.\n"
    )


def test_what_the_server_refuses_is_said_in_its_words(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.here / "a").write_bytes(DATA)

    async def open_write(path: str, offset: int = 0, replace: bool = True) -> Any:
        raise model.Unavailable("550 This account may not store files.")

    monkeypatch.setattr(desk.remote, "open_write", open_write)
    assert desk.type("store a") == "store: 550 This account may not store files. Nothing was stored on the server.\n"


def test_a_folder_that_is_missing_is_named(desk: Desk) -> None:
    (desk.here / "a").write_bytes(DATA)
    assert desk.type("store a no/b") == "store: there is no folder /no. Nothing was stored on the server.\n"
    desk.type("store a")
    assert desk.type("retrieve a no/b") == (
        f"retrieve: there is no folder {desk.here}/no. Nothing was written locally.\n"
    )


def test_a_drop_box_takes_files_and_says_what_it_does_not_do(desk: Desk) -> None:
    async def dial(target: Target) -> Remote:
        accounts = AnonymousOnly(desk._disk, Permission.WRITE)
        remote, link = support.connected_remote(desk._disk, accounts=accounts, clock=desk.clock)
        desk.links.append(link)
        return remote

    desk.shell._dial = dial
    desk.type("close")
    desk.type("connect h")
    (desk.there / "in").mkdir()
    for name in ("a", "b"):
        (desk.here / name).write_bytes(b"x")
    assert "stored a: 1 B" in desk.type("put a")
    assert "stored 2 of 2 files" in desk.type("cd in") + desk.type("mput *")
    desk.type("cd /")
    (desk.there / "in" / "a").unlink()
    assert "stored a as /in/a: 1 B" in desk.type("put a in/")
    assert "550 /a: this account may not replace files there." in desk.type("put a")
    assert desk.type("get a") == "get: /a: 550 This account may not list folders or retrieve files.\n"
    assert desk.type("put a nosuch/") == "put: there is no folder /nosuch.\n"


@pytest.mark.parametrize("line", ["put a b new/", "cd new", "put a new/a"])
def test_a_connection_that_is_lost_is_no_folder_that_is_missing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    for name in ("a", "b"):
        (desk.here / name).write_bytes(DATA)

    async def lost(path: str) -> str:
        raise model.ConnectionFailed("The server has gone.")

    monkeypatch.setattr(desk.remote, "change_directory", lost)
    said = desk.type(line)
    assert "The server has gone." in said and "no folder" not in said


def test_words_from_a_server_do_not_command_the_terminal(desk: Desk) -> None:
    name = "\x1b]0;owned\x07"
    assert "\x1b" not in desk.type(f"retrieve $'{name}'")
    (desk.there / name).mkdir()
    assert "\x1b" not in desk.type(f"list; cd $'{name}'") + desk.type("ls") + desk.type("pwd") + desk.shell.prompt


# -- stopping, and lost connections --------------------------------------------------------------------------


@pytest.fixture
def slow(tmp_path: Path) -> Desk:
    """Connected, with a disk here whose jobs wait to be let run."""
    slow = Desk(tmp_path, support.by_hand())
    slow.type("connect h")
    return slow


def jobs_of(desk: Desk) -> support.ByHand:
    run = desk.shell._here.storage._run  # type: ignore[attr-defined]
    assert isinstance(run, support.ByHand)
    return run


def half_retrieved(desk: Desk, old: bytes = b"") -> support.Started:
    (desk.there / "big").write_bytes(os.urandom(6_000_000))
    if old:
        (desk.here / "big").write_bytes(old)
    started = desk.start("retrieve big")
    for _ in range(2):
        jobs_of(desk).fire()
        desk.link.pump()
    assert not started.is_over
    return started


KEPT = "What came is kept, and resume, or the same command, goes on from there."


def test_an_interrupted_retrieve_leaves_only_a_part_and_the_session_goes_on(slow: Desk) -> None:
    started = half_retrieved(slow)
    slow.shell.interrupt()
    jobs_of(slow).fire()
    slow.link.pump()
    assert started.result() is False
    said = slow.said()
    assert re.match(r"retrieve: stopped at \d\.\d MB of 6\.0 MB \(\d+ %\)\. Nothing was written locally\. ", said)
    assert said.endswith(f" {KEPT}\n")
    assert support.take_part(slow.here) and os.listdir(slow.here) == []
    assert slow.type("pwd") == "/\n"
    assert slow.type("list").endswith("1 file, 6.0 MB\n")


def test_an_interrupted_retrieve_leaves_the_old_file(slow: Desk) -> None:
    half_retrieved(slow, old=b"old")
    slow.shell.interrupt()
    jobs_of(slow).fire()
    slow.link.pump()
    assert f"The old {slow.here}/big is as it was." in slow.said()
    assert (slow.here / "big").read_bytes() == b"old"
    assert support.take_part(slow.here)


def test_what_came_of_a_file_earlier_needs_no_room_again(slow: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    half_retrieved(slow)
    slow.shell.interrupt()
    jobs_of(slow).fire()
    slow.link.pump()
    assert KEPT in slow.said()
    (part,) = support.parts_in(slow.here)
    room = 6_000_000 - part.stat().st_size

    async def space(path: str) -> int:
        return room

    monkeypatch.setattr(slow.shell._here.storage, "space", space)
    pass_time(slow, slow.start("get big"), 5)
    assert "retrieved big: 6.0 MB" in slow.said()
    assert (slow.here / "big").read_bytes() == (slow.there / "big").read_bytes()
    (slow.there / "big").write_bytes(os.urandom(6_000_001))
    slow.type("set overwrite replace")
    assert f"need 6.0 MB, the disk has {display.size(room)} free." in slow.type("get big")


def pass_time(desk: Desk, started: support.Started, seconds: int) -> None:
    """Let disk, network and clock go on until the command is over, or so many seconds are."""
    for _ in range(seconds):
        for _ in range(20):
            jobs_of(desk).fire()
            desk.pump()
        if started.is_over:
            return
        desk.clock.advance(1)


def test_a_file_outlives_a_lost_connection_and_goes_on_where_it_was(
    slow: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.has_features = True
    opened, offsets = slow._disk.open_read, []

    async def spied(path: str, offset: int = 0) -> Any:
        offsets.append(offset)
        return await opened(path, offset)

    monkeypatch.setattr(slow._disk, "open_read", spied)
    started = half_retrieved(slow)
    slow.link.lose()
    pass_time(slow, started, 1)
    assert slow.said() == "Trying again in 1 s: The server has gone, or the network to it.\n"
    pass_time(slow, started, 10)
    assert started.result() is False
    said = slow.said()
    assert re.match(r"retrieved big: 6\.0 MB in .*, digest checked\n", said) and "started over" not in said
    assert (slow.here / "big").read_bytes() == (slow.there / "big").read_bytes()
    assert slow.shell.prompt == "h:/> " and slow.type("pwd") == "/\n" and len(slow.remotes) == 2
    assert offsets[0] == 0 and 0 < offsets[-1] < 6_000_000
    assert slow.journal.unfinished() == []


def test_ctrl_c_ends_the_waiting_for_a_lost_connection(slow: Desk) -> None:
    slow.refuses = model.ConnectionRefused("refused.")
    started = half_retrieved(slow)
    slow.link.lose()
    pass_time(slow, started, 3)
    assert not started.is_over
    slow.shell.interrupt()
    pass_time(slow, started, 1)
    said = slow.said()
    assert "refused." in said
    assert re.search(rf"retrieve: stopped at .* of 6\.0 MB \(\d+ %\)\. Nothing was written locally\. {KEPT}\n", said)
    assert support.take_part(slow.here)


def test_a_connection_lost_for_good_tells_how_far_it_got_and_what_is_kept(slow: Desk) -> None:
    started = half_retrieved(slow)
    slow.refuses = model.NotLoggedIn("530 not any more.")
    slow.link.lose()
    pass_time(slow, started, 10)
    said = slow.said()
    assert len(slow.dialled) == 2, "what was refused is not tried again"
    assert re.search(r"^retrieve: connection lost at \d\.\d MB of 6\.0 MB \(\d+ %\): 530 not any more\.", said, re.M)
    assert f"Nothing was written locally. {KEPT} " in said
    assert said.endswith("Use: connect h 5000\n")
    assert slow.shell.prompt == "ftpsvc> "
    assert support.take_part(slow.here)
